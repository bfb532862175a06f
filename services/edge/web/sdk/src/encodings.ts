import type { Demand } from "./messages.js";

/** What of an encoding a demand decides. */
export interface WantedEncoding {
  active: boolean;
  maxFramerate?: number;
  /** Bits a second. */
  maxBitrate?: number;
  scaleResolutionDownBy: number;
}

/** The picture that a video's encodings are made of, as MediaStreamTrack.getSettings() tells it. */
export interface Picture {
  /** Pixels; 0 where it is not known. */
  width?: number;
  height?: number;
  /** Frames a second. */
  frameRate?: number;
}

const FRAME_RATE = 30; // of a source that does not tell its own

/** Bits a second that Chromium gives a picture of so many pixels at most, where the page says nothing (libwebrtc's encoder_stream_factory.cc). */
const BITRATES: [pixels: number, bitrate: number][] = [[320 * 240, 600_000], [640 * 480, 1_700_000], [960 * 540, 2_000_000], [Infinity, 2_500_000]];

/** The same for a layer of a simulcast (libwebrtc's simulcast.cc). */
const LAYER_BITRATES: [pixels: number, bitrate: number][] = [
  [480 * 270 - 1, 200_000], [640 * 360 - 1, 450_000], [960 * 540 - 1, 700_000], [1280 * 720 - 1, 1_200_000], [Infinity, 2_500_000],
];

/** The encoding parameters that meet a demand for a video of the given size. */
export function encodingFor(demand: Demand, width = 0, height = 0): WantedEncoding {
  const across = demand.maxWidth ? width / demand.maxWidth : 1;
  const down = demand.maxHeight ? height / demand.maxHeight : 1;
  return {
    active: demand.maxFramerate !== 0,
    ...(demand.maxFramerate ? { maxFramerate: demand.maxFramerate } : {}),
    scaleResolutionDownBy: Math.max(1, Math.min(across, down)), // never below what either side needs
  };
}

/**
 * The encoding parameters that meet a demand, for each of a sender's encodings as the page set them. Of a simulcast's layers those that are
 * larger than what is looked at are left out; the smaller ones stay, for the edge to fall back to. Fewer frames get fewer bits: an encoder
 * spends all that it may, whatever the rate.
 */
export function encodingsFor(demand: Demand, own: readonly RTCRtpEncodingParameters[], picture: Picture): WantedEncoding[] {
  const wanted = encodingFor(demand, picture.width, picture.height);
  if (wanted.maxFramerate) wanted.maxFramerate = Math.ceil(wanted.maxFramerate); // Chromium cuts the fraction off; what is too much the edge leaves out
  const needed = own.length > 1 ? neededScale(own, wanted.scaleResolutionDownBy) : 1;
  return own.map((one) => {
    const ownScale = one.scaleResolutionDownBy ?? 1;
    const scaleResolutionDownBy = own.length > 1 ? ownScale : Math.max(ownScale, wanted.scaleResolutionDownBy);
    const encoding = { ...wanted, scaleResolutionDownBy, active: wanted.active && ownScale >= needed };
    const share = rateShare(demand, one, picture);
    if (share >= 1) return encoding;
    const pixels = ((picture.width ?? 0) * (picture.height ?? 0)) / scaleResolutionDownBy ** 2;
    const most = Math.min(one.maxBitrate ?? Infinity, usualBitrate(pixels, own.length > 1));
    return { ...encoding, maxBitrate: Math.round(share * most) };
  });
}

/** The scale of the smallest layer that is still large enough, or of the largest where none is. */
function neededScale(layers: readonly RTCRtpEncodingParameters[], wanted: number): number {
  const scales = layers.filter((layer) => layer.active !== false).map((layer) => layer.scaleResolutionDownBy ?? 1);
  const enough = scales.filter((scale) => scale <= wanted);
  return enough.length > 0 ? Math.max(...enough) : Math.min(...scales);
}

/** The share of the frames that a demand leaves. */
function rateShare(demand: Demand, own: RTCRtpEncodingParameters, picture: Picture): number {
  const rate = Math.min(own.maxFramerate ?? Infinity, picture.frameRate || FRAME_RATE);
  return demand.maxFramerate ? demand.maxFramerate / rate : 1;
}

function usualBitrate(pixels: number, isLayer: boolean): number {
  const table = isLayer ? LAYER_BITRATES : BITRATES;
  return (table.find(([most]) => pixels <= most) ?? table[table.length - 1])[1];
}

/**
 * Sets an encoding to what a demand asks for, but never above the page's own settings; without a demand they are what counts again.
 * @param encoding what to set @param own as the page set it @param wanted as encodingFor gives it
 */
export function follow(encoding: RTCRtpEncodingParameters, own: RTCRtpEncodingParameters, wanted: RTCRtpEncodingParameters): void {
  encoding.active = own.active !== false && wanted.active !== false;
  for (const limit of ["maxFramerate", "maxBitrate"] as const) {
    const least = Math.min(own[limit] ?? Infinity, wanted[limit] ?? Infinity);
    if (least < Infinity) encoding[limit] = least;
    else delete encoding[limit];
  }
  encoding.scaleResolutionDownBy = Math.max(own.scaleResolutionDownBy ?? 1, wanted.scaleResolutionDownBy ?? 1);
}
