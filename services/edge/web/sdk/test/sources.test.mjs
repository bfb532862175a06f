import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { Sources } from "../build/sources.js";
import { FakeTrack, World, settle } from "./browser.mjs";

/** @type {EventTarget} */ let devices;
/** @type {FakeTrack[]} */ let opened;
/** @type {World} */ let world;
beforeEach(() => {
  world = new World();
  opened = [];
  const getUserMedia = async () => {
    const track = new FakeTrack("video", `camera ${opened.length + 1}`);
    opened.push(track);
    return { getTracks: () => [track] };
  };
  devices = Object.assign(new EventTarget(), { getUserMedia });
  Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: devices }, configurable: true });
});
afterEach(() => {
  world.time.stop();
  Object.defineProperty(globalThis, "navigator", { value: undefined, configurable: true });
});

/** A camera that is watched, what was told of its end, and what was sent in its place. */
async function camera() {
  const sources = await Sources.open({ camera: true });
  const [ended, replaced] = [[], []];
  const replace = async (old, track) => {
    replaced.push([old.id, track.id]);
    sources.replaced(old, track);
  };
  sources.watch(({ track }) => ended.push(track.id), replace);
  return { sources, ended, replaced };
}

const end = (track) => track.dispatchEvent(new Event("ended"));
const change = async () => {
  devices.dispatchEvent(new Event("devicechange"));
  await settle();
};

test("a camera that has gone is opened once when it is back, and closed at the end", async () => {
  const { sources, ended, replaced } = await camera();
  end(opened[0]);
  await Promise.all([change(), change()]); // a camera's own microphone comes with it
  await change();
  assert.deepEqual([ended, replaced], [["camera 1"], [["camera 1", "camera 2"]]]);
  sources.close();
  assert.deepEqual(opened.slice(1).map(({ stopped }) => stopped), [true, true]);
});

test("a camera that was sent again after something else ends once", async () => {
  const { sources, ended, replaced } = await camera();
  const screen = new FakeTrack("video", "screen");
  sources.replaced(opened[0], screen);
  sources.replaced(screen, opened[0]);
  end(opened[0]);
  await change();
  assert.deepEqual([ended, replaced], [["camera 1"], [["camera 1", "camera 2"]]]);
  assert.equal(opened.length, 2);
});

test("a camera that has gone is not opened again once the page sends something else", async () => {
  const { sources, replaced } = await camera();
  end(opened[0]);
  sources.replaced(opened[0], new FakeTrack("video", "screen"));
  await change();
  assert.deepEqual([opened.length, replaced], [1, []]);
});

test("a camera that comes back too late, or cannot be sent, is closed", async () => {
  const { sources } = await camera();
  end(opened[0]);
  devices.dispatchEvent(new Event("devicechange"));
  sources.replaced(opened[0], new FakeTrack("video", "screen")); // while the camera is being opened
  await settle();
  assert.equal(opened[1].stopped, true);

  const other = await Sources.open({ camera: true });
  const refused = [];
  other.watch(() => {}, async (_, track) => {
    refused.push(track);
    throw new DOMException("closed", "InvalidStateError");
  });
  end(other.list[0].track);
  await change();
  assert.deepEqual(refused.map(({ stopped }) => stopped), [true]);
});
