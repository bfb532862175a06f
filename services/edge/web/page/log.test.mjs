import assert from "node:assert/strict";
import { test } from "node:test";
import { entryOf } from "./log.js";

test("every message has its line", async (t) => {
  const base = { stream: "camera", sequence: 7, model: "faces" };
  const cases = [
    ["a result", { outcome: { ...base, result: { detections: [{ label: "face" }] } } }, ["result", "camera", "faces", "#7", "1 face"]],
    ["an empty result", { outcome: { ...base, result: {} } }, ["result", "camera", "faces", "#7", "nothing found"]],
    ["a drop", { outcome: { ...base, drop: { reason: "EXPIRED" } } }, ["drop", "camera", "faces", "#7", "EXPIRED"]],
    ["an error", { outcome: { ...base, error: { code: "DECODER" } } }, ["error", "camera", "faces", "#7", "DECODER"]],
    ["a demand", { demand: { stream: "camera", maxFramerate: 5 } }, ["other", "camera", "", "", 'demand {"stream":"camera","maxFramerate":5}']],
    ["lost ones", { skipped: 12 }, ["other", "", "", "", "skipped 12"]],
    ["one of a later version", {}, ["other", "", "", "", "message undefined"]],
  ];
  for (const [name, message, want] of cases)
    await t.test(name, () => {
      const { kind, stream, model, number, said } = entryOf(message, new Date(0));
      assert.deepEqual([kind, stream, model, number, said], want);
    });
});
