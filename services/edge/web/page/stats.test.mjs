import assert from "node:assert/strict";
import { test } from "node:test";
import { Numbers, Recent, STAGES, bitrate, endOf, quantile, shortNumber, stagesOf } from "./stats.js";

test("quantile is the nearest rank", () => {
  assert.equal(quantile([], 0.5), undefined);
  assert.equal(quantile([7], 0.95), 7);
  assert.equal(quantile([3, 1, 2], 0.5), 2);
  const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.equal(quantile(hundred, 0.95), 95);
  assert.equal(quantile(hundred, 0), 1);
  assert.equal(quantile(hundred, 1), 100);
});

test("Recent forgets what is older than its span", () => {
  const recent = new Recent(1000);
  for (let at = 0; at <= 2000; at += 100) recent.add(at, at);
  assert.deepEqual(recent.values(2000), [1100, 1200, 1300, 1400, 1500, 1600, 1700, 1800, 1900, 2000]);
  assert.equal(recent.rate(2000), 10);
  assert.equal(recent.rate(9000), 0);
});

test("Recent keeps no more than its limit, the newest", () => {
  const recent = new Recent(1e9, 3);
  for (let i = 1; i <= 5; i += 1) recent.add(i, i);
  assert.deepEqual(recent.values(5), [3, 4, 5]);
});

test("a young window's rate counts the time there was", () => {
  const recent = new Recent(3000);
  for (let at = 0; at < 1000; at += 100) recent.add(at, 1);
  assert.equal(recent.rate(1000), 10);
});

test("endOf names what an outcome ended as", () => {
  assert.deepEqual(endOf({ sequence: 1, model: "m", result: {} }), { kind: "result", name: "result" });
  assert.deepEqual(endOf({ sequence: 1, model: "m", drop: { reason: "EXPIRED" } }), { kind: "drop", name: "EXPIRED" });
  assert.deepEqual(endOf({ sequence: 1, model: "m", error: { code: "DECODER" } }), { kind: "error", name: "DECODER" });
});

test("stagesOf splits the whole latency, and its parts add up", () => {
  const timings = { receive: 0.004, decode: 0.002, convert: 0.001, queue: 0.006, infer: 0.02, total: 0.04 };
  const stages = stagesOf({ sequence: 1, model: "m", timings }, 55);
  assert.ok(Math.abs(stages.way - 15) < 1e-9);
  assert.ok(Math.abs(stages.other - 7) < 1e-9);
  assert.ok(Math.abs(Object.values(stages).reduce((a, b) => a + b) - 55) < 1e-9);
  assert.deepEqual(new Set(Object.keys(stages)), new Set(STAGES.map(([name]) => name)));
  assert.equal(stagesOf({ sequence: 1, model: "m", timings }).way, 0);
  assert.equal(stagesOf({ sequence: 1, model: "m" }).infer, 0);
});

test("Numbers count every end and measure results only", () => {
  const numbers = new Numbers();
  const result = { sequence: 1, model: "m", result: {}, timings: { total: 0.03 } };
  assert.equal(numbers.record(result, 1000, 950), 50);
  assert.equal(numbers.record({ sequence: 2, model: "m", drop: { reason: "EXPIRED" } }, 1000, 900), undefined);
  numbers.record({ sequence: 3, model: "m", drop: { reason: "EXPIRED" } }, 1001);
  const view = numbers.view(1100);
  assert.equal(view.total, 3);
  assert.equal(view.p50, 50);
  assert.equal(view.own, true);
  assert.deepEqual(view.ends, [{ name: "result", kind: "result", count: 1 }, { name: "EXPIRED", kind: "drop", count: 2 }]);
  assert.deepEqual(numbers.lately(1100), { result: 1, EXPIRED: 2 });
  assert.deepEqual(numbers.lately(9000), {});
});

test("the edge's own latency stands in until the page can measure, and is never mixed with it", () => {
  const numbers = new Numbers();
  const result = { sequence: 1, model: "m", result: {}, timings: { total: 0.03 } };
  numbers.record(result, 1000);
  assert.deepEqual([numbers.view(1000).p50, numbers.view(1000).own], [30, false]);
  numbers.record(result, 1100, 1040);
  assert.deepEqual([numbers.view(1100).p50, numbers.view(1100).own], [60, true]);
});

test("numbers for people", () => {
  assert.deepEqual([undefined, NaN, 0, 0.44, 9.94, 9.96, 14.6, 12345].map(shortNumber), ["–", "–", "0", "0.4", "9.9", "10", "15", "12\u202f345"]);
  assert.equal(bitrate(1_550_000), "1.6 Mbit/s");
  assert.equal(bitrate(420_400), "420 kbit/s");
});
