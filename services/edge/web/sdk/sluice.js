// Sluice for browsers 0.1.0, Apache-2.0. Generated from src/*.ts by make generate.


// src/clock.ts
var REPORTS = 5;
var MediaClock = class {
  /** @param timeOrigin performance.timeOrigin @param rate RTP ticks a second */
  constructor(timeOrigin, rate = 9e4) {
    this.timeOrigin = timeOrigin;
    this.rate = rate;
  }
  timeOrigin;
  rate;
  #reports = /* @__PURE__ */ new Map();
  #rates = /* @__PURE__ */ new Map();
  /** Says that a source counts in another rate than the clock's: sound does. @param rate RTP ticks a second */
  setRate(ssrc, rate) {
    this.#rates.set(ssrc, rate);
  }
  report(report) {
    const kept = this.#reports.get(report.ssrc) ?? [];
    this.#reports.set(report.ssrc, [...kept.slice(1 - REPORTS), report]);
  }
  /** Capture time in ms since timeOrigin, or undefined before the first report of the SSRC. */
  time(ssrc, rtpTimestamp) {
    const reports = this.#reports.get(ssrc);
    if (!reports) return void 0;
    const rate = this.#rates.get(ssrc) ?? this.rate;
    const times = reports.map((r) => r.ntpMillis - this.timeOrigin + (rtpTimestamp - r.rtpTimestamp | 0) / (rate / 1e3));
    return times.sort((a, b) => a - b)[times.length >> 1];
  }
};
function soundRates(offer, answer) {
  const taken = answer.split(/^m=/m);
  const rates = /* @__PURE__ */ new Map();
  for (const [at, section] of offer.split(/^m=/m).entries()) {
    const [, type] = /^audio \d+ \S+ (\d+)/.exec(taken[at] ?? "") ?? [];
    const [, rate] = new RegExp(`^a=rtpmap:${type} [^/]+/(\\d+)`, "m").exec(taken[at] ?? "") ?? [];
    if (type && rate && section.startsWith("audio")) for (const [, ssrc] of section.matchAll(/^a=ssrc:(\d+) /gm)) rates.set(Number(ssrc), Number(rate));
  }
  return rates;
}

// src/encodings.ts
var FRAME_RATE = 30;
var BITRATES = [[320 * 240, 6e5], [640 * 480, 17e5], [960 * 540, 2e6], [Infinity, 25e5]];
var LAYER_BITRATES = [
  [480 * 270 - 1, 2e5],
  [640 * 360 - 1, 45e4],
  [960 * 540 - 1, 7e5],
  [1280 * 720 - 1, 12e5],
  [Infinity, 25e5]
];
function encodingFor(demand, width = 0, height = 0) {
  const across = demand.maxWidth ? width / demand.maxWidth : 1;
  const down = demand.maxHeight ? height / demand.maxHeight : 1;
  return {
    active: demand.maxFramerate !== 0,
    ...demand.maxFramerate ? { maxFramerate: demand.maxFramerate } : {},
    scaleResolutionDownBy: Math.max(1, Math.min(across, down))
    // never below what either side needs
  };
}
function encodingsFor(demand, own, picture) {
  const wanted = encodingFor(demand, picture.width, picture.height);
  const needed = own.length > 1 ? neededScale(own, wanted.scaleResolutionDownBy) : 1;
  return own.map((one) => {
    const ownScale = one.scaleResolutionDownBy ?? 1;
    const scaleResolutionDownBy = own.length > 1 ? ownScale : Math.max(ownScale, wanted.scaleResolutionDownBy);
    const encoding = { ...wanted, scaleResolutionDownBy, active: wanted.active && ownScale >= needed };
    const share = rateShare(demand, one, picture);
    if (share >= 1) return encoding;
    const pixels = (picture.width ?? 0) * (picture.height ?? 0) / scaleResolutionDownBy ** 2;
    const most = Math.min(one.maxBitrate ?? Infinity, usualBitrate(pixels, own.length > 1));
    return { ...encoding, maxBitrate: Math.round(share * most) };
  });
}
function neededScale(layers, wanted) {
  const scales = layers.filter((layer) => layer.active !== false).map((layer) => layer.scaleResolutionDownBy ?? 1);
  const enough = scales.filter((scale) => scale <= wanted);
  return enough.length > 0 ? Math.max(...enough) : Math.min(...scales);
}
function rateShare(demand, own, picture) {
  const rate = Math.min(own.maxFramerate ?? Infinity, picture.frameRate || FRAME_RATE);
  return demand.maxFramerate ? demand.maxFramerate / rate : 1;
}
function usualBitrate(pixels, isLayer) {
  const table = isLayer ? LAYER_BITRATES : BITRATES;
  return (table.find(([most]) => pixels <= most) ?? table[table.length - 1])[1];
}
function follow(encoding, own, wanted) {
  encoding.active = own.active !== false && wanted.active !== false;
  for (const limit of ["maxFramerate", "maxBitrate"]) {
    const least = Math.min(own[limit] ?? Infinity, wanted[limit] ?? Infinity);
    if (least < Infinity) encoding[limit] = least;
    else delete encoding[limit];
  }
  encoding.scaleResolutionDownBy = Math.max(own.scaleResolutionDownBy ?? 1, wanted.scaleResolutionDownBy ?? 1);
}

// src/demand.ts
var SETTINGS = ["active", "maxFramerate", "maxBitrate", "scaleResolutionDownBy"];
var DemandFollower = class {
  #peer;
  /** The newest demand for each stream of which one is in force. */
  #demands = /* @__PURE__ */ new Map();
  /** A source of each stream. */
  #sources = /* @__PURE__ */ new Map();
  #followed = /* @__PURE__ */ new WeakMap();
  #work = Promise.resolve();
  constructor(peer) {
    this.#peer = peer;
  }
  /** Learns from an outcome which of the connection's sources its stream is: a name alone may not tell one video from another. */
  learn({ stream, ssrc }) {
    if (stream === void 0 || ssrc === void 0 || this.#sources.has(stream)) return;
    this.#sources.set(stream, ssrc);
    if (this.#demands.has(stream)) void this.#meet(stream);
  }
  /** Meets a demand, at once or as soon as it is known which video it is about. Resolves when all that can be done now is done; never rejects. */
  obey(demand) {
    const stream = demand.stream ?? "";
    this.#demands.set(stream, demand);
    return this.#meet(stream);
  }
  /** Meets the demands anew: a video has another track, whose size and rate may differ. */
  refresh() {
    for (const stream of this.#demands.keys()) void this.#meet(stream);
  }
  /** One after another: a sender's settings must not change between reading and writing them. */
  #meet(stream) {
    this.#work = this.#work.then(() => this.#apply(stream)).catch(() => void 0);
    return this.#work;
  }
  async #apply(stream) {
    const demand = this.#demands.get(stream);
    const sender = await this.#sender(stream);
    const parameters = sender?.getParameters();
    if (!demand || demand !== this.#demands.get(stream)) return;
    if (!sender || !parameters?.encodings?.length) return;
    if (isOver(demand)) this.#demands.delete(stream);
    if (isOver(demand) && !this.#followed.has(sender)) return;
    const own = this.#own(sender, parameters.encodings);
    const wanted = encodingsFor(demand, own, sender.track?.getSettings() ?? {});
    parameters.encodings.forEach((encoding, i) => follow(encoding, own[i] ?? {}, wanted[i] ?? {}));
    await sender.setParameters(parameters);
    if (isOver(demand)) this.#followed.delete(sender);
    else this.#followed.set(sender, { own, set: sender.getParameters().encodings });
  }
  /** The page's own settings of a sender: as they were before the demand, but for what it has changed since. */
  #own(sender, now) {
    const followed = this.#followed.get(sender);
    return now.map((encoding, i) => {
      const own = { ...followed?.own[i] ?? encoding };
      if (followed) {
        for (const name of SETTINGS) if (encoding[name] !== followed.set[i]?.[name]) own[name] = encoding[name];
      }
      return own;
    });
  }
  /** The sender of a stream: by its source, or by its name as long as no outcome has told that. */
  async #sender(stream) {
    const videos = this.#peer.getTransceivers().filter(({ sender }) => sender.track?.kind === "video");
    const source = this.#sources.get(stream);
    if (source !== void 0) {
      for (const { sender } of videos) for (const report of (await sender.getStats()).values()) if (report.type === "outbound-rtp" && report.ssrc === source) return sender;
    }
    const offer = this.#peer.localDescription?.sdp ?? "";
    const named = videos.filter(({ mid }) => videoStreams(offer, mid).includes(stream));
    return named.length === 1 ? named[0].sender : void 0;
  }
};
function isOver({ maxFramerate, maxWidth, maxHeight }) {
  return maxFramerate === void 0 && maxWidth === void 0 && maxHeight === void 0;
}
function videoStreams(offer, mid) {
  const names = ["video"];
  for (const section of offer.split(/^m=/m))
    if (section.startsWith("video") && (mid === void 0 || /^a=mid:(.*?)\r?$/m.exec(section)?.[1] === mid))
      for (const [, id] of section.matchAll(/^a=msid:\S+ (.*?)\r?$/gm)) names.push(id);
  return names;
}

// src/errors.ts
var SluiceError = class extends Error {
  name = "SluiceError";
  /** For programs; stable. */
  code;
  /** The HTTP status, where there was one. */
  status;
  /** Seconds after which to try again, where the edge said so. */
  retryAfter;
  /** Addresses that were tried, as "udp 192.0.2.1:8189". */
  addresses;
  constructor(code, message, more = {}) {
    super(message, "cause" in more ? { cause: more.cause } : void 0);
    this.code = code;
    this.status = more.status;
    this.retryAfter = more.retryAfter;
    this.addresses = more.addresses;
  }
};

// src/messages.ts
var KINDS = ["outcome", "senderReport", "demand", "drain", "skipped", "summary"];
function parseMessage(data) {
  if (typeof data !== "string") return void 0;
  try {
    const message = JSON.parse(data);
    const kind = KINDS.find((k) => message?.[k] !== void 0);
    return kind && { kind, value: message[kind] };
  } catch {
    return void 0;
  }
}

// src/signal.ts
async function request(url, init) {
  let response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw init.signal.reason;
    throw new SluiceError("EDGE_UNREACHABLE", `${url.origin} does not answer.`, { cause: error });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new SluiceError(problem.code ?? `HTTP_${response.status}`, problem.detail ?? `The edge answered ${response.status}.`, {
    status: response.status,
    retryAfter: Number(response.headers.get("Retry-After")) || void 0
  });
}
function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}
function parseLinks(header) {
  const links = [];
  for (const [, target, rest] of (header ?? "").matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^",;\s]+))*)/g)) {
    const parameters = rest.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",;\s]+))/g);
    const pairs = [...parameters].map(([, name, quoted, plain]) => [name.toLowerCase(), plain ?? quoted.replace(/\\(.)/g, "$1")]);
    links.push({ target, rel: "", ...Object.fromEntries(pairs) });
  }
  return links;
}
function candidateAddresses(sdp) {
  const found = sdp.matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) typ/gm);
  const texts = [...found].map(([, transport, host, port]) => `${transport.toLowerCase()} ${host.includes(":") ? `[${host}]` : host}:${port}`);
  return [...new Set(texts)];
}
async function gathered(peer, limit) {
  const complete = new Promise((resolve) => {
    const check = () => peer.iceGatheringState === "complete" && resolve();
    peer.addEventListener("icegatheringstatechange", check);
    check();
  });
  await Promise.race([complete, pause(limit)]);
}
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

// src/session.ts
var MESSAGE_PROTOCOL = "sluice.v1+json";
var RESULTS_RELATION = "urn:ietf:params:whip:ext:sluice:results";
var CONNECT_TIMEOUT = 2e4;
var GATHER_LOCAL = 500;
var GATHER_SERVERS = 2e3;
var MAX_WAITING = 256;
var SUMMARY_WAIT = 500;
async function connect(options) {
  if (typeof RTCPeerConnection !== "function") throw new SluiceError("NO_WEBRTC", "This browser has no WebRTC.");
  return Session.open(options);
}
var Session = class _Session extends EventTarget {
  /** The session's public id: it opens its results, not its control. */
  get id() {
    return this.#id;
  }
  /** Where its outcomes can be followed as Server-Sent Events. */
  get resultsUrl() {
    return this.#resultsUrl;
  }
  get state() {
    return this.#state;
  }
  /** The connection itself, for statistics, replaceTrack, or more data channels: each is a stream of frames. */
  peer;
  #id = "";
  #resultsUrl = "";
  #state = "connecting";
  #clock = new MediaClock(performance.timeOrigin);
  #demand;
  #waiting = [];
  #wake = () => {
  };
  #fail = () => {
  };
  #channel;
  #resource;
  #options;
  constructor(options) {
    super();
    this.#options = options;
    this.peer = new RTCPeerConnection({ iceServers: options.iceServers ?? [], bundlePolicy: "max-bundle" });
    this.#demand = new DemandFollower(this.peer);
    this.peer.onconnectionstatechange = () => this.#follow(this.peer.connectionState);
    this.#channel = this.peer.createDataChannel("sluice", { protocol: MESSAGE_PROTOCOL });
    this.#channel.onmessage = (event) => this.#receive(event.data);
    this.#channel.onclose = () => this.#end(this.peer.connectionState === "failed" ? "network" : "server");
  }
  /** Makes a session and connects it. @internal */
  static async open(options) {
    const session = new _Session(options);
    try {
      const iceServers = await session.#start();
      if (!iceServers) return session;
      session.#end("failed");
      return _Session.open({ ...options, iceServers });
    } catch (error) {
      session.#end("failed");
      throw error;
    }
  }
  /**
   * The moment that the outcome's frame was captured, in ms on the clock of performance.now(); undefined until the first sender
   * report of its SSRC is in (about half a second), and for messages of data channels.
   */
  captureTime({ ssrc, rtpTimestamp }) {
    return ssrc === void 0 || rtpTimestamp === void 0 ? void 0 : this.#clock.time(ssrc, rtpTimestamp);
  }
  /** Outcomes in the order of their arrival, until the session ends. For one reader; one that falls 256 behind loses the oldest. */
  async *[Symbol.asyncIterator]() {
    while (this.#waiting.length > 0 || this.state !== "closed") {
      const outcome = this.#waiting.shift();
      if (outcome) yield outcome;
      else await new Promise((resolve) => this.#wake = resolve);
    }
  }
  /** Ends the session here and at the edge. It may be called at any time and more than once; it never fails. */
  async close() {
    if (this.state === "closed") return;
    const summary = new Promise((resolve) => this.addEventListener("summary", resolve, { once: true }));
    if (this.#channel.readyState === "open") this.#channel.send('{"bye":{}}');
    await Promise.race([summary, this.#delete().then(() => pause(SUMMARY_WAIT)), pause(2 * SUMMARY_WAIT)]);
    this.#end("client");
  }
  /**
   * WHIP (RFC 9725), with this side's candidates in the offer: from behind its own NAT, an edge may reach what cannot reach it. An edge
   * names its STUN and TURN servers only in its answer, too late to gather with; they are returned for a second offer then.
   */
  async #start() {
    const { stream, microphone, url, models = [], signal, token, iceServers } = this.#options;
    const group = stream instanceof MediaStream ? stream : new MediaStream(stream ? [stream] : []);
    for (const track of [...group.getTracks(), ...microphone ? [microphone] : []]) this.peer.addTransceiver(track, { direction: "sendonly", streams: [group] });
    await this.peer.setLocalDescription();
    await gathered(this.peer, iceServers?.length ? GATHER_SERVERS : GATHER_LOCAL);
    const endpoint = new URL("whip", new URL(url ?? new URL("..", import.meta.url), globalThis.location?.href));
    for (const model of models) endpoint.searchParams.append("model", model);
    const headers = { "Content-Type": "application/sdp", ...authorization(token) };
    const response = await request(endpoint, { method: "POST", body: this.peer.localDescription?.sdp, signal, headers });
    const location = response.headers.get("Location");
    if (response.status !== 201 || !location) throw new SluiceError("BAD_ANSWER", `${endpoint.host} does not speak WHIP.`);
    this.#resource = new URL(location, response.url).href;
    const links = parseLinks(response.headers.get("Link"));
    const servers = links.filter((link) => link.rel === "ice-server");
    if (!iceServers && servers.length > 0)
      return servers.map(({ target, username, credential }) => ({ urls: target, username, credential }));
    const results = links.find((link) => link.rel === RESULTS_RELATION);
    if (results) this.#resultsUrl = new URL(results.target, response.url).href;
    this.#id = decodeURIComponent(/\/sessions\/([^/]+)\/results$/.exec(this.#resultsUrl)?.[1] ?? "");
    const sdp = await response.text();
    await this.peer.setRemoteDescription({ type: "answer", sdp }).catch((error) => {
      throw new SluiceError("BAD_ANSWER", `The edge's answer cannot be used: ${error.message}`);
    });
    for (const [ssrc, rate] of soundRates(this.peer.localDescription?.sdp ?? "", sdp)) this.#clock.setRate(ssrc, rate);
    await this.#opened(candidateAddresses(sdp));
    return void 0;
  }
  /** Waits until messages can flow. @param addresses where the edge said that it can be reached */
  #opened(addresses) {
    const { signal, timeout = CONNECT_TIMEOUT } = this.#options;
    return new Promise((resolve, reject) => {
      const unreachable = new SluiceError("ICE_FAILED", "The edge answered, but none of its addresses can be reached.", { addresses });
      const timer = setTimeout(() => reject(unreachable), timeout);
      const settle = (how) => {
        clearTimeout(timer);
        how();
      };
      this.#fail = (error) => settle(() => reject(error ?? unreachable));
      const open = () => {
        this.#setState("connected");
        settle(resolve);
      };
      if (this.#channel.readyState === "open") open();
      else this.#channel.onopen = open;
      if (signal?.aborted) this.#fail(signal.reason);
      signal?.addEventListener("abort", () => this.#fail(signal.reason), { once: true });
    });
  }
  #follow(state) {
    if (state === "failed" && this.state === "connecting") this.#fail(void 0);
    else if (state === "failed") this.#end("network");
    else if (state === "disconnected" && this.state === "connected") this.#setState("interrupted");
    else if (state === "connected" && this.state === "interrupted") this.#setState("connected");
  }
  #end(reason) {
    if (this.state === "closed") return;
    this.#fail(new SluiceError("SESSION_CLOSED", "The edge ended the session before it was connected."));
    this.#setState("closed");
    this.peer.close();
    this.#wake();
    if (reason === "failed" || reason === "network") void this.#delete();
    this.#emit("close", { reason });
  }
  async #delete() {
    if (!this.#resource) return;
    const init = { method: "DELETE", keepalive: true, headers: authorization(this.#options.token) };
    await fetch(this.#resource, init).catch(() => void 0);
  }
  #receive(data) {
    const message = parseMessage(data);
    if (!message) return;
    const { kind, value } = message;
    if (kind === "outcome") {
      this.#id ||= value.session ?? "";
      this.#demand.learn(value);
      this.#waiting.push(value);
      if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
      this.#wake();
    }
    if (kind === "senderReport") this.#clock.report(value);
    if (kind === "demand" && this.#options.followDemand !== false) void this.#demand.obey(value);
    this.#emit(kind.toLowerCase(), value);
  }
  #setState(state) {
    this.#state = state;
    this.#emit("state", state);
  }
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
};

// src/frames.ts
var MATCH = 3;
var PUSH_MATCH = 20;
var PUSH_SPACING = 45;
var ON_TIME = 10;
var SAME = 0.5;
var DRIFT_GAIN = 0.02;
function findFrame(frames, time, drift = 0) {
  if (time === void 0) return { status: "unsynced" };
  const last = frames.at(-1);
  if (!last) return { status: "missing" };
  if (last.kind === "displayed") return findDisplayed(frames, time);
  if (last.kind === "unknown") return { status: "unsynced" };
  const match = last.kind === "pushed" ? PUSH_MATCH : MATCH;
  const wanted = time + drift;
  const near = frames.filter((frame) => frame.kind === last.kind && Math.abs(frame.time - wanted) <= match);
  if (near.length === 0) return { status: last.time < wanted - match ? "early" : "missing" };
  near.sort((a, b) => Math.abs(a.time - wanted) - Math.abs(b.time - wanted));
  if (last.kind === "pushed" && frames.some((f) => f !== near[0] && Math.abs(f.time - near[0].time) < PUSH_SPACING))
    return { status: "missing" };
  return { status: "found", frame: near[0] };
}
function findDisplayed(frames, time) {
  const gaps = frames.slice(1).map((frame, i) => frame.time - frames[i].time).sort((a, b) => a - b);
  const interval = gaps[gaps.length >> 1] ?? 33;
  const at = frames.findIndex((frame) => frame.time >= time - 2);
  if (at < 0) return { status: "early" };
  const late = frames[at].time - time > Math.min(30, 0.9 * interval);
  if (at === 0 || late || frames[at].time - frames[at - 1].time > 1.4 * interval) return { status: "missing" };
  return { status: "found", frame: frames[at] };
}
var FrameBuffer = class {
  #frames = [];
  #spare = [];
  #drift = 0;
  #seconds;
  #maxWidth;
  #limit;
  constructor({ seconds = 1, maxWidth = 960, limit = 48 } = {}) {
    this.#seconds = seconds;
    this.#maxWidth = maxWidth;
    this.#limit = limit;
  }
  /** The newest frame, if there is one. */
  get latest() {
    return this.#frames.at(-1);
  }
  /** Follows a <video> that plays the local stream that is sent; it must be visible. @returns a function that stops it */
  watch(video) {
    let handle = 0;
    const next = (now, about) => {
      handle = video.requestVideoFrameCallback(next);
      this.#snap(video, now, about);
    };
    handle = video.requestVideoFrameCallback(next);
    return () => video.cancelVideoFrameCallback(handle);
  }
  /**
   * Copies what the video shows. On a busy page a callback runs late, when the video may already show a newer frame than the one it was
   * called for. That one has a callback of its own, so nothing is copied then.
   */
  #snap(video, now, { captureTime, mediaTime, width, height }) {
    if (captureTime === void 0 || typeof VideoFrame !== "function") {
      if (performance.now() - now < ON_TIME) this.#keep(video, width, height, ...stamp(captureTime, now));
      return;
    }
    const shot = shownBy(video);
    if (!shot) return;
    if (Math.abs(shot.timestamp / 1e3 - mediaTime * 1e3) < SAME) this.#keep(shot, width, height, "captured", captureTime);
    shot.close();
  }
  /** Takes the frame just drawn to a canvas whose captureStream() is sent. At least 50 ms must lie between two of them, or neither can be told from the other. */
  push(canvas) {
    this.#keep(canvas, canvas.width, canvas.height, "pushed", performance.now());
  }
  /** Finds the frame captured at a time of Session.captureTime; a neighbour is never given in its place. */
  find(time) {
    const found = findFrame(this.#frames, time, this.#drift);
    if (found.frame?.kind === "captured" && time !== void 0)
      this.#drift += DRIFT_GAIN * (found.frame.time - time - this.#drift);
    return found;
  }
  /** Forgets all frames, for another source. */
  clear() {
    this.#spare.push(...this.#frames.splice(0).map((frame) => frame.picture));
    this.#drift = 0;
  }
  #keep(source, width, height, kind, time) {
    const scale = Math.min(1, this.#maxWidth / width);
    const picture = this.#spare.pop() ?? document.createElement("canvas");
    const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    if (picture.width !== w) picture.width = w;
    if (picture.height !== h) picture.height = h;
    picture.getContext("2d")?.drawImage(source, 0, 0, w, h);
    this.#frames.push({ picture, width, height, kind, time });
    const oldest = time - this.#seconds * 1e3;
    while (this.#frames.length > this.#limit || this.#frames[0].time < oldest) {
      const gone = this.#frames.shift();
      if (gone) this.#spare.push(gone.picture);
    }
  }
};
function shownBy(video) {
  try {
    return new VideoFrame(video);
  } catch {
    return void 0;
  }
}
function stamp(captureTime, now) {
  if (captureTime !== void 0) return ["captured", captureTime];
  return ["mozInnerScreenX" in globalThis ? "displayed" : "unknown", now];
}
export {
  DemandFollower,
  FrameBuffer,
  MediaClock,
  Session,
  SluiceError,
  candidateAddresses,
  connect,
  encodingFor,
  encodingsFor,
  findFrame,
  follow,
  parseLinks,
  parseMessage,
  soundRates,
  videoStreams
};
