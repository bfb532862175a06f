// One source on its way: its session (a new one after each reconnection), the picture with its boxes, and the numbers.

import { FrameBuffer } from "../sdk/sluice.js";
import { byId, write } from "./dom.js";
import { happening } from "./happening.js";
import { showSending } from "./panel.js";
import { classTexts, describe } from "./picture.js";
import { Playout } from "./playout.js";
import { SendingMeter } from "./sending.js";
import { Speech, showSpeech } from "./speech.js";
import { Recent } from "./stats.js";
import { advise, explain } from "./problems.js";
import { showAdvice, showClasses, showNotice } from "./view.js";

/** @typedef {import("../sdk/sluice.js").Session} Session */
/** @typedef {import("../sdk/sluice.js").Outcome} Outcome */
/** @typedef {import("./models.js").Model} Model */

const HOLD = 600; // ms that a picture with boxes stays before the live one takes its place
const TELL_EVERY = 500; // ms
const SENDING_EVERY = 1000; // ms

export class Live {
  #frames = new FrameBuffer();
  #playout = new Playout();
  #meter = new SendingMeter();
  #speech = new Speech();
  /** @type {import("./problems.js").Explanation | undefined} what is wrong besides the pictures */ trouble;
  /** @type {Recent<string>} */ #lookups = new Recent(3000);
  /** @type {Session | undefined} */ #session;
  /** @type {Outcome | undefined} */ #lastResult;
  /** @type {import("./panel.js").Sending} */ #sending = {};
  #since = 0;
  #answered = false;
  #exactAt = -Infinity;
  /** @type {unknown} */ #drawn;
  /** @type {() => void} */ #stopRecording;
  /** @type {(() => void)[]} */ #stops = [];

  /**
   * @param {import("./sources.js").Source} source @param {import("./picture.js").Picture} picture @param {import("./dashboard.js").Dashboard} dashboard
   * @param {() => Model[]} models those chosen, as they are now @param {number} rate frames a second of a source that this page draws
   */
  constructor(source, picture, dashboard, models, rate) {
    this.source = source;
    this.picture = picture;
    this.dashboard = dashboard;
    this.models = models;
    this.rate = rate;
    dashboard.clear();
    picture.mirror = source.mirror;
    this.#stopRecording = source.record(this.#frames, rate);
    this.#repeat(() => this.#show());
    this.#stops.push(every(TELL_EVERY, () => this.#tell()));
    this.#stops.push(every(SENDING_EVERY, () => void this.#measure()));
  }

  /** Goes on with another source in the same session. @param {import("./sources.js").Source} source */
  replace(source) {
    this.#stopRecording();
    this.#frames.clear();
    this.source = source;
    this.picture.mirror = source.mirror;
    this.#stopRecording = source.record(this.#frames, this.rate);
  }

  /** Takes the answers of a session, the last one's place. @param {Session} session */
  attach(session) {
    this.#session = session;
    this.#begin();
    session.addEventListener("reconnect", ({ detail }) => session === this.#session && !detail.resumed && this.#begin());
    session.addEventListener("outcome", ({ detail }) => this.#take(session, detail));
    session.addEventListener("skipped", ({ detail }) => this.dashboard.skipped(detail));
  }

  /** Begins with another connection: what was sent on the one before it counts no more. */
  #begin() {
    this.#since = performance.now();
    this.#answered = false;
    this.#meter = new SendingMeter();
    this.#playout = new Playout();
  }

  /** Lets go of the session: the picture goes on without boxes. */
  detach() {
    this.#session = undefined;
    this.#sending = {};
    showSending({});
    showNotice("Live picture without boxes");
  }

  /** Stops drawing and counting. The source and the session are their owner's to close. */
  stop() {
    this.#stopRecording();
    for (const stop of this.#stops.splice(0)) stop();
    this.#session = undefined;
    this.#frames.clear();
    this.dashboard.stop();
    showSending({});
    showNotice("");
    showAdvice(undefined);
    showClasses([]);
  }

  /** @param {Session} session @param {Outcome} outcome */
  #take(session, outcome) {
    if (session !== this.#session) return;
    const now = performance.now();
    const isSound = this.models().some((model) => model.sound && model.name === outcome.model);
    const captured = session.captureTime(outcome);
    this.dashboard.add(outcome, now, { captured, counts: !isSound }); // what stands for all models is about pictures
    if (isSound) {
      const [heard] = outcome.result?.speech ?? [];
      if (heard) this.#speech.add(now, heard.probability ?? 0);
      return;
    }
    this.#answered = true;
    if (!outcome.result) return;
    this.#lastResult = outcome;
    const time = this.#frames.timeOf(outcome, session.clock); // held against the frames that were sent, too
    if (time === undefined) this.#lookups.add(now, "unsynced");
    else this.#playout.add(outcome, time, now);
  }

  /** Draws the frame whose answers are in; when there is none for a while, the live picture without boxes. */
  #show() {
    const now = performance.now();
    showSpeech(this.#speech.view(now));
    const session = this.#session;
    const due = session && this.#playout.due(now);
    if (session && due) {
      const found = this.#frames.locate(due.outcomes[0], session.clock);
      if (found.status !== "early") {
        this.#lookups.add(now, found.status);
        this.#playout.done(due);
      }
      if (found.frame) {
        this.#exactAt = now;
        this.#drawn = due;
        this.picture.draw(found.frame, due.outcomes);
        this.picture.canvas.setAttribute("aria-label", describe(due.outcomes));
        showClasses(classTexts(due.outcomes));
      }
    }
    const { latest } = this.#frames;
    if (now - this.#exactAt > this.#hold() && latest && latest !== this.#drawn) {
      showClasses([]);
      this.#drawn = latest;
      this.picture.draw(latest);
      this.picture.canvas.setAttribute("aria-label", "Live picture");
    }
  }

  /** A model that looks once a second must not make its boxes blink. */
  #hold() {
    const fastest = Math.max(0, ...this.models().map((model) => model.rate));
    return fastest > 0 ? Math.max(HOLD, 2500 / fastest) : HOLD;
  }

  #tell() {
    const now = performance.now();
    if (!this.#session) return;
    const isExact = now - this.#exactAt <= this.#hold();
    showNotice(isExact ? `Delayed ${10 * Math.ceil(this.#playout.delay(now) / 10)} ms, so that boxes fit their frame` : this.#whyLive(now), isExact);
    const models = this.models().filter((model) => model.pictures);
    const advice = models.length === 0 && this.models().length > 0 ? undefined : advise({
      state: this.#session.state, answered: this.#answered, seconds: (now - this.#since) / 1000, sentRate: this.#sending.fps,
      lately: this.dashboard.lately(now), models,
    });
    showAdvice(advice ? explain(advice.code, advice.context) : this.trouble);
    if (byId("session-details").open) write(byId("last-answer"), this.#lastResult ? JSON.stringify(this.#lastResult, undefined, 2).slice(0, 4000) : "None yet.");
  }

  /** Says what goes on, once a second: twice would be too restless to read. @param {number} now */
  #narrate(now) {
    const delay = now - this.#exactAt <= this.#hold() ? this.#playout.delay(now) : undefined;
    const { fps } = this.#sending;
    const source = this.source.kind;
    const models = this.models().map((model) => ({ ...model, answers: this.dashboard.answers(model.name, now) }));
    write(byId("happening"), happening({ state: "live", source, sent: fps, models, view: this.dashboard.view(now), lately: this.dashboard.lately(now), delay }));
  }

  /** Why there are no boxes on the picture. @param {number} now */
  #whyLive(now) {
    const lookups = this.#lookups.values(now);
    const last = this.#lookups.items(now).at(-1)?.at ?? -Infinity;
    if (last < now - this.#hold()) return "Live picture, no answers at the moment";
    if (now - this.#since < 4000) return "Live picture; matching the clocks before the first box is drawn";
    return lookups.includes("unsynced")
      ? "Live picture without boxes: it is not known when its frames were captured"
      : "Live picture without boxes: answers cannot be matched to their frames";
  }

  async #measure() {
    const session = this.#session;
    if (!session || session.state === "closed") return;
    this.#sending = await this.#meter.read(session.peer).catch(() => ({}));
    if (session !== this.#session) return;
    const now = performance.now();
    showSending(this.#sending);
    this.dashboard.sending(this.#sending, now);
    if (session.state === "connected") this.#narrate(now);
  }

  /** @param {() => void} draw called on every animation frame */
  #repeat(draw) {
    let handle = requestAnimationFrame(function tick() {
      handle = requestAnimationFrame(tick);
      draw();
    });
    this.#stops.push(() => cancelAnimationFrame(handle));
  }
}

/** @param {number} interval ms @param {() => void} act @returns {() => void} stops it */
function every(interval, act) {
  const timer = setInterval(act, interval);
  return () => clearInterval(timer);
}
