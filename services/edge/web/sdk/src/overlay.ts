import { type Drawing, drawDetections } from "./draw.js";
import { type Frame, FrameBuffer } from "./frames.js";
import type { Outcome } from "./messages.js";
import { Playout } from "./playout.js";
import type { Session } from "./session.js";

const HOLD = 600; // ms that a frame with its results stays before the live picture takes its place
const BLINK = 2.5; // times the interval of the results, so that the boxes of a slow model do not blink
const UNSYNCED = 1000; // ms without a frame found, and
const MISSES = 3; // results in a row without one, after which a view says so
const REFRESH = 100; // ms after which an age is drawn anew

export interface OverlayOptions {
  /**
   * `exact`: the canvas shows the picture itself, a little late, each frame with the results that are about it; where none can be found for a while, the
   * live picture. `live`: the canvas lies over the playing <video> and shows the newest results, marked as stale unless the video still shows their frame.
   * Default: `exact`.
   */
  mode?: "exact" | "live";
  /** Name of the stream whose results are drawn, for a session that sends several videos. Default: every picture's. */
  stream?: string;
  /** Shows the picture as in a mirror. Default: false. */
  mirror?: boolean;
  /** ms after which results are no longer drawn over the live picture. Default: 1000. */
  maxAge?: number;
  /** Draws results in place of {@link drawDetections}. */
  draw?: (context: CanvasRenderingContext2D, drawing: Drawing) => void;
}

/**
 * - `waiting`: no results yet, or the first are waiting for the clocks to be matched.
 * - `synced`: results find their frames.
 * - `unsynced`: they come, but their frames cannot be told for sure: nothing is drawn on a frame that they may not be about.
 */
export type SyncState = "waiting" | "synced" | "unsynced";

/** What the canvas shows from now on. */
export interface Drawn extends Drawing {
  /** The frame that was drawn; none in live mode, where the video shows it. */
  frame: Frame | undefined;
}

export interface OverlayEvents {
  /** The canvas has been drawn. */
  draw: CustomEvent<Drawn>;
  sync: CustomEvent<SyncState>;
}

export interface Overlay {
  addEventListener<K extends keyof OverlayEvents>(
    type: K, listener: (event: OverlayEvents[K]) => void, options?: boolean | AddEventListenerOptions): void;
  addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}

/**
 * Draws results on a canvas, each on the very frame that it is about. The canvas takes the size of the frames in pixels; its size on the page is up to
 * the page's style, and to `object-fit` as for a <video>. A track that is replaced is noticed.
 */
export class Overlay extends EventTarget {
  /** The frames that the overlay draws on. */
  readonly frames: FrameBuffer;
  readonly canvas: HTMLCanvasElement;

  #options: OverlayOptions;
  #context: CanvasRenderingContext2D;
  #video: HTMLVideoElement | undefined;
  #session: Session | undefined;
  #playout = new Playout();
  #newest: { outcome: Outcome; arrived: number } | undefined;
  #sync: SyncState = "waiting";
  /** When a result last found its frame; before that, when the first result came. */
  #foundAt: number | undefined;
  #misses = 0;
  /** ms between frames drawn with their results, on average. */
  #interval = 0;
  #exactAt = -Infinity;
  #drawn: unknown;
  #drawnAt = -Infinity;
  #wasExact = false;
  #sent = "";
  #stops: (() => void)[] = [];

  /** @param source a <video> that plays what is sent, or a buffer that the page fills itself */
  constructor(canvas: HTMLCanvasElement, source: HTMLVideoElement | FrameBuffer, options: OverlayOptions = {}) {
    super();
    this.canvas = canvas;
    this.#options = options;
    this.#context = canvas.getContext("2d") as CanvasRenderingContext2D;
    this.frames = source instanceof FrameBuffer ? source : new FrameBuffer();
    if (!(source instanceof FrameBuffer)) {
      this.#video = source;
      this.#stops.push(this.frames.watch(source));
    }
    let handle = 0;
    const next = (): void => {
      handle = requestAnimationFrame(next);
      this.#show(performance.now());
    };
    handle = requestAnimationFrame(next);
    this.#stops.push(() => cancelAnimationFrame(handle));
  }

  get sync(): SyncState { return this.#sync; }

  /** Draws the results of a session from now on, in the place of another's. */
  attach(session: Session): void {
    this.detach();
    this.#session = session;
    this.#sent = sentTracks(session);
    const take = ({ detail }: CustomEvent<Outcome>): void => this.#take(session, detail, performance.now());
    session.addEventListener("outcome", take);
    this.#detach = () => session.removeEventListener("outcome", take);
  }

  #detach: () => void = () => {};

  /** Lets go of the session. The picture goes on without results. */
  detach(): void {
    this.#detach();
    this.#session = undefined;
    this.#newest = undefined;
    this.#playout = new Playout();
    this.#foundAt = undefined;
    this.#misses = 0;
    this.#setSync("waiting");
  }

  /** Ends the overlay: nothing is drawn any more. */
  stop(): void {
    this.detach();
    for (const stop of this.#stops.splice(0)) stop();
  }

  #take(session: Session, outcome: Outcome, now: number): void {
    const { stream } = this.#options;
    if (!outcome.result || outcome.ssrc === undefined || session.clock.rateOf(outcome.ssrc) !== session.clock.rate) return; // sound has another
    if (stream !== undefined && outcome.stream !== stream) return;
    this.#followTracks(session);
    if (this.frames.timeOf(outcome, session.clock) === undefined) this.#note(false, now);
    this.#newest = { outcome, arrived: now };
    this.#playout.add(outcome, now);
  }

  #show(now: number): void {
    const session = this.#session;
    if (session) this.#followTracks(session);
    if (this.#options.mode === "live") this.#showLive(session, now);
    else if (!session || !this.#showExact(session, now)) this.#showPlain(now);
  }

  /** Another track, sent or shown: frames of the one before are not those of the other. */
  #followTracks(session: Session): void {
    const sent = sentTracks(session);
    if (sent !== this.#sent) this.frames.clear();
    this.#sent = sent;
  }

  /** Draws the frame whose results are due. It says whether there was one. */
  #showExact(session: Session, now: number): boolean {
    const due = this.#playout.due(now, (outcome) => this.frames.timeOf(outcome, session.clock));
    if (!due) return false;
    const { status, frame } = this.frames.locate(due.outcomes[0], session.clock);
    if (status === "early") return false;
    this.#playout.done(due);
    this.#note(status === "found", now);
    if (!frame) return false;
    this.#interval += 0.1 * (Math.min(now - this.#exactAt, 5000) - this.#interval);
    this.#exactAt = now;
    this.#draw(frame, due.outcomes, true, due.time === undefined ? undefined : now - due.time);
    return true;
  }

  /** The live picture without results, when there have been none for a while. */
  #showPlain(now: number): void {
    const { latest } = this.frames;
    if (latest && latest !== this.#drawn && now - this.#exactAt > Math.max(HOLD, BLINK * this.#interval)) this.#draw(latest, [], false, undefined);
  }

  /** The newest results over the playing video, marked unless it still shows their frame. */
  #showLive(session: Session | undefined, now: number): void {
    const newest = this.#newest;
    if (!session || !newest) return this.#wipe();
    const { status, frame } = this.frames.locate(newest.outcome, session.clock);
    if (status !== "early" && newest !== this.#drawn) this.#note(status === "found", now);
    const time = this.frames.timeOf(newest.outcome, session.clock) ?? newest.arrived - 1000 * (newest.outcome.timings?.total ?? 0);
    if (now - time > (this.#options.maxAge ?? 1000)) return this.#wipe();
    const exact = frame !== undefined && frame === this.frames.latest;
    if (newest === this.#drawn && exact === this.#wasExact && (exact || now - this.#drawnAt < REFRESH)) return;
    this.#drawn = newest;
    this.#wasExact = exact;
    this.#drawnAt = now;
    if (this.#video) this.#resize(this.#video.videoWidth, this.#video.videoHeight);
    this.#context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    this.#paint({ frame: undefined, outcomes: [newest.outcome], exact, age: now - time });
  }

  #draw(frame: Frame, outcomes: readonly Outcome[], exact: boolean, age: number | undefined): void {
    const { picture } = frame;
    this.#drawn = frame;
    this.#resize(picture.width, picture.height);
    this.#context.save();
    if (this.#options.mirror) this.#context.setTransform(-1, 0, 0, 1, picture.width, 0);
    this.#context.drawImage(picture, 0, 0);
    this.#context.restore();
    this.#paint({ frame, outcomes, exact, age });
  }

  #paint(drawn: Omit<Drawn, "mirror" | "scale">): void {
    const { draw = drawDetections, mirror = false } = this.#options;
    const detail: Drawn = { ...drawn, mirror, scale: this.canvas.width / (this.canvas.clientWidth || this.canvas.width) };
    draw(this.#context, detail);
    this.dispatchEvent(new CustomEvent("draw", { detail }));
  }

  #resize(width: number, height: number): void {
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
  }

  #wipe(): void {
    if (!this.#drawn) return;
    this.#drawn = undefined;
    this.#context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Notes whether a result found its frame. */
  #note(found: boolean, now: number): void {
    this.#misses = found ? 0 : this.#misses + 1;
    if (found || this.#foundAt === undefined) this.#foundAt = now;
    if (found) this.#setSync("synced");
    else if (this.#misses >= MISSES && now - this.#foundAt > UNSYNCED) this.#setSync("unsynced");
  }

  #setSync(sync: SyncState): void {
    if (sync === this.#sync) return;
    this.#sync = sync;
    this.dispatchEvent(new CustomEvent("sync", { detail: sync }));
  }
}

/** The videos that a session sends now, in one text. */
function sentTracks(session: Session): string {
  return session.peer.getSenders().flatMap(({ track }) => (track?.kind === "video" ? [track.id] : [])).join();
}
