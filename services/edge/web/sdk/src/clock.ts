import type { SenderReport } from "./messages.js";
import type { SentFrame } from "./transform.js";

const REPORTS = 5; // sender reports kept for each SSRC: the median of five ignores a bad one
const STRAY = 8; // ms by which a report may differ from those before it (measured: 0.7)
const STEP = 3; // reports that must agree before another reading of the wall clock is believed
const SOURCES = 32; // SSRCs remembered: a session has a handful, and new ones after each reconnection
const SENT = 64; // frames remembered as they left, for each SSRC
const LAGS = 8000; // ms over which the shortest way from capture to sending counts
const ACAUSAL = -5; // ms by which a frame may seem to leave before its capture
const LONGEST = 1000; // ms that a frame may take from capture to sending

/** What a sender report says: at this RTP timestamp the page's clock showed this. */
interface Anchor {
  rtp: number;
  at: number;
}

/** What is known of one SSRC. */
interface Source {
  rate: number;
  anchors: Anchor[];
  /** Reports in a row that contradict the anchors. */
  strays: Anchor[];
  /** ms by which the wall clock was stepped since the first reports. */
  stepped: number;
  sent: SentFrame[];
  lags: { at: number; lag: number }[];
}

/**
 * Maps RTP timestamps to the clock of performance.now() by sender reports: the median over the last five of each SSRC. An RTP clock never jumps
 * while its stream lives, so when the reports do, the sender's wall clock was set: the earlier relation goes on. Where the sender's frames are
 * noted as they leave, a relation that would have them leave before their capture, or a second after it, is not believed.
 * Pure: time comes in with what is noted.
 */
export class MediaClock {
  #sources = new Map<number, Source>();

  /** @param timeOrigin performance.timeOrigin @param rate RTP ticks a second */
  constructor(
    readonly timeOrigin: number,
    readonly rate = 90_000,
  ) {}

  /** Says that a source counts in another rate than the clock's: sound does. @param rate RTP ticks a second */
  setRate(ssrc: number, rate: number): void {
    this.#source(ssrc).rate = rate;
  }

  /** RTP ticks a second of an SSRC. */
  rateOf(ssrc: number): number {
    return this.#sources.get(ssrc)?.rate ?? this.rate;
  }

  report({ ssrc, rtpTimestamp, ntpMillis }: SenderReport): void {
    const source = this.#source(ssrc);
    const anchor = { rtp: rtpTimestamp, at: ntpMillis - this.timeOrigin - source.stepped };
    const expected = timeOf(source, rtpTimestamp);
    if (expected === undefined || Math.abs(anchor.at - expected) <= STRAY) {
      source.strays = [];
      source.anchors = [...source.anchors.slice(1 - REPORTS), anchor];
      if (expected === undefined) noteLags(source, source.sent);
      return;
    }
    source.strays = [...source.strays.slice(1 - STEP), anchor];
    const offsets = source.strays.map((stray) => stray.at - (timeOf(source, stray.rtp) ?? 0));
    if (offsets.length < STEP || Math.max(...offsets) - Math.min(...offsets) > STRAY) return;
    if (source.anchors.length < STEP) source.anchors = source.strays; // the first ones were bad
    else source.stepped += median(offsets);
    source.strays = [];
  }

  /** Notes a frame of the sender's as it leaves: see {@link SenderWatch}. */
  sent(frame: SentFrame): void {
    const source = this.#source(frame.ssrc);
    source.sent = [...source.sent.slice(1 - SENT), frame];
    noteLags(source, [frame]);
    while (source.lags.length > 0 && source.lags[0].at < frame.at - LAGS) source.lags.shift();
  }

  /** Capture time in ms since timeOrigin; undefined before the first report of the SSRC, and when the sender's frames contradict the reports. */
  time(ssrc: number, rtpTimestamp: number): number | undefined {
    const source = this.#sources.get(ssrc);
    if (!source) return undefined;
    const lag = this.lag(ssrc);
    return lag !== undefined && (lag < ACAUSAL || lag > LONGEST) ? undefined : timeOf(source, rtpTimestamp);
  }

  /** Whether a sender report of the SSRC is in. */
  isReported(ssrc: number): boolean {
    return (this.#sources.get(ssrc)?.anchors.length ?? 0) > 0;
  }

  /** Capture times of the frames that were sent around one, in order, as far as they are known. @param before how many of those before it are wanted */
  neighbours(ssrc: number, rtpTimestamp: number, before: number): { before: number[]; next?: number } {
    const times = this.sentFrames(ssrc).map((frame) => [(frame.rtpTimestamp - rtpTimestamp) | 0, frame.rtpTimestamp]).sort(([a], [b]) => a - b);
    const timesOf = (some: number[][]) => some.flatMap(([, rtp]) => this.time(ssrc, rtp) ?? []);
    const [next] = timesOf(times.filter(([after]) => after > 0).slice(0, 1));
    return { before: timesOf(times.filter(([after]) => after < 0).slice(-before)), next };
  }

  /** The shortest time in ms that a frame took lately from its capture to its sending, where that is known. */
  lag(ssrc: number): number | undefined {
    const lags = this.#sources.get(ssrc)?.lags ?? [];
    return lags.length === 0 ? undefined : Math.min(...lags.map(({ lag }) => lag));
  }

  /** The frames that left last, in that order. */
  sentFrames(ssrc: number): readonly SentFrame[] {
    return this.#sources.get(ssrc)?.sent ?? [];
  }

  #source(ssrc: number): Source {
    let source = this.#sources.get(ssrc);
    if (!source) {
      source = { rate: this.rate, anchors: [], strays: [], stepped: 0, sent: [], lags: [] };
      this.#sources.set(ssrc, source);
      for (const oldest of this.#sources.keys()) if (this.#sources.size > SOURCES) this.#sources.delete(oldest);
    }
    return source;
  }
}

function timeOf({ anchors, rate }: Source, rtp: number): number | undefined {
  if (anchors.length === 0) return undefined;
  return median(anchors.map((anchor) => anchor.at + ((rtp - anchor.rtp) | 0) / (rate / 1000)));
}

function noteLags(source: Source, frames: readonly SentFrame[]): void {
  for (const { rtpTimestamp, at } of frames) {
    const time = timeOf(source, rtpTimestamp);
    if (time !== undefined) source.lags.push({ at, lag: at - time });
  }
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1];
}

/** The rates in which an offer's sources of sound count their RTP timestamps, by SSRC: that of the first codec which the answer takes. */
export function soundRates(offer: string, answer: string): Map<number, number> {
  const taken = answer.split(/^m=/m);
  const rates = new Map<number, number>();
  for (const [at, section] of offer.split(/^m=/m).entries()) {
    const [, type] = /^audio \d+ \S+ (\d+)/.exec(taken[at] ?? "") ?? [];
    const [, rate] = new RegExp(`^a=rtpmap:${type} [^/]+/(\\d+)`, "m").exec(taken[at] ?? "") ?? [];
    if (type && rate && section.startsWith("audio")) for (const [, ssrc] of section.matchAll(/^a=ssrc:(\d+) /gm)) rates.set(Number(ssrc), Number(rate));
  }
  return rates;
}
