import type { Box, Detection, Outcome } from "./messages.js";

const COLORS = ["#2dd4bf", "#fbbf24", "#a78bfa", "#fb7185", "#60a5fa", "#a3e635", "#f472b6", "#fb923c"];

/** What is to be drawn over a picture. */
export interface Drawing {
  /** Results about one frame, one for each model. */
  outcomes: readonly Outcome[];
  /** Whether the picture is the very frame that they are about. */
  exact: boolean;
  /** How old that frame is, in ms, where it is known. */
  age: number | undefined;
  /** Whether the picture is shown as in a mirror: what is drawn must be moved, but not its text. */
  mirror: boolean;
  /** Pixels of the canvas for each pixel of the page, by which lines and text are to be scaled. */
  scale: number;
}

/**
 * Draws the detections of results over the whole of a canvas: boxes, landmarks, and labels with scores. What is not about the very frame is drawn with
 * broken lines, pale, and with its age.
 */
export function drawDetections(context: CanvasRenderingContext2D, drawing: Drawing): void {
  context.save();
  if (!drawing.exact) {
    context.globalAlpha = Math.max(0.25, 0.8 - (drawing.age ?? 0) / 2000);
    context.setLineDash([8 * drawing.scale, 6 * drawing.scale]);
  }
  for (const { result } of drawing.outcomes) for (const detection of result?.detections ?? []) drawDetection(context, detection, drawing);
  context.restore();
}

/** The place of a box of fractions in pixels of a canvas: left, top, width, height. */
export function placeBox(box: Box, { width, height }: { width: number; height: number }, mirror: boolean): [number, number, number, number] {
  return [(mirror ? 1 - box.x - box.width : box.x) * width, box.y * height, box.width * width, box.height * height];
}

function drawDetection(context: CanvasRenderingContext2D, { box, label = "", score, landmarks = [] }: Detection, { exact, age, mirror, scale }: Drawing): void {
  if (!box) return;
  const [left, top, width, height] = placeBox(box, context.canvas, mirror);
  const color = colorOf(label);
  context.strokeStyle = color;
  context.lineWidth = 2.5 * scale;
  context.strokeRect(left, top, width, height);
  context.fillStyle = color;
  for (const point of landmarks) {
    const [x, y] = placeBox({ ...point, width: 0, height: 0 }, context.canvas, mirror);
    context.fillRect(x - 2 * scale, y - 2 * scale, 4 * scale, 4 * scale);
  }
  const texts = [label, score === undefined ? "" : `${Math.round(score * 100)}%`, exact || age === undefined ? "" : `${10 * Math.round(age / 10)} ms ago`];
  drawTag(context, texts.filter(Boolean).join(" "), left, top, scale);
}

/** A line of text on a coloured ground, above a point or, where there is no room, below it. */
function drawTag(context: CanvasRenderingContext2D, text: string, left: number, top: number, scale: number): void {
  if (!text) return;
  context.font = `600 ${13 * scale}px system-ui, sans-serif`;
  context.textBaseline = "middle";
  const [width, height] = [context.measureText(text).width + 12 * scale, 20 * scale];
  const x = Math.max(0, Math.min(left, context.canvas.width - width));
  const y = top < height ? top : top - height;
  context.fillRect(x, y, width, height);
  context.fillStyle = "#06121a";
  context.fillText(text, x + 6 * scale, y + height / 2);
}

/** One colour for a label, always the same. */
export function colorOf(label: string): string {
  let hash = 0;
  for (const letter of label) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) >>> 0;
  return label === "face" ? COLORS[0] : COLORS[hash % COLORS.length];
}
