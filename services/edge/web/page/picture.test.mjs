import assert from "node:assert/strict";
import { test } from "node:test";
import { classTexts, colorOf, describe, fit, gist, place } from "./picture.js";

test("fit shows a picture whole and in the middle", () => {
  assert.deepEqual(fit(1280, 720, 640, 480), { left: 0, top: 60, width: 640, height: 360 });
  assert.deepEqual(fit(480, 640, 640, 480), { left: 140, top: 0, width: 360, height: 480 });
});

test("place puts a box of fractions into the picture, mirrored with it", () => {
  const area = { left: 100, top: 10, width: 200, height: 100 };
  const box = { x: 0.1, y: 0.2, width: 0.25, height: 0.5 };
  assert.deepEqual(place(box, area, false), { left: 120, top: 30, width: 50, height: 50 });
  assert.deepEqual(place(box, area, true), { left: 230, top: 30, width: 50, height: 50 });
});

test("a label keeps its colour", () => {
  assert.equal(colorOf("dog"), colorOf("dog"));
  assert.match(colorOf(""), /^#/);
});

test("results in words", () => {
  const outcome = { sequence: 1, model: "m", result: { detections: [{ label: "face" }, { label: "face" }, { label: "cup" }], classes: [{ label: "cat", score: 0.912 }, {}] } };
  assert.equal(describe([outcome]), "Live picture with 2 faces, 1 cup");
  assert.equal(describe([]), "Live picture, nothing found on it");
  assert.deepEqual(classTexts([outcome]), ["cat 91%", "?"]);
});

test("every kind of result has a gist", () => {
  assert.equal(gist({}), "");
  assert.equal(gist({ detections: [{ label: "face" }, {}] }), "1 face, 1 object");
  assert.equal(gist({ classes: [{ label: "cat", score: 0.9 }] }), "cat 90%");
  assert.equal(gist({ speech: [{ probability: 0.934 }] }), "speech 93 %");
  assert.equal(gist({ embedding: [1, 2, 3], tensors: [{ name: "out", shape: [1, 4] }, {}] }), "vector of 3 · out [1, 4], tensor []");
  assert.equal(gist({ json: ['{"text":"hello"}', "x".repeat(99)] }), `{"text":"hello"}, ${"x".repeat(59)}…`);
});
