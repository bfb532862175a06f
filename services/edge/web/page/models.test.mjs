import assert from "node:assert/strict";
import { test } from "node:test";
import { drawRate, parseModels, snippet } from "./models.js";

const FACES = { name: "faces", input: { picture: { width: 320, height: 256, fit: "LETTERBOX", color: "RGB" } }, result: "detections", ready: true, rate: 15, deadline: 0.25 };

test("parseModels reads GET /models", () => {
  const models = parseModels({ models: [{ ...FACES, name: "poses", ready: false, rate: 0 }, FACES, { name: "speech", input: { audio: {} } }, { input: {} }, null] });
  assert.deepEqual(models.map((m) => [m.name, m.ready, m.takes, m.rate, m.pictures]), [
    ["faces", true, "320 × 256", 15, true],
    ["poses", false, "320 × 256", 0, true],
    ["speech", true, "", 0, false],
  ]);
});

test("parseModels tells models of sound", () => {
  const [model] = parseModels({ models: [{ name: "speech", input: { sound: { rate: 16000, window: 512, hop: 512, context: 64 } }, ready: true }] });
  assert.deepEqual([model.takes, model.pictures, model.sound], ["sound, 16 kHz", false, true]);
  assert.equal(parseModels({ models: [FACES] })[0].sound, false);
});

test("what is no list of models is none", () => {
  for (const body of [undefined, null, {}, { models: "faces" }, [], 3]) assert.deepEqual(parseModels(body), []);
});

test("drawRate keeps drawn frames 50 ms apart", () => {
  const rate = (...rates) => drawRate(rates.map((r) => ({ ...parseModels({ models: [FACES] })[0], rate: r })));
  assert.equal(rate(), 15);
  assert.equal(rate(5), 5);
  assert.equal(rate(5, 15), 15);
  assert.equal(rate(30), 20);
  assert.equal(rate(0), 20, "a model without a rate looks at every frame");
  assert.equal(rate(0.2), 1);
});

test("the snippet loads the SDK from this edge and asks for the models chosen", () => {
  assert.match(snippet("https://edge.example/", ["faces"]), /from "https:\/\/edge\.example\/sdk\/sluice\.js"/);
  assert.match(snippet("https://edge.example/", ["faces"]), /connect\(\{ camera: true, models: \["faces"\] \}\)/);
  assert.match(snippet("https://edge.example/", []), /connect\(\{ camera: true \}\)/);
});
