// All numbers of a session, over its reconnections: it takes outcomes in and keeps cards, plots and the life of one frame up to date.

import { byId } from "./dom.js";
import { averageLife, lifeOf, slowest } from "./life.js";
import { buildLife, showLife } from "./lifeview.js";
import { buildPanel, showCards, showDue, showEnds, showKeys, showModelRows } from "./panel.js";
import { LatencyPlot, RatePlot } from "./plot.js";
import { Numbers, Rates, Recent } from "./stats.js";

/** @typedef {import("../sdk/sluice.js").Outcome} Outcome */
/** @typedef {import("./life.js").Life} Life */

const SPAN = 60_000; // ms that the plots show
const SPANS = [15_000, 30_000, SPAN]; // and as long as there is not so much to show
const COLORS = 6; // of models, --model-0 and on
const DRAW_EVERY = 100; // ms
const SHOW_EVERY = 500; // ms
const SENT = "sent";
const GIVEN_UP = "given up";

export class Dashboard {
  #all = new Numbers();
  /** @type {Map<string, Numbers>} */ #models = new Map();
  /** @type {Set<string>} models that count among all */ #counted = new Set();
  #rates = new Rates(SPAN);
  /** @type {Recent<Life>} */ #lives = new Recent(SPAN);
  /** @type {string | undefined} the model that is shown alone */ #chosen;
  /** @type {import("./lifeview.js").Pick} */ #pick = "newest";
  /** @type {Life | undefined} the one that a click chose */ #pinned;
  /** @type {number | undefined} s */ #roundTrip;
  #skipped = 0;
  #began = 0;
  #running = false;

  /** @param {{ panel: HTMLElement, life: HTMLElement, first: "sent" | "looked" }} places */
  constructor({ panel, life, first }) {
    this.first = first;
    buildPanel(panel, first);
    buildLife(life, (pick) => this.pick(pick));
    this.latency = new LatencyPlot(byId("plot"), SPAN);
    this.rate = new RatePlot(byId("rates"), SPAN);
    byId("plot").addEventListener("click", (/** @type {MouseEvent} */ event) => {
      const found = this.latency.at(event.offsetX, event.offsetY);
      if (found) this.pick("chosen", found);
    });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.refresh());
    addEventListener("resize", () => this.refresh());
    setInterval(() => this.#running && !document.hidden && this.#draw(performance.now()), DRAW_EVERY);
    setInterval(() => this.#running && this.#show(performance.now()), SHOW_EVERY);
    this.refresh();
  }

  /** Forgets everything, for another source. */
  clear() {
    this.latency.clear();
    [this.#all, this.#models, this.#counted] = [new Numbers(), new Map(), new Set()];
    [this.#rates, this.#lives] = [new Rates(SPAN), new Recent(SPAN)];
    [this.#chosen, this.#pinned, this.#roundTrip, this.#skipped] = [undefined, undefined, undefined, 0];
    if (this.#pick === "chosen") this.#pick = "newest";
    [this.#began, this.#running] = [performance.now(), true];
    this.refresh();
  }

  /** Lets the numbers stand as they are. */
  stop() {
    this.#show(performance.now());
    this.#running = false;
  }

  /**
   * @param {Outcome} outcome @param {number} now when it came
   * @param {{ captured?: number, counts?: boolean }} [more] captured: on the clock of now; counts: whether it is among the numbers of all models
   * @returns {Life}
   */
  add(outcome, now, { captured, counts = true } = {}) {
    const roundTrip = this.#roundTrip === undefined ? undefined : this.#roundTrip * 1000;
    const life = lifeOf(outcome, { latency: captured === undefined ? undefined : now - captured, roundTrip });
    const numbers = this.#models.get(life.model) ?? new Numbers();
    this.#models.set(life.model, numbers);
    numbers.record(life, now);
    this.#lives.add(now, life);
    this.latency.add(now, life);
    this.#rates.add(now, life.end.kind === "result" ? `result ${life.model}` : `lost ${life.model}`);
    if (!counts) return life;
    this.#counted.add(life.model);
    this.#all.record(life, now);
    return life;
  }

  /** What the browser says that it sends. @param {import("./panel.js").Sending} sending @param {number} now */
  sending({ fps, roundTrip }, now) {
    this.#roundTrip = roundTrip;
    if (fps !== undefined) this.#rates.set(now, SENT, Math.round(fps));
  }

  /** @param {number} count outcomes that this client lost */
  skipped(count) {
    this.#skipped += count;
  }

  /** Numbers of all models that count. @param {number} now */
  view(now) {
    return this.#all.view(now);
  }

  /** Answers a second of one model, lately. @param {string} model @param {number} now */
  answers(model, now) {
    return this.#models.get(model)?.results.rate(now) ?? 0;
  }

  /** Counts of the last three seconds by how they ended. @param {number} now */
  lately(now) {
    return this.#all.lately(now);
  }

  /** @param {import("./lifeview.js").Pick} pick which frame's life to show @param {Life} [life] the one chosen */
  pick(pick, life) {
    this.#pick = pick;
    this.#pinned = life;
    this.refresh();
  }

  /** Shows the next older or newer frame than the one that is shown. @param {-1 | 1} step */
  step(step) {
    const now = performance.now();
    const lives = this.#shownLives(now);
    const at = lives.indexOf(/** @type {Life} */ (this.#life(now)));
    const next = lives[at < 0 ? lives.length - 1 : Math.min(lives.length - 1, Math.max(0, at + step))];
    if (next) this.pick("chosen", next);
  }

  /** Shows everything as it is now. */
  refresh() {
    const now = performance.now();
    this.#draw(now);
    this.#show(now);
  }

  /** @param {number} now */
  #shownLives(now) {
    return this.#lives.values(now).filter((life) => this.#colorOf(life.model) !== undefined);
  }

  /** The life that is shown. @param {number} now @returns {Life | undefined} */
  #life(now) {
    const lives = this.#shownLives(now);
    switch (this.#pick) {
      case "average":
        return averageLife((this.#models.get(this.#chosen ?? "") ?? this.#all).lives(now));
      case "slowest":
        return slowest(lives);
      case "given-up":
        return lives.findLast((life) => life.end.kind !== "result");
      case "chosen":
        return this.#pinned;
      default:
        return lives.findLast((life) => life.end.kind === "result") ?? lives.at(-1);
    }
  }

  /** The custom property of a model's colour; undefined for one that is not shown now. @param {string} model */
  #colorOf(model) {
    if (this.#chosen === undefined ? !this.#counted.has(model) : this.#chosen !== model) return undefined;
    return `--model-${[...this.#models.keys()].indexOf(model) % COLORS}`;
  }

  /** @param {number} now @returns {import("./plot.js").Line[]} */
  #lines(now) {
    const shown = [...this.#models.keys()].filter((model) => this.#colorOf(model) !== undefined);
    const several = shown.length > 1;
    const sent = this.#rates.series(SENT, now);
    const lost = shown.map((model) => this.#rates.series(`lost ${model}`, now));
    const lines = shown.map((model) => ({ label: several ? model : "answered", color: this.#colorOf(model) ?? "", points: this.#rates.series(`result ${model}`, now) }));
    return [
      ...(this.#rates.keys().includes(SENT) ? [{ label: SENT, color: "--muted", dashed: true, points: sent }] : []),
      ...lines,
      ...(shown.length > 0 ? [{ label: GIVEN_UP, color: "--drop", points: (lost[0] ?? []).map(({ at }, i) => ({ at, count: lost.reduce((sum, series) => sum + series[i].count, 0) })) }] : []),
    ];
  }

  /** @param {number} now */
  #draw(now) {
    const span = SPANS.find((length) => now - this.#began < length) ?? SPAN;
    this.latency.span = this.rate.span = span;
    this.latency.draw(now, (life) => this.#colorOf(life.model), this.#pick === "chosen" ? this.#pinned : undefined);
    this.rate.draw(now, this.#lines(now));
  }

  /** @param {number} now */
  #show(now) {
    const view = (this.#models.get(this.#chosen ?? "") ?? this.#all).view(now);
    if (this.first === "looked") showDue(view);
    showCards(view, this.#skipped, this.#roundTrip);
    showEnds(view);
    showKeys(this.#lines(now));
    const rows = [...this.#models].map(([name, numbers], i) => ({ name, color: `--model-${i % COLORS}`, view: numbers.view(now) })).sort((a, b) => a.name.localeCompare(b.name));
    showModelRows(rows, this.#chosen, (name) => {
      this.#chosen = this.#chosen === name ? undefined : name;
      this.refresh();
    });
    showLife(this.#life(now), this.#pick);
  }
}
