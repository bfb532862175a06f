/** ms between two beats; a hidden page gets one a second at best. */
export const BEAT = 150;

const QUIET = 300; // ms of silence after which to ask whether the edge is there
const PATIENCE = 450; // ms that the answer may take, or three round trips
const STEP = 2 * BEAT; // ms that one beat can count: a page that was busy has not read what came meanwhile
const HIDDEN_STEP = 1200; // the same where the browser lets timers run once a second

/**
 * Tells when an edge has fallen silent, long before the browser does: what comes all the time anyway is proof enough, and a ping asks
 * for more where nothing comes. Pure: time comes as an argument, in ms.
 */
export class Heartbeat {
  #last: number | undefined;
  #silence = 0;
  /** ms for which a ping has had no answer; undefined while none is due. */
  #unanswered: number | undefined;
  #roundTrip = 0;

  /** ms that the last ping that was answered took; 0 before. */
  get roundTrip(): number {
    return this.#roundTrip;
  }

  /** Something came from the edge. */
  heard(): void {
    this.#silence = 0;
    this.#unanswered = undefined;
  }

  /** A ping was answered. */
  pong(id: number, now: number): void {
    this.#roundTrip = (toId(now) - id) >>> 0;
    this.heard();
  }

  /** To be called every {@link BEAT} ms. @returns the id of a ping to send, if one is due, and whether the edge counts as lost */
  beat(now: number, hidden: boolean): { ping: number | undefined; lost: boolean } {
    const elapsed = Math.min(now - (this.#last ?? now), hidden ? HIDDEN_STEP : STEP);
    this.#last = now;
    this.#silence += elapsed;
    if (this.#silence < QUIET) return { ping: undefined, lost: false };
    this.#unanswered = this.#unanswered === undefined ? 0 : this.#unanswered + elapsed;
    return { ping: toId(now), lost: this.#unanswered >= Math.max(PATIENCE, 3 * this.#roundTrip) };
  }
}

/** A ping's id is the time at which it was sent, so that nothing has to be remembered. */
function toId(now: number): number {
  return Math.round(now) >>> 0;
}
