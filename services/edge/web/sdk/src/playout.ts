import type { Outcome } from "./messages.js";

const MARGIN = 4; // ms on top of what most answers need
const LONGEST = 700; // ms that a view is delayed at most; frames are kept for a second
const LATELY = 3000; // ms over which answers say how long they take
const WAITING = 64; // frames whose answers wait to be shown
const GIVE_UP = 1000; // ms after which a frame is gone, and answers about it are of no use

/** The answers about one frame. */
export interface Answered {
  outcomes: Outcome[];
  /** When the first of them came, and when the frame was captured, once that is known; ms on one clock. */
  arrived: number;
  time: number | undefined;
}

/** Decides which frame a delayed view shows: each a little after its capture, so late that its answers are in. Pure; times are ms on one clock. */
export class Playout {
  #latencies = new Map<string, { at: number; latency: number }[]>();
  #frames = new Map<string, Answered>();
  #shownTime = -Infinity;
  #shownAnswers = 0;

  /** Takes a result. One whose frame's time is not known yet waits for that. */
  add(outcome: Outcome, now: number): void {
    const key = `${outcome.ssrc}:${outcome.rtpTimestamp}`;
    const frame = this.#frames.get(key) ?? { outcomes: [], arrived: now, time: undefined };
    frame.outcomes.push(outcome);
    this.#frames.set(key, frame);
    if (frame.time !== undefined) this.#measure(outcome, now - frame.time, now);
    for (const oldest of this.#frames.keys()) if (this.#frames.size > WAITING) this.#frames.delete(oldest);
  }

  /** How long after its capture a frame is shown, in ms: what 95 of 100 answers of the slowest model need. */
  delay(now: number): number {
    let delay = 0;
    for (const [model, all] of this.#latencies) {
      const recent = all.filter(({ at }) => at > now - LATELY);
      this.#latencies.set(model, recent);
      const sorted = recent.map(({ latency }) => latency).sort((a, b) => a - b);
      delay = Math.max(delay, (sorted[Math.floor(0.95 * sorted.length)] ?? -MARGIN) + MARGIN);
    }
    return Math.min(LONGEST, delay);
  }

  /** The frame to show now, or undefined to leave what is shown. It stays the same until done() is told. @param timeOf gives a frame's capture time, where it is known */
  due(now: number, timeOf: (outcome: Outcome) => number | undefined): Answered | undefined {
    for (const [key, frame] of this.#frames) {
      frame.time ??= this.#learn(frame, timeOf);
      const { time, arrived } = frame;
      if (now - (time ?? arrived) > GIVE_UP || (time ?? Infinity) < this.#shownTime) this.#frames.delete(key);
    }
    const latest = now - this.delay(now);
    let best: Answered | undefined;
    for (const frame of this.#frames.values()) {
      const isNews = frame.time !== this.#shownTime || frame.outcomes.length > this.#shownAnswers;
      if (isNews && frame.time !== undefined && frame.time <= latest && frame.time > (best?.time ?? -Infinity)) best = frame;
    }
    return best;
  }

  /** Says that the frame has been shown, or cannot be. Only newer ones, or more answers for this one, are due then. */
  done(shown: Answered): void {
    if (shown.time === undefined) return;
    this.#shownTime = shown.time;
    this.#shownAnswers = shown.outcomes.length;
  }

  #learn(frame: Answered, timeOf: (outcome: Outcome) => number | undefined): number | undefined {
    const time = timeOf(frame.outcomes[0]);
    if (time !== undefined) for (const outcome of frame.outcomes) this.#measure(outcome, frame.arrived - time, frame.arrived);
    return time;
  }

  #measure({ model }: Outcome, latency: number, at: number): void {
    this.#latencies.set(model, [...(this.#latencies.get(model) ?? []), { at, latency }]);
  }
}
