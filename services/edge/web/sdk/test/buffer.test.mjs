import assert from "node:assert/strict";
import { test } from "node:test";

import { MediaClock } from "../build/clock.js";
import { FrameBuffer } from "../build/frames.js";
import { Screen, Video } from "./screen.mjs";

const INTERVAL = 1000 / 30;
/** An outcome about the frame captured at a time, for a clock whose RTP timestamps are 90 a ms. */
const about = (time) => ({ ssrc: 7, rtpTimestamp: Math.round(90 * time) });

/** A clock that is `off` ms wrong. */
function clock(off = 0) {
  const made = new MediaClock(0);
  made.report({ ssrc: 7, rtpTimestamp: 0, ntpMillis: off });
  return made;
}

/** A buffer that has seen a camera's frames 0 to 29, each shown 12 ms after its capture and sent, by a sender that is noted, `lag` ms after. */
function filled({ noted, lag = 8, from = 5000, missed = () => false }) {
  const screen = new Screen();
  const video = new Video(new MediaStream("camera"));
  const frames = new FrameBuffer();
  frames.watch(video);
  for (let n = 0; n < 30; n++) {
    const captureTime = from + n * INTERVAL;
    screen.now = captureTime + 12;
    if (!missed(n)) video.show(`frame ${n}`, { now: screen.now, captureTime });
    noted?.sent({ ...about(captureTime), at: captureTime + lag });
  }
  return { screen, video, frames };
}

const shows = ({ status, frame }) => frame?.picture.shows ?? status;

test("FrameBuffer gives the very frame, or none", () => {
  const { frames } = filled({ missed: (n) => n === 20 });
  for (const [n, want] of [[10, "frame 10"], [19, "frame 19"], [20, "missing"], [21, "frame 21"], [40, "early"], [-30, "missing"]])
    assert.equal(shows(frames.locate(about(5000 + n * INTERVAL), clock())), want);
  assert.equal(frames.locate({}, clock()).status, "unsynced");
  assert.equal(frames.locate(about(5000), new MediaClock(0)).status, "unsynced");
});

test("a callback that is called late, when the video shows the next frame, copies nothing", () => {
  const { frames, video } = filled({});
  video.show("frame 31", { now: 6050, captureTime: 5000 + 30 * INTERVAL, mediaTime: 7000, shown: 7033 });
  assert.equal(frames.latest.picture.shows, "frame 29");
});

test("frames are kept for a second and used again", () => {
  const { frames, video } = filled({});
  video.show("later", { now: 9012, captureTime: 9000 });
  assert.equal(frames.locate(about(5000 + 29 * INTERVAL), clock()).status, "missing");
  assert.equal(shows(frames.locate(about(9000), clock())), "later");
});

test("another track, or clear(), and frames of before are not found", () => {
  const { screen, frames, video } = filled({});
  screen.now = 6100;
  video.srcObject = new MediaStream("another camera");
  video.show("another", { now: 6112, captureTime: 6101 });
  assert.equal(frames.locate(about(5000 + 29 * INTERVAL), clock()).status, "missing");
  assert.equal(shows(frames.locate(about(6101), clock())), "another");
  screen.now = 6200;
  frames.clear();
  video.show("captured before", { now: 6205, captureTime: 6190 });
  assert.equal(frames.locate(about(6190), clock()).status, "missing");
});

test("before the first report the frames that were sent tell the time, if they are sent fast enough to be sure", () => {
  for (const [lag, want] of [[8, "frame 15"], [20, "unsynced"]]) {
    const noted = new MediaClock(0);
    const { frames } = filled({ noted, lag });
    assert.equal(shows(frames.locate(about(5000 + 15 * INTERVAL), noted)), want, `lag ${lag}`);
  }
});

test("a clock that frames captured and sent contradict is not believed", async (t) => {
  const cases = [
    { name: "right", off: 0, want: "frame 15" },
    { name: "a few ms wrong, as after hours: it is followed", off: 8, want: "frame 15" },
    { name: "between two frames", off: -16, want: "unsynced" },
    { name: "right, with a slow encoder", off: 0, lag: 50, want: "frame 15" },
    { name: "right, with frames missed", off: 0, missed: (n) => n % 3 === 1 && n !== 15, want: "frame 15" },
  ];
  for (const { name, off, lag = 20, missed, want } of cases)
    await t.test(name, () => {
      const noted = clock(off);
      const { frames } = filled({ noted, lag, missed });
      assert.equal(shows(frames.locate(about(5000 + 15 * INTERVAL), noted)), want);
    });
});

test("frames that are sent while the page is shown none prove nothing", () => {
  const noted = clock();
  const { screen, frames } = filled({ noted });
  const known = about(5000 + 15 * INTERVAL);
  assert.equal(shows(frames.locate(known, noted)), "frame 15");
  for (let n = 30; n < 75; n++) {
    screen.now = 5000 + n * INTERVAL + 8;
    noted.sent({ ...about(5000 + n * INTERVAL), at: screen.now });
    assert.equal(shows(frames.locate(known, noted)), "frame 15", `${n - 29} frames later`);
  }
});

test("a clock ahead by a frame is no reason for a wrong one: the sent frames tell the right one, or nothing does", () => {
  for (const [lag, want] of [[8, "frame 15"], [20, "unsynced"]]) {
    const noted = clock(INTERVAL);
    const { frames } = filled({ noted, lag });
    assert.equal(shows(frames.locate(about(5000 + 15 * INTERVAL), noted)), want, `lag ${lag}`);
  }
});

test("in Firefox the first tick after the capture shows the frame, unless the next had come by then", () => {
  const screen = new Screen({ gecko: true });
  const video = new Video(new MediaStream("camera"));
  const frames = new FrameBuffer();
  frames.watch(video);
  const noted = clock();
  for (let n = 0; n < 20; n++) {
    screen.now = 5000 + n * INTERVAL + 10;
    noted.sent({ ...about(5000 + n * INTERVAL), at: screen.now });
    video.show(`frame ${n}`, { now: screen.now });
  }
  assert.equal(shows(frames.locate(about(5000 + 10 * INTERVAL), noted)), "frame 10");
  noted.sent({ ...about(5000 + 10 * INTERVAL + 5), at: 5400 }); // another came right after it, and that is what the tick showed
  assert.equal(frames.locate(about(5000 + 10 * INTERVAL), noted).status, "missing");
  screen.now += 20;
  video.show("too late to tell", { now: screen.now - 15 });
  assert.equal(frames.latest.picture.shows, "frame 19");
});
