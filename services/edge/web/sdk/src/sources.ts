import type { Source } from "./connection.js";
import { openCamera, openMicrophone } from "./devices.js";
import { SluiceError } from "./errors.js";

/** What to send; several can be given. */
export interface SourceOptions {
  /** A camera, which the session opens, opens again when it comes back, and closes. */
  camera?: boolean | MediaTrackConstraints;
  /** A microphone, opened like the camera, or its track. */
  microphone?: boolean | MediaTrackConstraints | MediaStreamTrack;
  /** All tracks of a stream. */
  stream?: MediaStream | MediaStreamTrack;
  track?: MediaStreamTrack;
  /** What the page draws. A browser stops drawing in a hidden tab. */
  canvas?: HTMLCanvasElement;
  /** How video is encoded, each entry a layer of a simulcast, as for addTransceiver. */
  encodings?: RTCRtpEncodingParameters[];
}

/** A source that has ended by itself. */
export interface SourceEnded {
  track: MediaStreamTrack;
  error: SluiceError;
}

/** The tracks of a session: those of the page, and those of devices that the session opened. */
export class Sources {
  /** What is sent, for a <video> that shows it. */
  readonly stream = new MediaStream();
  readonly list: Source[] = [];
  /** The tracks of devices that the session opened, and how. */
  #owned = new Map<MediaStreamTrack, () => Promise<MediaStreamTrack>>();
  #drawn: MediaStreamTrack[] = [];
  #ending = new AbortController();
  #watchOne: (track: MediaStreamTrack) => void = () => {};

  /** Opens what the options name. It throws a {@link SluiceError} for a device that cannot be had. */
  static async open({ camera, microphone, stream, track, canvas, encodings }: SourceOptions): Promise<Sources> {
    const sources = new Sources();
    try {
      const given = stream instanceof MediaStream ? stream.getTracks() : [stream];
      for (const one of [...given, track]) if (one) sources.#add(one, encodings);
      if (canvas) sources.#drawn.push(...canvas.captureStream().getTracks());
      for (const drawn of sources.#drawn) sources.#add(drawn, encodings);
      if (camera) await sources.#own(() => openCamera(camera === true ? {} : camera), encodings);
      if (microphone instanceof MediaStreamTrack) sources.#add(microphone);
      else if (microphone) await sources.#own(() => openMicrophone(microphone === true ? {} : microphone));
    } catch (error) {
      sources.close();
      throw error;
    }
    return sources;
  }

  /**
   * Watches for tracks that end by themselves, and for devices that come back.
   * @param ended is told of each @param replace sends a track in place of another, and has it noted by {@link Sources.replaced}
   */
  watch(ended: (what: SourceEnded) => void, replace: (old: MediaStreamTrack, track: MediaStreamTrack) => Promise<void>): void {
    const gone = ({ target }: Event) => {
      const track = target as MediaStreamTrack;
      if (!this.#sends(track)) return; // the page has replaced it
      ended({ track, error: endOf(track) });
      this.#awaitReturn(track, replace);
    };
    this.#watchOne = (track) => track.addEventListener("ended", gone, { signal: this.#ending.signal }); // once, however often it is sent again
    for (const { track } of this.list) this.#watchOne(track);
  }

  /** Opens a device that has gone again as soon as there is such a device. */
  #awaitReturn(track: MediaStreamTrack, replace: (old: MediaStreamTrack, track: MediaStreamTrack) => Promise<void>): void {
    const open = this.#owned.get(track);
    if (!open) return;
    const found = new AbortController();
    const signal = AbortSignal.any([found.signal, this.#ending.signal]);
    const look = async () => {
      const fresh = this.#sends(track) ? await open().catch(() => undefined) : found.abort();
      if (!fresh) return; // it was another device that came, or the page has replaced the track
      if (signal.aborted || !this.#sends(track)) return fresh.stop();
      found.abort();
      this.#owned.delete(track);
      this.#owned.set(fresh, open);
      await replace(track, fresh).catch(() => fresh.stop());
    };
    globalThis.navigator.mediaDevices.addEventListener("devicechange", () => void look(), { signal });
  }

  /** Notes that a track is sent in place of another. */
  replaced(old: MediaStreamTrack, track: MediaStreamTrack): void {
    const source = this.list.find((one) => one.track === old);
    if (!source) return;
    source.track = track;
    this.#watchOne(track);
    this.stream.removeTrack(old);
    this.stream.addTrack(track);
  }

  /** Closes what the session opened. */
  close(): void {
    this.#ending.abort();
    for (const track of [...this.#owned.keys(), ...this.#drawn]) track.stop();
  }

  #sends(track: MediaStreamTrack): boolean {
    return this.list.some((source) => source.track === track);
  }

  #add(track: MediaStreamTrack, encodings?: RTCRtpEncodingParameters[]): void {
    this.stream.addTrack(track);
    this.list.push({ track, group: this.stream, encodings: track.kind === "video" ? encodings : undefined });
  }

  async #own(open: () => Promise<MediaStreamTrack>, encodings?: RTCRtpEncodingParameters[]): Promise<void> {
    const track = await open();
    this.#owned.set(track, open);
    this.#add(track, encodings);
  }
}

/** Why a track has ended, as far as a browser tells. */
function endOf(track: MediaStreamTrack): SluiceError {
  const isScreen = "displaySurface" in track.getSettings();
  if (isScreen) return new SluiceError("SHARING_ENDED", "The sharing of the screen was ended.");
  const device = track.kind === "video" ? "camera" : "microphone";
  return new SluiceError("DEVICE_LOST", `The ${device} has gone: it was unplugged, or may not be used any more.`);
}
