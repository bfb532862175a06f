import assert from "node:assert/strict";
import { test } from "node:test";
import { Speech } from "./speech.js";

test("speech begins at one probability and ends at a lower one", () => {
  const speech = new Speech();
  const states = [0.1, 0.49, 0.5, 0.9, 0.4, 0.36, 0.34, 0.4, 0.6].map((probability, n) => {
    speech.add(32 * n, probability);
    return speech.view(32 * n).state;
  });
  assert.deepEqual(states, ["silence", "silence", "speech", "speech", "speech", "speech", "silence", "silence", "speech"]);
});

test("an old answer says nothing about now", () => {
  const speech = new Speech();
  assert.deepEqual(speech.view(0), { state: "waiting", probability: 0 });
  speech.add(100, 0.8);
  assert.deepEqual(speech.view(1000), { state: "speech", probability: 0.8 });
  assert.deepEqual(speech.view(1200), { state: "waiting", probability: 0 });
});
