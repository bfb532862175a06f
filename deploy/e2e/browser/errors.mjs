// Shows every problem that the page has words for, each on a page of its own, and tells what the page said. What the edge says is put in its place here; what the
// browser says too: there is no other way to a busy camera or a full edge in a moment.

import { writeFileSync } from "node:fs";
import { join } from "node:path";

import { launch, options, tell } from "./chromium.mjs";
import { LOOKS, PATIENCE, inspect, textOf } from "./looks.mjs";

/** @typedef {import("puppeteer-core").Page} Page */
/** @typedef {{ code: string, before?: () => void, argument?: unknown, edge?: Answer, source?: string, act?: (page: Page) => Promise<unknown> }} Case */
/** @typedef {{ path: string, status: number, code?: string, detail?: string, body?: string, headers?: Record<string, string>, abort?: boolean }} Answer */

/** Runs in the page before its own scripts: devices fail as the browser's would. @param {[string, string]} argument the function, and the error's name */
function failing([name, error]) {
  /** @type {any} */ (navigator.mediaDevices)[name] = () => Promise.reject(new DOMException("made to fail by the test", error));
}

/** Runs in the page: neither side can reach the other. */
function deafen() {
  const { fetch } = window;
  window.fetch = (url, init) => fetch(url, typeof init?.body === "string" ? { ...init, body: init.body.replaceAll(/^a=candidate:.*\r\n/gm, "") } : init);
  const { setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    return setRemoteDescription.call(this, { ...description, sdp: description.sdp?.replaceAll("127.0.0.1", "127.0.0.9") }); // where nobody listens
  };
}

const whip = (/** @type {number} */ status, /** @type {string} */ code, /** @type {string} */ detail = "", /** @type {Record<string, string>} */ headers = {}) => ({ path: "/whip", status, code, detail, headers });

/** @type {Case[]} */
const cases = [
  { code: "NO_CAMERA", before: failing, argument: ["getUserMedia", "NotFoundError"] },
  { code: "CAMERA_DENIED", before: failing, argument: ["getUserMedia", "NotAllowedError"] },
  { code: "CAMERA_BUSY", before: failing, argument: ["getUserMedia", "NotReadableError"] },
  { code: "CAMERA_UNFIT", before: failing, argument: ["getUserMedia", "OverconstrainedError"] },
  { code: "NO_MICROPHONE", before: failing, argument: ["getUserMedia", "NotFoundError"], act: (page) => page.click("#microphone") },
  { code: "INSECURE", before: () => Object.defineProperty(window, "isSecureContext", { value: false }) },
  { code: "NO_WEBRTC", before: () => Reflect.deleteProperty(window, "RTCPeerConnection"), act: () => Promise.resolve() },
  { code: "SCREEN_DENIED", source: "screen", before: failing, argument: ["getDisplayMedia", "NotAllowedError"] },
  { code: "NO_SCREEN", source: "screen", before: () => Object.defineProperty(navigator.mediaDevices, "getDisplayMedia", { value: undefined }) },
  { code: "FILE_UNREADABLE", act: openFile },
  { code: "EDGE_UNREACHABLE", edge: { path: "/whip", status: 0, abort: true } },
  { code: "BAD_ANSWER", edge: { path: "/whip", status: 200, body: "<h1>Welcome to the hotel</h1>" } },
  { code: "ORIGIN_NOT_ALLOWED", edge: whip(403, "ORIGIN_NOT_ALLOWED", "pages of this origin may not use the edge") },
  { code: "UNKNOWN_MODEL", edge: whip(422, "UNKNOWN_MODEL", "no router has a model \"cats\"; there are: faces, speech.") },
  { code: "UNSUPPORTED_CODEC", edge: whip(422, "UNSUPPORTED_CODEC") },
  { code: "NO_ROUTER", edge: whip(503, "NO_ROUTER", "", { "Retry-After": "5" }) },
  { code: "TOO_MANY_SESSIONS", edge: whip(503, "TOO_MANY_SESSIONS", "", { "Retry-After": "5" }) },
  { code: "DRAINING", edge: whip(503, "DRAINING", "", { "Retry-After": "1" }) },
  { code: "SDP_TOO_LARGE", edge: whip(413, "SDP_TOO_LARGE", "an offer has at most 16 media descriptions") },
  { code: "HTTP_502", edge: { path: "/whip", status: 502, body: "bad gateway" } },
];

const browser = await launch({ camera: options.camera });
try {
  const unreachable = await open({ code: "ICE_FAILED", before: deafen }); // it takes the browser long to be sure
  await unreachable.click('[data-source="camera"]');
  for (const one of cases) {
    const page = await open(one);
    if (one.act) await one.act(page);
    else await page.click(`[data-source="${one.source ?? "camera"}"]`);
    await report(page, one.code);
    await page.close();
  }
  await unreachable.bringToFront();
  await report(unreachable, "ICE_FAILED");
} finally {
  await browser.close();
}

/** @param {Case} one */
async function open({ before, argument, edge }) {
  const page = await browser.newPage();
  page.on("pageerror", (error) => tell({ code: "UNCAUGHT", said: String(/** @type {Error} */ (error).stack ?? error), wrong: [] }));
  if (before) await page.evaluateOnNewDocument(/** @type {any} */ (before), argument);
  if (edge) await answer(page, edge);
  await page.setViewport(LOOKS[0].viewport);
  await page.goto(options.edge, { waitUntil: "domcontentloaded" });
  if (!before || argument) await page.waitForSelector("#model-list input", PATIENCE); // the list has been read
  return page;
}

/** Answers a request in the edge's place. @param {Page} page @param {Answer} wanted */
async function answer(page, { path, status, code, detail, body, headers, abort }) {
  await page.setRequestInterception(true);
  page.on("request", (request) => {
    if (new URL(request.url()).pathname !== path) return void request.continue();
    if (abort) return void request.abort("connectionrefused");
    const problem = JSON.stringify({ type: "about:blank", status, code, ...(detail ? { detail } : {}) });
    return void request.respond({ status, headers, contentType: code ? "application/problem+json" : "text/html", body: body ?? problem });
  });
}

/** Chooses a file that is no picture. @param {Page} page */
async function openFile(page) {
  const file = join(options.profile, "report.pdf");
  writeFileSync(file, "%PDF-1.7 not a picture");
  const input = /** @type {import("puppeteer-core").ElementHandle<HTMLInputElement>} */ (await page.$("#file"));
  await input.uploadFile(file);
}

/** Tells what a page says of its problem, with what is wrong with how it looks. @param {Page} page @param {string} code */
async function report(page, code) {
  await page.waitForSelector("#problem:not([hidden]), #advice:not([hidden])", PATIENCE);
  const place = (await page.$("#problem:not([hidden])")) ? "problem" : "advice";
  const wrong = await inspect(page, `error-${code.toLowerCase().replaceAll("_", "-")}`, [LOOKS[0], LOOKS[3]], { settled: 150, audited: [LOOKS[0]] });
  tell({ code, said: await textOf(page, place), wrong });
}
