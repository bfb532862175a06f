// The module as it is served and published, not its parts.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { gzipSync } from "node:zlib";

import * as source from "../build/index.js";
import * as sluice from "../sluice.js";

const LIMIT = 15 * 1024; // bytes, gzipped

test("the bundle exports what the source does", () => {
  assert.deepEqual(Object.keys(sluice).sort(), Object.keys(source).sort());
});

test("a page pays little for it", () => {
  const size = gzipSync(readFileSync(new URL("../sluice.js", import.meta.url)), { level: 9 }).length;
  assert.ok(size <= LIMIT, `${size} bytes gzipped; at most ${LIMIT}`);
});
