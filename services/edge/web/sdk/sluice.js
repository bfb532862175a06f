// Sluice for browsers: sends a camera, a screen or any MediaStream to an edge and gives back what the models say, each answer with
// the moment its frame was captured. One ES module without dependencies; the types are in sluice.d.ts beside it.

/** @typedef {import("./sluice.js").ConnectOptions} ConnectOptions */
/** @typedef {import("./sluice.js").Outcome} Outcome */
/** @typedef {import("./sluice.js").SenderReport} SenderReport */
/** @typedef {import("./sluice.js").Demand} Demand */
/** @typedef {import("./sluice.js").Frame} Frame */
/** @typedef {import("./sluice.js").Lookup} Lookup */

const MESSAGE_PROTOCOL = "sluice.v1+json";
const RESULTS_RELATION = "urn:ietf:params:whip:ext:sluice:results";
const CONNECT_TIMEOUT = 20_000; // ms; ICE itself needs up to 15 s to try everything
const GATHER_LOCAL = 500; // ms to find this side's own addresses
const GATHER_SERVERS = 2000; // ms to find those that STUN and TURN servers lend
const MAX_WAITING = 256; // outcomes kept for a slow async iterator
const REPORTS = 5; // sender reports kept for each SSRC: the median of five ignores a bad one
const SUMMARY_WAIT = 500; // ms that close() waits for the session's counts

/** An error with a stable code: see SluiceErrorCode in sluice.d.ts, or the edge's own codes for what it refuses. */
export class SluiceError extends Error {
  /** @param {string} code @param {string} message @param {Partial<SluiceError>} [more] */
  constructor(code, message, more = {}) {
    super(message);
    this.name = "SluiceError";
    this.code = code;
    /** @type {number | undefined} */ this.status = undefined;
    /** @type {number | undefined} */ this.retryAfter = undefined;
    /** @type {string[] | undefined} */ this.addresses = undefined;
    Object.assign(this, more);
  }
}

/** Starts a session and returns once its connection stands. @param {ConnectOptions} options @returns {Promise<Session>} */
export function connect(options) {
  return Session.connect(options);
}

/** One connection to an edge. Its events and members are documented in sluice.d.ts. */
export class Session extends EventTarget {
  #clock = new MediaClock(performance.timeOrigin);
  /** The page's own settings while a demand is in force. @type {WeakMap<RTCRtpSender, RTCRtpEncodingParameters[]>} */ #encodings = new WeakMap();
  /** @type {Outcome[]} */ #waiting = [];
  /** @type {() => void} */ #wake = () => {};
  /** @type {(error: unknown) => void} */ #fail = () => {};
  /** @type {RTCDataChannel} */ #channel;
  /** @type {string | undefined} */ #resource;
  /** @type {ConnectOptions} */ #options;

  /** @param {ConnectOptions} options @returns {Promise<Session>} */
  static async connect(options) {
    if (typeof RTCPeerConnection !== "function") throw new SluiceError("NO_WEBRTC", "This browser has no WebRTC.");
    const session = new Session(options);
    try {
      const iceServers = await session.#start();
      if (!iceServers) return session;
      session.#end("failed");
      return Session.connect({ ...options, iceServers });
    } catch (error) {
      session.#end("failed");
      throw error;
    }
  }

  /** @param {ConnectOptions} options */
  constructor(options) {
    super();
    this.#options = options;
    this.id = "";
    this.resultsUrl = "";
    /** @type {import("./sluice.js").SessionState} */
    this.state = "connecting";
    this.peer = new RTCPeerConnection({ iceServers: options.iceServers ?? [], bundlePolicy: "max-bundle" });
    this.peer.onconnectionstatechange = () => this.#follow(this.peer.connectionState);
    this.#channel = this.peer.createDataChannel("sluice", { protocol: MESSAGE_PROTOCOL });
    this.#channel.onmessage = (event) => this.#receive(event.data);
    this.#channel.onclose = () => this.#end(this.peer.connectionState === "failed" ? "network" : "server");
  }

  /**
   * The moment that the outcome's frame was captured, on the clock of performance.now(); undefined while that is not known.
   * @param {Pick<Outcome, "ssrc" | "rtpTimestamp">} outcome
   */
  captureTime({ ssrc, rtpTimestamp }) {
    return ssrc === undefined || rtpTimestamp === undefined ? undefined : this.#clock.time(ssrc, rtpTimestamp);
  }

  /** Outcomes in the order of their arrival, until the session ends. A reader that falls behind loses the oldest. */
  async *[Symbol.asyncIterator]() {
    while (this.#waiting.length > 0 || this.state !== "closed") {
      const outcome = this.#waiting.shift();
      if (outcome) yield outcome;
      else await new Promise((resolve) => (this.#wake = () => resolve(undefined)));
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
    for (const track of [...group.getTracks(), ...(microphone ? [microphone] : [])]) this.peer.addTransceiver(track, { direction: "sendonly", streams: [group] });
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
    if (results) this.resultsUrl = new URL(results.target, response.url).href;
    this.id = decodeURIComponent(/\/sessions\/([^/]+)\/results$/.exec(this.resultsUrl)?.[1] ?? "");
    const sdp = await response.text();
    await this.peer.setRemoteDescription({ type: "answer", sdp }).catch((error) => {
      throw new SluiceError("BAD_ANSWER", `The edge's answer cannot be used: ${error.message}`);
    });
    for (const [ssrc, rate] of soundRates(this.peer.localDescription?.sdp ?? "", sdp)) this.#clock.setRate(ssrc, rate);
    await this.#opened(candidateAddresses(sdp));
    return undefined;
  }

  /** Waits until messages can flow. @param {string[]} addresses where the edge said that it can be reached */
  #opened(addresses) {
    const { signal, timeout = CONNECT_TIMEOUT } = this.#options;
    return new Promise((resolve, reject) => {
      const unreachable = new SluiceError("ICE_FAILED", "The edge answered, but none of its addresses can be reached.", { addresses });
      const timer = setTimeout(() => reject(unreachable), timeout);
      const settle = (/** @type {() => void} */ how) => {
        clearTimeout(timer);
        how();
      };
      this.#fail = (error) => settle(() => reject(error ?? unreachable));
      const open = () => {
        this.#setState("connected");
        settle(() => resolve(undefined));
      };
      if (this.#channel.readyState === "open") open(); // on a busy page it may be so before the answer counts as applied
      else this.#channel.onopen = open;
      if (signal?.aborted) this.#fail(signal.reason);
      signal?.addEventListener("abort", () => this.#fail(signal.reason), { once: true });
    });
  }

  /** @param {RTCPeerConnectionState} state */
  #follow(state) {
    if (state === "failed" && this.state === "connecting") this.#fail(undefined);
    else if (state === "failed") this.#end("network");
    else if (state === "disconnected" && this.state === "connected") this.#setState("interrupted");
    else if (state === "connected" && this.state === "interrupted") this.#setState("connected");
  }

  /** @param {import("./sluice.js").CloseReason} reason */
  #end(reason) {
    if (this.state === "closed") return;
    this.#fail(new SluiceError("SESSION_CLOSED", "The edge ended the session before it was connected."));
    this.#setState("closed");
    this.peer.close();
    this.#wake();
    if (reason === "failed" || reason === "network") void this.#delete(); // the edge may still keep a place for it
    this.#emit("close", { reason });
  }

  async #delete() {
    if (!this.#resource) return;
    const init = { method: "DELETE", keepalive: true, headers: authorization(this.#options.token) };
    await fetch(this.#resource, init).catch(() => undefined); // an edge that is gone has nothing left to end
  }

  /** @param {unknown} data */
  #receive(data) {
    const message = parseMessage(data);
    if (!message) return;
    const { kind, value } = message;
    if (kind === "outcome") {
      this.id ||= value.session ?? "";
      this.#waiting.push(value);
      if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
      this.#wake();
    }
    if (kind === "senderReport") this.#clock.report(value);
    if (kind === "demand" && this.#options.followDemand !== false) void this.#obey(value);
    this.#emit(kind.toLowerCase(), value);
  }

  /** Sends no more than the models look at. With several videos nothing is assumed. @param {Demand} demand */
  async #obey(demand) {
    if (!videoStreams(this.peer.localDescription?.sdp ?? "").includes(demand.stream ?? "")) return;
    const senders = this.peer.getSenders().filter((sender) => sender.track?.kind === "video");
    const parameters = senders[0]?.getParameters();
    if (senders.length !== 1 || !parameters.encodings?.length) return;
    const { width, height } = senders[0].track?.getSettings() ?? {};
    const own = this.#encodings.get(senders[0]) ?? parameters.encodings.map((encoding) => ({ ...encoding }));
    this.#encodings.set(senders[0], own);
    parameters.encodings.forEach((encoding, i) => follow(encoding, own[i] ?? {}, encodingFor(demand, width, height)));
    if (demand.maxFramerate === undefined && demand.maxWidth === undefined) this.#encodings.delete(senders[0]);
    await senders[0].setParameters(parameters).catch(() => undefined); // the sender stopped meanwhile
  }

  /** @param {import("./sluice.js").SessionState} state */
  #setState(state) {
    this.state = state;
    this.#emit("state", state);
  }

  /** @param {string} type @param {unknown} detail */
  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

/**
 * Maps RTP timestamps to this page's clock by the sender reports that the edge relays. Pure: time comes in with the reports.
 */
export class MediaClock {
  /** @type {Map<number, SenderReport[]>} */ #reports = new Map();
  /** @type {Map<number, number>} */ #rates = new Map();

  /** @param {number} timeOrigin ms since 1970, as in performance.timeOrigin @param {number} [rate] RTP ticks a second */
  constructor(timeOrigin, rate = 90_000) {
    this.timeOrigin = timeOrigin;
    this.rate = rate;
  }

  /** Says that a source counts in another rate than the clock's. @param {number} ssrc @param {number} rate RTP ticks a second */
  setRate(ssrc, rate) {
    this.#rates.set(ssrc, rate);
  }

  /** @param {SenderReport} report */
  report(report) {
    const kept = this.#reports.get(report.ssrc) ?? [];
    this.#reports.set(report.ssrc, [...kept.slice(1 - REPORTS), report]);
  }

  /** Capture time in ms since timeOrigin, or undefined before the first report of the SSRC. @param {number} ssrc @param {number} rtp */
  time(ssrc, rtp) {
    const reports = this.#reports.get(ssrc);
    if (!reports) return undefined;
    const rate = this.#rates.get(ssrc) ?? this.rate;
    const times = reports.map((r) => r.ntpMillis - this.timeOrigin + ((rtp - r.rtpTimestamp) | 0) / (rate / 1000));
    return times.sort((a, b) => a - b)[times.length >> 1];
  }
}

const MATCH = 3; // ms between a frame's capture time and its RTP time (measured: 0.65)
const PUSH_MATCH = 20; // ms between drawing a canvas and the browser's stamp for it (measured: 18)
const PUSH_SPACING = 45; // ms that must lie between two pushes for PUSH_MATCH to name only one of them
const ON_TIME = 10; // ms within which a frame callback surely sees its own frame
const SAME = 0.5; // ms between two readings of one frame's media time
const DRIFT_GAIN = 0.02;

/**
 * Finds the frame captured at `time` among frames in capture order. It says "missing" whenever a neighbour could be meant.
 * @param {readonly Frame[]} frames @param {number | undefined} time @param {number} [drift] @returns {Lookup}
 */
export function findFrame(frames, time, drift = 0) {
  if (time === undefined) return { status: "unsynced" };
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

/**
 * Firefox tells no capture time, only the tick that first showed the frame: the first tick after the capture, unless one was missed.
 * @param {readonly Frame[]} frames @param {number} time @returns {Lookup}
 */
function findDisplayed(frames, time) {
  const gaps = frames.slice(1).map((frame, i) => frame.time - frames[i].time).sort((a, b) => a - b);
  const interval = gaps[gaps.length >> 1] ?? 33;
  const at = frames.findIndex((frame) => frame.time >= time - 2);
  if (at < 0) return { status: "early" };
  const late = frames[at].time - time > Math.min(30, 0.9 * interval);
  if (at === 0 || late || frames[at].time - frames[at - 1].time > 1.4 * interval) return { status: "missing" };
  return { status: "found", frame: frames[at] };
}

/** Keeps copies of the last frames of a video or canvas, so that an answer can be drawn on the very frame it is about. */
export class FrameBuffer {
  /** @type {Frame[]} */ #frames = [];
  /** @type {HTMLCanvasElement[]} */ #spare = [];
  #drift = 0;

  /** @param {{ seconds?: number, maxWidth?: number, limit?: number }} [options] */
  constructor({ seconds = 1, maxWidth = 960, limit = 48 } = {}) {
    this.seconds = seconds;
    this.maxWidth = maxWidth;
    this.limit = limit;
  }

  /** The newest frame, if there is one. */
  get latest() {
    return this.#frames.at(-1);
  }

  /** Follows a <video> that plays the local stream that is sent. @param {HTMLVideoElement} video @returns {() => void} stops it */
  watch(video) {
    let handle = 0;
    const next = (/** @type {number} */ now, /** @type {VideoFrameCallbackMetadata} */ about) => {
      handle = video.requestVideoFrameCallback(next);
      this.#snap(video, now, about);
    };
    handle = video.requestVideoFrameCallback(next);
    return () => video.cancelVideoFrameCallback(handle);
  }

  /**
   * Copies what the video shows. On a busy page a callback runs late, when the video may already show a newer frame than the one it was
   * called for. That one has a callback of its own, so nothing is copied then.
   * @param {HTMLVideoElement} video @param {number} now @param {VideoFrameCallbackMetadata} about
   */
  #snap(video, now, { captureTime, mediaTime, width, height }) {
    if (captureTime === undefined || typeof VideoFrame !== "function") {
      if (performance.now() - now < ON_TIME) this.#keep(video, width, height, ...stamp(captureTime, now));
      return;
    }
    const shot = shownBy(video);
    if (!shot) return;
    if (Math.abs(shot.timestamp / 1000 - mediaTime * 1000) < SAME) this.#keep(shot, width, height, "captured", captureTime);
    shot.close();
  }

  /**
   * Takes a frame that the page itself has just drawn to the canvas whose captureStream() is sent. At least 50 ms must lie between
   * two of them, or neither can be told from the other.
   * @param {HTMLCanvasElement} canvas
   */
  push(canvas) {
    this.#keep(canvas, canvas.width, canvas.height, "pushed", performance.now());
  }

  /** @param {number | undefined} time as of Session.captureTime @returns {Lookup} */
  find(time) {
    const found = findFrame(this.#frames, time, this.#drift);
    if (found.frame?.kind === "captured" && time !== undefined)
      this.#drift += DRIFT_GAIN * (found.frame.time - time - this.#drift);
    return found;
  }

  /** Forgets all frames, for another source. */
  clear() {
    this.#spare.push(...this.#frames.splice(0).map((frame) => frame.picture));
    this.#drift = 0;
  }

  /** @param {CanvasImageSource} source @param {number} width @param {number} height @param {Frame["kind"]} kind @param {number} time */
  #keep(source, width, height, kind, time) {
    const scale = Math.min(1, this.maxWidth / width);
    const picture = this.#spare.pop() ?? document.createElement("canvas");
    const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    if (picture.width !== w) picture.width = w;
    if (picture.height !== h) picture.height = h;
    picture.getContext("2d")?.drawImage(source, 0, 0, w, h);
    this.#frames.push({ picture, width, height, kind, time });
    const oldest = time - this.seconds * 1000;
    while (this.#frames.length > this.limit || this.#frames[0].time < oldest)
      this.#spare.push(/** @type {Frame} */ (this.#frames.shift()).picture);
  }
}

// ---- pure helpers, exported for tests and for clients that do their own signalling ----

/**
 * Reads one server message; undefined for anything that is none, or of a kind that this version does not know.
 * @param {unknown} data @returns {import("./sluice.js").ServerMessage | undefined}
 */
export function parseMessage(data) {
  if (typeof data !== "string") return undefined;
  try {
    const message = JSON.parse(data);
    const kind = ["outcome", "senderReport", "demand", "drain", "skipped", "summary"].find((k) => message?.[k] !== undefined);
    return kind ? /** @type {any} */ ({ kind, value: message[kind] }) : undefined;
  } catch {
    return undefined;
  }
}

/** Reads a Link header (RFC 8288). @param {string | null} header @returns {import("./sluice.js").Link[]} */
export function parseLinks(header) {
  const links = [];
  for (const [, target, rest] of (header ?? "").matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^",;\s]+))*)/g)) {
    const parameters = rest.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",;\s]+))/g);
    const pairs = [...parameters].map(([, name, quoted, plain]) => [name.toLowerCase(), plain ?? quoted.replace(/\\(.)/g, "$1")]);
    links.push({ target, rel: "", ...Object.fromEntries(pairs) });
  }
  return links;
}

/** The addresses an answer offers, as "udp 192.0.2.1:8189", for people. @param {string} sdp */
export function candidateAddresses(sdp) {
  const found = sdp.matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) typ/gm);
  const texts = [...found].map(([, transport, host, port]) => `${transport.toLowerCase()} ${host.includes(":") ? `[${host}]` : host}:${port}`);
  return [...new Set(texts)];
}

/**
 * The rates in which the offer's sources of sound count their RTP timestamps, by SSRC: that of the first codec which the answer takes.
 * @param {string} offer @param {string} answer @returns {Map<number, number>}
 */
export function soundRates(offer, answer) {
  const taken = answer.split(/^m=/m);
  const rates = new Map();
  for (const [at, section] of offer.split(/^m=/m).entries()) {
    const [, type] = /^audio \d+ \S+ (\d+)/.exec(taken[at] ?? "") ?? [];
    const [, rate] = new RegExp(`^a=rtpmap:${type} [^/]+/(\\d+)`, "m").exec(taken[at] ?? "") ?? [];
    if (type && rate && section.startsWith("audio")) for (const [, ssrc] of section.matchAll(/^a=ssrc:(\d+) /gm)) rates.set(Number(ssrc), Number(rate));
  }
  return rates;
}

/** The names that the edge may have given the video of an offer: that of its track, or a plain one where that is but a random id. @param {string} offer */
export function videoStreams(offer) {
  const names = ["video"];
  for (const section of offer.split(/^m=/m)) if (section.startsWith("video")) for (const [, id] of section.matchAll(/^a=msid:\S+ (.*?)\r?$/gm)) names.push(id);
  return names;
}

/**
 * The encoding parameters that meet a demand for a picture of the given size.
 * @param {Demand} demand @param {number} [width] @param {number} [height]
 */
export function encodingFor(demand, width = 0, height = 0) {
  const across = demand.maxWidth ? width / demand.maxWidth : 1;
  const down = demand.maxHeight ? height / demand.maxHeight : 1;
  return {
    active: demand.maxFramerate !== 0,
    ...(demand.maxFramerate ? { maxFramerate: demand.maxFramerate } : {}),
    scaleResolutionDownBy: Math.max(1, Math.min(across, down)), // never below what either side needs
  };
}

/**
 * Sets an encoding to what a demand asks for, but never above the page's own settings; without a demand they are what counts again.
 * @param {RTCRtpEncodingParameters} encoding what to set @param {RTCRtpEncodingParameters} own as the page set it
 * @param {RTCRtpEncodingParameters} wanted as encodingFor gives it
 */
export function follow(encoding, own, wanted) {
  encoding.active = own.active !== false && wanted.active !== false;
  const rate = Math.min(own.maxFramerate ?? Infinity, wanted.maxFramerate ?? Infinity);
  if (rate < Infinity) encoding.maxFramerate = rate;
  else delete encoding.maxFramerate;
  encoding.scaleResolutionDownBy = Math.max(own.scaleResolutionDownBy ?? 1, wanted.scaleResolutionDownBy ?? 1);
}

/** Waits until all candidates are known, but no longer than `limit` ms. @param {RTCPeerConnection} peer @param {number} limit */
async function gathered(peer, limit) {
  const complete = new Promise((resolve) => {
    const check = () => peer.iceGatheringState === "complete" && resolve(undefined);
    peer.addEventListener("icegatheringstatechange", check);
    check();
  });
  await Promise.race([complete, pause(limit)]);
}

/** @param {URL} url @param {RequestInit} init */
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
    retryAfter: Number(response.headers.get("Retry-After")) || undefined,
  });
}

/** @param {HTMLVideoElement} video */
function shownBy(video) {
  try {
    return new VideoFrame(video);
  } catch {
    return undefined; // the first callback may come before there is a picture
  }
}

/** @param {number | undefined} captureTime @param {number} now @returns {[Frame["kind"], number]} */
function stamp(captureTime, now) {
  if (captureTime !== undefined) return ["captured", captureTime];
  // Only Gecko's display tick is known to follow the law of findDisplayed; elsewhere such a track cannot be matched.
  return ["mozInnerScreenX" in globalThis ? "displayed" : "unknown", now];
}

/** @param {string | undefined} token @returns {Record<string, string>} */
function authorization(token) {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
