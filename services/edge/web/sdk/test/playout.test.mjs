import assert from "node:assert/strict";
import { test } from "node:test";

import { Playout } from "../build/playout.js";

/** A result about the frame captured at a time, by which the tests' clock knows it. */
const about = (time, model = "faces") => ({ ssrc: 7, rtpTimestamp: time, sequence: 1, model, result: {} });
const timeOf = ({ rtpTimestamp }) => rtpTimestamp;

/** A playout that has seen answers take `latency` ms, up to a frame captured at 1000. */
function settled(latency, model) {
  const playout = new Playout();
  for (let time = 400; time <= 1000; time += 50) playout.add(about(time, model), time + latency);
  for (let due; (due = playout.due(1000 + 2 * latency, timeOf)); ) playout.done(due);
  return playout;
}

test("a frame is shown once most answers are in, and not again", () => {
  const playout = settled(100);
  assert.equal(playout.delay(1100), 104);
  playout.add(about(1050), 1120);
  assert.equal(playout.due(1150, timeOf), undefined, "its time has not come");
  const due = playout.due(1155, timeOf);
  assert.equal(due.time, 1050);
  playout.done(due);
  assert.equal(playout.due(1156, timeOf), undefined);
});

test("another model's answer about the frame that is shown is news, one about an older frame is not", () => {
  const playout = settled(100);
  playout.add(about(950, "poses"), 1110);
  assert.equal(playout.due(1210, timeOf), undefined);
  playout.add(about(1000, "poses"), 1120);
  const due = playout.due(1210, timeOf);
  assert.equal(due.time, 1000);
  assert.deepEqual(due.outcomes.map(({ model }) => model), ["faces", "poses"]);
});

test("the slowest model sets the delay, which follows it down again", () => {
  const playout = settled(100);
  playout.add(about(1000, "poses"), 1300);
  playout.due(1300, timeOf);
  assert.equal(playout.delay(1300), 304);
  assert.equal(playout.delay(4400), 0, "nothing has come for three seconds");
  const slow = settled(5000);
  assert.ok(slow.delay(6000) <= 700, "a view is never later than frames are kept");
});

test("answers wait for the clock's first word, but not for ever", () => {
  const playout = new Playout();
  playout.add(about(1000), 1050);
  playout.add(about(1100), 1150);
  assert.equal(playout.due(1400, () => undefined), undefined);
  const due = playout.due(1500, timeOf);
  assert.equal(due.time, 1100, "the newest");
  playout.done(due);
  playout.add(about(2000), 2050);
  assert.equal(playout.due(3100, () => undefined), undefined);
  assert.equal(playout.due(3200, timeOf), undefined, "its frame is gone");
});

test("what waits is bounded", () => {
  const playout = new Playout();
  for (let n = 0; n < 1000; n++) playout.add(about(n), n);
  const seen = [];
  playout.due(1000, (outcome) => void seen.push(outcome.rtpTimestamp));
  assert.ok(seen.length <= 64 && seen.includes(999), `${seen.length} waited`);
});
