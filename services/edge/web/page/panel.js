// Shows the numbers of a session.

import { ENDS } from "./problems.js";
import { bitrate, shortNumber } from "./stats.js";

/** @typedef {ReturnType<import("./stats.js").Numbers["view"]>} View */
/** @typedef {{ fps?: number, bits?: number, width?: number, height?: number, roundTrip?: number }} Sending */

/** @template {keyof HTMLElementTagNameMap} K @param {K} tag @param {string} [className] @param {string} [text] @returns {HTMLElementTagNameMap[K]} */
export function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

/** @param {string} id @returns {any} */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`index.html has no #${id}`);
  return found;
}

/** @param {string} id @param {string} text */
function write(id, text) {
  const node = byId(id);
  if (node.textContent !== text) node.textContent = text; // unchanged text is not announced again
}

/** @param {Sending} sending */
export function showSending({ fps, bits, width, height, roundTrip }) {
  write("n-sent", shortNumber(fps));
  const parts = [width && height ? `${width}×${height}` : "", bits === undefined ? "" : bitrate(bits)];
  write("n-sent-more", parts.filter(Boolean).join(" · ") || "\u00a0");
  write("n-p95-more", roundTrip === undefined ? "95 of 100 are faster" : `round trip ${shortNumber(roundTrip * 1000)} ms`);
}

/** @param {View} view @param {number} skipped outcomes this client lost */
export function showNumbers(view, skipped) {
  write("n-answers", shortNumber(view.total === 0 ? undefined : view.answers));
  const given = view.ends.filter((end) => end.kind !== "result").reduce((sum, end) => sum + end.count, 0);
  const share = view.total === 0 ? "\u00a0" : given === 0 ? "none given up" : `${percent(given / view.total)} given up`;
  write("n-answers-more", skipped > 0 ? `${share}, ${skipped} not shown` : share);
  write("n-p50", shortNumber(view.p50));
  write("n-p95", shortNumber(view.p95));
  write("n-latency-more", view.p50 === undefined || view.own ? "capture to answer" : "at the edge only, so far");
  showStages(view);
  showEnds(view);
}

/** @param {View} view */
function showStages({ stages, p50 }) {
  const total = stages.reduce((sum, stage) => sum + stage.ms, 0);
  const shown = p50 === undefined ? [] : stages.filter((stage) => stage.ms >= 0.05);
  write("stages-total", total > 0 && shown.length ? `${shortNumber(total)} ms on average` : "");
  renderStack(byId("stages-bar"), shown.map(({ name, ms }) => ({ key: `stage-${name}`, share: ms / total })));
  renderList(byId("stages"), shown.map(({ name, label, title, ms }) => ({ key: `stage-${name}`, label, title, value: `${shortNumber(ms)} ms` })),
    "Nothing measured yet.");
}

/** @param {View} view */
function showEnds({ ends, total }) {
  const order = { result: 0, drop: 1, error: 2 };
  const sorted = [...ends].sort((a, b) => order[a.kind] - order[b.kind] || b.count - a.count);
  write("ends-total", total > 0 ? `${total.toLocaleString("en")} in all` : "");
  renderStack(byId("ends-bar"), sorted.map(({ kind, count }) => ({ key: kind, share: count / total })));
  renderList(byId("ends"), sorted.map(({ name, kind, count }) => ({
    key: kind, label: name === "result" ? "Answered" : name, title: ENDS[name] ?? "", value: count.toLocaleString("en"), share: percent(count / total),
  })), "No frame has been answered or given up yet.");
}

/** Replaces the children only when there are others, so that a pointer resting on one keeps its hint. @param {HTMLElement} bar @param {{ key: string, share: number }[]} parts */
function renderStack(bar, parts) {
  while (bar.children.length > parts.length) bar.lastElementChild?.remove();
  parts.forEach(({ key, share }, i) => {
    const part = /** @type {HTMLElement} */ (bar.children[i] ?? bar.appendChild(element("i")));
    part.dataset.key = key;
    part.style.flexGrow = String(Math.max(share, 0.004));
  });
}

/** @param {HTMLElement} list @param {{ key: string, label: string, title: string, value: string, share?: string }[]} rows @param {string} nothing */
function renderList(list, rows, nothing) {
  if (rows.length === 0) {
    if (!list.querySelector(".nothing")) list.replaceChildren(element("li", "nothing muted", nothing));
    return;
  }
  list.querySelector(".nothing")?.remove();
  while (list.children.length > rows.length) list.lastElementChild?.remove();
  rows.forEach(({ key, label, title, value, share = "" }, i) => {
    const row = /** @type {HTMLElement} */ (list.children[i] ?? list.appendChild(emptyRow()));
    row.dataset.key = key;
    const texts = [label, value, share, title];
    [...row.querySelectorAll("b, var, small, em")].forEach((cell, n) => {
      if (cell.textContent !== texts[n]) cell.textContent = texts[n];
    });
  });
}

function emptyRow() {
  const row = element("li");
  row.append(element("b"), element("var"), element("small"), element("em"));
  return row;
}

/** @param {number} share */
function percent(share) {
  const value = share * 100;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}
