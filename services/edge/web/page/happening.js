// Says in a sentence or two what is going on, for people who see the page for the first time. Pure.

import { shortNumber } from "./stats.js";

/** @typedef {ReturnType<import("./stats.js").Numbers["view"]>} View */

/**
 * @typedef {object} Now
 * @property {import("./view.js").PageState} state
 * @property {"camera" | "screen" | "file"} [source] what is sent, or is being opened
 * @property {number} [sent] frames a second
 * @property {readonly { name: string, pictures: boolean, answers: number }[]} [models] those chosen; answers: a second, lately
 * @property {View} [view]
 * @property {Record<string, number>} [lately] outcomes of the last three seconds by how they ended
 * @property {number} [delay] ms that the picture is shown late; undefined while boxes do not fit it
 */

const SOURCES = { camera: "Your camera", screen: "Your screen", file: "The file" };

/** Why frames are given up, as the end of a sentence, for people. @type {Record<string, string>} */
const GIVEN_UP = {
  SUPERSEDED: "because newer ones took their place: an answer about an old picture is worth nothing",
  EXPIRED: "because their answers would have come too late",
  OVERLOADED: "because the model has more to do than it can",
  DAMAGED: "because packets were lost on the way",
  NO_ROUTER: "because the edge has no router to send them to",
  RATE_LIMITED: "because more is sent than the session may send",
  DRAINING: "because the edge or its router is shutting down",
  BACKEND_UNAVAILABLE: "because no backend of the model is ready",
  BACKEND_TIMEOUT: "because the model did not answer in time",
  BACKEND_REJECTED: "because the model answers with an error",
  BACKEND_PROTOCOL: "because the model's answers cannot be read",
  ROUTER_LOST: "because the router does not answer",
};

/** @param {Now} now */
export function happening(now) {
  switch (now.state) {
    case "idle":
      return "Nothing is sent yet. Choose a source: its pictures go to this edge, which decodes them and hands those a model can use to it. The answers come back while they still matter.";
    case "opening":
      return now.source === "file" ? "The browser reads the file; it is not uploaded, only its frames are sent." : `The browser asks whether this page may use the ${now.source ?? "source"}.`;
    case "connecting":
      return "The page and the edge agree on how the pictures travel (WebRTC) and try addresses until one works.";
    case "interrupted":
      return "The connection broke off. The source stays open while the page connects again; nothing is kept for later, since old pictures need no answer.";
    default:
      return live(now);
  }
}

/**
 * What a page that watches a session sees.
 * @param {{ state: import("./view.js").PageState, streams: readonly string[], models: readonly string[], view: View, lately: Record<string, number> }} now
 */
export function watching({ state, streams, models, view, lately }) {
  if (state === "connecting") return "This page asks the edge for the session's answers, as any program can: by Server-Sent Events.";
  if (state === "interrupted") return "The edge does not answer. This page keeps trying, and goes on after the last answer that it got.";
  if (state === "ended") return `The session is over: ${view.total.toLocaleString("en")} outcomes came by. A client that connects again gets another session, with another id.`;
  if (models.length === 0) return "The session stands, but no answers have come since this page began to watch it.";
  const who = `${streams.length === 1 ? "One stream" : `${streams.length} streams`} for ${names(models.map((name) => ({ name })))}:`;
  const parts = [`${who} ${count(view.answers, "answer")} a second${view.p50 === undefined ? "" : `, each ${shortNumber(view.p50)}\u00a0ms after its frame reached the edge`}.`, mostly(lately)];
  return parts.filter(Boolean).join(" ");
}

/** @param {Now} now */
function live({ source = "camera", sent, models = [], view, lately = {}, delay }) {
  const looking = models.filter((model) => model.pictures);
  const parts = [`${SOURCES[source]} sends ${sent === undefined ? "pictures" : `${count(sent, "picture")} a second`} to the edge.`];
  if (looking.length === 0) parts.push("No model looks at them.");
  else if (!view || view.total === 0) parts.push(`${names(looking)} ${looking.length === 1 ? "has" : "have"} not answered yet.`);
  else parts.push(answered(looking, view, sent), delay === undefined ? "The picture is live and without boxes until each box can be put on its own frame." : shown(delay));
  const lost = mostly(lately);
  if (lost) parts.push(lost);
  return parts.join(" ");
}

/** @param {readonly { name: string, answers: number }[]} models @param {View} view @param {number} [sent] frames a second */
function answered(models, view, sent = Infinity) {
  const answering = models.filter(({ answers }) => answers > 0);
  const silent = models.filter(({ answers }) => answers === 0);
  const rate = Math.max(1, Math.round(answering[0]?.answers ?? 0));
  const share = rate >= Math.round(sent) ? "all of them" : `${rate} of them each second`; // the two are not counted over the same seconds
  const does = answering.length === 1 ? `looks at ${share} and answers` : "answer";
  const after = view.own ? "after a picture was taken" : "after it reached the edge";
  return [
    answering.length > 0 ? `${names(answering)} ${does} ${shortNumber(view.p50)}\u00a0ms ${after}.` : "",
    silent.length > 0 ? `${names(silent)} ${silent.length === 1 ? "does" : "do"} not answer at the moment.` : "",
  ].filter(Boolean).join(" ");
}

/** @param {number} delay */
function shown(delay) {
  return `Each picture is shown ${Math.round(delay)}\u00a0ms late, so that its boxes lie on exactly that picture.`;
}

/** The reason of most that was given up lately, if that is more than a little. @param {Record<string, number>} lately */
function mostly(lately) {
  const total = Object.values(lately).reduce((sum, n) => sum + n, 0);
  const lost = Object.entries(lately).filter(([name]) => name !== "result").sort((a, b) => b[1] - a[1]);
  const share = lost.reduce((sum, [, n]) => sum + n, 0) / (total || 1);
  if (share < 0.03) return "";
  const [[name]] = lost;
  return `${Math.round(share * 100)}\u00a0% of the frames are given up, mostly ${GIVEN_UP[name] ?? `as ${name}`}.`;
}

/** @param {readonly { name: string }[]} models */
function names(models) {
  const quoted = models.map(({ name }) => `“${name}”`);
  return quoted.length < 2 ? quoted.join("") : `${quoted.slice(0, -1).join(", ")} and ${quoted[quoted.length - 1]}`;
}

/** @param {number} value @param {string} noun */
function count(value, noun) {
  const whole = Math.round(value);
  return `${whole} ${noun}${whole === 1 ? "" : "s"}`;
}
