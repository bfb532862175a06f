// The page: what happens when somebody clicks. It owns the source and the session and closes both.

import { connect } from "../sdk/sluice.js";
import { Live } from "./live.js";
import { drawRate, parseModels, snippet } from "./models.js";
import { byId, element, showNumbers } from "./panel.js";
import { Picture } from "./picture.js";
import { Plot } from "./plot.js";
import { explain, explainError } from "./problems.js";
import { listCameras, openCamera, openFile, openMicrophone, openScreen } from "./sources.js";
import { Numbers } from "./stats.js";
import { hideProblem, showAdvice, showModels, showModelsMissing, showProblem, showState } from "./view.js";

/** @typedef {{ kind: "camera" | "screen" | "file", file?: File, deviceId?: string }} Wish */

const EDGE = new URL("..", import.meta.url);
const MODELS_EVERY = 5000; // ms
const PATIENCE = 4000; // ms that an interrupted connection gets to come back: answers about old frames are worth nothing
const RETRIES = [300, 1000, 2000, 4000, 8000]; // ms before each attempt to connect again
const picture = new Picture(byId("picture"));
const plot = new Plot(byId("plot"));

const app = {
  token: /** @type {string | undefined} */ (undefined),
  /** All that the router offers, and those that what is sent can feed. */
  offered: /** @type {import("./models.js").Model[]} */ ([]),
  models: /** @type {import("./models.js").Model[]} */ ([]),
  microphone: /** @type {MediaStreamTrack | undefined} */ (undefined),
  off: /** @type {Set<string>} */ (new Set()),
  wish: /** @type {Wish | undefined} */ (undefined),
  source: /** @type {import("./sources.js").Source | undefined} */ (undefined),
  session: /** @type {import("../sdk/sluice.js").Session | undefined} */ (undefined),
  live: /** @type {Live | undefined} */ (undefined),
  /** Aborted when what is going on is given up for something else. */
  turn: new AbortController(),
};

const chosen = () => app.models.filter((model) => !app.off.has(model.name));

/** Ends what is going on. */
async function stop() {
  app.turn.abort();
  const { live, session, source } = app;
  Object.assign(app, { live: undefined, session: undefined, source: undefined, turn: new AbortController() });
  live?.stop();
  picture.clear();
  picture.canvas.setAttribute("aria-label", "No picture");
  showSession();
  showState("idle");
  await session?.close(); // the source must outlive it, or the last frames are black
  source?.close();
}

/** Opens a source and sends it. @param {Wish} wish */
async function start(wish) {
  await stop();
  hideProblem();
  app.wish = wish;
  const { signal } = app.turn;
  try {
    showState("opening", wish.kind === "file" ? "Opening the file…" : `Waiting for the ${wish.kind}: the browser may ask…`);
    const source = await open(wish);
    if (signal.aborted) return source.close();
    app.source = source;
    for (const track of source.stream.getVideoTracks()) track.addEventListener("ended", () => void sourceEnded(source));
    app.live = new Live(source, picture, plot, chosen, drawRate(chosen().filter((model) => model.pictures)));
    showState("connecting", "Connecting to the edge…");
    await join(signal);
    await offerCameras();
  } catch (error) {
    if (!signal.aborted) await fail(explainError(error, wish.kind, location.origin));
  }
}

/** @param {Wish} wish */
function open({ kind, file, deviceId }) {
  if (kind === "file") return openFile(/** @type {File} */ (file));
  return kind === "screen" ? openScreen(byId("preview")) : openCamera(byId("preview"), deviceId);
}

/** Starts a session for the source that is open. @param {AbortSignal} signal */
async function join(signal) {
  const names = app.off.size > 0 ? chosen().map((model) => model.name) : [];
  const stream = app.source?.stream;
  const session = await connect({ url: EDGE, stream, microphone: app.microphone, models: names, token: app.token, signal });
  if (signal.aborted) return void session.close();
  app.session = session;
  app.live?.attach(session);
  session.addEventListener("state", () => {
    if (session !== app.session || session.state === "closed") return;
    showState(session.state === "interrupted" ? "interrupted" : "live");
    if (session.state === "interrupted") setTimeout(() => session.state === "interrupted" && void again(session, "The connection was lost."), PATIENCE);
  });
  session.addEventListener("drain", () => void again(session, "The edge is shutting down; moving to another one."));
  session.addEventListener("close", ({ detail }) => {
    if (detail.reason !== "client") void again(session, detail.reason === "server" ? "The edge ended the session." : "The connection was lost.");
  });
  showState("live");
  showSession();
}

/** Replaces a session that has ended or soon will. @param {import("../sdk/sluice.js").Session} old @param {string} why */
async function again(old, why) {
  if (old !== app.session) return;
  app.session = undefined;
  const { signal } = app.turn;
  app.live?.detach();
  showSession();
  void old.close();
  /** @type {unknown} */ let last;
  for (const [attempt, delay] of RETRIES.entries()) {
    showState("interrupted");
    showAdvice(explain("RECONNECTING", { detail: `${why} Attempt ${attempt + 1} of ${RETRIES.length}.` }));
    await new Promise((resolve) => setTimeout(resolve, delay));
    if (signal.aborted) return;
    try {
      await join(signal);
      return showAdvice(undefined);
    } catch (error) {
      if (signal.aborted) return;
      last = error;
      const { status } = /** @type {any} */ (error);
      if (status >= 400 && status < 500) break; // trying again does not help
    }
  }
  const { code } = /** @type {any} */ (last);
  await fail(code && code !== "EDGE_UNREACHABLE" ? explainError(last, undefined, location.origin) : explain("LOST"));
}

/** @param {import("./problems.js").Explanation} problem */
async function fail(problem) {
  const ending = stop();
  const { wish } = app;
  showProblem(problem, {
    retry: () => void (wish ? start(wish) : restart()),
    dismiss: restart,
    token: (token) => {
      app.token = token;
      void readModels();
      if (wish) void start(wish);
      else restart();
    },
  });
  showState("idle");
  if (problem.code === "UNKNOWN_MODEL") {
    app.off.clear();
    void readModels();
  }
  await ending;
}

function restart() {
  hideProblem();
  showState("idle");
  /** @type {HTMLElement | null} */ (document.querySelector(".sources button"))?.focus({ preventScroll: true });
}

/** @param {import("./sources.js").Source} source whose device went away, or whose sharing was ended */
async function sourceEnded(source) {
  if (source !== app.source) return;
  if (source.kind === "camera") await fail(explain("CAMERA_UNFIT"));
  else await stop();
}

/** Reads the models anew; readiness changes by itself. */
async function readModels() {
  const headers = app.token ? { Authorization: `Bearer ${app.token}` } : undefined;
  const response = await fetch(new URL("models", EDGE), { headers }).catch(() => undefined);
  const body = await response?.json().catch(() => undefined);
  if (response?.ok) {
    app.offered = parseModels(body);
    return offerModels();
  }
  if (app.live) return; // what was chosen stays; the session tells what is wrong
  app.offered = app.models = [];
  if (!response) return showModelsMissing("The edge does not answer.");
  showModelsMissing(`${explain(body?.code ?? `HTTP_${response.status}`, { detail: body?.detail, status: response.status }).title}.`);
  if (response.status === 401 && byId("problem").hidden) await fail(explain("UNAUTHORIZED"));
}

/** Lists the models that what is sent can feed: those of sound only beside a microphone. */
function offerModels() {
  byId("microphone-label").hidden = !app.offered.some((model) => model.sound);
  app.models = app.offered.filter((model) => model.pictures || (model.sound && app.microphone !== undefined));
  showModels(app.models, app.off, choose);
  showSnippet();
}

/** Takes the microphone in or leaves it out; a session goes on as another one. @param {boolean} on */
async function listen(on) {
  app.microphone?.stop();
  app.microphone = undefined;
  if (app.live) app.live.trouble = undefined;
  if (on) {
    const track = await openMicrophone().catch(() => undefined);
    byId("microphone").checked = track !== undefined;
    if (!track && app.live) app.live.trouble = explain("NO_MICROPHONE");
    else if (!track) showAdvice(explain("NO_MICROPHONE"));
    if (!track) return;
    app.microphone = track;
    track.addEventListener("ended", () => void (track === app.microphone && listen(false)));
  }
  byId("microphone").checked = on;
  byId("speech").hidden = !on;
  offerModels();
  if (app.session) await again(app.session, on ? "Taking the microphone in." : "Leaving the microphone out.");
}

/** @param {string} name @param {boolean} on */
function choose(name, on) {
  if (on) app.off.delete(name);
  else if (chosen().length > 1) app.off.add(name);
  showModels(app.models, new Set(app.off), choose);
  for (const box of byId("model-list").querySelectorAll("input")) box.checked = !app.off.has(box.value); // the last one stays on
  showSnippet();
  if (app.session) void again(app.session, "Asking for other models.");
}

async function offerCameras() {
  const cameras = app.source?.kind === "camera" ? await listCameras() : [];
  const select = byId("cameras");
  const current = app.source?.stream.getVideoTracks()[0]?.getSettings().deviceId;
  select.replaceChildren(...cameras.map(({ deviceId, label }) => Object.assign(element("option", "", label), { value: deviceId, selected: deviceId === current })));
  byId("cameras-label").hidden = cameras.length < 2;
}

function showSnippet() {
  byId("snippet").textContent = snippet(EDGE.href, app.off.size > 0 ? chosen().map((model) => model.name) : []);
}

function showSession() {
  const { session } = app;
  byId("session-none").hidden = session !== undefined;
  byId("session-some").hidden = session === undefined;
  byId("mirror").setAttribute("aria-pressed", String(picture.mirror));
  if (!session) return;
  byId("session-id").textContent = session.id;
  byId("session-follow").textContent = `curl -N ${app.token ? '-H "Authorization: Bearer $TOKEN" ' : ""}${session.resultsUrl}`;
}

function wire() {
  for (const button of document.querySelectorAll("[data-source]"))
    button.addEventListener("click", () => {
      const kind = /** @type {Wish["kind"]} */ (/** @type {HTMLElement} */ (button).dataset.source);
      if (kind === "file") byId("file").click();
      else void start({ kind });
    });
  byId("file").addEventListener("change", () => {
    const [file] = byId("file").files;
    if (file) void start({ kind: "file", file });
    byId("file").value = ""; // the same file can be chosen again
  });
  byId("stop").addEventListener("click", () => void stop().then(restart));
  byId("cameras").addEventListener("change", () => void start({ kind: "camera", deviceId: byId("cameras").value }));
  byId("mirror").addEventListener("click", () => {
    picture.mirror = !picture.mirror;
    byId("mirror").setAttribute("aria-pressed", String(picture.mirror));
  });
  byId("microphone").addEventListener("change", () => void listen(byId("microphone").checked));
  byId("full").hidden = !document.fullscreenEnabled;
  byId("full").addEventListener("click", () => void (document.fullscreenElement ? document.exitFullscreen() : byId("stage").requestFullscreen()));
  wireDrop(byId("stage"));
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => void copy(/** @type {HTMLElement} */ (button)));
  window.addEventListener("pagehide", () => void app.session?.close());
}

/** @param {HTMLElement} stage */
function wireDrop(stage) {
  const mark = (/** @type {boolean} */ over) => stage.toggleAttribute("data-over", over);
  stage.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(true);
  });
  stage.addEventListener("dragleave", () => mark(false));
  stage.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(false);
    const [file] = event.dataTransfer?.files ?? [];
    if (file) void start({ kind: "file", file });
  });
}

/** @param {HTMLElement} button */
async function copy(button) {
  const text = byId(button.dataset.copy ?? "");
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection()?.selectAllChildren(text); // no clipboard outside of secure pages: one key press is left to do
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

wire();
showSnippet();
showState("idle");
showNumbers(new Numbers().view(0), 0);
plot.draw(performance.now());
if (typeof RTCPeerConnection !== "function") void fail(explain("NO_WEBRTC"));
void readModels();
setInterval(() => {
  const isAsking = document.querySelector(".token") !== null; // until there is a token, the answer is known
  if (!document.hidden && !isAsking) void readModels();
}, MODELS_EVERY);
