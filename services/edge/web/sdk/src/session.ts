import { Backoff, isFinal } from "./backoff.js";
import { MediaClock, soundRates } from "./clock.js";
import { Connection } from "./connection.js";
import type { Wish } from "./connection.js";
import { contentOf, forModels, imageContent, tensorProtocol } from "./content.js";
import type { Datatype, ImageSource } from "./content.js";
import { DemandFollower } from "./demand.js";
import { SluiceError } from "./errors.js";
import type { CloseReason, ReconnectDetail, SessionEvents, SessionState } from "./events.js";
import type { Outcome, ServerMessage } from "./messages.js";
import { Outbox } from "./send.js";
import type { Content, SendOptions, Sent } from "./send.js";
import { Sources } from "./sources.js";
import type { SourceOptions } from "./sources.js";
import { pause, within } from "./timing.js";
import type { SentFrame } from "./transform.js";

const CONNECT_TIMEOUT = 20_000; // ms; ICE itself needs up to 15 s to try everything
const RECONNECT = 60; // seconds
const MAX_WAITING = 256; // outcomes kept for a slow async iterator
const GRACE = 300; // ms that a silent connection gets before anything is done about it
const ATTEMPT = 4000; // ms that an attempt to connect again may take to get an answer, or to be heard
const RESTART = 400; // ms that ICE, once restarted, may take to be heard
const STABLE = 5000; // ms after which a connection that ends counts as one that stood

export interface ConnectOptions extends SourceOptions {
  /** Names of the models wanted. Default: every model that fits the kind of a stream. */
  models?: readonly string[];
  /** Bearer token, for an edge that wants one. */
  token?: string;
  /** STUN and TURN servers. Default: those that the edge names. */
  iceServers?: RTCIceServer[];
  /** Milliseconds that the connection may take once the edge has answered. Default: 20 000. */
  timeout?: number;
  /** Seconds that a session tries to come back when its connection is lost, before it closes. Default: 60; 0: it closes at once. */
  reconnect?: number;
  /** Gives up connecting, and later closes the session. */
  signal?: AbortSignal;
  /** Whether to lower the frame rate and size of the video to what the models look at. Default: true. */
  followDemand?: boolean;
  /**
   * Whether the frames of video pass through a worker that notes when they leave, by which the clock is checked. Default: true, where the browser can do it
   * and the page's policy allows the worker (Content-Security-Policy: worker-src blob:).
   */
  senderTransform?: boolean;
}

/**
 * Starts a session. Resolves once its connection stands; rejects with a {@link SluiceError} or the signal's reason.
 * @param url base URL of the edge; left out, it is the edge that this module was loaded from
 */
export function connect(url: string | URL, options?: ConnectOptions): Promise<Session>;
export function connect(options?: ConnectOptions): Promise<Session>;
export function connect(first?: string | URL | ConnectOptions, second?: ConnectOptions): Promise<Session> {
  const isUrl = typeof first === "string" || first instanceof URL;
  return Session.open(new URL(isUrl ? first : new URL("..", import.meta.url), globalThis.location?.href), (isUrl ? second : first) ?? {});
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

/**
 * What a page has with an edge, over all the connections that it takes: it notices within a second when one is lost, restarts ICE or
 * makes another, and its events and its iterator go on. {@link connect} makes it.
 */
export class Session extends EventTarget implements AsyncIterable<Outcome> {
  /** Tells when frames were captured, by the sender reports that the edge relays: {@link FrameBuffer.locate} takes it. */
  readonly clock = new MediaClock(performance.timeOrigin);

  #options: ConnectOptions;
  #wish: Wish;
  #sources: Sources;
  #connection: Connection | undefined;
  #state: SessionState = "connecting";
  #since = 0; // when the connection came to stand
  #demands = new WeakMap<Connection, DemandFollower>();
  #outbox = new Outbox((unsent) => this.#emit("unsent", unsent));
  #waiting: Outcome[] = [];
  #wake: () => void = () => {};
  /** Aborted when the session ends. */
  #ending = new AbortController();
  #closing: Promise<void> | undefined;
  #backoff: Backoff | undefined;
  #recovering = false;
  #draining = false;
  /** Cuts the wait before the next attempt short. */
  #nudge: () => void = () => {};

  private constructor(url: URL, options: ConnectOptions, sources: Sources) {
    super();
    this.#options = options;
    this.#sources = sources;
    const endpoint = new URL("whip", url);
    for (const model of options.models ?? []) endpoint.searchParams.append("model", model);
    const { token, iceServers, timeout = CONNECT_TIMEOUT, senderTransform = true } = options;
    this.#wish = { endpoint, sources: sources.list, token, iceServers, timeout, senderTransform };
  }

  /** Makes a session and connects it. @internal */
  static async open(url: URL, options: ConnectOptions): Promise<Session> {
    if (typeof RTCPeerConnection !== "function") throw new SluiceError("NO_WEBRTC", "This browser has no WebRTC.");
    const session = new Session(url, options, await Sources.open(options));
    try {
      options.signal?.throwIfAborted();
      session.#adopt(await Connection.open(session.#wish, session.#listener, options.signal));
      options.signal?.throwIfAborted();
    } catch (error) {
      session.#end("failed", error);
      throw error;
    }
    session.#watch();
    return session;
  }

  /** The session's public id: it opens its results, not its control. Another connection may bring another id. */
  get id(): string {
    return this.#connection?.id ?? "";
  }

  /** Where its outcomes can be followed as Server-Sent Events. */
  get resultsUrl(): string {
    return this.#connection?.resultsUrl ?? "";
  }

  get state(): SessionState {
    return this.#state;
  }

  /** What is sent, for a <video> that shows it. */
  get stream(): MediaStream {
    return this.#sources.stream;
  }

  /** The connection itself, for statistics. After a `reconnect` event it may be another one. */
  get peer(): RTCPeerConnection {
    return (this.#connection as Connection).peer;
  }

  /**
   * The moment that the outcome's frame was captured, in ms on the clock of performance.now(). For a track it is undefined until the
   * first sender report of its SSRC is in (about half a second); for a message it is what it was sent with.
   */
  captureTime(outcome: Pick<Outcome, "ssrc" | "rtpTimestamp"> & Partial<Outcome>): number | undefined {
    const { ssrc, rtpTimestamp, session, stream, sequence } = outcome;
    if (ssrc !== undefined && rtpTimestamp !== undefined) return this.clock.time(ssrc, rtpTimestamp);
    return sequence === undefined ? undefined : this.#outbox.captureTime({ session, stream, sequence });
  }

  /** Outcomes in the order of their arrival, until the session ends. For one reader; one that falls 256 behind loses the oldest. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Outcome, void, undefined> {
    while (this.#waiting.length > 0 || this.state !== "closed") {
      const outcome = this.#waiting.shift();
      if (outcome) yield outcome;
      else await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /**
   * Sends one picture, as a message on a data channel. Anything that a canvas can draw is encoded as JPEG; what it shows when this is called is
   * what is sent.
   * @returns where it went; undefined where a newer one of the stream took its place or there is no connection (see `unsent`)
   */
  async sendImage(image: ImageSource, options: SendOptions = {}): Promise<Sent | undefined> {
    return this.#send("images", "", imageContent(image), options);
  }

  /** Sends one tensor of raw values, little-endian, in row order; as {@link Session.sendImage}. All tensors of a stream have one shape. */
  async sendTensor(
    values: BufferSource, { shape, datatype, ...options }: SendOptions & { shape: readonly number[]; datatype?: Datatype },
  ): Promise<Sent | undefined> {
    return this.#send("tensors", tensorProtocol(values, shape, datatype), contentOf(values), options);
  }

  /** Sends any message that the edge takes, such as `application/json` or `audio/x-raw;format=S16LE;rate=16000`; as {@link Session.sendImage}. */
  async send(message: Blob | BufferSource | string, { type, ...options }: SendOptions & { type: string }): Promise<Sent | undefined> {
    return this.#send("messages", type, contentOf(message), options);
  }

  /** Sends another track of the same kind in place of one, now and on later connections. @param old default: the first of its kind */
  async replaceTrack(track: MediaStreamTrack, old?: MediaStreamTrack): Promise<void> {
    const connection = this.#connection as Connection;
    const tracks = connection.sources().map((source) => source.track);
    const at = tracks.findIndex((one) => (old ? one === old : one.kind === track.kind));
    if (at < 0) throw new SluiceError("NO_TRACK", `The session sends no ${track.kind} track that could be replaced.`);
    if (!connection.hasEnded) await connection.peer.getSenders()[at].replaceTrack(track);
    this.#sources.replaced(tracks[at], track);
    this.#demandOn(connection).refresh();
  }

  /** Ends the session here and at the edge. It may be called at any time and more than once; it never fails. */
  close(): Promise<void> {
    this.#closing ??= this.#leave();
    return this.#closing;
  }

  async #leave(): Promise<void> {
    this.#ending.abort();
    await this.#connection?.leave();
    this.#end("client");
  }

  #send(stream: string, protocol: string, content: Content, options: SendOptions): Promise<Sent | undefined> {
    return this.#outbox.send(options.stream ?? stream, forModels(protocol, options.models), content, options.captureTime ?? performance.now());
  }

  #listener = {
    message: (message: ServerMessage, from: Connection) => this.#receive(message, from),
    silent: (isSilent: boolean, from: Connection) => {
      if (from !== this.#connection || this.#ending.signal.aborted) return;
      this.#setState(isSilent ? "interrupted" : "connected");
      if (isSilent) void this.#recover();
      else this.#nudge();
    },
    sent: (frame: SentFrame) => this.clock.sent(frame),
    ended: (reason: "server" | "network", from: Connection) => {
      if (from !== this.#connection || this.#ending.signal.aborted) return;
      this.#outbox.attach(undefined);
      if (!(this.#patience > 0)) return this.#end(reason);
      this.#setState("interrupted");
      if (this.#recovering) this.#nudge();
      else void this.#recover();
    },
  };

  /** ms for which it tries to come back. */
  get #patience(): number {
    return 1000 * (this.#options.reconnect ?? RECONNECT);
  }

  #watch(): void {
    const { signal } = this.#ending;
    this.#options.signal?.addEventListener("abort", () => void this.close(), { signal });
    this.#sources.watch(
      (ended) => this.#emit("sourceended", ended),
      (old, track) => this.replaceTrack(track, old),
    );
    globalThis.addEventListener?.("online", () => this.#nudge(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => this.#nudge(), { signal });
    globalThis.addEventListener?.("pagehide", ({ persisted }: PageTransitionEvent) => {
      this.#freeze();
      if (!persisted || this.#patience <= 0) void this.close();
    }, { signal });
    globalThis.addEventListener?.("pageshow", ({ persisted }: PageTransitionEvent) => persisted && void this.#recover(), { signal });
  }

  /** The visitor has left a page that may be shown again as it is: until then the edge need not keep a place for it. */
  #freeze(): void {
    this.#connection?.close();
    this.#outbox.attach(undefined);
    this.#setState("interrupted");
  }

  /** Makes a connection the session's. What the one before it still has to say is heard. */
  #adopt(next: Connection, previous?: Connection): void {
    this.#connection = next;
    this.#draining = false;
    this.#since = performance.now();
    for (const [ssrc, rate] of soundRates(next.peer.localDescription?.sdp ?? "", next.answer)) this.clock.setRate(ssrc, rate);
    this.#outbox.attach(next);
    this.#setState("connected");
    if (!previous) return;
    void previous.leave();
    this.#emit("reconnect", { id: next.id, resumed: false } satisfies ReconnectDetail);
  }

  /** Brings the connection back, or another one; gives up after a while. */
  async #recover(): Promise<void> {
    const limit = this.#patience;
    if (this.#recovering || limit <= 0) return;
    this.#recovering = true;
    const began = performance.now();
    if (!this.#backoff || began - this.#since > STABLE) this.#backoff = new Backoff(began, limit);
    let last: unknown;
    let mayRestart = true;
    let lent = this.#connection?.lent;
    if (this.#state !== "connected" && !this.#connection?.hasEnded) await this.#pause(GRACE);
    while (!this.#isBack()) {
      const wait = this.#backoff.next(performance.now(), last, Math.random());
      if (wait === undefined) return this.#end("network", last);
      await this.#pause(wait);
      if (this.#isBack()) break;
      try {
        if (mayRestart && !this.#draining && (await this.#restarted())) continue; // and is over, unless the edge has asked to leave meanwhile
        mayRestart = false;
        await this.#renew(lent);
        last = undefined; // should it end again at once, the pauses get longer all the same
      } catch (error) {
        if (isFinal(error)) return this.#end("refused", error);
        last = error;
        lent = undefined; // what they lent may have run out
      }
    }
    this.#recovering = false;
  }

  #isBack(): boolean {
    return this.#ending.signal.aborted || (!this.#draining && this.#connection?.isOpen === true);
  }

  /** Restarts ICE. @returns whether that brought the connection back; it throws when the edge could not be asked */
  async #restarted(): Promise<boolean> {
    const connection = this.#connection;
    if (!connection || connection.hasEnded) return false;
    try {
      await connection.restart(within(ATTEMPT, this.#ending.signal));
    } catch (error) {
      if (error instanceof SluiceError && error.code === "EDGE_UNREACHABLE" && !connection.hasEnded) throw error;
      return false; // the edge knows no such session any more, or cannot restart it
    }
    await this.#pause(Math.max(RESTART, 4 * connection.roundTrip)); // a browser with two networks may stay on the dead one for seconds more
    if (!connection.isOpen) return false;
    this.#emit("reconnect", { id: connection.id, resumed: true } satisfies ReconnectDetail);
    return true;
  }

  /** Makes another connection and only then lets go of the one before it. */
  async #renew(lent: RTCIceServer[] | undefined): Promise<void> {
    const previous = this.#connection as Connection;
    const iceServers = this.#wish.iceServers ?? (lent?.length ? lent : undefined);
    const wish = { ...this.#wish, sources: previous.sources(), iceServers, timeout: Math.min(this.#wish.timeout, 2 * ATTEMPT) };
    const next = await Connection.open(wish, this.#listener, this.#ending.signal);
    if (this.#ending.signal.aborted) return next.close();
    next.peer.getSenders().forEach((sender, i) => {
      const { track } = wish.sources[i];
      if (sender.track !== track) void sender.replaceTrack(track).catch(() => undefined); // the page replaced it meanwhile
    });
    this.#adopt(next, previous);
  }

  /** Waits, but no longer than until something has changed. */
  async #pause(ms: number): Promise<void> {
    const nudged = new AbortController();
    this.#nudge = () => nudged.abort();
    await pause(ms, AbortSignal.any([nudged.signal, this.#ending.signal]));
    this.#nudge = () => {};
  }

  #receive(message: ServerMessage, from: Connection): void {
    const { kind, value } = message;
    if (kind === "pong") return;
    if (kind === "outcome") {
      this.#demandOn(from).learn(value);
      this.#waiting.push(value);
      if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
      this.#wake();
    }
    if (kind === "senderReport") this.clock.report(value);
    if (kind === "demand" && this.#options.followDemand !== false) void this.#demandOn(from).obey(value);
    this.#emit(kind.toLowerCase(), value);
    if (kind !== "drain" || from !== this.#connection) return;
    this.#draining = true;
    void this.#recover();
  }

  #demandOn(connection: Connection): DemandFollower {
    const known = this.#demands.get(connection) ?? new DemandFollower(connection.peer);
    this.#demands.set(connection, known);
    return known;
  }

  #end(reason: CloseReason, error?: unknown): void {
    if (this.#state === "closed") return;
    this.#ending.abort();
    this.#connection?.close();
    this.#outbox.attach(undefined);
    this.#sources.close();
    this.#setState("closed");
    this.#wake();
    this.#emit("close", { reason, ...(error !== undefined && { error }) });
  }

  #setState(state: SessionState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#emit("state", state);
  }

  #emit(type: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
