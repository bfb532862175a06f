import assert from "node:assert/strict";
import { test } from "node:test";

import { MediaClock, soundRates } from "../build/clock.js";

const ORIGIN = 1_795_354_878_000; // ms since 1970 at which the page's clock showed 0
const report = (rtpTimestamp, atMs, ssrc = 7) => ({ ssrc, rtpTimestamp: rtpTimestamp >>> 0, ntpMillis: ORIGIN + atMs });

test("MediaClock maps RTP timestamps to the page's clock", async (t) => {
  const cases = [
    { name: "at the report itself", reports: [report(90_000, 1000)], rtp: 90_000, want: 1000 },
    { name: "after it", reports: [report(90_000, 1000)], rtp: 90_000 + 3000, want: 1000 + 3000 / 90 },
    { name: "before it", reports: [report(90_000, 1000)], rtp: 90_000 - 45_000, want: 500 },
    { name: "across the wrap", reports: [report(0xffffffff, 1000)], rtp: 89, want: 1001 },
    { name: "back across the wrap", reports: [report(89, 1000)], rtp: 0xffffffff, want: 999 },
    { name: "one bad report of three is ignored", reports: [report(0, 1000), report(9000, 9999), report(18_000, 1200)], rtp: 27_000, want: 1300 },
    { name: "only the last five count", reports: [5, 5, 5, 0, 0, 0, 0, 0].map((off, i) => report(9000 * i, 100 * i + off)), rtp: 90_000, want: 1000 },
    { name: "another SSRC", reports: [report(90_000, 1000, 8)], rtp: 90_000, want: undefined },
    { name: "no report", reports: [], rtp: 90_000, want: undefined },
  ];
  for (const { name, reports, rtp, want } of cases)
    await t.test(name, () => {
      const clock = new MediaClock(ORIGIN);
      for (const one of reports) clock.report(one);
      const got = clock.time(7, rtp >>> 0);
      if (want === undefined) assert.equal(got, undefined);
      else assert.ok(Math.abs(got - want) < 1e-3, `${got}, not ${want}`);
    });
});

test("soundRates pairs the offer's sources of sound with the codec that the answer takes", () => {
  const offer = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\na=ssrc:1 cname:x\r\n" +
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=ssrc:4294967295 cname:x\r\na=ssrc:4294967295 msid:x y\r\n";
  const answer = (type) => `v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 VP8/90000\r\nm=audio 9 UDP/TLS/RTP/SAVPF ${type}\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\n`;
  assert.deepEqual([...soundRates(offer, answer("111"))], [[4294967295, 48000]]);
  assert.deepEqual([...soundRates(offer, answer("0"))], [[4294967295, 8000]]);
  assert.deepEqual([...soundRates(offer, "v=0\r\n")], []);
  assert.deepEqual([...soundRates("", answer("111"))], []);
});

test("MediaClock counts sound in its own rate", () => {
  const clock = new MediaClock(1000);
  clock.setRate(7, 48_000);
  for (const ssrc of [7, 8]) clock.report({ ssrc, rtpTimestamp: 0, ntpMillis: 2000 });
  assert.equal(clock.time(7, 48_000), 2000);
  assert.equal(clock.time(8, 90_000), 2000);
});

test("MediaClock goes on when the wall clock is set, for an RTP clock never jumps", async (t) => {
  const right = (n) => report(9000 * n, 100 * n);
  const set = (n, by) => report(9000 * n, 100 * n + by);
  const cases = [
    { name: "ahead", reports: [0, 1, 2, 3, 4].map(right).concat([5, 6, 7, 8, 9, 10, 11].map((n) => set(n, 5000))) },
    { name: "back, by little", reports: [0, 1, 2, 3, 4].map(right).concat([5, 6, 7, 8, 9, 10, 11].map((n) => set(n, -20))) },
    { name: "twice", reports: [0, 1, 2, 3, 4].map(right).concat([5, 6, 7, 8].map((n) => set(n, 400)), [9, 10, 11, 12].map((n) => set(n, -900))) },
    { name: "three bad reports that do not agree", reports: [0, 1, 2, 3, 4].map(right).concat(set(5, 300), set(6, 600), set(7, 900)) },
    { name: "the first report was bad", reports: [set(0, 700), 1, 2, 3, 4, 5].map((n) => (typeof n === "number" ? right(n) : n)) },
  ];
  for (const { name, reports } of cases)
    await t.test(name, () => {
      const clock = new MediaClock(ORIGIN);
      for (const one of reports) clock.report(one);
      assert.ok(Math.abs(clock.time(7, 180_000) - 2000) < 1e-3, `${clock.time(7, 180_000)}`);
    });
});

test("MediaClock does not believe what would have frames leave before their capture, or long after", async (t) => {
  const cases = [
    { name: "at once", lag: 0, believed: true },
    { name: "a slow encoder", lag: 300, believed: true },
    { name: "a little early, for clocks are coarse", lag: -4, believed: true },
    { name: "before", lag: -20, believed: false },
    { name: "long after", lag: 1500, believed: false },
  ];
  for (const { name, lag, believed } of cases)
    for (const order of ["sent first", "reported first"])
      await t.test(`${name}, ${order}`, () => {
        const clock = new MediaClock(ORIGIN);
        const notes = [() => clock.sent({ ssrc: 7, rtpTimestamp: 90_000, at: 1000 + lag }), () => clock.report(report(90_000, 1000))];
        for (const note of order === "sent first" ? notes : notes.reverse()) note();
        assert.equal(clock.lag(7), lag);
        assert.equal(clock.time(7, 90_000), believed ? 1000 : undefined);
      });
});

test("MediaClock forgets how long frames took after a while", () => {
  const clock = new MediaClock(ORIGIN);
  clock.report(report(0, 0));
  clock.sent({ ssrc: 7, rtpTimestamp: 0, at: 5 });
  for (let n = 1; n <= 90; n++) clock.sent({ ssrc: 7, rtpTimestamp: 9000 * n, at: 100 * n + 30 });
  assert.equal(clock.lag(7), 30);
  assert.ok(clock.sentFrames(7).length <= 64);
});

test("MediaClock knows when the frames sent around one were captured", () => {
  const clock = new MediaClock(ORIGIN);
  const rtp = (ms) => (0xffffff00 + 90 * ms) % 2 ** 32; // which wraps on the way
  clock.report(report(rtp(0), 1000));
  for (const ms of [0, 30, 60, 100]) clock.sent({ ssrc: 7, rtpTimestamp: rtp(ms), at: 1100 });
  assert.deepEqual(clock.neighbours(7, rtp(60), 3), { before: [1000, 1030], next: 1100 });
  assert.deepEqual(clock.neighbours(7, rtp(100), 2), { before: [1030, 1060], next: undefined });
  assert.deepEqual(clock.neighbours(7, rtp(0), 2), { before: [], next: 1030 });
  assert.deepEqual(clock.neighbours(8, 0, 2), { before: [], next: undefined });
});

test("MediaClock remembers a bounded number of sources", () => {
  const clock = new MediaClock(ORIGIN);
  for (let ssrc = 0; ssrc < 100; ssrc++) clock.report(report(0, 0, ssrc));
  assert.equal(clock.isReported(0), false);
  assert.equal(clock.isReported(99), true);
});
