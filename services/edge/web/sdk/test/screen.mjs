// Stand-ins for what draws in a browser: canvases that remember what was drawn to them, a <video> and animation frames, in a time of their own.

/** Puts the stand-ins in place. Times are ms on the clock of performance.now(). */
export class Screen {
  now = 1000;
  #frames = [];

  constructor({ gecko = false } = {}) {
    const screen = this;
    globalThis.performance = { now: () => screen.now, timeOrigin: 0 };
    globalThis.document = { createElement: () => new Canvas() };
    globalThis.HTMLVideoElement = Video;
    globalThis.MediaStream = class {
      constructor(id) {
        this.tracks = [{ id, kind: "video" }];
      }
      getVideoTracks = () => this.tracks;
    };
    globalThis.VideoFrame = class {
      constructor(video) {
        Object.assign(this, { picture: video.picture, timestamp: 1000 * video.shownTime, close() {} });
      }
    };
    globalThis.requestAnimationFrame = (act) => this.#frames.push(act);
    globalThis.cancelAnimationFrame = () => (this.#frames = []);
    if (gecko) globalThis.mozInnerScreenX = 0;
    else delete globalThis.mozInnerScreenX;
  }

  /** The page is drawn at a time. */
  draw(at) {
    this.now = at;
    for (const act of this.#frames.splice(0)) act(at);
  }
}

export class Canvas {
  width = 640;
  height = 360;
  clientWidth = 320;
  #log = [];
  context = Object.assign(
    new Proxy({}, { get: (known, name) => known[name] ?? (() => undefined), set: (known, name, value) => ((known[name] = value), true) }),
    {
      canvas: this,
      drawImage: (from) => this.#log.push(from.picture ?? from.shows),
      strokeRect: (...place) => this.#log.push(place),
      clearRect: () => (this.#log = []),
      measureText: () => ({ width: 50 }),
      fillText: (text) => this.#log.push(text),
    },
  );
  getContext = () => this.context;
  /** What was drawn last of all, and everything since the canvas was cleared. */
  get shows() {
    return this.#log.at(-1);
  }
  get log() {
    return this.#log;
  }
  clear = () => (this.#log = []);
}

export class Video {
  videoWidth = 640;
  videoHeight = 360;
  #next;
  constructor(stream) {
    this.srcObject = stream;
  }
  requestVideoFrameCallback = (act) => ((this.#next = act), 1);
  cancelVideoFrameCallback = () => (this.#next = undefined);

  /** Shows a frame. @param {{ now: number, captureTime?: number, shown?: number }} about shown: its time, if the video shows another one by now */
  show(picture, { now, captureTime, mediaTime = now, shown = mediaTime }) {
    Object.assign(this, { picture, shownTime: shown });
    const act = this.#next;
    this.#next = undefined;
    act?.(now, { captureTime, mediaTime: mediaTime / 1000, width: 640, height: 360 });
  }
}
