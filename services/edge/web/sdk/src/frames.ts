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
const SAME = 0.5; // ms between two readings of one frame's media time
const DRIFT_GAIN = 0.02;

/** Finds the frame captured at `time` among frames in capture order. It says "missing" whenever a neighbour could be meant. @param drift ms to add to `time` */
export function findFrame(frames: readonly Frame[], time: number | undefined, drift = 0): Lookup {
  if (time === undefined) return { status: "unsynced" };
  const last = frames.at(-1);
  if (!last) return { status: "missing" };
  if (last.kind === "displayed") return findDisplayed(frames, time);
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

/** Firefox tells no capture time, only the tick that first showed the frame: the first tick after the capture, unless one was missed. */
function findDisplayed(frames: readonly Frame[], time: number): Lookup {
  const gaps = frames.slice(1).map((frame, i) => frame.time - frames[i].time).sort((a, b) => a - b);
  const interval = gaps[gaps.length >> 1] ?? 33;
  const at = frames.findIndex((frame) => frame.time >= time - 2);
  if (at < 0) return { status: "early" };
  const late = frames[at].time - time > Math.min(30, 0.9 * interval);
  if (at === 0 || late || frames[at].time - frames[at - 1].time > 1.4 * interval) return { status: "missing" };
  return { status: "found", frame: frames[at] };
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

  /** Follows a <video> that plays the local stream that is sent; it must be visible. @returns a function that stops it */
  watch(video: HTMLVideoElement): () => void {
    let handle = 0;
    const next: VideoFrameRequestCallback = (now, about) => {
      handle = video.requestVideoFrameCallback(next);
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
    if (captureTime === undefined || typeof VideoFrame !== "function") {
      if (performance.now() - now < ON_TIME) this.#keep(video, width, height, ...stamp(captureTime, now));
      return;
    }
    const shot = shownBy(video);
    if (!shot) return;
    if (Math.abs(shot.timestamp / 1000 - mediaTime * 1000) < SAME) this.#keep(shot, width, height, "captured", captureTime);
    shot.close();
  }

  /** Takes the frame just drawn to a canvas whose captureStream() is sent. At least 50 ms must lie between two of them, or neither can be told from the other. */
  push(canvas: HTMLCanvasElement): void {
    this.#keep(canvas, canvas.width, canvas.height, "pushed", performance.now());
  }

  /** Finds the frame captured at a time of Session.captureTime; a neighbour is never given in its place. */
  find(time: number | undefined): Lookup {
    const found = findFrame(this.#frames, time, this.#drift);
    if (found.frame?.kind === "captured" && time !== undefined)
      this.#drift += DRIFT_GAIN * (found.frame.time - time - this.#drift);
    return found;
  }

  /** Forgets all frames, for another source. */
  clear(): void {
    this.#spare.push(...this.#frames.splice(0).map((frame) => frame.picture));
    this.#drift = 0;
  }

  #keep(source: CanvasImageSource, width: number, height: number, kind: Frame["kind"], time: number): void {
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

function stamp(captureTime: number | undefined, now: number): [Frame["kind"], number] {
  if (captureTime !== undefined) return ["captured", captureTime];
  // Only Gecko's display tick is known to follow the law of findDisplayed; elsewhere such a track cannot be matched.
  return ["mozInnerScreenX" in globalThis ? "displayed" : "unknown", now];
}
