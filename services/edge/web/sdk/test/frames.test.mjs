import assert from "node:assert/strict";
import { test } from "node:test";

import { MediaClock } from "../build/clock.js";
import { findFrame } from "../build/frames.js";

const ORIGIN = 1_795_354_878_000; // ms since 1970 at which the page's clock showed 0
const report = (rtpTimestamp, atMs, ssrc = 7) => ({ ssrc, rtpTimestamp: rtpTimestamp >>> 0, ntpMillis: ORIGIN + atMs });

/** Frames of one kind at the given times. */
const frames = (kind, ...times) => times.map((time) => ({ kind, time, picture: `picture at ${time}`, width: 640, height: 360 }));

test("findFrame gives the frame captured at a time, never a neighbour", async (t) => {
  const camera = frames("captured", 0, 33.3, 66.7, 100);
  const canvas = frames("pushed", 0, 66, 133, 200);
  const firefox = frames("displayed", 10, 43, 77, 110, 143);
  const cases = [
    { name: "the very one", among: camera, time: 66.3, want: 66.7 },
    { name: "at the edge of the tolerance", among: camera, time: 63.7, want: 66.7 },
    { name: "a missed frame is missing", among: camera, time: 50, want: "missing" },
    { name: "half an interval is not near", among: camera, time: 83, want: "missing" },
    { name: "one that has not come yet", among: camera, time: 133, want: "early" },
    { name: "drift is followed", among: camera, time: 62, drift: 4, want: 66.7 },
    { name: "two near ones: the nearer", among: frames("captured", 0, 2, 40), time: 1.6, want: 2 },
    { name: "no clock", among: camera, time: undefined, want: "unsynced" },
    { name: "no frames", among: [], time: 5, want: "missing" },
    { name: "frames of no known law", among: frames("unknown", 0, 33), time: 0, want: "unsynced" },
    { name: "frames of an earlier source are not mixed in", among: [...frames("pushed", 66), ...camera], time: 66, want: 66.7 },
    { name: "drawn: stamped late", among: canvas, time: 83, want: 66 },
    { name: "drawn: stamped early", among: canvas, time: 48, want: 66 },
    { name: "drawn: between two", among: canvas, time: 100, want: "missing" },
    { name: "drawn: not there yet", among: canvas, time: 266, want: "early" },
    { name: "drawn: too close to another to tell", among: frames("pushed", 0, 66, 96), time: 66, want: "missing" },
    { name: "displayed: the first tick after", among: firefox, time: 36, want: 43 },
    { name: "displayed: on the tick", among: firefox, time: 44, want: 43 },
    { name: "displayed: too long after", among: firefox, time: 12.5, want: "missing" },
    { name: "displayed: a tick was missed", among: frames("displayed", 10, 43, 110, 143), time: 100, want: "missing" },
    { name: "displayed: the next frame had come by then", among: firefox, time: 36, next: 44, want: "missing" },
    { name: "displayed: after a longer interval of the source's", among: frames("displayed", 10, 43, 110, 143), time: 100, before: [0, 35], want: 110 },
    { name: "displayed: the frame before it had no tick, so this may be that", among: firefox, time: 70, before: [2, 46], want: "missing" },
    { name: "displayed: the one before that had none, and ticks may show frames late", among: firefox, time: 100, before: [35, 40, 70], want: "missing" },
    { name: "displayed: nothing before it to compare with", among: firefox, time: 5, want: "missing" },
    { name: "displayed: not there yet", among: firefox, time: 150, want: "early" },
  ];
  for (const { name, among, time, next, before, drift, want } of cases)
    await t.test(name, () => {
      const found = findFrame(among, { time, next, before, drift });
      assert.equal(found.status === "found" ? found.frame.time : found.status, want);
    });
});

test("every frame of a jittery camera is found, and those it missed are not taken for others", () => {
  const clock = new MediaClock(ORIGIN);
  clock.report(report(0, 0));
  const truth = Array.from({ length: 300 }, (_, n) => (n * 1000) / 30 + 3 * Math.sin(n));
  const seen = frames("captured", ...truth.filter((_, n) => n % 7 !== 3));
  truth.slice(1, -1).forEach((time, i) => {
    const rtp = 90 * Math.trunc(time); // browsers stamp whole milliseconds
    const found = findFrame(seen, { time: clock.time(7, rtp) });
    if ((i + 1) % 7 === 3) assert.equal(found.status, "missing");
    else assert.equal(found.frame?.time, time);
  });
});
