import type { SluiceError } from "./errors.js";

const FIRST = 100; // ms
const CAP = 1000; // ms between attempts while it may be a restart
const LATER_CAP = 5000; // ms between attempts after that
const LATER = 30_000; // ms
const SPREAD = 0.2; // so that the clients of an edge do not come back all at once

/** Says when to try again. Pure: time and chance come as arguments. */
export class Backoff {
  #attempts = 0;

  /** @param started ms, when trying began @param limit ms after which it is over */
  constructor(
    readonly started: number,
    readonly limit: number,
  ) {}

  /**
   * ms to wait before the next attempt, or undefined when it is time to give up.
   * @param last what was in the way of the last attempt @param chance from 0 to 1
   */
  next(now: number, last: unknown, chance: number): number | undefined {
    if (now - this.started >= this.limit) return undefined;
    if (this.#attempts++ === 0 && last === undefined) return 0;
    const cap = now - this.started < LATER ? CAP : LATER_CAP;
    const usual = Math.min(cap, FIRST * 2 ** Math.min(this.#attempts - 1, 10)) * (1 + SPREAD * (2 * chance - 1));
    const asked = 1000 * ((last as SluiceError | undefined)?.retryAfter ?? 0);
    return Math.min(Math.max(usual, asked), Math.max(0, this.started + this.limit - now));
  }
}

/** Whether an error will be the same however often it is tried: what an edge refuses for good. */
export function isFinal(error: unknown): boolean {
  const { status, code } = error as SluiceError;
  if (code === "VERSION_MISMATCH") return true;
  return status !== undefined && status >= 400 && status < 500 && ![404, 408, 425, 429].includes(status);
}
