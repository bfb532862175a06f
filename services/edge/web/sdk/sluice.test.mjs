import assert from "node:assert/strict";
import { test } from "node:test";
import { MediaClock, SluiceError, candidateAddresses, connect, encodingFor, findFrame, follow, parseLinks, parseMessage, soundRates, videoStreams } from "./sluice.js";

const ORIGIN = 1_795_354_878_000; // ms since 1970 at which the page's clock showed 0
const report = (rtpTimestamp, atMs, ssrc = 7) => ({ ssrc, rtpTimestamp: rtpTimestamp >>> 0, ntpMillis: ORIGIN + atMs });

/** Frames of one kind at the given times. */
const frames = (kind, ...times) => times.map((time) => ({ kind, time, picture: `picture at ${time}`, width: 640, height: 360 }));

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
    { name: "displayed: nothing before it to compare with", among: firefox, time: 5, want: "missing" },
    { name: "displayed: not there yet", among: firefox, time: 150, want: "early" },
  ];
  for (const { name, among, time, drift, want } of cases)
    await t.test(name, () => {
      const found = findFrame(among, time, drift);
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
    const found = findFrame(seen, clock.time(7, rtp));
    if ((i + 1) % 7 === 3) assert.equal(found.status, "missing");
    else assert.equal(found.frame?.time, time);
  });
});

test("parseMessage reads what the edge sends", async (t) => {
  const cases = [
    ['{"outcome":{"sequence":1,"model":"faces"}}', { kind: "outcome", value: { sequence: 1, model: "faces" } }],
    ['{"senderReport":{"ssrc":1,"rtpTimestamp":2,"ntpMillis":3.5}}', { kind: "senderReport", value: { ssrc: 1, rtpTimestamp: 2, ntpMillis: 3.5 } }],
    ['{"skipped":12}', { kind: "skipped", value: 12 }],
    ['{"skipped":0}', { kind: "skipped", value: 0 }],
    ['{"drain":{}}', { kind: "drain", value: {} }],
    ['{"tomorrow":{}}', undefined],
    ["null", undefined],
    ['"outcome"', undefined],
    ["[]", undefined],
    ["{", undefined],
    ["", undefined],
    [new ArrayBuffer(3), undefined],
  ];
  for (const [text, want] of cases) await t.test(String(text), () => assert.deepEqual(parseMessage(text), want));
});

test("parseLinks reads the header of a WHIP answer", () => {
  const header = '<stun:stun.example:3478>; rel="ice-server", ' +
    '<turn:turn.example:3478?transport=udp>; rel="ice-server"; username="a, b"; credential="q\\"u;o"; credential-type="password",' +
    "</sessions/9f2c/results>;rel=urn:ietf:params:whip:ext:sluice:results";
  assert.deepEqual(parseLinks(header), [
    { target: "stun:stun.example:3478", rel: "ice-server" },
    { target: "turn:turn.example:3478?transport=udp", rel: "ice-server", username: "a, b", credential: 'q"u;o', "credential-type": "password" },
    { target: "/sessions/9f2c/results", rel: "urn:ietf:params:whip:ext:sluice:results" },
  ]);
  assert.deepEqual(parseLinks(null), []);
  assert.deepEqual(parseLinks("<broken"), []);
});

test("candidateAddresses names what was tried", () => {
  const sdp = ["v=0", "a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host", "a=candidate:1 2 udp 2130706431 192.0.2.1 8189 typ host",
    "a=candidate:2 1 TCP 1671430143 2001:db8::1 8189 typ host tcptype passive", "a=end-of-candidates", ""].join("\r\n");
  assert.deepEqual(candidateAddresses(sdp), ["udp 192.0.2.1:8189", "tcp [2001:db8::1]:8189"]);
  assert.deepEqual(candidateAddresses(""), []);
});

test("encodingFor never goes below what is looked at", async (t) => {
  const cases = [
    { name: "a box inside", demand: { maxFramerate: 15, maxWidth: 320, maxHeight: 240 }, size: [1280, 720], want: { active: true, maxFramerate: 15, scaleResolutionDownBy: 3 } },
    { name: "smaller than asked", demand: { maxWidth: 640, maxHeight: 360 }, size: [320, 180], want: { active: true, scaleResolutionDownBy: 1 } },
    { name: "nothing looked at", demand: { maxFramerate: 0 }, size: [640, 360], want: { active: false, scaleResolutionDownBy: 1 } },
    { name: "size unknown", demand: { maxFramerate: 5, maxWidth: 320, maxHeight: 240 }, size: [], want: { active: true, maxFramerate: 5, scaleResolutionDownBy: 1 } },
  ];
  for (const { name, demand, size, want } of cases) await t.test(name, () => assert.deepEqual(encodingFor(demand, ...size), want));
});

test("follow keeps to a demand and to the page's own settings, and gives these back", async (t) => {
  const cases = [
    { name: "below the page's", own: {}, wanted: { active: true, maxFramerate: 5, scaleResolutionDownBy: 2 }, want: { active: true, maxFramerate: 5, scaleResolutionDownBy: 2 } },
    { name: "above the page's", own: { maxFramerate: 10, scaleResolutionDownBy: 4 }, wanted: { active: true, maxFramerate: 20, scaleResolutionDownBy: 2 }, want: { active: true, maxFramerate: 10, scaleResolutionDownBy: 4 } },
    { name: "over", own: {}, wanted: { active: true, scaleResolutionDownBy: 1 }, want: { active: true, scaleResolutionDownBy: 1 } },
    { name: "over, with the page's own", own: { maxFramerate: 24 }, wanted: { active: true, scaleResolutionDownBy: 1 }, want: { active: true, maxFramerate: 24, scaleResolutionDownBy: 1 } },
    { name: "off", own: { active: false }, wanted: { active: true, scaleResolutionDownBy: 1 }, want: { active: false, scaleResolutionDownBy: 1 } },
  ];
  for (const { name, own, wanted, want } of cases)
    await t.test(name, () => {
      const encoding = { active: true, maxFramerate: 3, scaleResolutionDownBy: 9 };
      follow(encoding, own, wanted);
      assert.deepEqual(encoding, want);
    });
});

test("videoStreams knows the names of a video, not of sound or channels", () => {
  const offer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=msid:s microphone\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=msid:- front door\r\n" +
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";
  assert.deepEqual(videoStreams(offer), ["video", "front door"]);
  assert.deepEqual(videoStreams(""), ["video"]);
});

test("connect says so where there is no WebRTC", async () => {
  await assert.rejects(connect({ url: "http://edge.example/" }), (error) => error instanceof SluiceError && error.code === "NO_WEBRTC");
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
