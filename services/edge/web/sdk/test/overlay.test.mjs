import assert from "node:assert/strict";
import { test } from "node:test";

import { MediaClock } from "../build/clock.js";
import { Overlay } from "../build/overlay.js";
import { Canvas, Screen, Video } from "./screen.mjs";

const INTERVAL = 1000 / 30;
const LATENCY = 60; // ms from a frame's capture to the answer about it

class FakeSession extends EventTarget {
  clock = new MediaClock(0);
  tracks = [{ id: "camera", kind: "video" }];
  peer = { getSenders: () => this.tracks.map((track) => ({ track })) };
  answer(time, more) {
    const result = { detections: [{ label: `face at ${Math.round(time)}`, box: { x: 0.25, y: 0.5, width: 0.5, height: 0.25 } }] };
    this.dispatchEvent(new CustomEvent("outcome", { detail: { ssrc: 7, rtpTimestamp: Math.round(90 * time), sequence: 1, model: "faces", result, timings: { total: 0.03 }, ...more } }));
  }
}

/** An overlay over a camera whose frames are shown 12 ms after their capture. */
class Scene {
  screen = new Screen();
  video = new Video(new MediaStream("camera"));
  canvas = new Canvas();
  session = new FakeSession();
  /** @type {any[]} */ drawn = [];
  states = [];
  frame = 0;

  constructor(options) {
    this.overlay = new Overlay(this.canvas, this.video, options);
    this.overlay.addEventListener("draw", ({ detail }) => this.drawn.push({ ...detail, canvas: [...this.canvas.log] }));
    this.overlay.addEventListener("sync", ({ detail }) => this.states.push(detail));
    this.overlay.attach(this.session);
    this.report();
  }

  report() {
    this.session.clock.report({ ssrc: 7, rtpTimestamp: 0, ntpMillis: 0 });
  }

  /** Plays frames, with an answer for each for which there is one, and animation frames at twice their rate. */
  play(count, { answered = () => true, more = {} } = {}) {
    for (const end = this.frame + count; this.frame < end; this.frame++) {
      const time = 5000 + this.frame * INTERVAL;
      this.screen.now = time + 12;
      this.video.show(`frame ${Math.round(time)}`, { now: this.screen.now, captureTime: time });
      const earlier = time + 13 - LATENCY;
      const about = 5000 + Math.round((earlier - 5000) / INTERVAL) * INTERVAL;
      this.screen.now = time + 13;
      if (about >= 5000 && answered(this.frame)) this.session.answer(about, more);
      this.canvas.clear();
      this.screen.draw(time + 14);
      this.canvas.clear();
      this.screen.draw(time + 30);
    }
  }
}

const exactOnes = (drawn) => drawn.filter(({ exact }) => exact);

test("each result is drawn on the very frame that it is about", () => {
  const scene = new Scene();
  scene.play(60);
  const exact = exactOnes(scene.drawn);
  assert.ok(exact.length > 50, `${exact.length} drawn`);
  for (const { canvas, outcomes } of exact) {
    const [picture, box, label] = canvas;
    const time = outcomes[0].rtpTimestamp / 90;
    assert.equal(picture, `frame ${Math.round(time)}`);
    assert.deepEqual(box, [160, 180, 320, 90]);
    assert.equal(label, `face at ${Math.round(time)}`);
  }
  assert.deepEqual(scene.states, ["synced"]);
  assert.equal(scene.overlay.sync, "synced");
});

test("results of before the first report are drawn once it is in", () => {
  const scene = new Scene();
  scene.session.clock = new MediaClock(0);
  scene.play(12);
  assert.equal(exactOnes(scene.drawn).length, 0);
  assert.equal(scene.overlay.sync, "waiting");
  scene.report();
  scene.play(2);
  assert.ok(exactOnes(scene.drawn).length > 0);
});

test("without a report for long it says that it is not synced, shows the live picture and draws nothing on it", () => {
  const scene = new Scene();
  scene.session.clock = new MediaClock(0);
  scene.play(60);
  assert.deepEqual(scene.states, ["unsynced"]);
  assert.ok(scene.drawn.length > 10);
  for (const { outcomes, canvas } of scene.drawn) assert.deepEqual([outcomes.length, canvas.length], [0, 1]);
});

test("when the answers stop, the live picture takes the place of the last frame after a while", () => {
  const scene = new Scene();
  scene.play(30);
  const before = scene.drawn.length;
  scene.play(10, { answered: () => false });
  assert.ok(scene.drawn.length - before <= 2, "it is held");
  scene.play(20, { answered: () => false });
  assert.deepEqual([scene.drawn.at(-1).outcomes.length, scene.drawn.at(-1).exact], [0, false]);
});

test("the boxes of a slow model do not blink: its frame stays until the next one", () => {
  const scene = new Scene();
  scene.play(150, { answered: (n) => n % 30 === 0 });
  const first = scene.drawn.findIndex(({ exact }) => exact);
  assert.equal(scene.drawn.length - first, 4);
  assert.ok(scene.drawn.slice(first).every(({ exact }) => exact), "the live picture came between");
});

test("another track sent: answers about the one before it are not drawn", () => {
  const scene = new Scene();
  scene.play(30);
  scene.session.tracks = [{ id: "screen", kind: "video" }];
  const changed = scene.screen.now;
  scene.play(10);
  const after = exactOnes(scene.drawn).filter(({ frame }) => frame.time > changed);
  const old = exactOnes(scene.drawn.slice(-after.length - 1));
  assert.ok(after.length > 3);
  assert.ok(old.slice(1).every(({ frame }) => frame.time > changed));
});

test("sound, other streams and what is no result are not drawn", () => {
  const scene = new Scene({ stream: "camera" });
  scene.session.clock.setRate(8, 48_000);
  for (const more of [{ stream: "screen" }, { stream: "camera", ssrc: 8 }, { stream: "camera", ssrc: undefined }, { stream: "camera", result: undefined }]) scene.play(15, { more });
  assert.equal(exactOnes(scene.drawn).length, 0);
  scene.play(15, { more: { stream: "camera" } });
  assert.ok(exactOnes(scene.drawn).length > 5);
});

test("over the live picture results carry their age, and vanish when they are old", () => {
  const scene = new Scene({ mode: "live", maxAge: 500 });
  scene.play(30);
  const stale = scene.drawn.at(-1);
  assert.deepEqual([stale.exact, stale.frame], [false, undefined]);
  assert.match(stale.canvas.at(-1), /^face at \d+ \d+ ms ago$/);
  scene.play(30, { answered: () => false });
  assert.deepEqual(scene.canvas.log, []);
  const count = scene.drawn.length;
  scene.play(5, { answered: () => false });
  assert.equal(scene.drawn.length, count);
});

test("over the live picture a result about the frame that is still shown has no mark", () => {
  const scene = new Scene({ mode: "live" });
  scene.play(10, { answered: () => false });
  scene.session.answer(5000 + 9 * INTERVAL);
  scene.canvas.clear();
  scene.screen.draw(scene.screen.now + 1);
  assert.equal(scene.drawn.at(-1).exact, true);
  assert.equal(scene.canvas.shows, `face at ${Math.round(5000 + 9 * INTERVAL)}`);
});

test("a session let go of, and an overlay that was stopped, draw nothing more", () => {
  const scene = new Scene();
  scene.play(30);
  scene.overlay.detach();
  assert.equal(scene.overlay.sync, "waiting");
  const exact = exactOnes(scene.drawn).length;
  scene.play(40);
  assert.equal(exactOnes(scene.drawn).length, exact);
  scene.overlay.stop();
  const all = scene.drawn.length;
  scene.play(40);
  assert.equal(scene.drawn.length, all);
});
