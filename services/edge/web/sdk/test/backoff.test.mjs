import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff, isFinal } from "../build/backoff.js";
import { SluiceError } from "../build/errors.js";

test("attempts come soon at first, then once a second, and later every five", () => {
  const backoff = new Backoff(0, 60_000);
  const waits = [];
  for (let now = 0, wait; (wait = backoff.next(now, now ? "failed" : undefined, 0.5)) !== undefined; now += wait) waits.push(Math.round(wait));
  assert.deepEqual(waits.slice(0, 6), [0, 200, 400, 800, 1000, 1000]);
  assert.ok(waits.slice(1, 25).every((wait) => wait >= 100 && wait <= 1000), String(waits));
  assert.ok(waits.slice(-6, -1).every((wait) => wait >= 3000 && wait <= 5000), String(waits));
});

test("chance spreads attempts by a fifth, either way", () => {
  const wait = (chance) => {
    const backoff = new Backoff(0, 60_000);
    for (let i = 0; i < 9; i++) backoff.next(0, "failed", 0.5);
    return Math.round(backoff.next(0, "failed", chance));
  };
  assert.deepEqual([wait(0), wait(0.5), wait(1)], [800, 1000, 1200]);
});

test("an edge's Retry-After counts, but not beyond the limit", () => {
  const asked = (seconds) => new SluiceError("DRAINING", "", { status: 503, retryAfter: seconds });
  assert.equal(new Backoff(0, 60_000).next(0, asked(7), 0.5), 7000);
  assert.equal(new Backoff(0, 60_000).next(50_000, asked(100), 0.5), 10_000);
  assert.equal(new Backoff(0, 60_000).next(60_000, asked(1), 0.5), undefined);
});

for (const [name, error, want] of [
  ["no answer", new SluiceError("EDGE_UNREACHABLE", ""), false],
  ["an edge that drains", new SluiceError("DRAINING", "", { status: 503 }), false],
  ["a session that is gone", new SluiceError("SESSION_NOT_FOUND", "", { status: 404 }), false],
  ["too many requests", new SluiceError("TOO_MANY", "", { status: 429 }), false],
  ["a wrong token", new SluiceError("UNAUTHORIZED", "", { status: 401 }), true],
  ["an unknown model", new SluiceError("UNKNOWN_MODEL", "", { status: 422 }), true],
  ["another version", new SluiceError("VERSION_MISMATCH", ""), true],
  ["no error of ours", new TypeError("x"), false],
])
  test(`${name} is ${want ? "" : "not "}final`, () => assert.equal(isFinal(error), want));
