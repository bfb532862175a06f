// The page of the edge: wires what can be clicked, dropped and pressed to what a visitor wants.

import { Dashboard } from "./dashboard.js";
import { wireDevices } from "./devices.js";
import { byId, copyText } from "./dom.js";
import { wireKeys } from "./keys.js";
import { Picture } from "./picture.js";
import { explain } from "./problems.js";
import { wireTheme } from "./theme.js";
import { Visit } from "./visit.js";

const MODELS_EVERY = 5000; // ms

const picture = new Picture(byId("picture"));
const dashboard = new Dashboard({ panel: byId("panel"), life: byId("life"), first: "sent" });
const visit = new Visit(picture, dashboard);

/** @param {string} kind of source */
function choose(kind) {
  if (kind === "file") byId("file").click();
  else void visit.start({ kind: /** @type {"camera" | "screen"} */ (kind) });
}

function mirror() {
  picture.mirror = !picture.mirror;
  byId("mirror").setAttribute("aria-pressed", String(picture.mirror));
}

function fullScreen() {
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (document.fullscreenEnabled) void byId("stage").requestFullscreen();
}

async function stop() {
  if (!visit.isBusy) return;
  const stopped = visit.stop();
  visit.restart(); // at once: once the session has ended, another source may already be open
  await stopped;
}

function wire() {
  for (const button of document.querySelectorAll("[data-source]"))
    button.addEventListener("click", () => choose(/** @type {HTMLElement} */ (button).dataset.source ?? ""));
  byId("file").addEventListener("change", () => {
    const [file] = byId("file").files;
    if (file) void visit.start({ kind: "file", file });
    byId("file").value = ""; // the same file can be chosen again
  });
  byId("stop").addEventListener("click", () => void stop());
  byId("mirror").addEventListener("click", mirror);
  byId("microphone").addEventListener("change", () => void visit.listen(byId("microphone").checked));
  byId("full").hidden = !document.fullscreenEnabled;
  byId("full").addEventListener("click", fullScreen);
  wireDevices({ camera: () => void visit.changeCamera(), microphone: () => void visit.listen(true) });
  navigator.mediaDevices?.addEventListener("devicechange", () => void visit.showDevices());
  wireDrop(byId("stage"));
  for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => void copyText(/** @type {HTMLElement} */ (button)));
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
    if (file) void visit.start({ kind: "file", file });
  });
}

function shortcuts() {
  return [
    { key: "C", does: "send the camera", act: () => choose("camera") },
    { key: "S", does: "send the screen", act: () => choose("screen") },
    { key: "O", does: "open a file", act: () => choose("file") },
    { key: "X", does: "stop", act: () => void stop() },
    { key: "M", does: "mirror the picture", act: mirror },
    { key: "F", does: "full screen", act: fullScreen },
    { key: "N", does: "microphone on or off", act: () => !byId("microphone-label").hidden && byId("microphone").click() },
    { key: "T", does: "light or dark", act: () => byId("theme").click() },
    { key: "L", does: "life of the newest frame", act: () => dashboard.pick("newest") },
    { key: "W", does: "life of the slowest frame", act: () => dashboard.pick("slowest") },
    { key: "G", does: "life of one given up", act: () => dashboard.pick("given-up") },
    { key: "A", does: "the average life", act: () => dashboard.pick("average") },
    { key: "ArrowLeft", does: "", act: () => dashboard.step(-1) },
    { key: "ArrowRight", does: "", act: () => dashboard.step(1) },
    ...Array.from({ length: 9 }, (_, n) => ({ key: String(n + 1), does: "", act: () => visit.toggle(n) })),
  ];
}

wire();
wireKeys(shortcuts(), [["← →", "an older, a newer frame's life"], ["1 … 9", "a model on or off"], ["?", "this list"]]);
wireTheme(() => dashboard.refresh());
visit.begin();
if (typeof RTCPeerConnection !== "function") void visit.fail(explain("NO_WEBRTC"));
void visit.readModels();
setInterval(() => void visit.readModels(), MODELS_EVERY);
