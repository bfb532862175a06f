// Numbers over what arrives: pure, time comes in as an argument (ms), so that everything here can be tested without a browser.

/** @typedef {import("../sdk/sluice.js").Outcome} Outcome */

const LATELY = 3000; // ms over which rates are taken
const AVERAGED = 10_000; // ms over which latencies are

/** @param {readonly number[]} values @param {number} q 0 to 1 @returns {number | undefined} the nearest-rank quantile */
export function quantile(values, q) {
  if (values.length === 0) return undefined;
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1))];
}

/**
 * Values of the last `span` ms. At most `limit` are kept, the newest.
 * @template T
 */
export class Recent {
  /** @type {{ at: number, value: T }[]} */ #items = [];
  /** @type {number | undefined} */ #since;

  /** @param {number} span @param {number} [limit] */
  constructor(span, limit = 4096) {
    this.span = span;
    this.limit = limit;
  }

  /** @param {number} at @param {T} value */
  add(at, value) {
    this.#since ??= at;
    this.#items.push({ at, value });
    if (this.#items.length > this.limit) this.#items.shift();
  }

  /** @param {number} now */
  items(now) {
    while (this.#items.length > 0 && this.#items[0].at <= now - this.span) this.#items.shift();
    return this.#items;
  }

  /** @param {number} now */
  values(now) {
    return this.items(now).map((item) => item.value);
  }

  /** How many a second; young windows count only the time since their first value. @param {number} now */
  rate(now) {
    const count = this.items(now).length;
    const seconds = Math.min(this.span, Math.max(now - (this.#since ?? now), 500)) / 1000;
    return count / seconds;
  }
}

/** Counts and levels by key in whole seconds, for lines over time. */
export class Rates {
  /** @type {Set<string>} keys of levels */ #levels = new Set();
  /** @type {Map<string, Map<number, number>>} */ #seconds = new Map();
  /** @type {number | undefined} */ #since;

  /** @param {number} span ms that are kept */
  constructor(span) {
    this.span = span;
  }

  /** Counts one. @param {number} now @param {string} key */
  add(now, key) {
    const second = Math.floor(now / 1000);
    const counts = this.#counts(key, second);
    counts.set(second, (counts.get(second) ?? 0) + 1);
  }

  /** Takes a rate that was measured elsewhere; it stands until the next one. @param {number} now @param {string} key @param {number} rate */
  set(now, key, rate) {
    const second = Math.floor(now / 1000);
    this.#levels.add(key);
    this.#counts(key, second).set(second, rate);
  }

  /** @param {string} key @param {number} second */
  #counts(key, second) {
    this.#since ??= second;
    const counts = this.#seconds.get(key) ?? new Map();
    this.#seconds.set(key, counts);
    for (const old of counts.keys()) if (old < second - this.span / 1000 - 1) counts.delete(old);
    return counts;
  }

  /** The keys there are, in the order of their first count. */
  keys() {
    return [...this.#seconds.keys()];
  }

  /**
   * Counts of the last whole seconds, oldest first; the second that is not over yet is left out.
   * @param {string} key @param {number} now @returns {{ at: number, count: number }[]} at: the second's middle
   */
  series(key, now) {
    const counts = this.#seconds.get(key);
    const last = Math.floor(now / 1000) - 1;
    const first = Math.max(last - Math.ceil(this.span / 1000), (this.#since ?? last + 1) + 1); // the first second is not whole either
    const points = [];
    let level = this.#levels.has(key) ? undefined : 0; // a level is unknown until it is told, nothing counted is zero
    for (let second = first; second <= last; second += 1) {
      const count = counts?.get(second) ?? level;
      if (this.#levels.has(key)) level = count;
      if (count !== undefined) points.push({ at: second * 1000 + 500, count });
    }
    return points;
  }
}

/** What one outcome ended as: "result", or the drop's reason, or the error's code. @param {Outcome} outcome */
export function endOf(outcome) {
  if (outcome.drop) return { kind: /** @type {const} */ ("drop"), name: outcome.drop.reason ?? "UNKNOWN" };
  if (outcome.error) return { kind: /** @type {const} */ ("error"), name: outcome.error.code ?? "UNKNOWN" };
  return { kind: /** @type {const} */ ("result"), name: "result" };
}

/** Counts and times of one model's outcomes, or of several models'. */
export class Numbers {
  /** @type {Recent<ReturnType<typeof endOf>>} */ recentEnds = new Recent(LATELY);
  /** @type {Recent<import("./life.js").Life>} */ latencies = new Recent(AVERAGED);
  /** @type {Recent<number>} */ results = new Recent(LATELY);
  /** @type {Map<string, { kind: "result" | "drop" | "error", count: number }>} */ ends = new Map();
  total = 0;

  /** @param {import("./life.js").Life} life @param {number} now */
  record(life, now) {
    const { end } = life;
    this.total += 1;
    this.recentEnds.add(now, end);
    const entry = this.ends.get(end.name) ?? { kind: end.kind, count: 0 };
    this.ends.set(end.name, { ...entry, count: entry.count + 1 });
    if (end.kind !== "result") return;
    this.results.add(now, 1);
    if (life.total !== undefined) this.latencies.add(now, life);
  }

  /** The answered frames of the last ten seconds. This page's own measure is never mixed with the edge's shorter one. @param {number} now */
  lives(now) {
    const recent = this.latencies.values(now);
    const own = recent.some((life) => life.own);
    return recent.filter((life) => life.own === own);
  }

  /** @param {number} now */
  view(now) {
    const lives = this.lives(now);
    const totals = lives.map((life) => life.total ?? 0);
    const ends = [...this.ends].map(([name, { kind, count }]) => ({ name, kind, count }));
    return {
      outcomes: this.recentEnds.rate(now),
      answers: this.results.rate(now),
      own: lives.some((life) => life.own),
      p50: quantile(totals, 0.5),
      p95: quantile(totals, 0.95),
      ends,
      total: this.total,
      givenUp: ends.reduce((sum, end) => sum + (end.kind === "result" ? 0 : end.count), 0),
    };
  }

  /** Counts of the last three seconds, for advice. @param {number} now */
  lately(now) {
    /** @type {Record<string, number>} */ const counts = {};
    for (const { name } of this.recentEnds.values(now)) counts[name] = (counts[name] ?? 0) + 1;
    return counts;
  }
}

/** @param {number | undefined} value */
export function shortNumber(value) {
  if (value === undefined || !Number.isFinite(value)) return "–";
  if (value > 0 && value < 9.95) return value.toFixed(1);
  return Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
}

/** @param {number} bitsPerSecond */
export function bitrate(bitsPerSecond) {
  return bitsPerSecond >= 1e6 ? `${(bitsPerSecond / 1e6).toFixed(1)} Mbit/s` : `${Math.round(bitsPerSecond / 1e3)} kbit/s`;
}

/** @param {number} share 0 to 1 */
export function percent(share) {
  const value = share * 100;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}
