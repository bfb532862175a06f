// Sends numbered pictures and tensors by the SDK and collects what the models make of them. The number is the capture time too, so that what the SDK says of an outcome can be compared
// with what the model saw.

import { draw } from "./blocks.js";

const INTERVAL = 100; // ms between messages

/** @param {{ edge: string, count: number, burst: number, hand: number, big: number }} options hand and big are the lengths of the tensors; big ones come in chunks */
window.run = async ({ edge, count, burst, hand, big }) => {
  const { connect } = await import(`${edge}/sdk/sluice.js`);
  const session = await connect(edge, { models: ["counter", "hand", "big"] });
  const seen = [];
  const unsent = [];
  session.addEventListener("unsent", ({ detail }) => unsent.push(detail));
  session.addEventListener("outcome", ({ detail: outcome }) => {
    const { stream, sequence, model, result, drop, error } = outcome;
    const values = (result?.tensors ?? []).flatMap((tensor) => tensor.values ?? []);
    seen.push({ stream, sequence, model, end: drop?.reason ?? error?.code ?? "result", values, captured: session.captureTime(outcome) });
  });

  const context = /** @type {CanvasRenderingContext2D} */ (/** @type {HTMLCanvasElement} */ (document.getElementById("canvas")).getContext("2d", { alpha: false }));
  const [small, large] = [new Float32Array(hand), new Float32Array(big)];
  const sent = [];
  for (let number = 1; number <= count; number++) {
    context.fillStyle = `hsl(${number * 40} 50% 50%)`;
    context.fillRect(0, 0, 640, 360);
    draw(context, number);
    small.fill(number);
    large.fill(number);
    sent.push(session.sendImage(context.canvas, { captureTime: number, models: ["counter"] }));
    sent.push(session.sendTensor(small, { stream: "hand", captureTime: number, shape: [hand], models: ["hand"] }));
    sent.push(session.sendTensor(large, { stream: "big", captureTime: number, shape: [big], models: ["big"] }));
    [context.fillStyle, small[0], large[0]] = ["#888", -1, -1]; // what is sent is what was there then
    context.fillRect(0, 0, 640, 360);
    await pause(INTERVAL);
  }
  const went = (await Promise.all(sent)).filter(Boolean);
  const before = unsent.length;

  // More at once than the network takes: what is given up is the older ones.
  const flood = [];
  for (let number = 1; number <= burst; number++) {
    large.fill(count + number);
    flood.push(session.sendTensor(large, { stream: "big", captureTime: count + number, shape: [big], models: ["big"] }));
  }
  const flooded = await Promise.all(flood);
  for (let waited = 0; !seen.some(({ captured }) => captured === count + burst) && waited < 5000; waited += 50) await pause(50);
  const state = session.state;
  await session.close();
  return { state, sent: went.length, unsent: before, flooded: flooded.filter(Boolean).length, given: unsent.length - before, last: flooded.at(-1) !== undefined, seen };
};

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
