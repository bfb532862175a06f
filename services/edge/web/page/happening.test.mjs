import assert from "node:assert/strict";
import { test } from "node:test";
import { happening, watching } from "./happening.js";

const faces = { name: "faces", pictures: true, answers: 14.7 };
const view = { answers: 14.7, p50: 20.4, own: true, total: 90, givenUp: 0, ends: [] };
const well = { state: "live", source: "camera", sent: 29.8, models: [faces], view, lately: { result: 44 }, delay: 31.2 };

test("every state has its sentence", () => {
  for (const state of ["idle", "opening", "connecting", "live", "interrupted"]) {
    const said = happening({ state });
    assert.match(said, /^[A-Z].*\.$/, state);
    assert.doesNotMatch(said, /undefined|NaN|\[object/, state);
  }
  assert.match(happening({ state: "opening", source: "screen" }), /use the screen\.$/);
  assert.match(happening({ state: "opening", source: "file" }), /not uploaded/);
});

test("what goes on is said with its numbers", async (t) => {
  const cases = [
    ["all is well", {}, /^Your camera sends 30 pictures a second to the edge\. “faces” looks at 15 of them each second and answers 20\u00a0ms after a picture was taken\. Each picture is shown 31\u00a0ms late, so that its boxes lie on exactly that picture\.$/],
    ["every picture", { sent: 13.4 }, /“faces” looks at all of them and answers/],
    ["one picture", { sent: 1.2 }, /sends 1 picture a second/],
    ["nothing measured yet", { sent: undefined, view: undefined, delay: undefined }, /sends pictures to the edge\. “faces” has not answered yet\.$/],
    ["clocks not matched", { delay: undefined }, /live and without boxes until/],
    ["the edge's own measure", { view: { ...view, own: false } }, /20\u00a0ms after it reached the edge/],
    ["two models", { models: [faces, { ...faces, name: "poses" }] }, /“faces” and “poses” answer 20\u00a0ms after/],
    ["one of two is silent", { models: [faces, { ...faces, name: "poses", answers: 0 }] }, /“faces” looks at 15 of them .* was taken\. “poses” does not answer at the moment\./],
    ["three models", { models: ["a", "b", "c"].map((name) => ({ ...faces, name })) }, /“a”, “b” and “c” answer/],
    ["sound only", { models: [{ ...faces, pictures: false }] }, /No model looks at them\.$/],
    ["a screen", { source: "screen" }, /^Your screen sends/],
    ["a few given up", { lately: { result: 99, EXPIRED: 1 } }, /exactly that picture\.$/],
    ["many given up", { lately: { result: 60, SUPERSEDED: 30, EXPIRED: 10 } }, /40\u00a0% of the frames are given up, mostly because newer ones took their place/],
    ["failures", { lately: { result: 50, BACKEND_REJECTED: 50 } }, /50\u00a0% of the frames are given up, mostly because the model answers with an error\.$/],
    ["a reason without words", { lately: { result: 50, INTERNAL: 50 } }, /mostly as INTERNAL\.$/],
  ];
  for (const [name, change, want] of cases) await t.test(name, () => assert.match(happening({ ...well, ...change }), want));
});

test("a page that watches says what it sees", () => {
  const now = { state: "live", streams: ["camera"], models: ["faces"], view, lately: { result: 10 } };
  assert.equal(watching(now), "One stream for “faces”: 15 answers a second, each 20\u00a0ms after its frame reached the edge.");
  assert.match(watching({ ...now, streams: ["camera", "microphone"], models: ["faces", "speech"] }), /^2 streams for “faces” and “speech”:/);
  assert.match(watching({ ...now, lately: { result: 1, EXPIRED: 1 } }), /50\u00a0% of the frames are given up/);
  assert.match(watching({ ...now, models: [] }), /no answers have come/);
  for (const state of ["connecting", "interrupted", "ended"]) assert.match(watching({ ...now, state }), /^[A-Z].*\.$/);
});
