// A frame's number as black and white blocks in its picture: the grid is described in counter/counter.go, which does the same in Go.

const BITS = 16;
const COLUMNS = 32;
const ROWS = 18;
const FIRST = 1; // column of the first block
const TOP = 1; // row of the number; its complement is in the next
const CONTRAST = 64; // of 255

/** Draws a number over what is on a canvas. @param {CanvasRenderingContext2D} context @param {number} number */
export function draw(context, number) {
  const [width, height] = [context.canvas.width / COLUMNS, context.canvas.height / ROWS];
  for (let bit = 0; bit < BITS; bit++)
    for (const [row, on] of [[TOP, 1], [TOP + 1, 0]]) {
      context.fillStyle = ((number >> (BITS - 1 - bit)) & 1) === on ? "#fff" : "#000";
      context.fillRect((FIRST + bit) * width, row * height, width, height);
    }
}

/**
 * Gives the number in a picture, or undefined when there is none that can be read without doubt.
 * @param {number} width @param {number} height @param {(x: number, y: number) => number} at a pixel's brightness, 0 to 255
 */
export function read(width, height, at) {
  let number = 0;
  for (let bit = 0; bit < BITS; bit++) {
    const difference = block(width, height, FIRST + bit, TOP, at) - block(width, height, FIRST + bit, TOP + 1, at);
    if (Math.abs(difference) < CONTRAST) return undefined;
    number = 2 * number + (difference > 0 ? 1 : 0);
  }
  return number;
}

/** The mean brightness of the middle of a block. */
function block(width, height, column, row, at) {
  const edge = (/** @type {number} */ quarters, /** @type {number} */ length, /** @type {number} */ parts) => Math.floor((quarters * length) / (4 * parts));
  const [left, right] = [edge(4 * column + 1, width, COLUMNS), edge(4 * column + 3, width, COLUMNS)];
  const [upper, lower] = [edge(4 * row + 1, height, ROWS), edge(4 * row + 3, height, ROWS)];
  let sum = 0;
  for (let y = upper; y < lower; y++) for (let x = left; x < right; x++) sum += at(x, y);
  return sum / ((right - left) * (lower - upper));
}
