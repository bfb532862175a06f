// Publishes pictures with their number in them and has the SDK draw the model's answers over its own frames: the answer is the number that the model read, and it is drawn as
// blocks of its own below those in the picture. Then both are read back from the pixels of the overlay. The Go test compares.

import { draw as drawNumber, read } from "./blocks.js";
import { countingCanvas } from "./sources.js";

const ROWS = 18; // of the grid of blocks.js
const BELOW = 12; // rows from the picture's number to the answer's
const LOOKUP = 2000; // ms in which a frame's callback has surely come

const video = /** @type {HTMLVideoElement} */ (document.getElementById("video"));
const canvas = (/** @type {string} */ id) => /** @type {HTMLCanvasElement} */ (document.getElementById(id));

/** @type {{ picture?: number, answer?: number }[]} what the overlay showed */ const drawn = [];
/** @type {{ at: number, answer: number, status: string, own?: number, hidden: boolean }[]} the results, and the frame that was found for each */ const results = [];
/** @type {Record<string, number>} */ const ends = {};
/** @type {{ at: number, state: string }[]} */ const states = [];
/** @type {any} */ let session;
/** @type {any} */ let overlay;
let began = 0;

/**
 * Starts to publish and resolves with the first result.
 * @param {{ edge: string, source: "camera" | "canvas", clip: string, relay: { client: string, edge: string }, shift?: number }} options
 *   relay: where media goes by; shift: ms by which the SDK's clock is put wrong
 */
window.begin = async ({ edge, source, clip, relay, shift = 0 }) => {
  sendBy(relay);
  const { connect, Overlay } = await import(`${edge}/sdk/sluice.js`);
  const stream = source === "camera" ? await camera(30) : await countingCanvas(canvas("source"), clip, 30);
  await show(stream);
  session = await connect(edge, { stream, models: ["counter"], followDemand: false });
  if (shift) shiftClock(session.clock, shift);
  overlay = new Overlay(canvas("overlay"), video, { draw: drawAnswer });
  overlay.addEventListener("draw", ({ detail }) => detail.outcomes.length > 0 && drawn.push(readBack()));
  overlay.addEventListener("sync", ({ detail }) => states.push({ at: performance.now() - began, state: detail }));
  overlay.attach(session);
  window.replacements = { camera: () => camera(20), canvas: () => countingCanvas(canvas("other"), clip, 20), first: () => stream }; // by step("replace", …)
  await new Promise((resolve) => session.addEventListener("outcome", ({ detail }) => resolve(void note(detail))));
};

/** Changes something on the way. @type {Record<string, (argument: any) => Promise<void>>} */
const steps = {
  /** Sends no more than so many frames a second; 0: as many as there are. */
  async rate(most) {
    const [sender] = session.peer.getSenders();
    const parameters = sender.getParameters();
    if (most) parameters.encodings[0].maxFramerate = most;
    else delete parameters.encodings[0].maxFramerate;
    await sender.setParameters(parameters);
  },
  /** Sends and shows another source. */
  async replace(name) {
    const stream = await window.replacements[name]();
    await session.replaceTrack(stream.getVideoTracks()[0]);
    await show(stream);
  },
};
window.step = (name, argument) => steps[name](argument);

/** Waits for outcomes on their way and tells what there was. */
window.report = async () => {
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const state = session.state;
  overlay.stop();
  await session.close();
  return { state, seconds: (performance.now() - began) / 1000, drawn, results, ends, states };
};

/** @param {any} outcome */
async function note(outcome) {
  began ||= performance.now();
  const end = outcome.drop?.reason ?? outcome.error?.code ?? "result";
  ends[end] = (ends[end] ?? 0) + 1;
  if (!outcome.result) return;
  const entry = { at: performance.now() - began, answer: numberOf(outcome), status: "", own: undefined, hidden: document.hidden };
  results.push(entry);
  if (entry.hidden) return;
  const deadline = performance.now() + LOOKUP;
  for (;;) {
    const { status, frame } = overlay.frames.locate(outcome, session.clock);
    Object.assign(entry, { status, own: frame && readNumber(frame.picture.getContext("2d"), 0) });
    if (status === "found" || status === "missing" || performance.now() > deadline) return;
    await new Promise((resolve) => setTimeout(resolve, 15)); // it is early, or waits for the first sender report
  }
}

function numberOf(outcome) {
  return outcome.result?.tensors?.[0]?.values?.[0] ?? -1;
}

/** Draws what the model read, as blocks. */
function drawAnswer(context, { outcomes }) {
  const answer = outcomes.length > 0 ? numberOf(outcomes[0]) : -1;
  if (answer < 0) return;
  context.save();
  context.translate(0, (BELOW * context.canvas.height) / ROWS);
  drawNumber(context, answer);
  context.restore();
}

/** The numbers that the overlay shows. */
function readBack() {
  const context = canvas("overlay").getContext("2d");
  return { picture: readNumber(context, 0), answer: readNumber(context, BELOW) };
}

/** @param {CanvasRenderingContext2D} context @param {number} row where the blocks begin, in rows below their place */
function readNumber(context, row) {
  const { width, height } = context.canvas;
  const top = Math.round((row * height) / ROWS);
  const { data } = context.getImageData(0, top, width, Math.ceil((4 * height) / ROWS));
  return read(width, height, (x, y) => data[4 * (y * width + x) + 1]);
}

async function camera(frameRate) {
  return navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360, frameRate } });
}

async function show(stream) {
  video.srcObject = stream;
  await video.play();
}

/** Puts a clock wrong, as it is when the wall clock was set between its start and the session's. */
function shiftClock(clock, shift) {
  const report = clock.report.bind(clock);
  clock.report = (of) => report({ ...of, ntpMillis: of.ntpMillis + shift });
}

/**
 * Has media take the way by a relay: each side is told the relay's address for the other's, and the test the page's own, which the edge begins with: Firefox does not begin to talk to
 * a loopback address.
 * @param {{ client: string, edge: string }} relay where the edge and the page send to
 */
function sendBy({ client, edge }) {
  const candidate = /^(a=candidate:\S+ \d+ udp \d+ )(\d+\.\S+) (\d+)( typ host).*\r\n/gim;
  const others = /^a=candidate:(?!\S+ \d+ udp \d+ \d+\.).*\r\n/gim;
  const plain = window.fetch.bind(window);
  window.fetch = async (url, init) => {
    if (init?.method !== "POST") return plain(url, init);
    const [, , host, port] = [...init.body.matchAll(candidate)][0];
    await window.reachable(`${host}:${port}`);
    const through = (sdp, way) => sdp.replace(others, "").replace(candidate, `$1${way.replace(":", " ")}$4\r\n`);
    const response = await plain(url, { ...init, body: through(init.body, client) });
    const answer = new Response(through(await response.text(), edge), { status: response.status, headers: response.headers });
    Object.defineProperty(answer, "url", { value: response.url });
    return answer;
  };
}
