// What the page shows of a microphone: how sure the model is that somebody speaks.

import { byId } from "./dom.js";

const ON = 0.5; // probability at which speech begins
const OFF = 0.35; // and below which it ends: one threshold would flicker
const FRESH = 1000; // ms after which an answer says nothing about now

/** Follows the probability of speech. Pure: time comes in as an argument (ms). */
export class Speech {
  #at = -Infinity;
  #probability = 0;
  #speaking = false;

  /** @param {number} at @param {number} probability 0 to 1 */
  add(at, probability) {
    this.#at = at;
    this.#probability = probability;
    this.#speaking = probability >= (this.#speaking ? OFF : ON);
  }

  /** @param {number} now @returns {{ state: "waiting" | "silence" | "speech", probability: number }} */
  view(now) {
    if (now - this.#at > FRESH) return { state: "waiting", probability: 0 };
    return { state: this.#speaking ? "speech" : "silence", probability: this.#probability };
  }
}

const WORDS = { waiting: "no answers yet", silence: "silence", speech: "somebody speaks" };

/** @param {ReturnType<Speech["view"]>} view */
export function showSpeech({ state, probability }) {
  const card = byId("speech");
  const meter = byId("speech-meter");
  const percent = String(Math.round(100 * probability));
  if (card.dataset.speech !== state) {
    card.dataset.speech = state;
    byId("speech-state").textContent = WORDS[state];
  }
  if (meter.getAttribute("aria-valuenow") === percent) return;
  meter.setAttribute("aria-valuenow", percent);
  meter.firstElementChild.style.transform = `scaleX(${probability})`;
}
