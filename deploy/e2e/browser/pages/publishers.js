// Publishes a clip and a voice by a WHIP client from npm, the way its own documentation shows, and counts the outcomes that reach the page in the way that this client leaves open.

import { Eyevinn, Medooze } from "./clients.js";
import { plainCanvas, voice } from "./sources.js";

const PATIENCE = 20_000; // ms for the connection, and for each of the outcomes waited for

const publishers = { "whip-web-client": byEyevinn, "whip-whep": byMedooze, "sluice.js": bySDK };

/**
 * @param {{ edge: string, client: keyof typeof publishers, token: string, trickle: boolean, restart: boolean, relay: boolean, clip: string, voice: string, outcomes: number }} options
 *   relay: use no way but a TURN server's; clip and voice are addresses; it ends after as many outcomes, and after a restart of ICE after as many again
 */
window.run = async (options) => {
  if (options.relay) relayOnly();
  const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("canvas"));
  const stream = await plainCanvas(canvas, options.clip, 30);
  stream.addTrack(await voice(options.voice));
  const outcomes = counter();
  const { peer, restart, stop } = await publishers[options.client](`${options.edge}/whip`, stream, options, outcomes.count);
  await outcomes.reach(options.outcomes);
  if (options.restart) {
    const before = usernames(peer);
    await restart();
    await until(peer, "iceconnectionstatechange", () => ["connected", "completed"].includes(peer.iceConnectionState));
    if (usernames(peer).some((name) => before.includes(name))) throw new Error("a side has kept its ICE credentials");
    await outcomes.reach(outcomes.seen() + options.outcomes);
  }
  const [state, way] = [peer.connectionState, await wayOf(peer)];
  await stop();
  return { state, way, seen: outcomes.seen() };
};

/** It makes its own connection, which has no data channel: the outcomes come as events, whose address it has from the edge. The token is for the edge. */
async function byEyevinn(endpoint, stream, { token, trickle }, count) {
  /** @type {RTCPeerConnection[]} */ const peers = [];
  const client = new Eyevinn({
    endpoint,
    opts: { authkey: token, noTrickleIce: !trickle, iceServers: [] },
    peerConnectionFactory: (/** @type {RTCConfiguration} */ configuration) => (peers[0] = new RTCPeerConnection(configuration)),
  });
  await client.ingest(stream);
  const link = (await client.getResourceExtensions()).find((extension) => extension.includes('rel="urn:ietf:params:whip:ext:sluice:results"'));
  const [, address] = /^<(.*?)>/.exec(link) ?? [];
  await follow(address, token, count);
  return { peer: peers[0], restart: () => Promise.reject(new Error("this client cannot")), stop: () => client.destroy() };
}

/** It takes a connection, which may have a data channel. */
async function byMedooze(endpoint, stream, { token }, count) {
  const peer = new RTCPeerConnection();
  for (const track of stream.getTracks()) peer.addTransceiver(track, { direction: "sendonly", streams: [stream] });
  const channel = peer.createDataChannel("outcomes", { protocol: "sluice.v1+json" });
  channel.onmessage = ({ data }) => count(JSON.parse(data));
  const client = new Medooze();
  await client.publish(peer, endpoint, token);
  return { peer, restart: () => client.restart(), stop: () => client.stop() };
}

/** The edge's own SDK. */
async function bySDK(endpoint, stream, { token, edge }, count) {
  /** @type {RTCPeerConnection[]} */ const peers = [];
  const Connection = RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(configuration) {
      super(configuration);
      peers.push(this);
    }
  };
  const { connect } = await import(`${edge}/sdk/sluice.js`);
  const session = await connect(edge, { stream, token: token || undefined });
  session.addEventListener("outcome", ({ detail }) => count({ outcome: detail }));
  return { peer: peers[peers.length - 1], restart: () => Promise.reject(new Error("it does so by itself")), stop: () => session.close() };
}

/** From now on connections use TURN servers only. */
function relayOnly() {
  const Connection = RTCPeerConnection;
  window.RTCPeerConnection = class extends Connection {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: "relay" });
    }
  };
}

/** The way that a connection's packets take from here: host, srflx, prflx or relay, and the protocol, to the relay if there is one. @param {RTCPeerConnection} peer */
async function wayOf(peer) {
  const reports = await peer.getStats();
  for (const report of reports.values()) {
    if (report.type !== "transport") continue;
    const { candidateType, protocol, relayProtocol } = reports.get(reports.get(report.selectedCandidatePairId).localCandidateId);
    return `${candidateType} ${relayProtocol ?? protocol}`;
  }
  return "none";
}

/** Reads an event stream: EventSource cannot send a token. It ends with the page. */
async function follow(address, token, count) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const response = await fetch(address, { headers });
  if (!response.ok) throw new Error(`results: ${response.status} ${await response.text()}`);
  let text = "";
  const take = (/** @type {string} */ chunk) => {
    const lines = (text + chunk).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) if (line.startsWith("data: ")) count(JSON.parse(line.slice(6)));
  };
  response.body.pipeThrough(new TextDecoderStream()).pipeTo(new WritableStream({ write: take })).catch(() => undefined); // the session ended
}

/** Counts outcomes and waits for them. */
function counter() {
  let seen = 0;
  /** @type {{ target: number, resolve: () => void }[]} */ let waiting = [];
  const count = (/** @type {any} */ message) => {
    if (!message.outcome) return;
    seen++;
    for (const { target, resolve } of waiting) if (seen >= target) resolve();
    waiting = waiting.filter(({ target }) => seen < target);
  };
  const reach = (/** @type {number} */ target) =>
    new Promise((resolve, reject) => {
      if (seen >= target) return resolve(undefined);
      waiting.push({ target, resolve: () => resolve(undefined) });
      setTimeout(() => reject(new Error(`${seen} outcomes came, not ${target}`)), PATIENCE);
    });
  return { count, reach, seen: () => seen };
}

/** Both sides' ICE user names. @param {RTCPeerConnection} peer */
function usernames(peer) {
  return [peer.localDescription, peer.remoteDescription].map((description) => /a=ice-ufrag:(.*)\r\n/.exec(description?.sdp ?? "")?.[1]);
}

/** @param {EventTarget} target @param {string} event @param {() => boolean} is */
function until(target, event, is) {
  return new Promise((resolve, reject) => {
    const look = () => is() && resolve(undefined);
    target.addEventListener(event, look);
    setTimeout(() => reject(new Error(`no ${event} that counts`)), PATIENCE);
    look();
  });
}
