// What the page says: its state, problems, advice and notices.

import { byId, element, write } from "./dom.js";

/** @typedef {import("./problems.js").Explanation} Explanation */
/** @typedef {"idle" | "opening" | "connecting" | "live" | "interrupted" | "ended"} PageState */

const STATUS = { idle: "Ready", opening: "Opening…", connecting: "Connecting…", live: "Live", interrupted: "Interrupted", ended: "Ended" };

/** @param {PageState} state @param {string} [story] what is happening, in a sentence; without it what is said stays @param {string} [doing] what is being waited for, in short */
export function showState(state, story = "", doing = "") {
  document.body.dataset.state = state;
  document.title = state === "idle" ? "Sluice" : `${STATUS[state]} · Sluice`;
  write(byId("status"), state === "idle" && !byId("problem").hidden ? "Stopped" : STATUS[state]);
  if (story) write(byId("happening"), story);
  const waiting = state === "opening" || state === "connecting";
  byId("waiting").hidden = !waiting;
  byId("waiting-text").textContent = doing;
  byId("welcome").hidden = state !== "idle" || !byId("problem").hidden;
  for (const control of document.querySelectorAll(".live-only")) control.toggleAttribute("data-off", state === "idle");
}

/**
 * Shows a problem in place of the picture.
 * @param {Explanation} problem @param {{ retry: () => void, dismiss: () => void, token: (token: string) => void, other?: string }} act other: what dismissing is called
 */
export function showProblem(problem, act) {
  const card = byId("problem");
  const buttons = element("div", "buttons");
  card.replaceChildren(element("h2", "", problem.title), element("p", "", problem.text));
  if (problem.hints.length > 0) {
    const hints = element("ul");
    hints.append(...problem.hints.map((hint) => element("li", "", hint)));
    card.append(hints);
  }
  if (problem.action === "token") card.append(tokenForm(act.token));
  if (problem.action === "retry") buttons.append(button("Try again", "primary", act.retry));
  buttons.append(button(act.other ?? (problem.action === "retry" ? "Choose another source" : "Back"), "", act.dismiss));
  card.append(buttons);
  card.hidden = false;
  byId("welcome").hidden = true;
  const first = /** @type {HTMLElement | null} */ (card.querySelector("input:not([hidden]), button"));
  first?.focus({ preventScroll: true });
}

export function hideProblem() {
  byId("problem").hidden = true;
  byId("problem").replaceChildren();
}

/** @param {(token: string) => void} use */
function tokenForm(use) {
  const form = element("form", "token");
  const field = element("input", "field");
  Object.assign(field, { type: "password", name: "token", autocomplete: "current-password", required: true, placeholder: "Token" });
  field.setAttribute("aria-label", "Token");
  const user = element("input"); // password managers file a secret under a name
  Object.assign(user, { type: "text", name: "user", autocomplete: "username", value: "sluice", hidden: true });
  const submit = element("button", "primary", "Use it");
  submit.type = "submit";
  form.append(user, field, submit);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    use(field.value.trim());
  });
  return form;
}

/** @param {string} text @param {string} className @param {() => void} act */
function button(text, className, act) {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

/** Says below the picture what may be wrong; nothing hides it. @param {Explanation | undefined} advice */
export function showAdvice(advice) {
  const place = byId("advice");
  if (place.dataset.code === (advice?.code ?? "") && place.dataset.text === advice?.text) return;
  place.dataset.code = advice?.code ?? "";
  place.dataset.text = advice?.text ?? "";
  place.hidden = !advice;
  place.replaceChildren();
  if (!advice) return;
  place.append(element("b", "", advice.title), element("span", "", advice.text));
  for (const hint of advice.hints.slice(0, 1)) place.append(element("span", "", hint));
}

/** Says on the picture how it and its boxes stand to each other. @param {string} text @param {boolean} [calm] */
export function showNotice(text, calm = false) {
  const notice = byId("notice");
  notice.hidden = text === "";
  notice.toggleAttribute("data-calm", calm);
  write(notice, text);
}

/** @param {readonly string[]} texts */
export function showClasses(texts) {
  const place = byId("classes");
  place.hidden = texts.length === 0;
  write(place, texts.join(" · "));
}

/**
 * Lists the models to choose from.
 * @param {readonly import("./models.js").Model[]} models @param {ReadonlySet<string>} off names not chosen @param {(name: string, on: boolean) => void} choose
 */
export function showModels(models, off, choose) {
  const list = byId("model-list");
  const key = JSON.stringify([models, [...off]]);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  const focused = /** @type {HTMLInputElement | null} */ (document.activeElement)?.value;
  list.replaceChildren(...models.map((model) => modelChip(model, !off.has(model.name), choose)));
  if (models.length === 0) list.append(element("span", "muted", "The router offers none."));
  for (const box of list.querySelectorAll("input")) if (box.value === focused) box.focus();
}

/** @param {import("./models.js").Model} model @param {boolean} on @param {(name: string, on: boolean) => void} choose */
function modelChip(model, on, choose) {
  const chip = element("label", "chip");
  const box = element("input");
  Object.assign(box, { type: "checkbox", value: model.name, checked: on });
  box.addEventListener("change", () => choose(model.name, box.checked));
  const facts = [model.takes, model.rate ? `${model.rate}/s` : ""].filter(Boolean).join(" · ");
  chip.title = [model.result, model.deadline ? `within ${Math.round(model.deadline * 1000)} ms` : ""].filter(Boolean).join(" ");
  chip.append(box, element("b", "", model.name), element("small", "", facts));
  if (!model.ready) chip.append(element("em", "", "not ready"));
  return chip;
}

/** @param {string} text */
export function showModelsMissing(text) {
  const list = byId("model-list");
  list.dataset.key = "";
  list.replaceChildren(element("span", "muted", text));
}
