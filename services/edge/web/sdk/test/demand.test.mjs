import assert from "node:assert/strict";
import { test } from "node:test";

import { encodingFor, follow, videoStreams } from "../build/demand.js";

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
