import { MediaClock, soundRates } from "./clock.js";
import { DemandFollower } from "./demand.js";
import { SluiceError } from "./errors.js";
import { parseMessage } from "./messages.js";
import type { Demand, Drain, Outcome, SenderReport, Summary } from "./messages.js";
import { authorization, candidateAddresses, gathered, parseLinks, pause, request } from "./signal.js";

const MESSAGE_PROTOCOL = "sluice.v1+json";
const RESULTS_RELATION = "urn:ietf:params:whip:ext:sluice:results";
const CONNECT_TIMEOUT = 20_000; // ms; ICE itself needs up to 15 s to try everything
const GATHER_LOCAL = 500; // ms to find this side's own addresses
const GATHER_SERVERS = 2000; // ms to find those that STUN and TURN servers lend
const MAX_WAITING = 256; // outcomes kept for a slow async iterator
const SUMMARY_WAIT = 500; // ms that close() waits for the session's counts

export interface ConnectOptions {
  /** Base URL of the edge. Default: the edge that this module was loaded from. */
  url?: string | URL;
  /** What to send: all of its tracks. Without it the session has data channels only: see {@link Session.peer}. */
  stream?: MediaStream | MediaStreamTrack;
  /** A microphone's track to send beside the stream; the answers about it have {@link Result.speech}, for instance. */
  microphone?: MediaStreamTrack;
  /** Names of the models wanted. Default: every model that fits the kind of a stream. */
  models?: readonly string[];
  /** Bearer token, for an edge that wants one. */
  token?: string;
  /** STUN and TURN servers. Default: those that the edge names. */
  iceServers?: RTCIceServer[];
  /** Milliseconds that the connection may take once the edge has answered. Default: 20 000. */
  timeout?: number;
  /** Gives up connecting. It does not end a session that stands. */
  signal?: AbortSignal;
  /** Whether to lower the frame rate and size of the video to what the models look at. Default: true. */
  followDemand?: boolean;
}

export type SessionState = "connecting" | "connected" | "interrupted" | "closed";

/** Who ended a session: `client` (close was called), `server` (the edge), `network` (the connection was lost), `failed` (it never stood). */
export type CloseReason = "client" | "server" | "network" | "failed";

export interface SessionEvents {
  /** One unit's end for one model. */
  outcome: CustomEvent<Outcome>;
  /** An RTCP sender report as the edge received it. */
  senderreport: CustomEvent<SenderReport>;
  /** What the models can use of a stream. Already followed, unless `followDemand` is false. */
  demand: CustomEvent<Demand>;
  /** The edge is shutting down: connect anew. */
  drain: CustomEvent<Drain>;
  /** Outcomes that this client lost because it was slow. */
  skipped: CustomEvent<number>;
  /** The session's counts, when it ends. */
  summary: CustomEvent<Summary>;
  state: CustomEvent<SessionState>;
  close: CustomEvent<{ reason: CloseReason }>;
}

/** Starts a session. Resolves once its connection stands; rejects with a {@link SluiceError} or the signal's reason. */
export async function connect(options: ConnectOptions): Promise<Session> {
  if (typeof RTCPeerConnection !== "function") throw new SluiceError("NO_WEBRTC", "This browser has no WebRTC.");
  return Session.open(options);
}

// The listeners of a session know the types of its events.
export interface Session {
  addEventListener<K extends keyof SessionEvents>(
    type: K, listener: (event: SessionEvents[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
  removeEventListener<K extends keyof SessionEvents>(
    type: K, listener: (event: SessionEvents[K]) => void, options?: boolean | EventListenerOptions): void;
  removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}

/** One connection to an edge. {@link connect} makes it. */
export class Session extends EventTarget implements AsyncIterable<Outcome> {
  /** The session's public id: it opens its results, not its control. */
  get id(): string { return this.#id; }
  /** Where its outcomes can be followed as Server-Sent Events. */
  get resultsUrl(): string { return this.#resultsUrl; }
  get state(): SessionState { return this.#state; }
  /** The connection itself, for statistics, replaceTrack, or more data channels: each is a stream of frames. */
  readonly peer: RTCPeerConnection;

  #id = "";
  #resultsUrl = "";
  #state: SessionState = "connecting";
  #clock = new MediaClock(performance.timeOrigin);
  #demand: DemandFollower;
  #waiting: Outcome[] = [];
  #wake: () => void = () => {};
  #fail: (error: unknown) => void = () => {};
  #channel: RTCDataChannel;
  #resource: string | undefined;
  #options: ConnectOptions;

  private constructor(options: ConnectOptions) {
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
  static async open(options: ConnectOptions): Promise<Session> {
    const session = new Session(options);
    try {
      const iceServers = await session.#start();
      if (!iceServers) return session;
      session.#end("failed");
      return Session.open({ ...options, iceServers });
    } catch (error) {
      session.#end("failed");
      throw error;
    }
  }

  /**
   * The moment that the outcome's frame was captured, in ms on the clock of performance.now(); undefined until the first sender
   * report of its SSRC is in (about half a second), and for messages of data channels.
   */
  captureTime({ ssrc, rtpTimestamp }: Pick<Outcome, "ssrc" | "rtpTimestamp">): number | undefined {
    return ssrc === undefined || rtpTimestamp === undefined ? undefined : this.#clock.time(ssrc, rtpTimestamp);
  }

  /** Outcomes in the order of their arrival, until the session ends. For one reader; one that falls 256 behind loses the oldest. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Outcome, void, undefined> {
    while (this.#waiting.length > 0 || this.state !== "closed") {
      const outcome = this.#waiting.shift();
      if (outcome) yield outcome;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** Ends the session here and at the edge. It may be called at any time and more than once; it never fails. */
  async close(): Promise<void> {
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
  async #start(): Promise<RTCIceServer[] | undefined> {
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
    if (results) this.#resultsUrl = new URL(results.target, response.url).href;
    this.#id = decodeURIComponent(/\/sessions\/([^/]+)\/results$/.exec(this.#resultsUrl)?.[1] ?? "");
    const sdp = await response.text();
    await this.peer.setRemoteDescription({ type: "answer", sdp }).catch((error) => {
      throw new SluiceError("BAD_ANSWER", `The edge's answer cannot be used: ${error.message}`);
    });
    for (const [ssrc, rate] of soundRates(this.peer.localDescription?.sdp ?? "", sdp)) this.#clock.setRate(ssrc, rate);
    await this.#opened(candidateAddresses(sdp));
    return undefined;
  }

  /** Waits until messages can flow. @param addresses where the edge said that it can be reached */
  #opened(addresses: string[]): Promise<void> {
    const { signal, timeout = CONNECT_TIMEOUT } = this.#options;
    return new Promise((resolve, reject) => {
      const unreachable = new SluiceError("ICE_FAILED", "The edge answered, but none of its addresses can be reached.", { addresses });
      const timer = setTimeout(() => reject(unreachable), timeout);
      const settle = (how: () => void) => {
        clearTimeout(timer);
        how();
      };
      this.#fail = (error) => settle(() => reject(error ?? unreachable));
      const open = () => {
        this.#setState("connected");
        settle(resolve);
      };
      if (this.#channel.readyState === "open") open(); // on a busy page it may be so before the answer counts as applied
      else this.#channel.onopen = open;
      if (signal?.aborted) this.#fail(signal.reason);
      signal?.addEventListener("abort", () => this.#fail(signal.reason), { once: true });
    });
  }

  #follow(state: RTCPeerConnectionState): void {
    if (state === "failed" && this.state === "connecting") this.#fail(undefined);
    else if (state === "failed") this.#end("network");
    else if (state === "disconnected" && this.state === "connected") this.#setState("interrupted");
    else if (state === "connected" && this.state === "interrupted") this.#setState("connected");
  }

  #end(reason: CloseReason): void {
    if (this.state === "closed") return;
    this.#fail(new SluiceError("SESSION_CLOSED", "The edge ended the session before it was connected."));
    this.#setState("closed");
    this.peer.close();
    this.#wake();
    if (reason === "failed" || reason === "network") void this.#delete(); // the edge may still keep a place for it
    this.#emit("close", { reason });
  }

  async #delete(): Promise<void> {
    if (!this.#resource) return;
    const init = { method: "DELETE", keepalive: true, headers: authorization(this.#options.token) };
    await fetch(this.#resource, init).catch(() => undefined); // an edge that is gone has nothing left to end
  }

  #receive(data: unknown): void {
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

  #setState(state: SessionState): void {
    this.#state = state;
    this.#emit("state", state);
  }

  #emit(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
