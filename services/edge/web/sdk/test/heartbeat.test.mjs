import assert from "node:assert/strict";
import { test } from "node:test";

import { BEAT, Heartbeat } from "../build/heartbeat.js";

/** Beats every step ms until the edge counts as lost, at most limit ms, and gives when that is. */
function lostAfter(heartbeat, { step = BEAT, hidden = false, limit = 60_000, answerAfter = Infinity, from = 0 } = {}) {
  const pongs = [];
  for (let now = from; now <= from + limit; now += step) {
    while (pongs.length > 0 && pongs[0].at <= now) heartbeat.pong(pongs.shift().id, now);
    const { ping, lost } = heartbeat.beat(now, hidden);
    if (lost) return now - from;
    if (ping !== undefined && answerAfter < Infinity) pongs.push({ id: ping, at: now + answerAfter });
  }
  return Infinity;
}

for (const [name, arrange, least, most] of [
  ["an edge that is silent is lost within a second", {}, 600, 950],
  ["one that answers is not", { answerAfter: 50 }, Infinity, Infinity],
  ["nor one that takes its time", { answerAfter: 400 }, Infinity, Infinity],
  ["a page whose timers run late is given longer, for it may not have read what came", { step: 5000 }, 10_000, 20_000],
  ["a hidden page asks before it counts the edge as lost", { step: 1000, hidden: true }, 1000, 3000],
  ["and an answer is enough for it", { step: 1000, hidden: true, answerAfter: 20 }, Infinity, Infinity],
])
  test(name, () => {
    const got = lostAfter(new Heartbeat(), arrange);
    assert.ok(got >= least && got <= most, `lost after ${got} ms`);
  });

test("nothing is asked of an edge from which something comes", () => {
  const heartbeat = new Heartbeat();
  for (let now = 0; now < 10_000; now += BEAT) {
    heartbeat.heard();
    assert.deepEqual(heartbeat.beat(now, false), { ping: undefined, lost: false });
  }
});

test("a long way to the edge is learned, and allowed for", () => {
  const heartbeat = new Heartbeat();
  assert.ok(lostAfter(heartbeat, { answerAfter: 700 }) < 1000, "at first it is not known");
  heartbeat.pong(5000, 5700);
  assert.equal(heartbeat.roundTrip, 700);
  assert.equal(lostAfter(heartbeat, { answerAfter: 700, from: 6000 }), Infinity);
});

test("ids wrap with the clock", () => {
  const heartbeat = new Heartbeat();
  heartbeat.pong(2 ** 32 - 10, 2 ** 32 + 30);
  assert.equal(heartbeat.roundTrip, 40);
});
