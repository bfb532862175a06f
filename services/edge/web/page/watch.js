// The page that watches a session by its id: /watch?session=ID. It gets the answers only, never the pictures.

import { Dashboard } from "./dashboard.js";
import { byId, copyText, element, renderRows, write } from "./dom.js";
import { commands, follow } from "./follow.js";
import { watching } from "./happening.js";
import { wireKeys } from "./keys.js";
import { Log } from "./log.js";
import { shortName } from "./lifeview.js";
import { Plates } from "./plates.js";
import { explain } from "./problems.js";
import { wireTheme } from "./theme.js";
import { hideProblem, showNotice, showProblem, showState } from "./view.js";

const EDGE = new URL("..", import.meta.url);
const SHOW_EVERY = 500; // ms

class Watch {
  #turn = new AbortController();
  /** @type {string | undefined} */ #token;
  /** @type {import("./view.js").PageState} */ #state = "idle";
  /** @type {Set<string>} */ #models = new Set();

  constructor() {
    this.dashboard = new Dashboard({ panel: byId("panel"), life: byId("life"), first: "looked" });
    this.plates = new Plates(byId("plates"));
    this.log = new Log();
    requestAnimationFrame(() => this.#draw());
    setInterval(() => this.#show(), SHOW_EVERY);
  }

  /** @param {string} id of the session */
  async start(id) {
    this.#turn.abort();
    const { signal } = (this.#turn = new AbortController());
    const url = new URL(`sessions/${encodeURIComponent(id)}/results`, EDGE);
    hideProblem();
    this.#introduce(id, url);
    this.#models.clear();
    for (const part of [this.dashboard, this.plates, this.log]) part.clear();
    byId("summary").hidden = true;
    this.#setState("connecting");
    try {
      const state = (/** @type {"following" | "interrupted"} */ now) => this.#setState(now === "following" ? "live" : "interrupted");
      for await (const { data } of follow(url, { token: this.#token, signal, state })) this.#take(data);
      if (!signal.aborted) this.#end();
    } catch (error) {
      if (!signal.aborted) this.#fail(error, id);
    }
  }

  /** Asks which session to watch. */
  ask() {
    this.#turn.abort();
    hideProblem();
    this.#setState("idle");
    byId("wanted").focus({ preventScroll: true });
  }

  /** @param {string} data of an event */
  #take(data) {
    const now = performance.now();
    const message = parse(data);
    if (!message) return;
    this.log.add(message, new Date());
    const { outcome, skipped, summary } = message;
    if (outcome?.model) {
      this.#models.add(outcome.model);
      this.dashboard.add(outcome, now);
      this.plates.add(outcome, now);
    }
    if (typeof skipped === "number") this.dashboard.skipped(skipped);
    if (summary) showSummary(summary);
  }

  #end() {
    this.dashboard.stop();
    this.#setState("ended");
    this.#show();
  }

  /** @param {any} error @param {string} id */
  #fail(error, id) {
    this.dashboard.stop();
    if (error.code === "SESSION_NOT_FOUND" && this.#models.size > 0) return this.#end(); // it ended while nobody could tell
    showProblem(explain(error.code ?? "UNEXPECTED", { detail: error.message, status: error.status, origin: location.origin }), {
      retry: () => void this.start(id),
      dismiss: () => this.ask(),
      other: "Watch another",
      token: (token) => {
        this.#token = token;
        void this.start(id);
      },
    });
    this.#setState("idle");
  }

  /** @param {import("./view.js").PageState} state */
  #setState(state) {
    this.#state = state;
    showState(state, this.#story(), state === "connecting" ? "Asking for the session…" : "");
    showNotice({ interrupted: "The edge does not answer; trying again", ended: "The session is over" }[/** @type {string} */ (state)] ?? "", state === "ended");
  }

  #story() {
    if (this.#state === "idle") return "This page follows a session that somebody else sends, and shows what its models find and how it fares.";
    const now = performance.now();
    return watching({ state: this.#state, streams: this.plates.streams, models: [...this.#models], view: this.dashboard.view(now), lately: this.dashboard.lately(now) });
  }

  #show() {
    if (this.#state !== "live" && this.#state !== "ended") return;
    write(byId("happening"), this.#story());
    this.log.show();
  }

  #draw() {
    requestAnimationFrame(() => this.#draw());
    if (this.#state !== "idle") this.plates.draw(performance.now());
  }

  /** @param {string} id @param {URL} url */
  #introduce(id, url) {
    write(byId("session-id"), id);
    byId("wanted").value = id;
    const { curl, grpcurl } = commands(id, url, this.#token !== undefined);
    write(byId("by-curl"), curl);
    write(byId("by-grpc"), grpcurl);
  }
}

/** @param {any} summary */
function showSummary(summary) {
  const sum = (/** @type {Record<string, number> | undefined} */ counts) => Object.values(counts ?? {}).reduce((a, b) => a + b, 0);
  const rows = (summary.streams ?? []).flatMap((/** @type {any} */ { stream = "", received = 0, models = [] }) =>
    models.map((/** @type {any} */ counts) => [`${shortName(stream)}, ${counts.model ?? ""}`, received, counts.accepted ?? 0, counts.results ?? 0, sum(counts.drops), sum(counts.errors)]));
  byId("summary").hidden = false;
  renderRows(byId("summary-rows"), rows, emptySummaryRow, (row, texts) => {
    [...row.children].forEach((cell, i) => write(cell, /** @type {any} */ (texts)[i].toLocaleString("en")));
  });
}

function emptySummaryRow() {
  const row = element("tr");
  const head = element("th");
  head.scope = "row";
  row.append(head, ...Array.from({ length: 5 }, () => element("td")));
  return row;
}

/** @param {string} text @returns {any} */
function parse(text) {
  try {
    return JSON.parse(text) ?? undefined;
  } catch {
    return undefined; // not for this version of the page
  }
}

function fullScreen() {
  if (document.fullscreenElement) void document.exitFullscreen();
  else if (document.fullscreenEnabled) void document.documentElement.requestFullscreen();
}

const watch = new Watch();
wireTheme(() => watch.dashboard.refresh());
wireKeys([
  { key: "F", does: "full screen", act: fullScreen },
  { key: "T", does: "light or dark", act: () => byId("theme").click() },
  { key: "P", does: "messages stand still or go on", act: () => watch.log.togglePause() },
  { key: "L", does: "life of the newest frame", act: () => watch.dashboard.pick("newest") },
  { key: "W", does: "life of the slowest frame", act: () => watch.dashboard.pick("slowest") },
  { key: "G", does: "life of one given up", act: () => watch.dashboard.pick("given-up") },
  { key: "A", does: "the average life", act: () => watch.dashboard.pick("average") },
  { key: "ArrowLeft", does: "", act: () => watch.dashboard.step(-1) },
  { key: "ArrowRight", does: "", act: () => watch.dashboard.step(1) },
], [["← →", "an older, a newer frame's life"], ["?", "this list"]]);
byId("full").hidden = !document.fullscreenEnabled;
byId("full").addEventListener("click", fullScreen);
for (const button of document.querySelectorAll("[data-copy]")) button.addEventListener("click", () => void copyText(/** @type {HTMLElement} */ (button)));
byId("which").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const id = byId("wanted").value.trim();
  history.replaceState(undefined, "", `?session=${encodeURIComponent(id)}`);
  void watch.start(id);
});
const asked = new URLSearchParams(location.search).get("session")?.trim();
if (asked) void watch.start(asked);
else watch.ask();
