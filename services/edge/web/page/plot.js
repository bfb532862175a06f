// Two plots over the same span of time: latency, a dot for each answer and a tick for each frame given up, and rates as lines.

import { Recent, quantile } from "./stats.js";

/** @typedef {import("./life.js").Life} Life */
/** @typedef {{ left: number, right: number, top: number, bottom: number }} Area */

const AXIS = 52; // pixels for the axis' words on the right
const BELOW = 18; // for the time below
const TICKS = 12; // and for the ticks of what was given up
const REACH = 14; // pixels around a click in which a dot is meant
const STEPS = [1, 10, 100, 1000, 10_000].flatMap((decade) => [2, 3, 4, 6, 8, 10].map((step) => step * decade)).filter((step) => step % 2 === 0);

/** The top of an axis that holds `value`: a round, even number above it. @param {number} value @param {number} [least] */
export function axisTop(value, least = 20) {
  return STEPS.find((step) => step >= value && step >= least) ?? Math.ceil(value / 100_000) * 100_000;
}

/**
 * The point nearest to a place, if one is near.
 * @template {{ x: number, y: number }} P
 * @param {readonly P[]} points @param {number} x @param {number} y @param {number} [reach]
 * @returns {P | undefined}
 */
export function nearest(points, x, y, reach = REACH) {
  /** @type {P | undefined} */ let best;
  let least = reach ** 2;
  for (const point of points) {
    const distance = (point.x - x) ** 2 + (point.y - y) ** 2;
    if (distance <= least) [best, least] = [point, distance];
  }
  return best;
}

/** A canvas with an axis of time; newest is right. */
class TimePlot {
  /** @param {HTMLCanvasElement} canvas @param {number} span ms; less of it may be shown */
  constructor(canvas, span) {
    this.canvas = canvas;
    this.span = span;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.style = getComputedStyle(canvas); // live: it follows the theme
  }

  /** Fits the canvas to its place; undefined while it has none. @param {number} below pixels to leave @returns {Area | undefined} */
  begin(below) {
    const { canvas, context } = this;
    const density = Math.min(3, window.devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0 || height === 0) return undefined;
    const [pixelWidth, pixelHeight] = [Math.round(width * density), Math.round(height * density)];
    if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) Object.assign(canvas, { width: pixelWidth, height: pixelHeight });
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    return { left: 2, right: width - AXIS, top: 8, bottom: height - below };
  }

  /** @param {string} name of a custom property */
  color(name) {
    return this.style.getPropertyValue(name).trim();
  }

  /** @param {Area} area @param {number} now @returns {(at: number) => number} */
  across(area, now) {
    return (at) => area.right - ((now - at) / this.span) * (area.right - area.left);
  }

  /** @param {Area} area @param {number} top @param {string} unit @returns {(value: number) => number} */
  grid(area, top, unit) {
    const { context } = this;
    const y = (/** @type {number} */ value) => area.bottom - (Math.min(value, top) / top) * (area.bottom - area.top);
    context.lineWidth = 1;
    context.strokeStyle = this.color("--line");
    context.fillStyle = this.color("--muted");
    context.textAlign = "left";
    for (const value of [0, top / 2, top]) {
      const at = Math.round(y(value)) + 0.5;
      context.beginPath();
      context.moveTo(area.left, at);
      context.lineTo(area.right, at);
      context.stroke();
      context.fillText(value === 0 ? "0" : `${value}${unit}`, area.right + 6, at);
    }
    return y;
  }

  /** @param {Area} area */
  time(area) {
    const { context } = this;
    context.fillStyle = this.color("--muted");
    context.textAlign = "left";
    const y = this.canvas.clientHeight - BELOW + 11;
    context.fillText(`${this.span / 1000} s ago`, area.left, y);
    context.textAlign = "right";
    context.fillText("now", area.right, y);
  }
}

export class LatencyPlot extends TimePlot {
  /** @type {Recent<Life>} */ #points;
  /** How much is kept; what is shown may be less. */ #kept;
  /** @type {{ x: number, y: number, life: Life }[]} where the dots are */ #drawn = [];

  /** @param {HTMLCanvasElement} canvas @param {number} span ms */
  constructor(canvas, span) {
    super(canvas, span);
    this.#points = new Recent(span);
    this.#kept = span;
  }

  /** @param {number} now @param {Life} life */
  add(now, life) {
    this.#points.add(now, life);
  }

  clear() {
    this.#points = new Recent(this.#kept);
  }

  /** The life whose dot or tick is at a place of the canvas. @param {number} x @param {number} y */
  at(x, y) {
    return nearest(this.#drawn, x, y)?.life;
  }

  /** @param {number} now @param {(life: Life) => string | undefined} key the custom property of its colour; undefined hides it @param {Life} [marked] */
  draw(now, key, marked) {
    const area = this.begin(BELOW + TICKS);
    if (!area) return;
    const points = this.#points.items(now).filter(({ at, value }) => at > now - this.span && key(value) !== undefined);
    const latencies = points.flatMap(({ value }) => (value.end.kind === "result" && value.total !== undefined ? [value.total] : []));
    const top = axisTop((quantile(latencies, 0.98) ?? 0) * 1.15);
    const [x, y] = [this.across(area, now), this.grid(area, top, " ms")];
    this.#drawn = points.map(({ at, value: life }) => ({ life, x: x(at), y: life.end.kind === "result" ? y(life.total ?? 0) : area.bottom + 8 }));
    this.time(area);
    this.#dots(key);
    for (const spot of this.#drawn) if (spot.life === marked) this.#ring(spot);
    this.canvas.setAttribute("aria-label", this.#words(latencies, points.length - latencies.length));
  }

  /** @param {(life: Life) => string | undefined} key */
  #dots(key) {
    const { context } = this;
    /** @type {Map<string, string>} */ const colors = new Map();
    for (const { x, y, life } of this.#drawn) {
      const isResult = life.end.kind === "result";
      if (isResult && life.total === undefined) continue;
      const name = isResult ? (key(life) ?? "") : `--${life.end.kind}`;
      const color = colors.get(name) ?? this.color(name);
      colors.set(name, color);
      context.fillStyle = color;
      if (isResult) context.fillRect(x - 1.5, y - 1.5, 3, 3);
      else context.fillRect(x - 1, y - 4, 2, 8);
    }
  }

  /** @param {{ x: number, y: number }} spot */
  #ring({ x, y }) {
    const { context } = this;
    context.strokeStyle = this.color("--text");
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(x, y, 5.5, 0, 2 * Math.PI);
    context.stroke();
  }

  /** @param {readonly number[]} latencies @param {number} givenUp */
  #words(latencies, givenUp) {
    const start = `Latency of the last ${this.span / 1000} seconds:`;
    if (latencies.length === 0) return `${start} no answers`;
    const [p50, p95] = [quantile(latencies, 0.5) ?? 0, quantile(latencies, 0.95) ?? 0];
    return `${start} median ${Math.round(p50)} milliseconds, 95th percentile ${Math.round(p95)} milliseconds; ${givenUp} frames given up`;
  }
}

/** @typedef {{ label: string, color: string, dashed?: boolean, points: readonly { at: number, count: number }[] }} Line */

export class RatePlot extends TimePlot {
  /** @param {number} now @param {readonly Line[]} lines */
  draw(now, lines) {
    const area = this.begin(BELOW);
    if (!area) return;
    const highest = Math.max(0, ...lines.flatMap((line) => line.points.map((point) => point.count)));
    const [x, y] = [this.across(area, now), this.grid(area, axisTop(highest * 1.02, 5), "/s")];
    this.time(area);
    const { context } = this;
    context.lineJoin = "round";
    for (const { color, dashed = false, points } of lines) {
      context.strokeStyle = this.color(color);
      context.lineWidth = dashed ? 1.5 : 2;
      context.setLineDash(dashed ? [4, 4] : []);
      context.beginPath();
      for (const { at, count } of points) if (x(at) >= area.left) context.lineTo(x(at), y(count));
      context.stroke();
    }
    context.setLineDash([]);
    this.canvas.setAttribute("aria-label", `Rates of the last ${this.span / 1000} seconds. ${this.#words(lines)}`);
  }

  /** @param {readonly Line[]} lines */
  #words(lines) {
    const said = lines.flatMap(({ label, points }) => (points.length ? [`${label}: ${points[points.length - 1].count} a second`] : []));
    return said.length ? `${said.join("; ")}` : "Nothing yet.";
  }
}
