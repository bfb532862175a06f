// Decides which frame to show: each a little after its capture, so late that its answers are in. Pure; times are ms on one clock.

import { Recent, quantile } from "./stats.js";

/** @typedef {import("../sdk/sluice.js").Outcome} Outcome */
/** @typedef {{ time: number, outcomes: Outcome[] }} Shown a frame's capture time and the results for it */

const MARGIN = 4; // ms on top of what most answers need
const MAX_DELAY = 700; // ms; frames are kept for a second
const MAX_WAITING = 64; // frames

export class Playout {
  /** @type {Map<string, Recent<number>>} */ #latencies = new Map();
  /** @type {Map<string, Shown>} */ #frames = new Map();
  #shownTime = -Infinity;
  #shownAnswers = 0;

  /** Takes a result whose frame was captured at `time`. @param {Outcome} outcome @param {number} time @param {number} now */
  add(outcome, time, now) {
    const recent = this.#latencies.get(outcome.model) ?? new Recent(3000);
    this.#latencies.set(outcome.model, recent);
    recent.add(now, now - time);
    if (time < this.#shownTime) return; // its frame has been followed by a newer one
    const key = `${outcome.ssrc}:${outcome.rtpTimestamp}`;
    const frame = this.#frames.get(key) ?? { time, outcomes: [] };
    this.#frames.set(key, { time: frame.time, outcomes: [...frame.outcomes, outcome] });
    if (this.#frames.size > MAX_WAITING) this.#frames.delete(/** @type {string} */ (this.#frames.keys().next().value));
  }

  /** How long after its capture a frame is shown: what 95 of 100 answers of the slowest model need. @param {number} now */
  delay(now) {
    const slowest = [...this.#latencies.values()].map((recent) => quantile(recent.values(now), 0.95) ?? 0);
    return Math.min(MAX_DELAY, Math.max(0, ...slowest) + MARGIN);
  }

  /** The frame to show now, or undefined to leave what is shown. It stays the same until done() is told. @param {number} now */
  due(now) {
    const latest = now - this.delay(now);
    /** @type {Shown | undefined} */ let best;
    for (const frame of this.#frames.values()) {
      const isNews = frame.time > this.#shownTime || frame.outcomes.length > this.#shownAnswers;
      if (frame.time <= latest && isNews && (!best || frame.time > best.time)) best = frame;
    }
    return best;
  }

  /** Says that the frame has been shown, or cannot be. Only newer ones, or more answers for this one, are due then. @param {Shown} shown */
  done(shown) {
    this.#shownTime = shown.time;
    this.#shownAnswers = shown.outcomes.length;
    for (const [key, frame] of this.#frames) if (frame.time < shown.time) this.#frames.delete(key);
  }
}
