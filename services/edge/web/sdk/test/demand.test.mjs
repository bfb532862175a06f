import assert from "node:assert/strict";
import { test } from "node:test";

import { DemandFollower, videoStreams } from "../build/demand.js";

/** A sender of a video, as far as the follower knows one. It hands out copies, as browsers do. */
class Sender {
  calls = 0;
  constructor(encodings, { sources = [], width = 640, height = 360, frameRate = 30, kind = "video" } = {}) {
    this.encodings = encodings;
    this.sources = sources;
    this.track = { kind, getSettings: () => ({ width, height, frameRate }) };
  }
  getParameters() {
    return { encodings: this.encodings.map((encoding) => ({ ...encoding })) };
  }
  async setParameters({ encodings }) {
    this.calls++;
    await Promise.resolve();
    if (this.stopped) throw new DOMException("stopped", "InvalidStateError");
    this.encodings = encodings.map((encoding) => ({ ...encoding }));
  }
  async getStats() {
    return new Map(this.sources.map((ssrc) => [ssrc, { type: "outbound-rtp", ssrc }]));
  }
}

/** A connection with senders by the names of their tracks. */
function peerOf(senders) {
  const transceivers = Object.values(senders).map((sender, i) => ({ mid: String(i), sender }));
  const sections = Object.entries(senders).map(([id, { track }], i) => `m=${track.kind} 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:${i}\r\na=msid:s ${id}\r\n`);
  return { getTransceivers: () => transceivers, localDescription: { sdp: `v=0\r\n${sections.join("")}` } };
}

const plain = () => [{ active: true, scaleResolutionDownBy: 1 }];
const DEMAND = { stream: "video", maxFramerate: 10, maxWidth: 320, maxHeight: 180 };
const MET = [{ active: true, maxFramerate: 10, maxBitrate: 200_000, scaleResolutionDownBy: 2 }];
const ID = "5b3e0a0e-1c55-4d52-8a4b-1a6fd1b9d9d7"; // a browser's own name for a track

test("DemandFollower meets a demand and gives back what was before", async () => {
  const own = [{ active: true, maxBitrate: 900_000, scaleResolutionDownBy: 1 }];
  const sender = new Sender(own);
  const follower = new DemandFollower(peerOf({ [ID]: sender, mic: new Sender(plain(), { kind: "audio" }) }));
  await follower.obey(DEMAND);
  assert.deepEqual(sender.encodings, MET);
  await follower.obey({ stream: "video", maxFramerate: 20 });
  assert.deepEqual(sender.encodings, [{ active: true, maxFramerate: 20, maxBitrate: 600_000, scaleResolutionDownBy: 1 }]);
  await follower.obey({ stream: "video" });
  assert.deepEqual(sender.encodings, own);
  await follower.obey({ stream: "video" });
  assert.equal(sender.calls, 3, "nothing was set when there was nothing to give back");
});

test("DemandFollower sets the newest demand only", async () => {
  const sender = new Sender(plain());
  const follower = new DemandFollower(peerOf({ [ID]: sender }));
  void follower.obey({ stream: "video", maxFramerate: 3 });
  void follower.obey({ stream: "video", maxFramerate: 4 });
  await follower.obey(DEMAND);
  assert.deepEqual(sender.encodings, MET);
  void follower.obey({ stream: "video", maxFramerate: 3 });
  await follower.obey({ stream: "video" });
  assert.deepEqual(sender.encodings, plain());
});

test("DemandFollower keeps what the page has changed meanwhile", async () => {
  const sender = new Sender(plain());
  const follower = new DemandFollower(peerOf({ [ID]: sender }));
  await follower.obey(DEMAND);
  sender.encodings[0].maxFramerate = 5;
  await follower.obey({ ...DEMAND, maxFramerate: 8 });
  assert.equal(sender.encodings[0].maxFramerate, 5);
  await follower.obey({ stream: "video" });
  assert.deepEqual(sender.encodings, [{ active: true, maxFramerate: 5, scaleResolutionDownBy: 1 }]);
});

test("DemandFollower knows which of several videos a demand is about", async (t) => {
  const scene = (left, right) => {
    const senders = { left: new Sender(plain(), { sources: [1, 2] }), right: new Sender(plain(), { sources: [3] }) };
    return { ...senders, follower: new DemandFollower(peerOf({ [left]: senders.left, [right]: senders.right })) };
  };
  await t.test("by its name", async () => {
    const { left, right, follower } = scene("door", "yard");
    await follower.obey({ ...DEMAND, stream: "yard" });
    assert.deepEqual([left.encodings, right.encodings], [plain(), MET]);
  });
  await t.test("by its source, although the name says nothing", async () => {
    const { left, right, follower } = scene(ID, ID.toUpperCase());
    follower.learn({ stream: "video", ssrc: 3 });
    await follower.obey(DEMAND);
    assert.deepEqual([left.encodings, right.encodings], [plain(), MET]);
  });
  await t.test("as soon as an outcome tells it", async () => {
    const { left, right, follower } = scene(ID, ID.toUpperCase());
    await follower.obey(DEMAND);
    assert.deepEqual([left.encodings, right.encodings], [plain(), plain()], "nothing is assumed");
    follower.learn({ stream: "video", ssrc: 2 });
    follower.learn({ stream: "video2", ssrc: 3 });
    await follower.obey({ stream: "video2", maxFramerate: 15 });
    assert.deepEqual(left.encodings, MET);
    assert.equal(right.encodings[0].maxFramerate, 15);
  });
  await t.test("and obeys none about what is no video", async () => {
    const { left, right, follower } = scene("door", "yard");
    for (const stream of ["pictures", undefined]) await follower.obey({ ...DEMAND, stream });
    assert.deepEqual([left.encodings, right.encodings], [plain(), plain()]);
  });
});

test("DemandFollower meets a demand anew for another track", async () => {
  const sender = new Sender(plain());
  const follower = new DemandFollower(peerOf({ [ID]: sender }));
  await follower.obey(DEMAND);
  sender.track = { kind: "video", getSettings: () => ({ width: 1280, height: 720, frameRate: 30 }) };
  follower.refresh();
  await follower.obey({ ...DEMAND, stream: "another" }); // it comes after
  assert.equal(sender.encodings[0].scaleResolutionDownBy, 4);
  await follower.obey({ stream: "video" });
  assert.deepEqual(sender.encodings, plain());
});

test("DemandFollower bears with a sender that stops", async () => {
  const sender = new Sender(plain());
  const follower = new DemandFollower(peerOf({ [ID]: sender }));
  sender.stopped = true;
  await follower.obey(DEMAND);
  assert.deepEqual(sender.encodings, plain());
  sender.stopped = false;
  await follower.obey(DEMAND);
  assert.deepEqual(sender.encodings, MET);
  sender.encodings = [];
  await follower.obey({ stream: "video" });
  assert.deepEqual(sender.encodings, []);
});

test("videoStreams knows the names of a video, not of sound or channels", () => {
  const offer = "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=msid:s microphone\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=msid:- front door\r\n" +
    "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\na=mid:2\r\n";
  assert.deepEqual(videoStreams(offer), ["video", "front door"]);
  assert.deepEqual(videoStreams(""), ["video"]);
  const two = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=msid:- door\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:1\r\na=msid:- yard\r\n";
  assert.deepEqual(videoStreams(two), ["video", "door", "yard"]);
  assert.deepEqual(videoStreams(two, "1"), ["video", "yard"]);
});
