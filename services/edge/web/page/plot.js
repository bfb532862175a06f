// Plots the latency of the last seconds: a dot for each answer, a tick at the bottom for each drop or error.

import { Recent, quantile } from "./stats.js";

const SPAN = 30_000; // ms
const STEPS = [20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000];

/** The top of an axis that holds `value` ms: a round number above it. @param {number} value */
export function axisTop(value) {
  return STEPS.find((step) => step >= value) ?? Math.ceil(value / 10_000) * 10_000;
}

export class Plot {
  /** @type {Recent<{ kind: "result" | "drop" | "error", ms: number }>} */ #points = new Recent(SPAN);

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  }

  /** @param {number} now @param {"result" | "drop" | "error"} kind @param {number} [ms] */
  add(now, kind, ms = 0) {
    this.#points.add(now, { kind, ms });
  }

  clear() {
    this.#points = new Recent(SPAN);
  }

  /** @param {number} now */
  draw(now) {
    const { canvas, context } = this;
    const density = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0) return;
    const [pixelWidth, pixelHeight] = [Math.round(width * density), Math.round(height * density)];
    if (canvas.width !== pixelWidth || canvas.height !== pixelHeight) Object.assign(canvas, { width: pixelWidth, height: pixelHeight });
    context.setTransform(density, 0, 0, density, 0, 0);
    context.clearRect(0, 0, width, height);
    const points = this.#points.items(now);
    const latencies = points.filter((p) => p.value.kind === "result").map((p) => p.value.ms);
    const top = axisTop((quantile(latencies, 0.98) ?? 0) * 1.15);
    const area = { left: 0, right: width - 60, top: 8, bottom: height - 12 };
    const x = (/** @type {number} */ at) => area.right - ((now - at) / SPAN) * (area.right - area.left);
    const y = (/** @type {number} */ ms) => area.bottom - (Math.min(ms, top) / top) * (area.bottom - area.top);
    const style = getComputedStyle(canvas);
    const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    this.#grid(top, area, y, color("--line"), color("--muted"));
    for (const { at, value } of points) {
      context.fillStyle = color(`--${value.kind}`);
      context.beginPath();
      if (value.kind === "result") context.arc(x(at), y(value.ms), 1.6, 0, 7);
      else context.rect(x(at) - 1, area.bottom + 3, 2, 8);
      context.fill();
    }
    canvas.setAttribute("aria-label", label(latencies));
  }

  /** @param {number} top @param {{ left: number, right: number }} area @param {(ms: number) => number} y @param {string} line @param {string} text */
  #grid(top, area, y, line, text) {
    const { context } = this;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    context.lineWidth = 1;
    for (const ms of [0, top / 2, top]) {
      context.strokeStyle = line;
      context.beginPath();
      context.moveTo(area.left, Math.round(y(ms)) + 0.5);
      context.lineTo(area.right, Math.round(y(ms)) + 0.5);
      context.stroke();
      context.fillStyle = text;
      context.fillText(ms === 0 ? "0" : `${ms} ms`, area.right + 6, y(ms));
    }
  }
}

/** @param {readonly number[]} latencies */
function label(latencies) {
  if (latencies.length === 0) return "Latency of the last 30 seconds: no answers";
  const [p50, p95] = [quantile(latencies, 0.5) ?? 0, quantile(latencies, 0.95) ?? 0];
  return `Latency of the last 30 seconds: median ${Math.round(p50)} milliseconds, 95th percentile ${Math.round(p95)} milliseconds`;
}
