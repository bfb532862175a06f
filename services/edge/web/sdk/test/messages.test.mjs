import assert from "node:assert/strict";
import { test } from "node:test";

import { parseMessage } from "../build/messages.js";

test("parseMessage reads what the edge sends", async (t) => {
  const cases = [
    ['{"outcome":{"sequence":1,"model":"faces"}}', { kind: "outcome", value: { sequence: 1, model: "faces" } }],
    ['{"senderReport":{"ssrc":1,"rtpTimestamp":2,"ntpMillis":3.5}}', { kind: "senderReport", value: { ssrc: 1, rtpTimestamp: 2, ntpMillis: 3.5 } }],
    ['{"skipped":12}', { kind: "skipped", value: 12 }],
    ['{"skipped":0}', { kind: "skipped", value: 0 }],
    ['{"drain":{}}', { kind: "drain", value: {} }],
    ['{"tomorrow":{}}', undefined],
    ["null", undefined],
    ['"outcome"', undefined],
    ["[]", undefined],
    ["{", undefined],
    ["", undefined],
    [new ArrayBuffer(3), undefined],
  ];
  for (const [text, want] of cases) await t.test(String(text), () => assert.deepEqual(parseMessage(text), want));
});
