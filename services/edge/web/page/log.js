// The messages of a session, newest first. It stands still while one is looked at, and while the pointer or the focus is on the list.

import { byId, element, renderRows, write } from "./dom.js";
import { shortName } from "./lifeview.js";
import { gist } from "./picture.js";

const KEPT = 200;

/** @typedef {{ at: Date, kind: string, text: string, stream: string, model: string, number: string, said: string }} Entry kind: result, drop, error or other; text: the message itself */

/** What a server message says in a line. Pure. @param {any} message the parsed JSON @param {Date} at when it came @returns {Entry} */
export function entryOf(message, at) {
  const text = JSON.stringify(message, undefined, 2);
  const { outcome } = message;
  if (!outcome) {
    const [name = "message"] = Object.keys(message);
    return { at, kind: "other", text, stream: message[name]?.stream ?? "", model: "", number: "", said: `${name} ${JSON.stringify(message[name])}`.slice(0, 160) };
  }
  const { stream = "", model = "", sequence = 0, result, drop, error } = outcome;
  const kind = drop ? "drop" : error ? "error" : "result";
  const said = drop?.reason ?? error?.code ?? (gist(result ?? {}) || "nothing found");
  return { at, kind, text, stream, model, number: `#${sequence}`, said };
}

export class Log {
  /** @type {Entry[]} newest first */ #entries = [];
  /** @type {Entry[]} those of the last time that they were shown */ #shown = [];
  /** @type {Entry[] | undefined} what was shown when it was told to stand still */ #frozen;
  /** @type {Entry | undefined} */ #chosen;
  #total = 0;

  constructor() {
    byId("log-pause").addEventListener("click", () => this.pause(!this.#frozen));
    byId("log-kind").addEventListener("change", () => this.#render());
  }

  /** @param {any} message @param {Date} at */
  add(message, at) {
    this.#total += 1;
    this.#entries.unshift(entryOf(message, at));
    if (this.#entries.length > KEPT) this.#entries.pop();
  }

  clear() {
    [this.#entries, this.#shown, this.#chosen, this.#total] = [[], [], undefined, 0];
    this.pause(false);
  }

  /** Whether it stands still. @param {boolean} on */
  pause(on) {
    this.#frozen = on ? this.#shown : undefined;
    if (!on) this.#chosen = undefined;
    byId("log-pause").setAttribute("aria-pressed", String(on));
    write(byId("log-pause"), on ? "Go on" : "Pause");
    this.#render();
  }

  togglePause() {
    this.pause(!this.#frozen);
  }

  /** Shows what there is now, unless somebody is about to choose. */
  show() {
    const list = byId("log");
    if (!list.matches(":hover") && !list.contains(document.activeElement)) this.#render();
  }

  #render() {
    const kind = byId("log-kind").value;
    this.#shown = this.#frozen ?? [...this.#entries];
    const shown = this.#shown.filter((entry) => kind === "" || entry.kind === kind);
    const list = byId("log");
    write(byId("log-total"), this.#total ? `${this.#total.toLocaleString("en")} in all` : "");
    if (shown.length === 0) {
      if (!list.querySelector(".nothing")) list.replaceChildren(element("li", "nothing muted", "None."));
    } else {
      list.querySelector(".nothing")?.remove();
      renderRows(list, shown, () => this.#row(), (row, entry) => fill(row, entry, entry === this.#chosen));
    }
    byId("log-message").hidden = !this.#chosen;
    write(byId("log-message").firstElementChild, this.#chosen?.text ?? "");
  }

  #row() {
    const row = element("li");
    const button = element("button");
    button.type = "button";
    button.append(element("span", "at"), element("i"), element("span", "number"), element("span", "stream"), element("span", "model"), element("span", "said"));
    button.addEventListener("click", () => {
      const entry = /** @type {any} */ (row).entry;
      this.#frozen ??= this.#shown;
      this.#chosen = this.#chosen === entry ? undefined : entry;
      byId("log-pause").setAttribute("aria-pressed", "true");
      write(byId("log-pause"), "Go on");
      this.#render();
    });
    row.append(button);
    return row;
  }
}

/** @param {HTMLElement} row @param {Entry} entry @param {boolean} isChosen */
function fill(row, entry, isChosen) {
  const button = /** @type {HTMLElement} */ (row.firstElementChild);
  Object.assign(row, { entry });
  row.dataset.key = entry.kind;
  button.setAttribute("aria-pressed", String(isChosen));
  const texts = [entry.at.toLocaleTimeString("en-GB"), "", entry.number, shortName(entry.stream), entry.model, entry.said];
  [...button.children].forEach((cell, i) => write(cell, texts[i]));
}
