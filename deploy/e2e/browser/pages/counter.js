// Publishes pictures with their number in them and collects what was sent, what the model saw and, for a camera, which of its own frames the SDK says an answer is about. The Go test
// compares.

import { read } from "./blocks.js";
import { camera, countingCanvas } from "./sources.js";

const LOOKUP = 2000; // ms in which a frame's callback has surely come

/**
 * @param {{ edge: string, source: "canvas" | "camera", clip: string, seconds: number, results: number, limit: number }} options
 *   it ends after as many seconds and results, or after limit seconds
 */
window.run = async ({ edge, source, clip, seconds, results, limit }) => {
  const { connect, FrameBuffer } = await import(`${edge}/sdk/sluice.js`);
  const video = /** @type {HTMLVideoElement} */ (document.getElementById("video"));
  const canvas = /** @type {HTMLCanvasElement} */ (document.getElementById("canvas"));
  const stream = source === "camera" ? await camera(video) : await countingCanvas(canvas, clip, 30);
  const worker = new Worker("sender.js", { type: "module" });
  const failed = new Promise((_, reject) => (worker.onerror = (event) => reject(new Error(`worker: ${event.message}`))));
  transformSenders(worker);
  const session = await connect(edge, { stream, models: ["counter"] });
  const frames = new FrameBuffer({ maxWidth: 640 });
  if (source === "camera") frames.watch(video);

  const seen = [];
  const ended = new Promise((resolve) => session.addEventListener("close", resolve));
  session.addEventListener("outcome", async ({ detail }) => {
    const { rtpTimestamp: rtp, result, drop, error } = detail;
    const entry = { rtp, model: result?.tensors?.[0]?.values?.[0], end: drop?.reason ?? error?.code ?? "result", lookup: "", own: undefined };
    seen.push(entry);
    if (source === "camera" && result) Object.assign(entry, await ownFrame(session, frames, detail));
  });
  const start = performance.now();
  const isDone = () => performance.now() - start > 1000 * seconds && seen.filter((s) => s.end === "result").length >= results;
  while (!isDone() && performance.now() - start < 1000 * limit && session.state !== "closed") await Promise.race([pause(100), ended, failed]);
  await pause(1000); // outcomes on their way
  const { sent, troubles } = await new Promise((resolve) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.postMessage("report");
  });
  const state = session.state;
  await session.close();
  return { seconds: (performance.now() - start) / 1000, state, sent, seen, troubles };
};

/** Has the worker see every frame that is sent, from the first: the SDK makes the connection, and then it would be too late. @param {Worker} worker */
function transformSenders(worker) {
  const { addTransceiver } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addTransceiver = function (...all) {
    const transceiver = addTransceiver.apply(this, all);
    transceiver.sender.transform = new RTCRtpScriptTransform(worker, {});
    return transceiver;
  };
}

/** The number in the page's own frame that the outcome is about, as an application would find it. */
async function ownFrame(session, frames, outcome) {
  const deadline = performance.now() + LOOKUP;
  for (;;) {
    const { status, frame } = frames.find(session.captureTime(outcome));
    if (status === "early" && performance.now() < deadline) {
      await new Promise(requestAnimationFrame);
      continue;
    }
    return { lookup: status, own: frame ? number(frame.picture) : undefined };
  }
}

const copy = /** @type {CanvasRenderingContext2D} */ (document.createElement("canvas").getContext("2d", { willReadFrequently: true }));

/** @param {HTMLCanvasElement} picture */
function number(picture) {
  const { width, height } = picture;
  Object.assign(copy.canvas, { width, height });
  copy.drawImage(picture, 0, 0);
  const { data } = copy.getImageData(0, 0, width, height);
  return read(width, height, (x, y) => data[4 * (y * width + x) + 1]) ?? -1;
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
