import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";
import { FakeTrack, World, settle } from "../sdk/test/browser.mjs";
import { Visit } from "./visit.js";

/** An element of a page that nobody sees. */
class Element extends EventTarget {
  dataset = {};
  style = { setProperty() {} };
  textContent = "";
  querySelectorAll = () => [];
  append() {}
  replaceChildren() {}
  setAttribute() {}
  toggleAttribute() {}
  play = async () => {};
  requestVideoFrameCallback = () => 1;
  cancelVideoFrameCallback() {}
}

/** @type {World} */ let world;
/** @type {FakeTrack[]} of the cameras that were opened */ let cameras;
/** @type {FakeTrack[]} and of the microphones */ let microphones;
/** @type {Promise<void>} what a device that is opened waits for */ let allowed;
/** @type {[string, PropertyDescriptor | undefined][]} */ let before;

beforeEach(() => {
  world = new World();
  [cameras, microphones, allowed] = [[], [], Promise.resolve()];
  /** @type {Map<string, Element>} */ const elements = new Map();
  const getElementById = (/** @type {string} */ id) => elements.get(id) ?? elements.set(id, new Element()).get(id);
  const getUserMedia = async (/** @type {any} */ { audio }) => {
    await allowed;
    const opened = audio ? microphones : cameras;
    const track = new FakeTrack(audio ? "audio" : "video", `device ${opened.length + 1}`);
    opened.push(track);
    return Object.assign(new MediaStream(/** @type {any} */ ([track])), { getVideoTracks: () => [track], getAudioTracks: () => [track] });
  };
  const page = {
    document: Object.assign(new Element(), { body: new Element(), createElement: () => new Element(), getElementById }),
    window: { isSecureContext: true },
    location: { origin: "https://edge.example", href: "https://edge.example/" },
    navigator: { mediaDevices: { getUserMedia, enumerateDevices: async () => [] } },
    requestAnimationFrame: () => 1,
    cancelAnimationFrame() {},
  };
  before = Object.keys(page).map((name) => [name, Object.getOwnPropertyDescriptor(globalThis, name)]);
  for (const [name, value] of Object.entries(page)) Object.defineProperty(globalThis, name, { value, configurable: true });
});

afterEach(() => {
  world.time.stop();
  for (const [name, was] of before) Object.defineProperty(globalThis, name, was ?? { value: undefined, configurable: true });
});

/** A visit whose camera is sent. */
async function live() {
  const dashboard = { clear() {}, stop() {}, add() {}, sending() {}, lately: () => ({}), view: () => ({}), answers: () => 0 };
  const visit = new Visit(/** @type {any} */ ({ canvas: new Element(), clear() {} }), /** @type {any} */ (dashboard));
  await visit.start({ kind: "camera" });
  assert.equal(document.body.dataset.state, "live");
  return visit;
}

test("of two sources chosen while a session is being ended, the last one alone is opened", async () => {
  const visit = await live();
  const { flows } = world;
  world.flows = () => false; // the session's farewell takes its time
  const first = visit.start({ kind: "camera" });
  await settle();
  world.flows = flows;
  const second = visit.start({ kind: "camera" });
  await world.time.until(() => document.body.dataset.state === "live", 2000);
  await world.time.pass(1000);
  await Promise.all([first, second]);
  assert.deepEqual(cameras.map(({ stopped }) => stopped), [true, false]);
  assert.deepEqual(world.peers.map(({ connectionState }) => connectionState), ["closed", "connected"]);
  const stopped = visit.stop();
  await world.time.pass(1000);
  await stopped;
  assert.deepEqual(cameras.map(({ stopped }) => stopped), [true, true]);
});

test("a camera that is opened while other models are asked for is the one that their session sends", async () => {
  const visit = await live();
  let allow = () => {};
  allowed = new Promise((resolve) => (allow = resolve));
  const changing = visit.changeCamera();
  visit.choose("faces", true);
  await world.time.until(() => world.peers.length === 2 && document.body.dataset.state === "live", 3000);
  allow();
  await changing;
  await world.time.pass(2000);
  assert.equal(document.body.dataset.state, "live");
  assert.deepEqual(cameras.map(({ stopped }) => stopped), [true, false]);
  assert.equal(world.peer.getSenders()[0].track, cameras[1]);
  assert.equal(world.peers.filter(({ connectionState }) => connectionState === "connected").length, 1);
  void visit.stop();
  await world.time.pass(1000);
});

test("a microphone that is no longer wanted when the browser gives it is closed", async () => {
  const visit = await live();
  let allow = () => {};
  allowed = new Promise((resolve) => (allow = resolve));
  const [first, none, second] = [visit.listen(true), visit.listen(false), visit.listen(true)];
  allow();
  await world.time.pass(3000);
  await Promise.all([first, none, second]);
  assert.deepEqual(microphones.map(({ stopped }) => stopped), [true, false]);
  const off = visit.listen(false);
  await world.time.pass(3000);
  await off;
  assert.deepEqual(microphones.map(({ stopped }) => stopped), [true, true]);
  void visit.stop();
  await world.time.pass(1000);
});
