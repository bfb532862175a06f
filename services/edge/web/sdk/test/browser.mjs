// Stand-ins for what a browser has and Node.js has not, with an edge behind them, in a time of their own. One for each test.

import { mock } from "node:test";

/** Time that passes only when a test says so. */
export class Time {
  now = 1000;

  constructor() {
    mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
    Object.defineProperty(globalThis, "performance", { value: { now: () => this.now, timeOrigin: 0 }, configurable: true });
  }

  /** Lets ms pass, and everything happen that is due meanwhile. */
  async pass(ms) {
    for (let left = ms; left > 0; left -= 10) {
      this.now += 10;
      mock.timers.tick(10);
      await settle();
    }
  }

  /** Lets time pass until something holds, and gives how much that took. */
  async until(holds, limit) {
    const began = this.now;
    while (!holds()) {
      if (this.now - began > limit) throw new Error(`not within ${limit} ms: ${holds}`);
      await this.pass(10);
    }
    return this.now - began;
  }

  stop() {
    mock.timers.reset();
  }
}

/** Lets everything run that waits for nothing. */
export const settle = () => new Promise((resolve) => setImmediate(resolve));

export class FakeTrack extends EventTarget {
  stopped = false;
  constructor(kind, id = kind) {
    super();
    Object.assign(this, { kind, id });
  }
  getSettings = () => ({});
  stop() {
    this.stopped = true;
  }
}

class FakeStream {
  constructor(tracks = []) {
    this.tracks = [...tracks];
  }
  getTracks = () => this.tracks;
  addTrack = (track) => this.tracks.push(track);
  removeTrack = (track) => this.tracks.splice(this.tracks.indexOf(track), 1);
}

export class FakeChannel {
  readyState = "connecting";
  bufferedAmount = 0;
  sent = [];
  constructor(label, { protocol = "" } = {}) {
    Object.assign(this, { label, protocol });
  }
  send(data) {
    if (this.readyState !== "open") throw new DOMException("not open", "InvalidStateError");
    this.sent.push(data);
    this.onsend?.(data);
  }
  open() {
    this.readyState = "open";
    this.onopen?.();
  }
  close() {
    if (this.readyState === "closed") return;
    this.readyState = "closed";
    this.onclose?.();
  }
}

/** The world of a test: its edge, and the connections that the page has made. */
export class World {
  time = new Time();
  window = new EventTarget();
  /** Whether the edge runs, whether the network lets anything through, and whether the network lets HTTP through. */
  isUp = true;
  isReachable = true;
  /** Answers another status to POST, with a problem. */
  refusal = undefined;
  headers = {};
  peers = [];
  sessions = new Map();
  requests = [];

  constructor() {
    const world = this;
    globalThis.addEventListener = (...all) => this.window.addEventListener(...all);
    globalThis.MediaStream = FakeStream;
    globalThis.MediaStreamTrack = FakeTrack;
    globalThis.fetch = (url, init) => this.#fetch(String(url), init);
    globalThis.RTCPeerConnection = class FakePeer extends EventTarget {
      connectionState = "new";
      signalingState = "stable";
      channels = [];
      transceivers = [];
      generation = 0;
      constructor(configuration) {
        super();
        this.configuration = configuration;
        this.number = world.peers.push(this);
      }
      addTransceiver(track, init) {
        const replaceTrack = async (other) => {
          if (this.connectionState === "closed") throw new DOMException("closed", "InvalidStateError");
          sender.track = other;
        };
        const sender = { track, getParameters: () => ({}), replaceTrack };
        const transceiver = { sender, mid: String(this.transceivers.length), init };
        this.transceivers.push(transceiver);
        return transceiver;
      }
      getSenders = () => (this.connectionState === "closed" ? [] : this.transceivers.map(({ sender }) => sender));
      getTransceivers = () => this.transceivers;
      createDataChannel(label, init) {
        const channel = new FakeChannel(label, init);
        this.channels.push(channel);
        if (this.connectionState === "connected") channel.open();
        return channel;
      }
      async createOffer() {
        return { type: "offer", sdp: "" };
      }
      async setLocalDescription(description) {
        if (description?.type === "rollback") return void (this.signalingState = "stable");
        this.generation++;
        this.signalingState = "have-local-offer";
        this.localDescription = { type: "offer", sdp: `v=0\r\no=${this.number}\r\nm=application 9 x\r\na=mid:0\r\na=ice-ufrag:mine${this.generation}\r\na=ice-pwd:secret\r\n` };
        queueMicrotask(() => this.dispatchEvent(Object.assign(new Event("icecandidate"), { candidate: null })));
      }
      async setRemoteDescription(description) {
        this.remoteDescription = description;
        this.signalingState = "stable";
        if (!world.flows(this)) return;
        this.connectionState = "connected";
        for (const channel of this.channels) if (channel.readyState === "connecting") channel.open();
      }
      close() {
        this.connectionState = "closed";
        for (const channel of this.channels) channel.readyState = "closed";
      }
    };
  }

  /** The newest connection, and its channel for messages. */
  get peer() {
    return this.peers.at(-1);
  }

  /** Whether packets go both ways between a connection and the edge. */
  flows(peer) {
    return this.isUp && this.isReachable && [...this.sessions.values()].includes(peer) && peer.connectionState !== "closed";
  }

  /** The edge sends a message, unless something is in the way. */
  say(message, peer = this.peer) {
    if (this.flows(peer)) peer.channels[0].onmessage({ data: JSON.stringify(message) });
  }

  outcome(sequence, peer = this.peer) {
    this.say({ outcome: { session: `s${peer.number}`, sequence, model: "faces", result: {} } }, peer);
  }

  /** The edge's process ends, without a word. */
  kill() {
    this.isUp = false;
    this.sessions.clear();
  }

  posts = () => this.requests.filter(({ method }) => method === "POST");
  patches = () => this.requests.filter(({ method }) => method === "PATCH");

  async #fetch(url, { method, body, headers }) {
    await settle();
    this.requests.push({ url, method, body, headers, at: this.time.now });
    if (!this.isUp || !this.isReachable) throw new TypeError("Failed to fetch");
    if (method === "POST") return this.#create(url, body);
    const peer = this.sessions.get(url);
    if (!peer) return this.#response(url, 404, JSON.stringify({ code: "SESSION_NOT_FOUND", detail: "there is no such session" }));
    if (method === "DELETE") this.sessions.delete(url);
    return this.#response(url, 200, "a=ice-ufrag:theirs2\r\na=ice-pwd:secret2\r\na=candidate:9 1 udp 1 192.0.2.9 9 typ host\r\n", { ETag: '"2"' });
  }

  #create(url, body) {
    if (this.refusal) return this.#response(url, this.refusal.status, JSON.stringify(this.refusal), this.refusal.headers);
    const peer = this.peers[Number(/^o=(\d+)/m.exec(body)[1]) - 1];
    const resource = `https://edge.example/whip/secret${peer.number}`;
    this.sessions.set(resource, peer);
    peer.channels[0].onsend = (text) => this.#hear(peer, JSON.parse(text));
    const answer = `v=0\r\nm=application 9 x\r\na=ice-ufrag:theirs1\r\na=ice-pwd:secret1\r\na=candidate:1 1 udp 1 192.0.2.1 8189 typ host\r\n`;
    return this.#response(url, 201, answer, {
      Location: `/whip/secret${peer.number}`, ETag: '"1"',
      Link: `</sessions/s${peer.number}/results>; rel="urn:ietf:params:whip:ext:sluice:results"`, ...this.headers,
    });
  }

  #hear(peer, message) {
    peer.heard = [...(peer.heard ?? []), message];
    if (message.ping) queueMicrotask(() => this.say({ pong: message.ping }, peer));
    if (!message.bye) return;
    queueMicrotask(() => {
      this.say({ summary: { session: `s${peer.number}` } }, peer);
      this.sessions.delete(`https://edge.example/whip/secret${peer.number}`);
    });
  }

  #response(url, status, body, headers = {}) {
    const response = new Response(body, { status, headers });
    Object.defineProperty(response, "url", { value: url });
    return response;
  }
}
