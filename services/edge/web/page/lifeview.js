// Shows one frame's life as a waterfall: a row for each stage, a bar where and as long as it was in it.

import { byId, element, renderRows, write } from "./dom.js";
import { ESTIMATED, STAGES, ticks } from "./life.js";
import { ENDS } from "./problems.js";
import { shortNumber } from "./stats.js";

/** @typedef {import("./life.js").Life} Life */
/** @typedef {"newest" | "slowest" | "given-up" | "average" | "chosen"} Pick which frame is shown */

const MARK = 64; // pixels that a mark of the axis needs
const PICKS = /** @type {const} */ ([["newest", "Newest"], ["slowest", "Slowest"], ["given-up", "Given up"], ["average", "Average"]]);

/** @param {HTMLElement} place @param {(pick: Pick) => void} choose */
export function buildLife(place, choose) {
  const segments = element("div", "segments");
  segments.setAttribute("role", "group");
  segments.setAttribute("aria-label", "Which frame");
  for (const [pick, label] of PICKS) {
    const button = element("button", "", label);
    button.type = "button";
    button.dataset.pick = pick;
    button.addEventListener("click", () => choose(pick));
    segments.append(button);
  }
  const head = element("div", "life-head");
  const title = element("h2", "", "One frame's life ");
  title.id = "life-title";
  title.append(Object.assign(element("span", "muted"), { id: "life-total" }));
  head.append(title, segments);
  const list = Object.assign(element("ol", "waterfall"), { id: "life-stages" });
  place.setAttribute("aria-labelledby", "life-title");
  place.replaceChildren(head, Object.assign(element("p", "life-about muted"), { id: "life-about" }), list, Object.assign(element("div", "life-axis"), { id: "life-axis" }));
  byId("life-axis").setAttribute("aria-hidden", "true");
  showLife(undefined, "newest");
}

/** @param {Life | undefined} life @param {Pick} pick */
export function showLife(life, pick) {
  for (const button of document.querySelectorAll("[data-pick]")) button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.pick === pick));
  const total = life?.total ?? 0;
  const end = Math.max(total, 0.1);
  write(byId("life-total"), life?.total === undefined ? "" : `${shortNumber(total)} ms`);
  write(byId("life-about"), about(life, pick));
  renderRows(byId("life-stages"), STAGES, emptyStage, (row, [name, label, title]) => {
    const stage = life?.stages.find((candidate) => candidate.name === name);
    const reached = stage?.reached ?? false;
    row.dataset.key = `stage-${name}`;
    row.toggleAttribute("data-unreached", life !== undefined && !reached);
    const [head, track, value, words] = row.children;
    write(head, label);
    write(words, title);
    write(value, !life ? "" : !reached ? "–" : `${ESTIMATED.has(name) ? "≈ " : ""}${shortNumber(stage?.ms)} ms`);
    const [wait, work] = /** @type {HTMLElement[]} */ ([...track.children]);
    const { start = 0, ms = 0, wait: waited = 0 } = stage ?? {};
    lay(wait, reached ? start / end : 0, reached ? waited / end : 0);
    lay(work, reached ? (start + waited) / end : 0, reached ? (ms - waited) / end : 0);
  });
  const axis = byId("life-axis");
  renderRows(axis, life ? ticks(total, Math.max(2, axis.clientWidth / MARK)) : [], () => element("span"), (mark, at) => {
    mark.style.left = `${(100 * at) / end}%`;
    write(mark, at === 0 ? "0" : `${at} ms`);
  });
}

/** @param {HTMLElement} bar @param {number} start @param {number} length both shares of the whole */
function lay(bar, start, length) {
  bar.style.left = `${100 * start}%`;
  bar.style.width = `${100 * length}%`;
  bar.hidden = length <= 0;
}

function emptyStage() {
  const row = element("li");
  const track = element("span", "track");
  track.append(element("i", "wait"), element("i", "work"));
  row.append(element("b"), track, element("var"), element("em"));
  return row;
}

/** What is shown, in words. @param {Life | undefined} life @param {Pick} pick */
export function about(life, pick) {
  if (!life) {
    if (pick === "given-up") return "No frame has been given up in the last minute.";
    return "Every frame passes these stages. Once something is sent, their times stand here.";
  }
  if (pick === "average") return `The answered frames of the last ten seconds, on average, ${life.own ? "from capture to answer" : "as the edge saw them"}.`;
  const which = `Frame ${life.sequence.toLocaleString("en")}${life.stream ? ` of ${shortName(life.stream)}` : ""}, for ${life.model}`;
  if (life.end.kind !== "result") return `${which}: ${life.end.name}. ${ENDS[life.end.name] ?? ""}`;
  const company = (life.batch ?? 1) > 1 ? `, in one batch with ${/** @type {number} */ (life.batch) - 1} more` : "";
  return `${which}, answered${company}${life.own ? "" : "; times as the edge saw them"}.`;
}

/** Names that browsers make up for tracks are long and mean nothing. @param {string} name */
export function shortName(name) {
  return name.length > 24 ? `${name.slice(0, 8)}…` : name;
}
