// What the models find, without the pictures: a plate for each stream of a session that is watched.

import { element, write } from "./dom.js";
import { Picture, counted, gist } from "./picture.js";
import { shortName } from "./lifeview.js";

/** @typedef {import("../sdk/sluice.js").Outcome} Outcome */

const MOST = 6; // plates; a session may have more streams, whose answers the log has
const FRESH = 1500; // ms after which an answer says nothing about now
const TOGETHER = 250; // ms by which an answer may be older than the stream's newest: a slower model's boxes lie where things were

/** @typedef {{ picture: Picture, found: HTMLElement, latest: Map<string, { outcome: Outcome, at: number }> }} Plate */

export class Plates {
  /** @type {Map<string, Plate>} */ #plates = new Map();

  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
  }

  /** The names of the streams that answers came for. */
  get streams() {
    return [...this.#plates.keys()];
  }

  clear() {
    this.#plates.clear();
    this.place.replaceChildren();
  }

  /** @param {Outcome} outcome @param {number} now */
  add(outcome, now) {
    const stream = outcome.stream ?? "";
    const plate = this.#plates.get(stream) ?? this.#make(stream);
    if (outcome.result) plate.latest.set(outcome.model, { outcome, at: now });
  }

  /** @param {number} now */
  draw(now) {
    for (const { picture, found, latest } of this.#plates.values()) {
      const newest = Math.max(...[...latest.values()].map(({ at }) => at));
      const fresh = [...latest.values()].filter(({ at }) => now - at < FRESH && newest - at < TOGETHER).map(({ outcome }) => outcome);
      const words = fresh.filter(({ result }) => !result?.detections?.length).map(({ result }) => gist(result ?? {})).filter(Boolean).join(" · ");
      picture.sketch(fresh, words);
      const said = counted(fresh) || words || (fresh.length > 0 ? "nothing found" : "no answers at the moment");
      write(found, said);
      picture.canvas.setAttribute("aria-label", said);
    }
  }

  /** @param {string} stream */
  #make(stream) {
    const canvas = element("canvas");
    const caption = element("figcaption");
    const found = element("span");
    canvas.setAttribute("role", "img");
    caption.append(element("b", "", stream ? shortName(stream) : "stream"), found);
    const plate = { picture: new Picture(canvas), found, latest: new Map() };
    this.#plates.set(stream, plate);
    if (this.#plates.size <= MOST) {
      const figure = element("figure");
      figure.append(canvas, caption);
      this.place.append(figure);
    }
    return plate;
  }
}
