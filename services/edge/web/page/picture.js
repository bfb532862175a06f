// Draws a frame and what was found on it.

/** @typedef {import("../sdk/sluice.js").Outcome} Outcome */
/** @typedef {import("../sdk/sluice.js").Frame} Frame */
/** @typedef {{ left: number, top: number, width: number, height: number }} Area */

const COLORS = ["#2dd4bf", "#fbbf24", "#a78bfa", "#fb7185", "#60a5fa", "#a3e635", "#f472b6", "#fb923c"];

/** The part of a view that a picture fills when it is shown whole. @param {number} width @param {number} height @param {number} viewWidth @param {number} viewHeight @returns {Area} */
export function fit(width, height, viewWidth, viewHeight) {
  const scale = Math.min(viewWidth / width, viewHeight / height);
  return { left: (viewWidth - width * scale) / 2, top: (viewHeight - height * scale) / 2, width: width * scale, height: height * scale };
}

/** Where a box of fractions lies in the area. @param {import("../sdk/sluice.js").Box} box @param {Area} area @param {boolean} mirror @returns {Area} */
export function place(box, area, mirror) {
  const x = mirror ? 1 - box.x - box.width : box.x;
  return { left: area.left + x * area.width, top: area.top + box.y * area.height, width: box.width * area.width, height: box.height * area.height };
}

/** One colour for a label, always the same. @param {string} label */
export function colorOf(label) {
  let hash = 0;
  for (const letter of label) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return label === "face" ? COLORS[0] : COLORS[hash % COLORS.length];
}

export class Picture {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.canvas = canvas;
    this.mirror = false;
    this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  }

  /** @param {Frame} frame @param {readonly Outcome[]} [outcomes] results for this very frame */
  draw(frame, outcomes = []) {
    const { canvas, context } = this;
    const { width, height, density } = this.#begin();
    if (width === 0 || height === 0) return;
    const area = fit(frame.width, frame.height, width, height);
    canvas.parentElement?.style.setProperty("--aspect", `${frame.width} / ${frame.height}`);
    context.save();
    if (this.mirror) {
      context.translate(width, 0);
      context.scale(-1, 1);
    }
    context.drawImage(frame.picture, area.left, area.top, area.width, area.height);
    context.restore();
    this.#detections(outcomes, area, density);
  }

  /** Draws what was found without the picture, for those who only get the answers. @param {readonly Outcome[]} outcomes results @param {string} words for answers that have no place */
  sketch(outcomes, words) {
    const { context } = this;
    const { width, height, density } = this.#begin();
    if (width === 0 || height === 0) return;
    context.strokeStyle = "rgb(148 163 184 / 16%)";
    context.lineWidth = density;
    context.beginPath();
    for (let n = 1; n < 8; n += 1) {
      context.moveTo((width * n) / 8, 0);
      context.lineTo((width * n) / 8, height);
      if (n % 2 === 0) continue;
      context.moveTo(0, (height * (n + 1)) / 8);
      context.lineTo(width, (height * (n + 1)) / 8);
    }
    context.stroke();
    this.#detections(outcomes, { left: 0, top: 0, width, height }, density);
    if (!words) return;
    context.font = `600 ${Math.min(34 * density, width / Math.max(10, 0.62 * words.length))}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillStyle = "#e7edf3";
    context.fillText(words, width / 2, height / 2, width - 40 * density);
    context.textAlign = "left";
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Fits the canvas to its place and empties it. */
  #begin() {
    const { canvas, context } = this;
    const density = Math.min(2, window.devicePixelRatio || 1);
    const [width, height] = [Math.round(canvas.clientWidth * density), Math.round(canvas.clientHeight * density)];
    if (width > 0 && height > 0 && (canvas.width !== width || canvas.height !== height)) Object.assign(canvas, { width, height });
    context.clearRect(0, 0, width, height);
    return { width, height, density };
  }

  /** @param {readonly Outcome[]} outcomes @param {Area} area @param {number} density */
  #detections(outcomes, area, density) {
    for (const { result } of outcomes)
      for (const detection of result?.detections ?? []) this.#detection(detection, area, density);
  }

  /** @param {import("../sdk/sluice.js").Detection} detection @param {Area} area @param {number} density */
  #detection({ box, label = "", score, landmarks = [] }, area, density) {
    if (!box) return;
    const { context } = this;
    const { left, top, width, height } = place(box, area, this.mirror);
    const color = colorOf(label);
    context.lineJoin = "round";
    for (const [line, style] of /** @type {[number, string][]} */ ([[4.5, "rgb(0 0 0 / 35%)"], [2.5, color]])) {
      context.lineWidth = line * density;
      context.strokeStyle = style;
      context.beginPath();
      context.roundRect(left, top, width, height, Math.min(10 * density, width / 4, height / 4));
      context.stroke();
    }
    context.fillStyle = color;
    for (const point of landmarks) {
      const spot = place({ ...point, width: 0, height: 0 }, area, this.mirror);
      context.beginPath();
      context.arc(spot.left, spot.top, 2.5 * density, 0, 2 * Math.PI);
      context.fill();
    }
    this.#tag([label, score === undefined ? "" : `${Math.round(score * 100)}%`].filter(Boolean).join(" "), left, top, color, area, density);
  }

  /** @param {string} text @param {number} left @param {number} top @param {string} color @param {Area} area @param {number} density */
  #tag(text, left, top, color, area, density) {
    if (!text) return;
    const { context } = this;
    context.font = `600 ${13 * density}px system-ui, sans-serif`;
    context.textBaseline = "middle";
    const [width, height] = [context.measureText(text).width + 14 * density, 22 * density];
    const x = Math.max(area.left, Math.min(left, area.left + area.width - width));
    const y = top - height - 4 * density < area.top ? top + 4 * density : top - height - 4 * density;
    context.fillStyle = color;
    context.beginPath();
    context.roundRect(x, y, width, height, 6 * density);
    context.fill();
    context.fillStyle = "#06121a";
    context.fillText(text, x + 7 * density, y + height / 2 + density / 2);
  }
}

/** What the picture shows, in words. @param {readonly Outcome[]} outcomes */
export function describe(outcomes) {
  const found = counted(outcomes);
  return found ? `Live picture with ${found}` : "Live picture, nothing found on it";
}

/** What was found, counted by label; empty for nothing. @param {readonly Outcome[]} outcomes */
export function counted(outcomes) {
  /** @type {Map<string, number>} */ const counts = new Map();
  for (const { result } of outcomes)
    for (const { label = "object" } of result?.detections ?? []) counts.set(label, (counts.get(label) ?? 0) + 1);
  return [...counts].map(([label, n]) => `${n} ${label}${n === 1 ? "" : "s"}`).join(", ");
}

/** A result in a few words; empty for one that found nothing. @param {import("../sdk/sluice.js").Result} result */
export function gist(result) {
  const { speech = [], embedding = [], tensors = [], json = [] } = result;
  const outcome = /** @type {Outcome} */ ({ sequence: 1, model: "", result });
  const [heard] = speech;
  return [
    counted([outcome]),
    classTexts([outcome]).join(", "),
    heard ? `speech ${Math.round((heard.probability ?? 0) * 100)} %` : "",
    embedding.length ? `vector of ${embedding.length}` : "",
    tensors.map(({ name = "tensor", shape = [] }) => `${name} [${shape.join(", ")}]`).join(", "),
    json.map((text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text)).join(", "),
  ].filter(Boolean).join(" · ");
}

/** The best classes of results, as short texts. @param {readonly Outcome[]} outcomes */
export function classTexts(outcomes) {
  return outcomes.flatMap(({ result }) => (result?.classes ?? []).slice(0, 3))
    .map(({ label = "?", score }) => (score === undefined ? label : `${label} ${Math.round(score * 100)}%`));
}
