import assert from "node:assert/strict";
import { test } from "node:test";

import { vote } from "../build/vote.js";

const INTERVAL = 1000 / 30;
const RTP = 4_294_900_000; // so that the timestamps wrap on the way

/** Frames captured at these times and sent a while later, with RTP timestamps in whole milliseconds. */
const sentAfter = (times, lag) => times.map((time) => ({ ssrc: 7, rtpTimestamp: (RTP + 90 * Math.trunc(time)) >>> 0, at: time + lag }));
const even = Array.from({ length: 30 }, (_, n) => 5000 + n * INTERVAL);
/** How wrong a candidate is, in ms. */
const errorOf = ({ time, rtp }) => time - 5000 - (((rtp - RTP - 90 * 5000) | 0) / 90);

test("vote puts the right relation first while frames take less than an interval to be sent", async (t) => {
  const cases = [
    { name: "every frame sent", captured: even, sent: sentAfter(even, 12) },
    { name: "every second frame sent", captured: even, sent: sentAfter(even.filter((_, n) => n % 2 === 0), 12) },
    { name: "some captured frames missed", captured: even.filter((_, n) => n % 7 !== 3), sent: sentAfter(even, 12) },
    { name: "uneven intervals", captured: even.map((time, n) => time + 4 * Math.sin(n)), sent: sentAfter(even.map((time, n) => time + 4 * Math.sin(n)), 12) },
  ];
  for (const { name, captured, sent } of cases)
    await t.test(name, () => {
      const [first] = vote(sent, captured);
      assert.ok(Math.abs(errorOf(first)) < 1.2, `${errorOf(first)} ms off`);
      assert.ok(first.share >= 0.8);
      assert.ok(Math.abs(first.lag - 12) < 1.2, `lag ${first.lag}`);
    });
});

test("with even intervals every shift by whole intervals fits, but none that would have frames leave before their capture", () => {
  const votes = vote(sentAfter(even, 40), even);
  assert.ok(votes.length > 3);
  for (const one of votes) {
    const shift = errorOf(one) / INTERVAL;
    assert.ok(Math.abs(shift - Math.round(shift)) < 0.04 && shift < 1.2, `shifted by ${shift} intervals`);
  }
});

test("uneven intervals leave one relation only", () => {
  const captured = even.map((time, n) => time + 9 * Math.sin(n * n));
  const likely = vote(sentAfter(captured, 90), captured).filter(({ share }) => share >= 0.8);
  assert.equal(likely.length, 1);
  assert.ok(Math.abs(errorOf(likely[0])) < 1.2);
});

test("too little to tell is no vote", () => {
  assert.deepEqual(vote([], even), []);
  assert.deepEqual(vote(sentAfter(even.slice(0, 11), 12), even), []);
  assert.deepEqual(vote(sentAfter(even, 12), []), []);
  assert.deepEqual(vote(sentAfter(even, 12), even.slice(0, 5)), []);
  assert.deepEqual(vote(sentAfter(even, 3000), even), []);
});
