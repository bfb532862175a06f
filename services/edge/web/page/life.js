// One frame's life: which stage it passed when. Pure; times are ms.

import { endOf, quantile } from "./stats.js";

/** @typedef {import("../sdk/sluice.js").Outcome} Outcome */

/**
 * @typedef {object} Stage
 * @property {string} name
 * @property {number} start ms since the life's beginning
 * @property {number} wait ms at its beginning in which the frame was handed over, not worked on
 * @property {number} ms its length, with the wait
 * @property {boolean} reached whether the frame came so far
 */

/**
 * @typedef {object} Life
 * @property {string} model
 * @property {string} stream
 * @property {number} sequence
 * @property {ReturnType<typeof endOf>} end
 * @property {boolean} own whether it is this page's measure, from capture to answer, or the edge's own, from first packet to outcome
 * @property {number | undefined} total its length; unknown when the edge gave no times
 * @property {number | undefined} batch frames that the model looked at together
 * @property {Stage[]} stages in the order of STAGES
 */

/** The stages in the order of travel, with the words for them. */
export const STAGES = /** @type {const} */ ([
  ["network", "network", "encoded, and sent to the edge"],
  ["receive", "arriving", "first packet to last"],
  ["decode", "decode", "in the edge's decoder"],
  ["convert", "convert", "scaled to the model's input"],
  ["queue", "queue", "to the router, and waiting there"],
  ["infer", "model", "the model itself"],
  ["return", "return", "the answer's way back"],
]);

/** Stages that are worked out from what is left over, not measured each by itself. */
export const ESTIMATED = new Set(["network", "return"]);

/**
 * Splits an outcome's time into stages. The edge's clock and the page's are never compared: of the time that the edge does not account for, half a
 * round trip is the answer's way back and the rest the frame's way there. What lies between the edge's stages is the way to the router and back.
 * @param {Outcome} outcome
 * @param {{ latency?: number, roundTrip?: number }} [measured] latency: ms from capture to the answer's arrival here; roundTrip: ms
 * @returns {Life}
 */
export function lifeOf(outcome, { latency, roundTrip = 0 } = {}) {
  const { timings = {}, model, stream = "", sequence, batchSize } = outcome;
  const names = /** @type {const} */ (["receive", "decode", "convert", "queue", "infer"]);
  const work = Object.fromEntries(names.map((name) => [name, Math.max(0, timings[name] ?? 0) * 1000]));
  const known = names.reduce((sum, name) => sum + work[name], 0);
  const edge = timings.total === undefined ? undefined : Math.max(timings.total * 1000, known);
  const between = (edge ?? known) - known;
  const beyond = latency === undefined || edge === undefined ? 0 : Math.max(0, latency - edge);
  const back = Math.min(beyond, roundTrip / 2);
  const isBack = timings.infer !== undefined;
  const handOver = isBack ? between / 2 : between;
  const lengths = { ...work, network: beyond - back, queue: handOver + work.queue, return: back + (isBack ? between - handOver : 0) };
  const own = latency !== undefined && edge !== undefined;
  const end = endOf(outcome);
  let start = 0;
  const stages = STAGES.map(([name]) => {
    const ms = /** @type {Record<string, number>} */ (lengths)[name];
    const reached = name === "return" ? end.kind === "result" || ms > 0 : name === "network" ? own : timings[name] !== undefined;
    const stage = { name, start, wait: name === "queue" ? handOver : 0, ms, reached };
    start += ms;
    return stage;
  });
  return { model, stream, sequence, end, own, total: edge === undefined ? undefined : start, batch: batchSize, stages };
}

/** The mean of several answered frames' lives, or undefined for none. @param {readonly Life[]} lives @returns {Life | undefined} */
export function averageLife(lives) {
  const [first] = lives;
  if (!first) return undefined;
  const mean = (/** @type {(life: Life) => number} */ of) => lives.reduce((sum, life) => sum + of(life), 0) / lives.length;
  let start = 0;
  const stages = first.stages.map((stage, i) => {
    const ms = mean((life) => life.stages[i].ms);
    const averaged = { ...stage, start, ms, wait: mean((life) => life.stages[i].wait), reached: lives.some((life) => life.stages[i].reached) };
    start += ms;
    return averaged;
  });
  return { ...first, total: start, stages };
}

/** Marks for an axis that ends at `total` ms: few, at round numbers. @param {number} total @param {number} [most] */
export function ticks(total, most = 6) {
  const step = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((size) => total / size <= most) ?? 10_000;
  return Array.from({ length: Math.floor(total / step) + 1 }, (_, i) => i * step);
}

/** The slowest answered frame. @param {readonly Life[]} lives */
export function slowest(lives) {
  const answered = lives.filter((life) => life.end.kind === "result" && life.total !== undefined);
  const most = quantile(answered.map((life) => life.total ?? 0), 1);
  return answered.find((life) => life.total === most);
}
