import type { MediaClock } from "./clock.js";
import type { Outcome } from "./messages.js";
import { type Candidate, vote } from "./vote.js";

/** A copy of one frame of the source. */
export interface Frame {
  /** The pixels, at most `maxWidth` wide. Lent: it is drawn over once the frame has left the buffer. */
  picture: HTMLCanvasElement;
  /** Size of the source frame. */
  width: number;
  height: number;
  /** What `time` is: the capture itself, the tick that first showed it, the moment the page drew it, or nothing to rely on. */
  kind: "captured" | "displayed" | "pushed" | "unknown";
  /** ms on the clock of performance.now(). */
  time: number;
}

/**
 * - `found`: this frame and no other.
 * - `early`: the frame has not reached the buffer yet; ask again after the next one.
 * - `missing`: it is no longer there, never was, or could be mistaken for a neighbour.
 * - `unsynced`: its capture time is not known, or that of the buffer's frames is not.
 */
export type Lookup = { status: "found"; frame: Frame } | { status: "early" | "missing" | "unsynced"; frame?: undefined };

const MATCH = 3; // ms between a frame's capture time and its RTP time (measured: 0.65)
const PUSH_MATCH = 20; // ms between drawing a canvas and the browser's stamp for it (measured: 18)
const PUSH_SPACING = 45; // ms that must lie between two pushes for PUSH_MATCH to name only one of them
const ON_TIME = 10; // ms within which a frame callback surely sees its own frame
const EARLY = 2; // ms by which the tick that shows a frame may seem to come before its capture
const SETTLE = 3; // frames before one that must have had ticks of their own
const SAME = 0.5; // ms between two readings of one frame's media time
const DRIFT_GAIN = 0.02;
const LIKELY = 0.8; // share of the sent frames that must have been captured at their time for that to prove anything
const UNLIKELY = 0.5; // share of them below which the reports are wrong
const SOURCES = 16; // SSRCs whose checks are remembered
const STALE = 250; // ms that the newest captured frame may be behind the newest sent one where they are compared
const RECHECK = 1000; // ms after which the clock's word is held against the sent frames again, and
const RECHECK_SOON = 200; // when they contradicted each other

/** What is known about a frame that is looked for; ms on the clock of performance.now(). */
export interface Wanted {
  /** When it was captured. */
  time: number | undefined;
  /** When the next frame that was sent was captured, and those just before it in order, where that is known. */
  next?: number;
  before?: readonly number[];
  /** To be added to the times. */
  drift?: number;
}

/** Finds a frame among frames in capture order. It says "missing" whenever a neighbour could be meant. */
export function findFrame(frames: readonly Frame[], wish: Wanted): Lookup {
  const { time, drift = 0 } = wish;
  if (time === undefined) return { status: "unsynced" };
  const last = frames.at(-1);
  if (!last) return { status: "missing" };
  if (last.kind === "displayed") return findDisplayed(frames, time, wish);
  if (last.kind === "unknown") return { status: "unsynced" };
  const match = last.kind === "pushed" ? PUSH_MATCH : MATCH;
  const wanted = time + drift;
  const near = frames.filter((frame) => frame.kind === last.kind && Math.abs(frame.time - wanted) <= match);
  if (near.length === 0) return { status: last.time < wanted - match ? "early" : "missing" };
  near.sort((a, b) => Math.abs(a.time - wanted) - Math.abs(b.time - wanted));
  if (last.kind === "pushed" && frames.some((f) => f !== near[0] && Math.abs(f.time - near[0].time) < PUSH_SPACING))
    return { status: "missing" };
  return { status: "found", frame: near[0] };
}

/**
 * Firefox tells no capture time, only the tick that first showed the frame: the first tick after the capture, unless one was missed. Then a tick may show the frame
 * before or after: each of the frames sent before must have had a tick of its own, and the next must not have come yet.
 */
function findDisplayed(frames: readonly Frame[], time: number, { next = Infinity, before = [] }: Wanted): Lookup {
  const at = frames.findIndex((frame) => frame.time >= time - EARLY);
  if (at < 0) return { status: "early" };
  const interval = intervalOf(frames);
  const late = frames[at].time - time > Math.min(30, 0.9 * interval);
  const isNext = frames[at].time >= next - EARLY; // it was never shown: the next had come when the page was drawn
  const missed = before.some((earlier, i) => frames.filter((frame) => frame.time >= earlier - EARLY && frame.time < time - EARLY).length < before.length - i);
  const doubtful = before.length > 0 ? missed : at === 0 || frames[at].time - frames[at - 1].time > 1.4 * interval;
  return late || isNext || doubtful ? { status: "missing" } : { status: "found", frame: frames[at] };
}

/** The median interval of frames, in ms. */
function intervalOf(frames: readonly Frame[]): number {
  const gaps = frames.slice(1).map(({ time }, i) => time - frames[i].time).sort((a, b) => a - b);
  return gaps[gaps.length >> 1] ?? 33;
}

/** How the clock's word on an SSRC stands to the frames captured and sent. */
interface Check {
  agrees: boolean;
  guess: Candidate | undefined;
  until: number;
}

/** How many copies a {@link FrameBuffer} keeps, and how large. */
export interface FrameBufferOptions {
  /** Seconds that a frame is kept. Default: 1. */
  seconds?: number;
  /** Pixels across a copy. Default: 960. */
  maxWidth?: number;
  /** Frames kept at most. Default: 48. */
  limit?: number;
}

/** Keeps copies of the last frames of a video or canvas, so that an answer can be drawn on the very frame it is about. */
export class FrameBuffer {
  #frames: Frame[] = [];
  #spare: HTMLCanvasElement[] = [];
  #drift = 0;
  /** Frames before it are of another source. */
  #since = -Infinity;
  #checks = new Map<number, Check>();
  #seconds: number;
  #maxWidth: number;
  #limit: number;

  constructor({ seconds = 1, maxWidth = 960, limit = 48 }: FrameBufferOptions = {}) {
    this.#seconds = seconds;
    this.#maxWidth = maxWidth;
    this.#limit = limit;
  }

  /** The newest frame, if there is one. */
  get latest(): Frame | undefined {
    return this.#frames.at(-1);
  }

  /**
   * Follows a <video> that plays the local stream that is sent; it must be visible. When it is given another track, the frames of the one
   * before are forgotten.
   * @returns a function that stops it
   */
  watch(video: HTMLVideoElement): () => void {
    let handle = 0;
    let track = trackOf(video);
    const next: VideoFrameRequestCallback = (now, about) => {
      handle = video.requestVideoFrameCallback(next);
      if (track !== trackOf(video)) this.clear();
      track = trackOf(video);
      this.#snap(video, now, about);
    };
    handle = video.requestVideoFrameCallback(next);
    return () => video.cancelVideoFrameCallback(handle);
  }

  /**
   * Copies what the video shows. On a busy page a callback runs late, when the video may already show a newer frame than the one it was
   * called for. That one has a callback of its own, so nothing is copied then.
   */
  #snap(video: HTMLVideoElement, now: number, { captureTime, mediaTime, width, height }: VideoFrameCallbackMetadata): void {
    const kind = captureTime !== undefined ? "captured" : isGecko() ? "displayed" : "unknown";
    // Gecko's VideoFrame does not tell the frame's time.
    if (isGecko() || typeof VideoFrame !== "function" || captureTime === undefined) {
      if (performance.now() - now < ON_TIME) this.#keep(video, width, height, kind, captureTime ?? now);
      return;
    }
    const shot = shownBy(video);
    if (!shot) return;
    if (Math.abs(shot.timestamp / 1000 - mediaTime * 1000) < SAME) this.#keep(shot, width, height, kind, captureTime);
    shot.close();
  }

  /** Takes the frame just drawn to a canvas whose captureStream() is sent. At least 50 ms must lie between two of them, or neither can be told from the other. */
  push(canvas: HTMLCanvasElement): void {
    this.#keep(canvas, canvas.width, canvas.height, "pushed", performance.now());
  }

  /** Finds the frame captured at a time of Session.captureTime; a neighbour is never given in its place. @see {@link FrameBuffer.locate}, which knows more */
  find(time: number | undefined): Lookup {
    return this.#find({ time });
  }

  /** Finds the frame that an outcome is about, by the clock of its session. */
  locate(outcome: Pick<Outcome, "ssrc" | "rtpTimestamp">, clock: MediaClock): Lookup {
    const { ssrc = 0, rtpTimestamp = 0 } = outcome;
    const time = this.timeOf(outcome, clock);
    return this.#find({ time, ...(this.latest?.kind === "displayed" && clock.neighbours(ssrc, rtpTimestamp, SETTLE)) });
  }

  #find(wanted: Wanted): Lookup {
    const { time } = wanted;
    if (time !== undefined && time < this.#since) return { status: "missing" };
    const found = findFrame(this.#frames, { ...wanted, drift: this.#drift });
    if (found.frame?.kind === "captured" && time !== undefined)
      this.#drift += DRIFT_GAIN * (found.frame.time - time - this.#drift);
    return found;
  }

  /**
   * When the outcome's frame was captured: what the clock says if the frames that were sent and those captured agree with it, and before the clock's
   * first report what they say by themselves. Undefined while that is not sure.
   */
  timeOf({ ssrc, rtpTimestamp }: Pick<Outcome, "ssrc" | "rtpTimestamp">, clock: MediaClock): number | undefined {
    if (ssrc === undefined || rtpTimestamp === undefined) return undefined;
    const time = clock.time(ssrc, rtpTimestamp);
    if (this.latest?.kind === "displayed") return (clock.lag(ssrc) ?? 0) > this.#interval() ? undefined : time;
    const check = this.#check(ssrc, clock);
    if (time !== undefined) return check.agrees ? time : undefined;
    return check.guess && check.guess.time + ((rtpTimestamp - check.guess.rtp) | 0) / (clock.rateOf(ssrc) / 1000);
  }

  /** Forgets all frames, for another source: what was captured before is not found any more. */
  clear(): void {
    this.#spare.push(...this.#frames.splice(0).map((frame) => frame.picture));
    this.#checks.clear();
    this.#drift = 0;
    this.#since = performance.now();
  }

  /** Holds the clock's word against the frames that were sent, now and then. */
  #check(ssrc: number, clock: MediaClock): Check {
    const now = performance.now();
    const last = this.#checks.get(ssrc);
    if (last && now < last.until) return last;
    const captured = this.#frames.flatMap(({ kind, time }) => (kind === "captured" ? [time] : []));
    const sent = clock.sentFrames(ssrc);
    // A page in the background is shown no frames, while they go on being sent: they would fit better the longer ago they were captured.
    if (last && (captured.at(-1) ?? 0) < (sent.at(-1)?.at ?? 0) - STALE) return last;
    const third = this.#interval() / 3;
    const votes = vote(sent, captured, clock.rateOf(ssrc) / 1000);
    const likely = votes.filter(({ share }) => share >= LIKELY);
    const own = votes.filter(({ time, rtp }) => Math.abs(time - (clock.time(ssrc, rtp) ?? Infinity)) <= third).sort((a, b) => b.share - a.share)[0];
    if (own?.share >= LIKELY) this.#drift = own.time - (clock.time(ssrc, own.rtp) ?? own.time);
    const agrees = likely.length === 0 || own?.share >= UNLIKELY;
    // A slow encoder would make the first guess a wrong one; then only a report helps.
    const guess = likely.find(({ meanLag }) => meanLag < 1.5 * third);
    if (guess && !own) this.#drift = 0; // it is of the page's clock itself
    const check = { agrees, guess, until: now + (agrees && clock.isReported(ssrc) ? RECHECK : RECHECK_SOON) };
    for (const oldest of this.#checks.keys()) if (this.#checks.size >= SOURCES) this.#checks.delete(oldest);
    this.#checks.set(ssrc, check);
    return check;
  }

  #interval(): number {
    return intervalOf(this.#frames);
  }

  #keep(source: CanvasImageSource, width: number, height: number, kind: Frame["kind"], time: number): void {
    if (time < this.#since) return;
    const scale = Math.min(1, this.#maxWidth / width);
    const picture = this.#spare.pop() ?? document.createElement("canvas");
    const [w, h] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    if (picture.width !== w) picture.width = w;
    if (picture.height !== h) picture.height = h;
    picture.getContext("2d")?.drawImage(source, 0, 0, w, h);
    this.#frames.push({ picture, width, height, kind, time });
    const oldest = time - this.#seconds * 1000;
    while (this.#frames.length > this.#limit || this.#frames[0].time < oldest) {
      const gone = this.#frames.shift();
      if (gone) this.#spare.push(gone.picture);
    }
  }
}

function shownBy(video: HTMLVideoElement): VideoFrame | undefined {
  try {
    return new VideoFrame(video);
  } catch {
    return undefined; // the first callback may come before there is a picture
  }
}

/** Whether this is Firefox: only Gecko's display tick is known to follow the law of findDisplayed; elsewhere such a track cannot be matched. */
function isGecko(): boolean {
  return "mozInnerScreenX" in globalThis;
}

function trackOf(video: HTMLVideoElement): MediaStreamTrack | undefined {
  return video.srcObject instanceof MediaStream ? video.srcObject.getVideoTracks()[0] : undefined;
}
