import assert from "node:assert/strict";
import { test } from "node:test";
import { lifeOf } from "./life.js";
import { Numbers, Rates, Recent, bitrate, endOf, percent, quantile, shortNumber } from "./stats.js";

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

test("Rates count whole seconds and forget old ones", () => {
  const rates = new Rates(3000);
  for (let at = 500; at < 7000; at += 250) rates.add(at, "a");
  for (let i = 0; i < 7; i += 1) rates.add(6100, "b");
  assert.deepEqual(rates.keys(), ["a", "b"]);
  assert.deepEqual(rates.series("a", 6999), [2500, 3500, 4500, 5500].map((at) => ({ at, count: 4 })));
  assert.deepEqual(rates.series("b", 7000).map((s) => s.count), [0, 0, 0, 7]);
  assert.deepEqual(rates.series("nobody", 7000).map((s) => s.count), [0, 0, 0, 0]);
});

test("a rate's first second counts only when it is whole", () => {
  const rates = new Rates(3000);
  rates.add(900, "a");
  rates.add(1000, "a");
  assert.deepEqual(rates.series("a", 1999), []);
  assert.deepEqual(rates.series("a", 2000), [{ at: 1500, count: 1 }]);
  assert.deepEqual(new Rates(3000).series("a", 5000), []);
});

test("a level stands until the next one", () => {
  const rates = new Rates(9000);
  rates.add(0, "a");
  for (const [at, rate] of [[2900, 30], [4010, 28], [5020, 15]]) rates.set(at, "sent", rate);
  assert.deepEqual(rates.series("sent", 7000).map((s) => [s.at, s.count]), [[2500, 30], [3500, 30], [4500, 28], [5500, 15], [6500, 15]]);
});

test("Numbers count every end and measure results only", () => {
  const numbers = new Numbers();
  const drop = lifeOf({ sequence: 2, model: "m", drop: { reason: "EXPIRED" } }, { latency: 100 });
  numbers.record(lifeOf({ sequence: 1, model: "m", result: {}, timings: { total: 0.03 } }, { latency: 50 }), 1000);
  numbers.record(drop, 1000);
  numbers.record(drop, 1001);
  const view = numbers.view(1100);
  assert.deepEqual([view.total, view.givenUp, view.p50, view.own], [3, 2, 50, true]);
  assert.deepEqual(view.ends, [{ name: "result", kind: "result", count: 1 }, { name: "EXPIRED", kind: "drop", count: 2 }]);
  assert.deepEqual(numbers.lately(1100), { result: 1, EXPIRED: 2 });
  assert.deepEqual(numbers.lately(9000), {});
});

test("the edge's own latency stands in until the page can measure, and is never mixed with it", () => {
  const numbers = new Numbers();
  const result = { sequence: 1, model: "m", result: {}, timings: { total: 0.03 } };
  numbers.record(lifeOf(result), 1000);
  assert.deepEqual([numbers.view(1000).p50, numbers.view(1000).own], [30, false]);
  numbers.record(lifeOf(result, { latency: 60 }), 1100);
  assert.deepEqual([numbers.view(1100).p50, numbers.view(1100).own], [60, true]);
  numbers.record(lifeOf({ sequence: 2, model: "m", result: {} }), 1200);
  assert.equal(numbers.view(1200).p50, 60, "a result without times has no latency");
});

test("numbers for people", () => {
  assert.deepEqual([undefined, NaN, 0, 0.44, 9.94, 9.96, 14.6, 12345].map(shortNumber), ["–", "–", "0", "0.4", "9.9", "10", "15", "12\u202f345"]);
  assert.equal(bitrate(1_550_000), "1.6 Mbit/s");
  assert.equal(bitrate(420_400), "420 kbit/s");
});

test("shares for people", () => {
  assert.deepEqual([0, 0.004, 0.0996, 0.5, 1].map(percent), ["0 %", "0.4 %", "10 %", "50 %", "100 %"]);
});
