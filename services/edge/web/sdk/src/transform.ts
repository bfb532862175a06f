/** A frame as it left the sender. */
export interface SentFrame {
  ssrc: number;
  rtpTimestamp: number;
  /** ms on the page's clock, performance.now(). */
  at: number;
}

const START = 250; // ms that a worker may take to start (measured: 10)

/** What the worker says of a frame; `at` is in ms since 1970, for its clock begins later than the page's. */
type Note = "ready" | SentFrame;

interface TransformScope {
  onrtctransform(event: { transformer: TransformStream<RTCEncodedVideoFrame, RTCEncodedVideoFrame> }): void;
  postMessage(note: Note): void;
}

/** The whole worker, started from its text, so it must not refer to anything out here. Frames go on untouched, before anything is said about them. */
function work(scope: TransformScope): void {
  scope.onrtctransform = ({ transformer }) => {
    const noting = new TransformStream<RTCEncodedVideoFrame, RTCEncodedVideoFrame>({
      transform(frame, out) {
        const { synchronizationSource: ssrc = 0, rtpTimestamp = frame.timestamp } = frame.getMetadata();
        const at = performance.timeOrigin + performance.now();
        out.enqueue(frame);
        scope.postMessage({ ssrc, rtpTimestamp, at });
      },
    });
    transformer.readable.pipeThrough(noting).pipeTo(transformer.writable).catch(() => undefined); // the sender has ended
  };
  scope.postMessage("ready");
}

/** Notes the frames of a connection's videos as they leave, by an encoded transform in a worker. */
export class SenderWatch {
  #worker: Worker;

  private constructor(worker: Worker) {
    this.#worker = worker;
  }

  /**
   * Starts the worker; gives nothing where the browser or the page's policy does not let it run.
   * @param note is told of each frame @param timeOrigin performance.timeOrigin
   */
  static async start(note: (frame: SentFrame) => void, timeOrigin = performance.timeOrigin): Promise<SenderWatch | undefined> {
    if (typeof RTCRtpScriptTransform !== "function" || typeof Worker !== "function") return undefined;
    // A page may not start a worker from another origin's address, and a bundler would not find its file.
    const address = URL.createObjectURL(new Blob([`(${work})(self)`], { type: "text/javascript" }));
    let worker: Worker | undefined;
    try {
      const started = new Worker(address);
      worker = started;
      const ready = await new Promise<boolean>((resolve) => {
        setTimeout(() => resolve(false), START);
        started.onerror = () => resolve(false);
        started.onmessage = ({ data }: MessageEvent<Note>) => {
          if (data === "ready") resolve(true);
          else note({ ...data, at: data.at - timeOrigin });
        };
      });
      if (ready) return new SenderWatch(started);
    } catch {
      // a policy of the page's, in some browsers; in others it is an event
    } finally {
      URL.revokeObjectURL(address);
    }
    worker?.terminate();
    return undefined;
  }

  /**
   * Lets a sender's frames pass through the worker. It must follow the making of the sender at once, or Chromium ignores it. A sender with a transform of
   * the page's own, an encryption for instance, is left alone.
   */
  attach(sender: RTCRtpSender): void {
    sender.transform ??= new RTCRtpScriptTransform(this.#worker, {});
  }

  /** Ends the worker. The connection must be closed before. */
  close(): void {
    this.#worker.terminate();
  }
}
