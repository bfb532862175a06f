import type { Connection } from "./connection.js";
import { SluiceError } from "./errors.js";
import type { Outcome } from "./messages.js";

const MAX_MESSAGE = 4 << 20; // bytes that an edge takes unless it is configured otherwise
const WHOLE = 64 << 10; // bytes that go as one message; more goes in chunks, between which other channels have their turn
const CHUNK = 32 << 10; // bytes of a chunk without its header
const HEADER = 16;
const MAGIC = 0x534c4331; // "SLC1"
const LOW = 16 << 10; // bytes not yet sent below which the next message may follow
const TIMES = 512; // capture times kept for a stream
const MAX_STREAMS = 7; // an edge takes 8 channels, of which one carries messages
const MAX_SOUNDS = 32; // messages of sound that wait: each is a part of a recording

/** What to send a message as. */
export interface SendOptions {
  /** Names the stream: outcomes carry it. All messages of a stream are of one kind. Default: "images", "tensors" or "messages". */
  stream?: string;
  /** When what is in it was captured, in ms on the clock of performance.now(); {@link Session.captureTime} gives it back. Default: now. */
  captureTime?: number;
  /** Models of the session that it is for. Default: all that take such. */
  models?: readonly string[];
}

/** Where a message went: an outcome about it has the same stream and sequence. */
export interface Sent {
  stream: string;
  sequence: number;
}

/**
 * - `SUPERSEDED`: a newer message of the stream took its place while the network was busy, or the browser with encoding.
 * - `NOT_CONNECTED`: there was no connection to send it on. Nothing is kept for later: answers about old frames are worth nothing.
 */
export type UnsentReason = "SUPERSEDED" | "NOT_CONNECTED";

/** A message that was not sent. */
export interface Unsent {
  stream: string;
  captureTime: number;
  reason: UnsentReason;
}

type Bytes = Uint8Array<ArrayBuffer>;

/** A message: its bytes, or how to encode it, which is done only when it is going to be sent. */
export type Content = Bytes | (() => Promise<Bytes>);

interface Waiting {
  content: Content;
  captureTime: number;
  settle: (sent: Sent | undefined) => void;
  fail: (error: unknown) => void;
}

/** The streams of messages of a session, each on a data channel of its connection, whichever that is. */
export class Outbox {
  #streams = new Map<string, Stream>();
  #connection: Connection | undefined;
  #unsent: (what: Unsent) => void;

  /** @param unsent is told of each message that is given up */
  constructor(unsent: (what: Unsent) => void) {
    this.#unsent = unsent;
  }

  /** Sends by another connection from now on, or by none. */
  attach(connection: Connection | undefined): void {
    this.#connection = connection;
    for (const stream of this.#streams.values()) stream.attach(connection);
  }

  /**
   * Sends one message when the network is ready for it. Of pictures, tensors and documents one waits and a newer one takes its place.
   * @param stream its name @param protocol what the stream's messages are, as a data channel's protocol 
   * @returns where it went, or undefined where it was given up
   */
  async send(stream: string, protocol: string, content: Content, captureTime: number): Promise<Sent | undefined> {
    return this.#stream(stream, protocol).send(content, captureTime);
  }

  /** When what an outcome is about was captured, if it was sent here. */
  captureTime(outcome: Pick<Outcome, "session" | "stream" | "sequence">): number | undefined {
    const known = outcome.session === undefined || outcome.session === this.#connection?.id;
    return known ? this.#streams.get(outcome.stream ?? "")?.captureTime(outcome.sequence) : undefined;
  }

  #stream(name: string, protocol: string): Stream {
    const known = this.#streams.get(name);
    if (known) {
      if (known.protocol === protocol) return known;
      throw new SluiceError("STREAM_TYPE", `The stream "${name}" carries "${known.protocol}", not "${protocol}": give this one a stream of its own.`);
    }
    if (this.#streams.size >= MAX_STREAMS) throw new SluiceError("TOO_MANY_STREAMS", `A session has at most ${MAX_STREAMS} streams of messages.`);
    const stream = new Stream(name, protocol, this.#unsent);
    this.#streams.set(name, stream);
    stream.attach(this.#connection);
    return stream;
  }
}

class Stream {
  #channel: RTCDataChannel | undefined;
  #connection: Connection | undefined;
  #waiting: Waiting[] = [];
  #times = new Map<number, number>();
  #sequence = 0;
  #id = 0; // of messages in chunks
  #busy = false; // a message is being encoded

  constructor(
    readonly name: string,
    readonly protocol: string,
    readonly unsent: (what: Unsent) => void,
  ) {}

  attach(connection: Connection | undefined): void {
    this.#giveUp(0, "NOT_CONNECTED");
    this.#connection = connection;
    this.#sequence = 0;
    this.#times.clear();
    const channel = connection?.peer.createDataChannel(this.name, { protocol: this.protocol });
    this.#channel = channel;
    if (!channel) return;
    channel.bufferedAmountLowThreshold = LOW;
    channel.onopen = channel.onbufferedamountlow = () => void this.#pump();
    channel.onclose = () => channel === this.#channel && this.#giveUp(0, "NOT_CONNECTED");
  }

  send(content: Content, captureTime: number): Promise<Sent | undefined> {
    return new Promise((settle, fail) => {
      this.#waiting.push({ content, captureTime, settle, fail });
      if (!this.#connection?.isOpen || this.#channel?.readyState === "closed") return this.#giveUp(0, "NOT_CONNECTED");
      void this.#pump();
      this.#giveUp(this.protocol.startsWith("audio/") ? MAX_SOUNDS : 1, "SUPERSEDED");
    });
  }

  captureTime(sequence: number): number | undefined {
    return this.#times.get(sequence);
  }

  /** Sends what waits as long as the channel takes it, one after another. */
  async #pump(): Promise<void> {
    while (!this.#busy && this.#takes()) {
      const next = this.#waiting.shift();
      if (!next) return;
      const channel = this.#channel;
      try {
        this.#busy = true;
        const data = typeof next.content === "function" ? await next.content() : next.content;
        if (channel === this.#channel && channel?.readyState === "open") this.#put(next, data, channel);
        else this.#drop(next, "NOT_CONNECTED"); // it went while the message was encoded
      } catch (error) {
        next.fail(error);
      } finally {
        this.#busy = false;
      }
    }
  }

  #takes(): boolean {
    return this.#channel?.readyState === "open" && this.#channel.bufferedAmount <= LOW;
  }

  #put({ captureTime, settle }: Waiting, data: Bytes, channel: RTCDataChannel): void {
    if (data.byteLength > MAX_MESSAGE)
      throw new SluiceError("TOO_LARGE", `A message has at most ${MAX_MESSAGE >> 20} MiB; this one has ${(data.byteLength / (1 << 20)).toFixed(1)} MiB.`);
    for (const piece of pieces(data, ++this.#id)) channel.send(piece);
    this.#sequence++;
    this.#times.set(this.#sequence, captureTime);
    this.#times.delete(this.#sequence - TIMES);
    settle({ stream: this.name, sequence: this.#sequence });
  }

  /** Gives up all but the newest that wait. */
  #giveUp(keep: number, reason: UnsentReason): void {
    while (this.#waiting.length > keep) {
      const oldest = this.#waiting.shift();
      if (oldest) this.#drop(oldest, reason);
    }
  }

  #drop({ captureTime, settle }: Waiting, reason: UnsentReason): void {
    settle(undefined);
    this.unsent({ stream: this.name, captureTime, reason });
  }
}

/** A message as a channel takes it: whole, or in chunks behind a header of four big-endian words: "SLC1", the message's id, the chunk's index, their number. */
export function* pieces(message: Bytes, id: number): Generator<Bytes> {
  const looksLikeChunk = message.byteLength >= 4 && new DataView(message.buffer, message.byteOffset).getUint32(0) === MAGIC;
  if (message.byteLength <= WHOLE && !looksLikeChunk) return yield message;
  const count = Math.ceil(message.byteLength / CHUNK);
  for (let index = 0; index < count; index++) {
    const body = message.subarray(index * CHUNK, (index + 1) * CHUNK);
    const chunk = new Uint8Array(HEADER + body.byteLength);
    [MAGIC, id, index, count].forEach((word, i) => new DataView(chunk.buffer).setUint32(4 * i, word));
    chunk.set(body, HEADER);
    yield chunk;
  }
}
