import assert from "node:assert/strict";
import { afterEach, beforeEach, test } from "node:test";

import { SluiceError, connect } from "../build/index.js";
import { FakeTrack, World, settle } from "./browser.mjs";

const EDGE = "https://edge.example/";

/** @type {World} */ let world;
beforeEach(() => (world = new World()));
afterEach(() => world.time.stop());

/** Connects, and notes what the session tells. */
async function start(options = {}) {
  const session = await connect(EDGE, options);
  const told = [];
  for (const type of ["state", "reconnect", "close", "outcome", "drain", "summary", "sourceended"])
    session.addEventListener(type, ({ detail }) => told.push({ type, detail, at: world.time.now }));
  return { session, told, of: (type) => told.filter((one) => one.type === type).map(({ detail }) => detail) };
}

test("connect offers the tracks by WHIP and resolves when messages can flow", async () => {
  const track = new FakeTrack("video");
  const { session } = await start({ track, models: ["faces", "front door"], token: "t" });
  const [post] = world.posts();
  assert.equal(post.url, "https://edge.example/whip?model=faces&model=front+door");
  assert.equal(post.headers.Authorization, "Bearer t");
  assert.equal(world.peer.getSenders()[0].track, track);
  assert.deepEqual(session.stream.getTracks(), [track]);
  assert.deepEqual([session.state, session.id, session.resultsUrl], ["connected", "s1", "https://edge.example/sessions/s1/results"]);
  assert.equal(session.peer, world.peer);
});

for (const { name, arrange, code, says = /./ } of [
  { name: "no WebRTC", arrange: () => delete globalThis.RTCPeerConnection, code: "NO_WEBRTC" },
  { name: "no edge", arrange: () => world.kill(), code: "EDGE_UNREACHABLE" },
  { name: "a problem", arrange: () => (world.refusal = { status: 422, code: "UNKNOWN_MODEL", detail: "there is no model cats" }), code: "UNKNOWN_MODEL", says: /cats/ },
  { name: "no problem details", arrange: () => (world.refusal = { status: 502 }), code: "HTTP_502" },
  { name: "no WHIP", arrange: () => (world.refusal = { status: 200 }), code: "BAD_ANSWER" },
  { name: "a newer edge", arrange: () => (world.headers = { "Sluice-Protocol": "2" }), code: "VERSION_MISMATCH", says: /update the SDK/ },
  { name: "an older edge", arrange: () => (world.headers = { "Sluice-Protocol": "0" }), code: "VERSION_MISMATCH", says: /update the edge/ },
])
  test(`connect says what is in the way: ${name}`, async () => {
    arrange();
    await assert.rejects(connect(EDGE), (error) => error instanceof SluiceError && error.code === code && says.test(error.message));
    await world.time.pass(50);
    assert.ok(world.peers.every((peer) => peer.connectionState === "closed"), "a connection is left");
    assert.equal(world.sessions.size, 0, "a session is left at the edge");
  });

test("an edge that agrees about the version is as good as one that says none", async () => {
  world.headers = { "Sluice-Protocol": "1" };
  assert.equal((await start()).session.state, "connected");
});

test("connect gives up when it is told to, and when nothing gets through", async () => {
  const controller = new AbortController();
  const reason = new Error("enough");
  controller.abort(reason);
  await assert.rejects(connect(EDGE, { signal: controller.signal }), (error) => error === reason);
  world.flows = () => false;
  const late = connect(EDGE, { timeout: 3000 });
  const failed = assert.rejects(late, (error) => error.code === "ICE_FAILED" && error.addresses[0] === "udp 192.0.2.1:8189");
  await world.time.pass(3100);
  await failed;
});

test("connect takes the servers that the edge lends, and offers anew with them", async () => {
  world.headers = { Link: '<turn:turn.example>; rel="ice-server"; username="u"; credential="c"' };
  await start();
  assert.equal(world.posts().length, 2);
  assert.deepEqual(world.peer.configuration.iceServers, [{ urls: "turn:turn.example", username: "u", credential: "c" }]);
  assert.equal(world.peers[0].connectionState, "closed");
  await settle();
  assert.equal(world.sessions.size, 1);
});

test("outcomes come as events and by the iterator, the newest 256 of them", async () => {
  const { session, of } = await start();
  for (let n = 1; n <= 300; n++) world.outcome(n);
  assert.equal(of("outcome").length, 300);
  const read = [];
  for await (const { sequence } of session) {
    read.push(sequence);
    if (sequence === 300) void session.close();
  }
  assert.equal(read.length, 256);
  assert.equal(read[0], 45);
});

test("an idle session stands as long as the edge answers pings, also on a page that is busy or hidden", async () => {
  const { told } = await start();
  await world.time.pass(60_000);
  world.time.now += 5000; // no timer ran
  await world.time.pass(1000);
  globalThis.document = Object.assign(new EventTarget(), { visibilityState: "hidden" });
  await world.time.pass(5000);
  delete globalThis.document;
  assert.deepEqual(told, []);
  assert.equal(world.requests.length, 1);
});

test("a killed edge is noticed within a second, and a new session made within three once it is back", async () => {
  const { session, told, of } = await start();
  const read = [];
  void (async () => {
    for await (const { session: id, sequence } of session) read.push(`${id} ${sequence}`);
  })();
  world.outcome(1);
  await world.time.pass(100);
  world.kill();
  const noticed = await world.time.until(() => session.state === "interrupted", 5000);
  assert.ok(noticed <= 1000, `noticed after ${noticed} ms`);
  await world.time.pass(12_345);
  assert.equal(session.state, "interrupted");
  world.isUp = true;
  const back = await world.time.until(() => session.state === "connected", 5000);
  assert.ok(back <= 2000, `back after ${back} ms`);
  world.outcome(1);
  await world.time.pass(10);
  assert.deepEqual(read, ["s1 1", "s2 1"]);
  assert.deepEqual(of("reconnect"), [{ id: "s2", resumed: false }]);
  assert.deepEqual(of("state"), ["interrupted", "connected"]);
  assert.equal(world.peers[0].connectionState, "closed");
  assert.ok(told.every(({ type }) => type !== "close"));
  const attempts = world.requests.filter(({ method }) => method === "PATCH").map(({ at }) => at);
  const gaps = attempts.slice(1).map((at, i) => at - attempts[i]);
  assert.ok(gaps.every((gap) => gap >= 70 && gap <= 1300), `attempts ${gaps} ms apart`);
});

test("a network that was away for a while gets its session back by an ICE restart", async () => {
  const { session, of } = await start();
  world.isReachable = false;
  await world.time.until(() => session.state === "interrupted", 1000);
  await world.time.pass(3000);
  const { flows } = world;
  let restarted = false;
  world.flows = (peer) => restarted && flows.call(world, peer); // until ICE has other addresses
  const { setRemoteDescription } = world.peer;
  world.peer.setRemoteDescription = async (description) => {
    restarted = true;
    return setRemoteDescription.call(world.peer, description);
  };
  world.isReachable = true;
  const back = await world.time.until(() => session.state === "connected", 5000);
  assert.ok(back <= 2000, `back after ${back} ms`);
  assert.deepEqual(of("reconnect"), [{ id: "s1", resumed: true }]);
  assert.equal(world.peers.length, 1);
  const patch = world.patches().at(-1);
  assert.equal(patch.headers["If-Match"], "*");
  assert.match(patch.body, /a=ice-ufrag:mine\d/);
  assert.match(world.peer.remoteDescription.sdp, /a=ice-ufrag:theirs2\r\na=ice-pwd:secret2\r\na=candidate:9 /);
});

test("a connection that comes back by itself needs nothing", async () => {
  const { session, of } = await start();
  world.isReachable = false;
  await world.time.until(() => session.state === "interrupted", 1000);
  world.isReachable = true;
  await world.time.until(() => session.state === "connected", 300);
  await world.time.pass(5000);
  assert.equal(world.requests.length, 1);
  assert.deepEqual(of("reconnect"), []);
});

test("an ICE restart that brings nothing back is followed by a new session", async () => {
  const { session, of } = await start();
  const { flows } = world;
  const [first] = world.peers;
  world.flows = (peer) => peer !== first && flows.call(world, peer);
  await world.time.until(() => session.state === "interrupted", 1000);
  await world.time.until(() => session.state === "connected", 5000);
  assert.equal(world.patches().length, 1);
  assert.deepEqual(of("reconnect"), [{ id: "s2", resumed: false }]);
});

test("a drain is answered with another session before the first is left", async () => {
  const { session, of } = await start();
  const [old] = world.peers;
  world.refusal = { status: 503, code: "DRAINING", detail: "the edge is shutting down", headers: { "Retry-After": "2" } };
  world.say({ drain: { reconnectWithin: 20 } });
  await world.time.pass(1000);
  world.outcome(7, old);
  world.refusal = undefined;
  await world.time.until(() => world.peers.length > 2, 3000);
  assert.notEqual(old.connectionState, "closed");
  const { onsend } = old.channels[0];
  old.channels[0].onsend = (text) => {
    if (text.includes("bye")) world.outcome(8, old); // it was on its way
    onsend(text);
  };
  await world.time.until(() => session.id !== "s1", 1000);
  await world.time.until(() => old.connectionState === "closed", 2000);
  assert.ok(old.heard.some(({ bye }) => bye), "it was not told bye");
  assert.deepEqual(of("outcome").map(({ sequence }) => sequence), [7, 8]);
  assert.deepEqual(of("state"), []);
  assert.equal(of("summary")[0].session, "s1");
  const posts = world.posts().map(({ at }) => at);
  assert.ok(posts[2] - posts[1] >= 2000, "it did not wait as long as it was asked to");
});

test("a drain that comes with the connection's return is heeded", async () => {
  const { session, of } = await start();
  world.isReachable = false;
  await world.time.until(() => session.state === "interrupted", 1000);
  world.isReachable = true;
  const { flows } = world;
  world.flows = () => false;
  await world.time.until(() => world.patches().length === 1, 2000);
  await world.time.pass(50); // ICE has its new credentials
  world.flows = flows;
  world.outcome(1);
  world.say({ drain: { reconnectWithin: 20 } });
  await world.time.until(() => session.id === "s2", 1000);
  assert.deepEqual(of("reconnect").at(-1), { id: "s2", resumed: false });
});

test("the edge that ends the session gets it back", async () => {
  const { session, of } = await start();
  await world.time.pass(6000);
  world.peer.channels[0].close();
  assert.equal(session.state, "interrupted");
  await world.time.until(() => session.state === "connected", 500);
  assert.deepEqual(of("reconnect"), [{ id: "s2", resumed: false }]);
});

test("an edge that ends every session at once is asked less and less often, and in the end no more", async () => {
  const { session, of } = await start({ reconnect: 20 });
  session.addEventListener("state", () => session.state === "connected" && queueMicrotask(() => world.peer.channels[0].close()));
  world.peer.channels[0].close();
  await world.time.until(() => session.state === "closed", 30_000);
  assert.equal(of("close")[0].reason, "network");
  assert.ok(world.posts().length < 40, `${world.posts().length} attempts`);
});

test("a session gives up when the edge stays away, with the reason", async () => {
  const { session, of } = await start({ reconnect: 10 });
  world.kill();
  const took = await world.time.until(() => session.state === "closed", 15_000);
  assert.ok(took > 9000 && took < 14_000, `after ${took} ms`);
  const [{ reason, error }] = of("close");
  assert.deepEqual([reason, error.code], ["network", "EDGE_UNREACHABLE"]);
  assert.equal(world.peer.connectionState, "closed");
});

test("an edge that refuses for good is not asked again", async () => {
  const { session, of } = await start();
  world.kill();
  await world.time.pass(2000);
  world.isUp = true;
  world.refusal = { status: 401, code: "UNAUTHORIZED", detail: "the token is not one of mine" };
  await world.time.until(() => session.state === "closed", 2000);
  assert.deepEqual([of("close")[0].reason, of("close")[0].error.code], ["refused", "UNAUTHORIZED"]);
});

test("without reconnection a session ends with its connection", async () => {
  const { session, of } = await start({ reconnect: 0 });
  world.isReachable = false;
  await world.time.until(() => session.state === "interrupted", 1000);
  world.isReachable = true;
  await world.time.until(() => session.state === "connected", 1000);
  world.peer.channels[0].close();
  assert.deepEqual(of("close"), [{ reason: "server" }]);
  assert.equal(world.requests.filter(({ method }) => method !== "DELETE").length, 1);
});

test("close says bye, waits for the counts and ends once, also while the connection is away", async () => {
  const { session, of } = await start();
  const closing = session.close();
  await world.time.pass(100);
  await Promise.all([closing, session.close()]);
  assert.deepEqual([of("summary").length, of("close")], [1, [{ reason: "client" }]]);
  assert.equal(world.sessions.size, 0);
  assert.ok(!world.requests.some(({ method }) => method === "DELETE"), "what has ended is deleted, which the edge refuses");

  const other = await start();
  world.kill();
  await world.time.until(() => other.session.state === "interrupted", 1000);
  await world.time.pass(1000);
  const ending = other.session.close();
  await world.time.pass(1500);
  await ending;
  const requests = world.requests.length;
  world.isUp = true;
  await world.time.pass(5000);
  assert.equal(world.requests.length, requests, "it goes on trying");
  assert.deepEqual(other.of("close"), [{ reason: "client" }]);
});

test("the signal that gives up connecting closes the session too", async () => {
  const controller = new AbortController();
  const { of } = await start({ signal: controller.signal });
  controller.abort();
  await world.time.pass(100);
  assert.deepEqual(of("close"), [{ reason: "client" }]);
  assert.equal(world.sessions.size, 0);
});

test("a page that is left takes its session along, and one that is shown again gets another", async () => {
  const turn = (type, persisted) => world.window.dispatchEvent(Object.assign(new Event(type), { persisted }));
  const { session, of } = await start();
  await world.time.pass(6000);
  turn("pagehide", true);
  await settle();
  assert.deepEqual([session.state, world.sessions.size], ["interrupted", 0]);
  world.time.now += 600_000; // nothing runs meanwhile
  turn("pageshow", true);
  await world.time.until(() => session.state === "connected", 1000);
  assert.deepEqual(of("reconnect"), [{ id: "s2", resumed: false }]);
  turn("pagehide", false);
  await world.time.pass(100);
  assert.deepEqual([of("close"), world.sessions.size], [[{ reason: "client" }], 0]);
});

test("without reconnection a page that is left for a while has closed its session", async () => {
  const { session, of } = await start({ reconnect: 0 });
  world.window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
  await world.time.pass(100);
  assert.deepEqual([session.state, of("close"), world.sessions.size], ["closed", [{ reason: "client" }], 0]);
});

test("a network that says it is back is tried at once", async () => {
  const { session } = await start();
  world.isReachable = false;
  await world.time.pass(40_000); // attempts are seconds apart by now
  world.isReachable = true;
  world.window.dispatchEvent(new Event("online"));
  const back = await world.time.until(() => session.state === "connected", 3000);
  assert.ok(back <= 200, `back after ${back} ms`);
});

test("a track that was replaced is the one that another connection sends", async () => {
  const [first, second, sound] = [new FakeTrack("video", "one"), new FakeTrack("video", "two"), new FakeTrack("audio")];
  const { session } = await start({ track: first, microphone: sound });
  await session.replaceTrack(second);
  assert.equal(world.peer.getSenders()[0].track, second);
  world.peer.channels[0].close();
  await world.time.until(() => world.peers.length === 2 && session.state === "connected", 1000);
  assert.deepEqual(world.peer.getSenders().map(({ track }) => track), [second, sound]);
  assert.deepEqual(session.stream.getTracks(), [sound, second]);
  await assert.rejects(session.replaceTrack(new FakeTrack("video"), first), (error) => error.code === "NO_TRACK");
});

test("a track that was replaced stays so over any number of connections, and when it is replaced while there is none", async () => {
  const [first, second, third] = ["one", "two", "three"].map((id) => new FakeTrack("video", id));
  const { session } = await start({ track: first });
  const again = async () => {
    const count = world.peers.length;
    await world.time.until(() => world.peers.length > count && session.state === "connected", 2000);
    return world.peer.getSenders()[0].track;
  };
  world.peer.channels[0].close();
  assert.equal(await again(), first);
  await world.peer.getSenders()[0].replaceTrack(null); // the page has it pause
  await session.replaceTrack(second);
  assert.equal(world.peer.getSenders()[0].track, second);
  await world.time.pass(6000);
  world.peer.channels[0].close();
  assert.equal(await again(), second);
  await world.time.pass(6000);
  world.peer.channels[0].close();
  await session.replaceTrack(third, second);
  assert.equal(await again(), third);
  assert.deepEqual(session.stream.getTracks(), [third]);
});

test("a track that is replaced while another connection is being made is replaced on that one too", async () => {
  const [first, second] = [new FakeTrack("video", "one"), new FakeTrack("video", "two")];
  const { session, of } = await start({ track: first });
  world.say({ drain: {} });
  await world.time.until(() => world.peers.length === 2, 1000);
  const replacing = session.replaceTrack(second);
  await world.time.until(() => of("reconnect").length === 1, 1000);
  await replacing;
  assert.equal(world.peer.getSenders()[0].track, second);
});

test("a track that ends by itself is told; one that was replaced is not", async () => {
  const [first, second] = [new FakeTrack("video"), new FakeTrack("video")];
  const { session, of } = await start({ track: first });
  await session.replaceTrack(second);
  first.dispatchEvent(new Event("ended"));
  assert.deepEqual(of("sourceended"), []);
  second.dispatchEvent(new Event("ended"));
  assert.deepEqual(of("sourceended").map(({ track, error }) => [track === second, error.code]), [[true, "DEVICE_LOST"]]);
});
