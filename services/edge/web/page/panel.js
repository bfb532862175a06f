// The numbers of a session: cards, the models' table, plots and what became of the frames. Both pages have it.

import { byId, element, renderRows, write } from "./dom.js";
import { ENDS } from "./problems.js";
import { bitrate, percent, shortNumber } from "./stats.js";

/** @typedef {ReturnType<import("./stats.js").Numbers["view"]>} View */
/** @typedef {{ fps?: number, bits?: number, width?: number, height?: number, roundTrip?: number }} Sending roundTrip in s */
/** @typedef {{ name: string, color: string, view: View }} ModelRow */

/** @param {string} id @param {string} label @param {string} unit */
const card = (id, label, unit) =>
  `<div><dt>${label}</dt><dd><output id="n-${id}" aria-live="off">–</output><small>${unit}</small></dd><dd id="n-${id}-more" class="more">&nbsp;</dd></div>`;

/** @param {string} first the first card */
const markup = (first) => `
<dl class="cards">
  ${first}
  ${card("answers", "Answers", "/s")}
  ${card("p50", "Latency, median", "ms")}
  ${card("p95", "Latency, p95", "ms")}
</dl>
<section id="per-model" class="card" hidden aria-labelledby="per-model-title">
  <h2 id="per-model-title">By model <span class="muted">choose one to see it alone</span></h2>
  <table class="models-table">
    <thead><tr><th scope="col">Model</th><th scope="col">answers/s</th><th scope="col">median</th><th scope="col">p95</th><th scope="col">given up</th></tr></thead>
    <tbody id="model-rows"></tbody>
  </table>
</section>
<section class="card" aria-labelledby="latency-title">
  <h2 id="latency-title">Latency <span class="muted">click a dot to see that frame's life</span></h2>
  <canvas id="plot" class="plot clickable" role="img" aria-label="Latency: nothing yet"></canvas>
  <ul id="latency-keys" class="keys"></ul>
</section>
<section class="card" aria-labelledby="rate-title">
  <h2 id="rate-title">Frames a second</h2>
  <canvas id="rates" class="plot low" role="img" aria-label="Rates: nothing yet"></canvas>
  <ul id="rate-keys" class="keys"></ul>
</section>
<section class="card" aria-labelledby="ends-title">
  <h2 id="ends-title">What became of the frames <span class="muted" id="ends-total"></span></h2>
  <div id="ends-bar" class="stack" aria-hidden="true"></div>
  <ul id="ends" class="ends"></ul>
</section>`;

/** @param {HTMLElement} place @param {"sent" | "looked"} first what the first card counts: frames that this page sends, or that a model was given */
export function buildPanel(place, first) {
  place.innerHTML = markup(first === "sent" ? card("sent", "Sent", "frames/s") : card("looked", "Frames due", "/s"));
}

/** @param {Sending} sending */
export function showSending({ fps, bits, width, height }) {
  write(byId("n-sent"), shortNumber(fps));
  const parts = [width && height ? `${width}×${height}` : "", bits === undefined ? "" : bitrate(bits)];
  write(byId("n-sent-more"), parts.filter(Boolean).join(" · ") || "\u00a0");
}

/** Fills the first card of a page that does not send itself. @param {View} view */
export function showDue(view) {
  write(byId("n-looked"), shortNumber(view.total === 0 ? undefined : view.outcomes));
  write(byId("n-looked-more"), "for one model each");
}

/** @param {View} view @param {number} skipped outcomes that this client lost @param {number} [roundTrip] s */
export function showCards(view, skipped, roundTrip) {
  const share = view.total === 0 ? "\u00a0" : view.givenUp === 0 ? "none given up" : `${percent(view.givenUp / view.total)} given up`;
  write(byId("n-answers"), shortNumber(view.total === 0 ? undefined : view.answers));
  write(byId("n-answers-more"), skipped > 0 ? `${share}, ${skipped} not shown` : share);
  write(byId("n-p50"), shortNumber(view.p50));
  write(byId("n-p95"), shortNumber(view.p95));
  write(byId("n-p50-more"), view.p50 === undefined || view.own ? "capture to answer" : "first packet to outcome");
  write(byId("n-p95-more"), roundTrip === undefined ? "95 of 100 are faster" : `round trip ${shortNumber(roundTrip * 1000)} ms`);
}

/**
 * Lists the models beside each other, when there are several.
 * @param {readonly ModelRow[]} rows @param {string | undefined} chosen the model whose numbers are shown alone @param {(name: string) => void} choose
 */
export function showModelRows(rows, chosen, choose) {
  byId("per-model").hidden = rows.length < 2;
  renderRows(byId("model-rows"), rows, () => emptyModelRow(choose), (row, { name, color, view }) => {
    const button = /** @type {HTMLElement} */ (row.querySelector("button"));
    row.dataset.color = color;
    button.dataset.model = name;
    button.setAttribute("aria-pressed", String(chosen === name));
    const texts = [name, shortNumber(view.answers), ms(view.p50), ms(view.p95), view.total ? percent(view.givenUp / view.total) : "–"];
    [button, ...row.querySelectorAll("td")].forEach((cell, i) => write(cell, texts[i]));
  });
}

/** @param {(name: string) => void} choose */
function emptyModelRow(choose) {
  const row = element("tr");
  const head = element("th");
  const button = element("button");
  head.scope = "row";
  button.type = "button";
  button.addEventListener("click", () => choose(button.dataset.model ?? ""));
  head.append(button);
  row.append(head, element("td"), element("td"), element("td"), element("td"));
  return row;
}

/** @param {View} view */
export function showEnds({ ends, total }) {
  const order = { result: 0, drop: 1, error: 2 };
  const sorted = [...ends].sort((a, b) => order[a.kind] - order[b.kind] || b.count - a.count);
  write(byId("ends-total"), total > 0 ? `${total.toLocaleString("en")} in all` : "");
  renderRows(byId("ends-bar"), sorted, () => element("i"), (part, { kind, count }) => {
    part.dataset.key = kind;
    part.style.flexGrow = String(Math.max(count / total, 0.004));
  });
  const list = byId("ends");
  if (sorted.length === 0) {
    if (!list.querySelector(".nothing")) list.replaceChildren(element("li", "nothing muted", "No frame has been answered or given up yet."));
    return;
  }
  list.querySelector(".nothing")?.remove();
  renderRows(list, sorted, emptyEnd, (row, { name, kind, count }) => {
    row.dataset.key = kind;
    const texts = [name === "result" ? "Answered" : name, count.toLocaleString("en"), percent(count / total), ENDS[name] ?? ""];
    [...row.children].forEach((cell, i) => write(cell, texts[i]));
  });
}

function emptyEnd() {
  const row = element("li");
  row.append(element("b"), element("var"), element("small"), element("em"));
  return row;
}

/** Names the colours of the plots. @param {readonly import("./plot.js").Line[]} lines of the rate plot */
export function showKeys(lines) {
  const fill = (/** @type {HTMLElement} */ item, /** @type {{ label: string, color: string, dashed?: boolean }} */ { label, color, dashed = false }) => {
    item.dataset.color = color;
    item.toggleAttribute("data-dashed", dashed);
    write(item, label);
  };
  const models = lines.filter(({ color }) => color.startsWith("--model"));
  const dots = models.length > 0 ? models : [{ label: "answered", color: "--model-0" }];
  renderRows(byId("rate-keys"), lines, () => element("li"), fill);
  renderRows(byId("latency-keys"), [...dots, { label: "given up", color: "--drop" }, { label: "failed", color: "--error" }], () => element("li"), fill);
}

/** @param {number | undefined} value */
function ms(value) {
  return value === undefined ? "–" : `${shortNumber(value)} ms`;
}
