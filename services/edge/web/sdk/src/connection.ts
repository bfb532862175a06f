import { SluiceError } from "./errors.js";
import { BEAT, Heartbeat } from "./heartbeat.js";
import { parseMessage } from "./messages.js";
import type { ServerMessage } from "./messages.js";
import { candidateAddresses, iceFragment, withFragment } from "./sdp.js";
import { erase, publish, restart } from "./signal.js";
import { pause, within } from "./timing.js";
import { SenderWatch } from "./transform.js";
import type { SentFrame } from "./transform.js";

const MESSAGE_PROTOCOL = "sluice.v1+json";
const ANSWER_TIMEOUT = 10_000; // ms; an edge answers within 7 s
const GATHER_LOCAL = 500; // ms to find this side's own addresses
const GATHER_RESTART = 100; // ms of the same for an ICE restart: the edge learns of what is found later from the checks that come from there
const GATHER_SERVERS = 2000; // ms to find those that STUN and TURN servers lend
const FAREWELL = 1000; // ms that a session's last messages and its counts may take

/** A track to send and what to send it as. */
export interface Source {
  track: MediaStreamTrack;
  /** Names the stream at the edge. */
  group: MediaStream;
  encodings?: RTCRtpEncodingParameters[];
}

/** What to connect to and what for. */
export interface Wish {
  /** WHIP endpoint, with the models in its query. */
  endpoint: URL;
  sources: readonly Source[];
  token?: string;
  /** Undefined: those that the edge names. */
  iceServers?: RTCIceServer[];
  /** ms that the connection may take once the edge has answered. */
  timeout: number;
  /** Whether frames of video are noted as they leave. */
  senderTransform: boolean;
}

/** What a connection tells its session. */
export interface Listener {
  message(message: ServerMessage, from: Connection): void;
  /** Nothing comes any more, or something comes again. */
  silent(isSilent: boolean, from: Connection): void;
  /** A frame of video has left. */
  sent(frame: SentFrame): void;
  /** It has ended, and not by close(): the edge ended it, or the network did. */
  ended(reason: "server" | "network", from: Connection): void;
}

/** One PeerConnection with an edge, its channel for messages and its WHIP resource. It can restart ICE; it never comes back once it has ended. */
export class Connection {
  readonly peer: RTCPeerConnection;
  id = "";
  resultsUrl = "";
  /** STUN and TURN servers that the edge lends. */
  lent: RTCIceServer[] = [];
  /** The SDP answer, for what it tells about codecs. */
  answer = "";

  #wish: Wish;
  #listener: Listener;
  #channel: RTCDataChannel;
  #resource: string | undefined;
  #senders: SenderWatch | undefined;
  #heartbeat = new Heartbeat();
  #beat: ReturnType<typeof setInterval> | undefined;
  #silent = false;
  #state: "connecting" | "open" | "leaving" | "ended" = "connecting";
  #fail: (error: unknown) => void = () => {};
  #summarised: () => void = () => {};

  private constructor(wish: Wish, listener: Listener) {
    this.#wish = wish;
    this.#listener = listener;
    this.peer = new RTCPeerConnection({ iceServers: wish.iceServers ?? [], bundlePolicy: "max-bundle" });
    this.peer.addEventListener("connectionstatechange", () => this.#follow(this.peer.connectionState));
    this.#channel = this.peer.createDataChannel("sluice", { protocol: MESSAGE_PROTOCOL });
    this.#channel.onmessage = (event) => this.#receive(event.data);
    this.#channel.onclose = () => this.#end(this.peer.connectionState === "failed" ? "network" : "server");
  }

  /**
   * Makes a connection and resolves once messages can flow. With this side's candidates in the offer an edge behind a NAT of its own may
   * reach what cannot reach it. An edge names its STUN and TURN servers only in its answer, too late to gather with: then a second
   * connection is made with them.
   */
  static async open(wish: Wish, listener: Listener, signal?: AbortSignal): Promise<Connection> {
    const connection = new Connection(wish, listener);
    try {
      if (await connection.#start(signal)) return connection;
    } catch (error) {
      connection.close();
      throw error;
    }
    connection.close();
    return Connection.open({ ...wish, iceServers: connection.lent }, listener, signal);
  }

  /** Whether messages can flow, as far as is known. */
  get isOpen(): boolean {
    return this.#state === "open" && !this.#silent;
  }

  /** ms that the last ping took that was answered; 0 before. */
  get roundTrip(): number {
    return this.#heartbeat.roundTrip;
  }

  /** Whether it has ended, for good. */
  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  /** What it was made to send, with the tracks that are sent now: a page may have replaced some on the connection itself. */
  sources(): readonly Source[] {
    const senders = this.hasEnded ? [] : this.peer.getSenders(); // a closed connection has none, or only those of its end
    this.#wish.sources.forEach((source, i) => (source.track = senders[i]?.track ?? source.track));
    return this.#wish.sources;
  }

  /** Restarts ICE on the same session. It throws what is in the way; the connection is as it was then. */
  async restart(signal: AbortSignal): Promise<void> {
    const { peer } = this;
    if (!this.#resource || !peer.remoteDescription) throw new SluiceError("SESSION_CLOSED", "There is no session to restart.");
    const gathered = this.#gathered(GATHER_RESTART);
    await peer.setLocalDescription(await peer.createOffer({ iceRestart: true }));
    try {
      await gathered;
      const offer = iceFragment(peer.localDescription?.sdp ?? "");
      const fragment = await restart(this.#resource, offer, this.#wish.token, within(ANSWER_TIMEOUT, signal));
      await peer.setRemoteDescription({ type: "answer", sdp: withFragment(peer.remoteDescription.sdp, fragment) });
    } catch (error) {
      if (peer.signalingState === "have-local-offer") await peer.setLocalDescription({ type: "rollback" }).catch(() => undefined);
      throw error;
    }
  }

  /** Sends a text message; nothing happens where it cannot. */
  say(message: string): void {
    if (this.#channel.readyState === "open") this.#channel.send(message);
  }

  /** Ends the session at the edge and, once its last messages and counts are in, here. It never fails. */
  async leave(): Promise<void> {
    if (!this.isOpen) return this.close();
    this.#state = "leaving";
    const summary = new Promise<void>((resolve) => (this.#summarised = resolve));
    this.say('{"bye":{}}');
    await Promise.race([summary, pause(FAREWELL)]);
    this.close();
  }

  /** Ends it at once. The edge is told, where it can be. */
  close(): void {
    if (this.#state === "ended") return;
    this.#stop();
    if (this.#resource) void erase(this.#resource, this.#wish.token); // the edge may still keep a place for it
  }

  /** @returns false where it has to be done anew with the servers that the edge lends */
  async #start(signal: AbortSignal | undefined): Promise<boolean> {
    const { endpoint, sources, token, iceServers } = this.#wish;
    const hasVideo = sources.some(({ track }) => track.kind === "video");
    if (hasVideo && this.#wish.senderTransform) this.#senders = await SenderWatch.start((frame) => this.#listener.sent(frame));
    for (const { track, group, encodings } of sources) {
      const { sender } = this.peer.addTransceiver(track, { direction: "sendonly", streams: [group], ...(encodings && { sendEncodings: encodings }) });
      if (track.kind === "video") this.#senders?.attach(sender);
    }
    const gathered = this.#gathered(GATHER_LOCAL);
    await this.peer.setLocalDescription();
    await gathered;
    const published = await publish(endpoint, this.peer.localDescription?.sdp ?? "", token, within(ANSWER_TIMEOUT, signal));
    this.#resource = published.resource;
    this.lent = published.iceServers;
    if (!iceServers && this.lent.length > 0) return false;
    this.resultsUrl = published.resultsUrl;
    this.id = published.id;
    this.answer = published.answer;
    await this.peer.setRemoteDescription({ type: "answer", sdp: this.answer }).catch((error) => {
      throw new SluiceError("BAD_ANSWER", `The edge's answer cannot be used: ${error.message}`);
    });
    await this.#opened(candidateAddresses(this.answer), signal);
    this.#beat = setInterval(() => this.#check(), BEAT);
    return true;
  }

  /** Waits until messages can flow. @param addresses where the edge said that it can be reached */
  #opened(addresses: string[], signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const unreachable = new SluiceError("ICE_FAILED", "The edge answered, but none of its addresses can be reached.", { addresses });
      const settle = (how: () => void) => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", abort);
        how();
      };
      this.#fail = (error) => settle(() => reject(error ?? unreachable));
      const abort = () => this.#fail(signal?.reason);
      const timer = setTimeout(() => this.#fail(undefined), this.#wish.timeout);
      const open = () => {
        this.#state = "open";
        settle(resolve);
      };
      if (this.#channel.readyState === "open") open(); // on a busy page it may be so before the answer counts as applied
      else this.#channel.onopen = open;
      if (signal?.aborted) abort();
      else signal?.addEventListener("abort", abort);
    });
  }

  /** Resolves when the candidates of the next local description are known, or after a while. @param local ms that may take without servers */
  #gathered(local: number): Promise<void> {
    const complete = new Promise<void>((resolve) => {
      const look = ({ candidate }: RTCPeerConnectionIceEvent) => {
        if (candidate) return;
        this.peer.removeEventListener("icecandidate", look);
        resolve();
      };
      this.peer.addEventListener("icecandidate", look);
    });
    return Promise.race([complete, pause(this.#wish.iceServers?.length ? GATHER_SERVERS : local)]);
  }

  #check(): void {
    const hidden = globalThis.document?.visibilityState === "hidden";
    const { ping, lost } = this.#heartbeat.beat(performance.now(), hidden);
    if (ping !== undefined) this.say(`{"ping":{"id":${ping}}}`);
    if (lost) this.#setSilent(true);
  }

  #follow(state: RTCPeerConnectionState): void {
    if (state === "failed" && this.#state === "connecting") this.#fail(undefined);
    else if (state === "failed") this.#end("network");
    else if (state === "disconnected") this.#setSilent(true);
  }

  #setSilent(isSilent: boolean): void {
    if (this.#silent === isSilent || this.#state !== "open") return;
    this.#silent = isSilent;
    this.#listener.silent(isSilent, this);
  }

  #receive(data: unknown): void {
    const message = parseMessage(data);
    if (!message || this.#state === "ended") return;
    if (message.kind === "pong") this.#heartbeat.pong(message.value.id ?? 0, performance.now());
    else this.#heartbeat.heard();
    this.#setSilent(false);
    if (message.kind === "outcome") this.id ||= message.value.session ?? "";
    this.#listener.message(message, this);
    if (message.kind !== "summary") return;
    this.#resource = undefined; // to delete what has ended would be refused
    this.#summarised();
  }

  #end(reason: "server" | "network"): void {
    if (this.#state === "ended") return;
    const wasOpen = this.#state === "open";
    this.#stop();
    if (reason === "network" && this.#resource) void erase(this.#resource, this.#wish.token);
    if (wasOpen) this.#listener.ended(reason, this);
  }

  #stop(): void {
    this.#state = "ended";
    clearInterval(this.#beat);
    this.#fail(new SluiceError("SESSION_CLOSED", "The edge ended the session before it was connected."));
    this.#summarised();
    this.peer.close();
    this.#senders?.close();
  }
}
