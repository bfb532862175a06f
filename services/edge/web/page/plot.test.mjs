import assert from "node:assert/strict";
import { test } from "node:test";
import { axisTop, nearest } from "./plot.js";

test("an axis ends on a round number above its values", () => {
  assert.deepEqual([0, 20, 21, 140, 9000, 120_000].map((value) => axisTop(value)), [20, 20, 30, 200, 10_000, 200_000]);
  assert.deepEqual([0, 4, 6, 31].map((value) => axisTop(value, 5)), [6, 6, 6, 40]);
});

test("a click means the nearest dot, if one is near", () => {
  const points = [{ x: 10, y: 10 }, { x: 20, y: 10 }, { x: 100, y: 100 }];
  assert.equal(nearest(points, 16, 12), points[1]);
  assert.equal(nearest(points, 60, 60), undefined);
  assert.equal(nearest([], 0, 0), undefined);
});
