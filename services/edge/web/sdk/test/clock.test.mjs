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
