// What a visitor does: opens a source and sends it, changes models and devices, stops. It owns the source and the session and closes both.

import { connect } from "../sdk/sluice.js";
import { lastDevice, lastHeight, showDevices } from "./devices.js";
import { byId } from "./dom.js";
import { Live } from "./live.js";
import { happening } from "./happening.js";
import { drawRate, parseModels, snippet } from "./models.js";
import { explain, explainError } from "./problems.js";
import { openCamera, openFile, openMicrophone, openScreen } from "./sources.js";
import { hideProblem, showAdvice, showModels, showModelsMissing, showProblem, showState } from "./view.js";

/** @typedef {{ kind: "camera" | "screen" | "file", file?: File }} Wish */
/** @typedef {import("./models.js").Model} Model */
/** @typedef {import("../sdk/sluice.js").Session} Session */

const EDGE = new URL("..", import.meta.url);
const RECONNECT = 30; // s that a session may try to come back

export class Visit {
  /** @type {string | undefined} */ #token;
  /** @type {Model[]} all that the router offers */ #offered = [];
  /** @type {Model[]} those that what is sent can feed */ #models = [];
  /** @type {Set<string>} names of models that are not wanted */ #off = new Set();
  /** @type {MediaStreamTrack | undefined} */ #microphone;
  /** @type {Wish | undefined} */ #wish;
  /** @type {import("./sources.js").Source | undefined} */ #source;
  /** @type {Session | undefined} */ #session;
  /** @type {Live | undefined} */ #live;
  /** Aborted when what is going on is given up for something else. */ #turn = new AbortController();
  /** The last change of the camera that was asked for. */ #change = {};
  /** The same of the microphone. */ #hearing = {};
  /** Aborted when a session that is being started is not wanted any more. */ #joining = new AbortController();

  /** @param {import("./picture.js").Picture} picture @param {import("./dashboard.js").Dashboard} dashboard */
  constructor(picture, dashboard) {
    this.picture = picture;
    this.dashboard = dashboard;
  }

  /** Whether a source is open or being opened. */
  get isBusy() {
    return document.body.dataset.state !== "idle";
  }

  /** The models chosen. @returns {Model[]} */
  get chosen() {
    return this.#models.filter((model) => !this.#off.has(model.name));
  }

  /** Ends what is going on. */
  async stop() {
    this.#turn.abort();
    this.#joining.abort();
    const [live, session, source] = [this.#live, this.#session, this.#source];
    [this.#live, this.#session, this.#source, this.#turn] = [undefined, undefined, undefined, new AbortController()];
    live?.stop();
    this.picture.clear();
    this.picture.canvas.setAttribute("aria-label", "No picture");
    this.#showSession();
    this.#showState("idle");
    await session?.close(); // the source must outlive it, or the last frames are black
    source?.close();
  }

  /** Shows the choice of sources. */
  begin() {
    hideProblem();
    this.#showState("idle");
  }

  /** Shows the choice of sources again, after a problem or a stop, and goes there with the focus. */
  restart() {
    this.begin();
    /** @type {HTMLElement | null} */ (document.querySelector(".sources button"))?.focus({ preventScroll: true });
  }

  /** Opens a source and sends it. @param {Wish} wish */
  async start(wish) {
    const stopped = this.stop();
    hideProblem();
    this.#wish = wish;
    const { signal } = this.#turn; // of this start: another may follow while what went on is being ended
    await stopped;
    if (signal.aborted) return;
    try {
      this.#showState("opening", wish.kind === "file" ? "Opening the file…" : `Waiting for the ${wish.kind}: the browser may ask…`);
      const source = await this.#open(wish);
      if (signal.aborted) return source.close();
      this.#own(source);
      this.#live = new Live(source, this.picture, this.dashboard, () => this.chosen, drawRate(this.chosen.filter((model) => model.pictures)));
      this.#showState("connecting", "Connecting to the edge…");
      await this.#join();
      await this.showDevices();
    } catch (error) {
      if (!signal.aborted) await this.fail(explainError(error, wish.kind, location.origin));
    }
  }

  /** Takes the camera, or the size of its pictures, that is chosen now. The session goes on. */
  async changeCamera() {
    const [session, old] = [this.#session, this.#source];
    if (!session || old?.kind !== "camera") return;
    const { signal } = this.#turn;
    const change = (this.#change = {});
    old.close(); // phones open one camera at a time
    try {
      const source = await this.#open({ kind: "camera" });
      if (signal.aborted || change !== this.#change) return source.close();
      this.#own(source);
      const [track] = source.stream.getVideoTracks();
      if (session === this.#session) await session.replaceTrack(track);
      else void this.#rejoin("Taking the camera that was chosen."); // other models were chosen meanwhile, and their session was begun with the old one
      this.#live?.replace(source);
      await this.showDevices();
    } catch (error) {
      if (!signal.aborted) await this.fail(explainError(error, "camera", location.origin));
    }
  }

  /** Takes the microphone in or leaves it out; a session goes on as another one. @param {boolean} on */
  async listen(on) {
    const hearing = (this.#hearing = {});
    this.#microphone?.stop();
    this.#microphone = undefined;
    if (this.#live) this.#live.trouble = undefined;
    if (on) {
      const track = await openMicrophone(lastDevice("audioinput")).catch(() => openMicrophone()).catch(() => undefined);
      if (hearing !== this.#hearing) return track?.stop();
      byId("microphone").checked = track !== undefined;
      if (!track && this.#live) this.#live.trouble = explain("NO_MICROPHONE");
      else if (!track) showAdvice(explain("NO_MICROPHONE"));
      if (!track) return;
      this.#microphone = track;
      track.addEventListener("ended", () => void (track === this.#microphone && this.listen(false)));
    }
    byId("microphone").checked = on;
    byId("speech").hidden = !on;
    this.#offerModels();
    await this.showDevices();
    await this.#rejoin(on ? "Taking the microphone in." : "Leaving the microphone out.");
  }

  /** @param {string} name @param {boolean} on whether the model is wanted; the last one stays so */
  choose(name, on) {
    if (on) this.#off.delete(name);
    else if (this.chosen.length > 1) this.#off.add(name);
    this.#offerModels();
    for (const box of byId("model-list").querySelectorAll("input")) box.checked = !this.#off.has(box.value);
    void this.#rejoin("Asking for other models.");
  }

  /** Turns the n-th model of the list on or off. @param {number} n from 0 */
  toggle(n) {
    const model = this.#models[n];
    if (model) this.choose(model.name, this.#off.has(model.name));
  }

  /** Reads the models anew; readiness changes by itself. */
  async readModels() {
    if (document.hidden || document.querySelector(".token")) return; // until there is a token, the answer is known
    const headers = this.#token ? { Authorization: `Bearer ${this.#token}` } : undefined;
    const response = await fetch(new URL("models", EDGE), { headers }).catch(() => undefined);
    const body = await response?.json().catch(() => undefined);
    if (response?.ok) {
      this.#offered = parseModels(body);
      return this.#offerModels();
    }
    if (this.#live) return; // what was chosen stays; the session tells what is wrong
    this.#offered = this.#models = [];
    if (!response) return showModelsMissing("The edge does not answer.");
    showModelsMissing(`${explain(body?.code ?? `HTTP_${response.status}`, { detail: body?.detail, status: response.status }).title}.`);
    if (response.status === 401 && byId("problem").hidden) await this.fail(explain("UNAUTHORIZED"));
  }

  async showDevices() {
    await showDevices(this.#source?.kind === "camera" ? this.#source.stream.getVideoTracks()[0] : undefined, this.#microphone);
  }

  /** Gives up and says why. @param {import("./problems.js").Explanation} problem */
  async fail(problem) {
    const ending = this.stop();
    const wish = this.#wish;
    showProblem(problem, {
      retry: () => void (wish ? this.start(wish) : this.restart()),
      dismiss: () => this.restart(),
      token: (token) => {
        this.#token = token;
        if (wish) void this.start(wish);
        else this.restart();
        void this.readModels();
      },
    });
    this.#showState("idle");
    if (problem.code === "UNKNOWN_MODEL") {
      this.#off.clear();
      void this.readModels();
    }
    await ending;
  }

  /** @param {Wish} wish */
  #open({ kind, file }) {
    if (kind === "file") return openFile(/** @type {File} */ (file));
    if (kind === "screen") return openScreen(byId("preview"));
    const wish = { deviceId: lastDevice("videoinput"), height: lastHeight() };
    return openCamera(byId("preview"), wish).catch((error) => {
      if (!wish.deviceId || error?.name !== "OverconstrainedError") throw error;
      return openCamera(byId("preview"), { height: wish.height }); // the camera chosen last is not there today
    });
  }

  /** @param {import("./sources.js").Source} source */
  #own(source) {
    this.#source = source;
    for (const track of source.stream.getVideoTracks()) track.addEventListener("ended", () => void this.#sourceEnded(source));
  }

  /** @param {import("./sources.js").Source} source whose device went away, or whose sharing was ended */
  async #sourceEnded(source) {
    if (source !== this.#source) return;
    if (source.kind === "camera") await this.fail(explain("CAMERA_UNFIT"));
    else await this.stop();
  }

  /** Starts a session for the source that is open; one that is being started is given up for it. */
  async #join() {
    this.#joining.abort();
    const { signal } = (this.#joining = new AbortController());
    const models = this.#off.size > 0 ? this.chosen.map((model) => model.name) : [];
    try {
      const session = await connect(EDGE, { stream: this.#source?.stream, microphone: this.#microphone, models, token: this.#token, reconnect: RECONNECT, signal });
      if (signal.aborted) return void session.close();
      this.#session = session;
      this.#live?.attach(session);
      session.addEventListener("state", () => this.#follow(session));
      session.addEventListener("reconnect", () => session === this.#session && this.#showSession());
      session.addEventListener("close", ({ detail }) => void this.#closed(session, detail));
      this.#follow(session);
      this.#showSession();
    } catch (error) {
      if (!signal.aborted) await this.fail(explainError(error, this.#wish?.kind, location.origin));
    }
  }

  /** Ends the session and starts another one for the same source, as what is asked for has changed. @param {string} why */
  async #rejoin(why) {
    if (!this.#live) return;
    const old = this.#session;
    this.#session = undefined;
    this.#live.detach();
    this.#showSession();
    this.#showState("interrupted");
    showAdvice(explain("RECONNECTING", { detail: why }));
    this.#joining.abort();
    const { signal } = (this.#joining = new AbortController());
    await old?.close(); // first: the edge may have no place for two
    if (!signal.aborted) await this.#join();
  }

  /** @param {Session} session whose connection was lost, or is back */
  #follow(session) {
    if (session !== this.#session || session.state === "closed") return;
    this.#showState(session.state === "interrupted" ? "interrupted" : "live");
    if (session.state === "interrupted") showAdvice(explain("INTERRUPTED"));
  }

  /** @param {Session} session that has ended @param {{ reason: import("../sdk/sluice.js").CloseReason, error?: unknown }} why */
  async #closed(session, { reason, error }) {
    if (session !== this.#session || reason === "client") return;
    await this.fail(reason === "refused" ? explainError(error, undefined, location.origin) : explain("LOST"));
  }

  /** Lists the models that what is sent can feed: those of sound only beside a microphone. */
  #offerModels() {
    byId("microphone-label").hidden = !this.#offered.some((model) => model.sound);
    this.#models = this.#offered.filter((model) => model.pictures || (model.sound && this.#microphone !== undefined));
    showModels(this.#models, new Set(this.#off), (name, on) => this.choose(name, on));
    byId("snippet").textContent = snippet(EDGE.href, this.#off.size > 0 ? this.chosen.map((model) => model.name) : []);
  }

  /** @param {import("./view.js").PageState} state @param {string} [doing] */
  #showState(state, doing) {
    showState(state, state === "live" ? "" : happening({ state, source: this.#wish?.kind }), doing); // the numbers of a live session tell their own story
  }

  #showSession() {
    const session = this.#session;
    byId("session-none").hidden = session !== undefined;
    byId("session-some").hidden = session === undefined;
    byId("mirror").setAttribute("aria-pressed", String(this.picture.mirror));
    if (!session) return;
    byId("session-id").textContent = session.id;
    byId("session-watch").href = `watch?session=${encodeURIComponent(session.id)}`;
    byId("session-follow").textContent = `curl -N ${this.#token ? '-H "Authorization: Bearer $TOKEN" ' : ""}${session.resultsUrl}`;
  }
}
