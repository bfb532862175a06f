// Numbers over what arrives: pure, time comes in as an argument (ms), so that everything here can be tested without a browser.

/** @typedef {import("../sdk/sluice.js").Outcome} Outcome */

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

/** Stages of a frame's way, in its order, with the words for them. */
export const STAGES = /** @type {const} */ ([
  ["receive", "arriving", "first packet to last"],
  ["decode", "decode", "in the edge's decoder"],
  ["convert", "convert", "scaled to the model's input"],
  ["queue", "queue", "waiting in the router"],
  ["infer", "model", "the model itself"],
  ["other", "hand-over", "between the stages: edge to router and back"],
  ["way", "transit", "encoding, and the network there and back"],
]);

/**
 * Splits one answer's latency into stages, in ms.
 * @param {Outcome} outcome @param {number} [total] ms from capture to arrival here; without it the network's share is unknown
 * @returns {Record<string, number>}
 */
export function stagesOf(outcome, total) {
  const { receive = 0, decode = 0, convert = 0, queue = 0, infer = 0, total: edge = 0 } = outcome.timings ?? {};
  const known = { receive, decode, convert, queue, infer };
  const sum = receive + decode + convert + queue + infer;
  const inMs = Object.fromEntries(Object.entries(known).map(([name, seconds]) => [name, seconds * 1000]));
  return { ...inMs, other: Math.max(0, edge - sum) * 1000, way: total === undefined ? 0 : Math.max(0, total - edge * 1000) };
}

/** What one outcome ended as: "result", or the drop's reason, or the error's code. @param {Outcome} outcome */
export function endOf(outcome) {
  if (outcome.drop) return { kind: /** @type {const} */ ("drop"), name: outcome.drop.reason ?? "UNKNOWN" };
  if (outcome.error) return { kind: /** @type {const} */ ("error"), name: outcome.error.code ?? "UNKNOWN" };
  return { kind: /** @type {const} */ ("result"), name: "result" };
}

/** Everything the panel shows of one session. */
export class Numbers {
  /** @type {Recent<ReturnType<typeof endOf>>} */ recentEnds = new Recent(3000);
  /** @type {Recent<{ total: number, own: boolean, stages: Record<string, number> }>} */ latencies = new Recent(10_000);
  /** @type {Recent<number>} */ results = new Recent(3000);
  /** @type {Map<string, { kind: "result" | "drop" | "error", count: number }>} */ ends = new Map();
  total = 0;
  lost = 0;

  /**
   * @param {Outcome} outcome @param {number} now
   * @param {number} [captured] on the same clock; without it the edge's own total stands for the latency
   * @returns the latency in ms if it was a result with one
   */
  record(outcome, now, captured) {
    const end = endOf(outcome);
    this.total += 1;
    this.recentEnds.add(now, end);
    const entry = this.ends.get(end.name) ?? { kind: end.kind, count: 0 };
    this.ends.set(end.name, { ...entry, count: entry.count + 1 });
    if (end.kind !== "result") return undefined;
    this.results.add(now, 1);
    const edge = outcome.timings?.total;
    const total = captured !== undefined ? now - captured : edge !== undefined ? edge * 1000 : undefined;
    if (total === undefined) return undefined;
    const stages = stagesOf(outcome, captured === undefined ? undefined : total);
    this.latencies.add(now, { total, own: captured !== undefined, stages });
    return total;
  }

  /** @param {number} now */
  view(now) {
    const recent = this.latencies.values(now);
    // Never mixed: once this page's own measure is there, the edge's shorter one is left out.
    const own = recent.some((l) => l.own);
    const counted = recent.filter((l) => l.own === own);
    const totals = counted.map((l) => l.total);
    const mean = (/** @type {string} */ name) => counted.reduce((sum, l) => sum + (l.stages[name] ?? 0), 0) / (counted.length || 1);
    return {
      answers: this.results.rate(now),
      own,
      p50: quantile(totals, 0.5),
      p95: quantile(totals, 0.95),
      stages: STAGES.map(([name, label, title]) => ({ name, label, title, ms: mean(name) })),
      ends: [...this.ends].map(([name, { kind, count }]) => ({ name, kind, count })),
      total: this.total,
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
