import assert from "node:assert/strict";
import { test } from "node:test";
import { Playout } from "./playout.js";

const result = (frame, model = "faces") => ({ sequence: frame, ssrc: 1, rtpTimestamp: frame, model, result: {} });

/** Feeds results of frames every 50 ms that come `latency` ms after their capture. */
function fed(latency, count = 40, model = "faces") {
  const playout = new Playout();
  for (let i = 0; i < count; i += 1) playout.add(result(i, model), i * 50, i * 50 + latency);
  return playout;
}

test("a frame is shown once its answers can be expected, and once only", () => {
  const playout = new Playout();
  assert.equal(playout.due(0), undefined);
  playout.add(result(1), 100, 160);
  assert.equal(playout.due(163), undefined, "a little later than the answer itself");
  const due = playout.due(164);
  assert.equal(due?.time, 100);
  assert.equal(playout.due(170), due, "the same until it is done");
  playout.done(due);
  assert.equal(playout.due(500), undefined);
});

test("the newest due frame is shown, and none goes back", () => {
  const playout = fed(60);
  const due = playout.due(1000);
  assert.equal(due?.time, 900);
  playout.done(due);
  playout.add(result(3), 150, 1001);
  assert.equal(playout.due(1001), undefined, "an answer for an older frame comes too late to be drawn");
});

test("the delay waits for the slower model", () => {
  const playout = fed(30);
  for (let i = 0; i < 40; i += 1) playout.add(result(i, "poses"), i * 50, i * 50 + 120);
  assert.equal(playout.delay(2000), 124);
  const due = playout.due(1000);
  assert.equal(due?.time, 850);
  assert.deepEqual(due?.outcomes.map((o) => o.model), ["faces", "poses"]);
});

test("an answer that comes while its frame is shown adds to it", () => {
  const playout = new Playout();
  playout.add(result(1), 100, 130);
  playout.done(playout.due(140));
  playout.add(result(1, "poses"), 100, 141);
  assert.deepEqual(playout.due(200)?.outcomes.map((o) => o.model), ["faces", "poses"]);
});

test("the delay forgets a slow spell and is bounded", () => {
  const playout = fed(5000, 3);
  assert.equal(playout.delay(5200), 700);
  assert.equal(playout.delay(20_000), 4);
});

test("frames that nobody asks for do not pile up", () => {
  const playout = fed(1e6, 500);
  assert.equal(playout.due(1e9)?.time, 499 * 50);
  let shown = 0;
  for (let due = playout.due(1e9); due; due = playout.due(1e9)) {
    playout.done(due);
    shown += 1;
  }
  assert.equal(shown, 1);
});
