import type { SentFrame } from "./transform.js";

const ENOUGH = 12; // sent frames that must fall within what was captured
const NEAR = 2; // ms that a frame's capture may be off its RTP timestamp (measured: 0.6)
const LONGEST = 1000; // ms that a frame may take from capture to sending

/** One way to lay the sender's RTP timestamps over the captured frames. */
export interface Candidate {
  /** Capture time of RTP timestamp `rtp`, in ms on the clock of performance.now(). */
  time: number;
  rtp: number;
  /** Share of the sent frames that something was captured for. */
  share: number;
  /** Shortest and mean time in ms that the frames then took from capture to sending. */
  lag: number;
  meanLag: number;
}

/**
 * Weighs the ways to lay the frames that were sent over those captured, the one with the shortest way from capture to sending first. With frames at
 * even intervals every shift by whole intervals fits alike.
 * @param sent frames of one SSRC as they left @param captured capture times in order @param rate RTP ticks a ms
 */
export function vote(sent: readonly SentFrame[], captured: readonly number[], rate = 90): Candidate[] {
  const pivot = sent[sent.length >> 1];
  if (!pivot || sent.length < ENOUGH) return [];
  const found: Candidate[] = [];
  for (const guess of captured) {
    if (guess > pivot.at || guess < pivot.at - LONGEST) continue;
    const candidate = weigh(sent, captured, pivot.rtpTimestamp, guess, rate);
    if (candidate) found.push(candidate);
  }
  return found.sort((a, b) => a.lag - b.lag);
}

/** What speaks for the guess that the RTP timestamp was captured at `guess`; undefined when too little is known, or frames would leave before their capture. */
function weigh(sent: readonly SentFrame[], captured: readonly number[], rtp: number, guess: number, rate: number): Candidate | undefined {
  let [all, hits, off, lag, total] = [0, 0, 0, Infinity, 0];
  for (const frame of sent) {
    const time = guess + ((frame.rtpTimestamp - rtp) | 0) / rate;
    if (time < captured[0] - NEAR || time > captured[captured.length - 1] + NEAR) continue;
    const residual = nearest(captured, time) - time;
    all++;
    lag = Math.min(lag, frame.at - time);
    total += frame.at - time;
    if (Math.abs(residual) > NEAR) continue;
    hits++;
    off += residual;
  }
  return all < ENOUGH || lag < -1 ? undefined : { time: guess + off / hits, rtp, share: hits / all, lag, meanLag: total / all };
}

/** The value nearest to `wanted` among sorted ones, by bisection. */
function nearest(sorted: readonly number[], wanted: number): number {
  let [low, high] = [0, sorted.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= wanted) low = middle;
    else high = middle;
  }
  return Math.abs(sorted[low] - wanted) <= Math.abs(sorted[high] - wanted) ? sorted[low] : sorted[high];
}
