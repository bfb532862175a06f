import type { SenderReport } from "./messages.js";

const REPORTS = 5; // sender reports kept for each SSRC: the median of five ignores a bad one

/** Maps RTP timestamps to the clock of performance.now() by sender reports: the median over the last five of each SSRC. Pure: time comes in with the reports. */
export class MediaClock {
  #reports = new Map<number, SenderReport[]>();
  #rates = new Map<number, number>();

  /** @param timeOrigin performance.timeOrigin @param rate RTP ticks a second */
  constructor(
    readonly timeOrigin: number,
    readonly rate = 90_000,
  ) {}

  /** Says that a source counts in another rate than the clock's: sound does. @param rate RTP ticks a second */
  setRate(ssrc: number, rate: number): void {
    this.#rates.set(ssrc, rate);
  }

  report(report: SenderReport): void {
    const kept = this.#reports.get(report.ssrc) ?? [];
    this.#reports.set(report.ssrc, [...kept.slice(1 - REPORTS), report]);
  }

  /** Capture time in ms since timeOrigin, or undefined before the first report of the SSRC. */
  time(ssrc: number, rtpTimestamp: number): number | undefined {
    const reports = this.#reports.get(ssrc);
    if (!reports) return undefined;
    const rate = this.#rates.get(ssrc) ?? this.rate;
    const times = reports.map((r) => r.ntpMillis - this.timeOrigin + ((rtpTimestamp - r.rtpTimestamp) | 0) / (rate / 1000));
    return times.sort((a, b) => a - b)[times.length >> 1];
  }
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
