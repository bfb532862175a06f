import { encodingsFor, follow } from "./encodings.js";
import type { Demand, Outcome } from "./messages.js";

/** The settings of an encoding that a demand decides. */
const SETTINGS = ["active", "maxFramerate", "maxBitrate", "scaleResolutionDownBy"] as const;

/** A sender's encodings while a demand is in force. */
interface Followed {
  /** The page's own settings. */
  own: RTCRtpEncodingParameters[];
  /** What was set in their place: where a sender has something else, the page has changed it meanwhile. */
  set: RTCRtpEncodingParameters[];
}

/**
 * Sends no more of a connection's videos than the models look at: sets their senders to what the edge demands, and back to the page's own
 * settings when a demand is over. One for each connection.
 */
export class DemandFollower {
  #peer: RTCPeerConnection;
  /** The newest demand for each stream of which one is in force. */
  #demands = new Map<string, Demand>();
  /** A source of each stream. */
  #sources = new Map<string, number>();
  #followed = new WeakMap<RTCRtpSender, Followed>();
  #work: Promise<void> = Promise.resolve();

  constructor(peer: RTCPeerConnection) {
    this.#peer = peer;
  }

  /** Learns from an outcome which of the connection's sources its stream is: a name alone may not tell one video from another. */
  learn({ stream, ssrc }: Pick<Outcome, "stream" | "ssrc">): void {
    if (stream === undefined || ssrc === undefined || this.#sources.has(stream)) return;
    this.#sources.set(stream, ssrc);
    if (this.#demands.has(stream)) void this.#meet(stream);
  }

  /** Meets a demand, at once or as soon as it is known which video it is about. Resolves when all that can be done now is done; never rejects. */
  obey(demand: Demand): Promise<void> {
    const stream = demand.stream ?? "";
    this.#demands.set(stream, demand);
    return this.#meet(stream);
  }

  /** Meets the demands anew: a video has another track, whose size and rate may differ. */
  refresh(): void {
    for (const stream of this.#demands.keys()) void this.#meet(stream);
  }

  /** One after another: a sender's settings must not change between reading and writing them. */
  #meet(stream: string): Promise<void> {
    this.#work = this.#work.then(() => this.#apply(stream)).catch(() => undefined); // the sender stopped meanwhile
    return this.#work;
  }

  async #apply(stream: string): Promise<void> {
    const demand = this.#demands.get(stream);
    const sender = await this.#sender(stream);
    const parameters = sender?.getParameters();
    if (!demand || demand !== this.#demands.get(stream)) return; // a newer one has its own turn
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
  #own(sender: RTCRtpSender, now: readonly RTCRtpEncodingParameters[]): RTCRtpEncodingParameters[] {
    const followed = this.#followed.get(sender);
    return now.map((encoding, i) => {
      const own: Record<string, unknown> = { ...(followed?.own[i] ?? encoding) };
      if (followed) for (const name of SETTINGS) if (encoding[name] !== followed.set[i]?.[name]) own[name] = encoding[name];
      return own as RTCRtpEncodingParameters;
    });
  }

  /** The sender of a stream: by its source, or by its name as long as no outcome has told that. */
  async #sender(stream: string): Promise<RTCRtpSender | undefined> {
    const videos = this.#peer.getTransceivers().filter(({ sender }) => sender.track?.kind === "video");
    const source = this.#sources.get(stream);
    if (source !== undefined)
      for (const { sender } of videos) for (const report of (await sender.getStats()).values()) if (report.type === "outbound-rtp" && report.ssrc === source) return sender;
    const offer = this.#peer.localDescription?.sdp ?? "";
    const named = videos.filter(({ mid }) => videoStreams(offer, mid).includes(stream));
    return named.length === 1 ? named[0].sender : undefined;
  }
}

/** Whether a demand asks for nothing any more. */
function isOver({ maxFramerate, maxWidth, maxHeight }: Demand): boolean {
  return maxFramerate === undefined && maxWidth === undefined && maxHeight === undefined;
}

/**
 * The names that the edge may have given the videos of an offer, or the one with a media id: that of its track, or a plain one where that is
 * but a random id.
 */
export function videoStreams(offer: string, mid?: string | null): string[] {
  const names = ["video"];
  for (const section of offer.split(/^m=/m))
    if (section.startsWith("video") && (mid === undefined || /^a=mid:(.*?)\r?$/m.exec(section)?.[1] === mid))
      for (const [, id] of section.matchAll(/^a=msid:\S+ (.*?)\r?$/gm)) names.push(id);
  return names;
}
