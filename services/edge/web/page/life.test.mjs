import assert from "node:assert/strict";
import { test } from "node:test";
import { STAGES, averageLife, lifeOf, slowest, ticks } from "./life.js";

const TIMINGS = { receive: 0.004, decode: 0.002, convert: 0.001, queue: 0.006, infer: 0.02, total: 0.04 };
const answer = { sequence: 7, model: "m", result: {}, timings: TIMINGS };
const stage = (life, name) => life.stages.find((s) => s.name === name);
const near = (got, want) => assert.ok(Math.abs(got - want) < 1e-9, `${got}, want ${want}`);

test("a life's stages follow each other and add up to the whole latency", () => {
  const life = lifeOf(answer, { latency: 55, roundTrip: 4 });
  assert.deepEqual(life.stages.map((s) => s.name), STAGES.map(([name]) => name));
  let at = 0;
  for (const { name, start, ms } of life.stages) {
    assert.ok(Math.abs(start - at) < 1e-9, `${name} begins at ${start}, not at ${at}`);
    at += ms;
  }
  near(at, 55);
  near(life.total, 55);
  assert.ok(life.own && life.stages.every((s) => s.reached));
});

test("half a round trip is the answer's way back, and what lies between the stages the way to the router and back", () => {
  const life = lifeOf(answer, { latency: 55, roundTrip: 4 });
  near(stage(life, "network").ms, 13);
  near(stage(life, "queue").wait, 3.5);
  near(stage(life, "queue").ms, 9.5);
  near(stage(life, "return").ms, 5.5);
  near(stage(lifeOf(answer, { latency: 41, roundTrip: 90 }), "return").ms, 1 + 3.5);
});

test("without the page's measure a life begins at the edge", () => {
  const life = lifeOf(answer);
  assert.equal(life.own, false);
  near(life.total, 40);
  assert.equal(stage(life, "network").reached, false);
});

test("a frame that was given up ends where it came to", () => {
  const life = lifeOf({ sequence: 1, model: "m", drop: { reason: "EXPIRED" }, timings: { receive: 0.004, decode: 0.002, convert: 0.001, queue: 0.2, total: 0.21 } });
  assert.deepEqual(life.stages.filter((s) => s.reached).map((s) => s.name), ["receive", "decode", "convert", "queue"]);
  near(stage(life, "queue").ms, 203);
  near(life.total, 210);
  assert.deepEqual(life.end, { kind: "drop", name: "EXPIRED" });
});

test("times that are missing or strange do no harm", () => {
  assert.equal(lifeOf({ sequence: 1, model: "m", result: {} }, { latency: 20 }).total, undefined);
  near(lifeOf({ sequence: 1, model: "m", result: {}, timings: { infer: 0.03, total: 0.02 } }).total, 30);
  near(lifeOf(answer, { latency: 10 }).total, 40);
  assert.equal(stage(lifeOf({ sequence: 1, model: "m", result: {}, timings: { infer: -1, total: 0 } }), "infer").ms, 0);
});

test("the average of lives adds up too", () => {
  assert.equal(averageLife([]), undefined);
  const life = averageLife([lifeOf(answer, { latency: 50 }), lifeOf(answer, { latency: 60 })]);
  near(life.total, 55);
  near(stage(life, "network").ms, 15);
  near(stage(life, "return").start, 15 + 7 + 9.5 + 20);
});

test("the slowest is found among the answered", () => {
  const drop = lifeOf({ sequence: 3, model: "m", drop: { reason: "EXPIRED" }, timings: { total: 9 } });
  const lives = [50, 70, 60].map((latency, i) => ({ ...lifeOf(answer, { latency }), sequence: i }));
  assert.equal(slowest([...lives, drop]), lives[1]);
  assert.equal(slowest([drop]), undefined);
});

test("an axis has few marks at round numbers", () => {
  assert.deepEqual(ticks(21), [0, 5, 10, 15, 20]);
  assert.deepEqual(ticks(0), [0]);
  assert.deepEqual(ticks(130, 4), [0, 50, 100]);
});
