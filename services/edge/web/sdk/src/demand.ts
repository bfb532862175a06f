import type { Demand } from "./messages.js";

/** What of an encoding a demand decides. */
export interface WantedEncoding {
  active: boolean;
  maxFramerate?: number;
  scaleResolutionDownBy: number;
}

/** Sends no more of a video than the models look at: it sets the senders of a connection to what the edge demands. */
export class DemandFollower {
  /** The page's own settings while a demand is in force. */
  #own = new WeakMap<RTCRtpSender, RTCRtpEncodingParameters[]>();

  /** Meets one demand. With several videos nothing is assumed. */
  async follow(peer: RTCPeerConnection, demand: Demand): Promise<void> {
    if (!videoStreams(peer.localDescription?.sdp ?? "").includes(demand.stream ?? "")) return;
    const senders = peer.getSenders().filter((sender) => sender.track?.kind === "video");
    const parameters = senders[0]?.getParameters();
    if (senders.length !== 1 || !parameters.encodings?.length) return;
    const { width, height } = senders[0].track?.getSettings() ?? {};
    const own = this.#own.get(senders[0]) ?? parameters.encodings.map((encoding) => ({ ...encoding }));
    this.#own.set(senders[0], own);
    parameters.encodings.forEach((encoding, i) => follow(encoding, own[i] ?? {}, encodingFor(demand, width, height)));
    if (demand.maxFramerate === undefined && demand.maxWidth === undefined) this.#own.delete(senders[0]);
    await senders[0].setParameters(parameters).catch(() => undefined); // the sender stopped meanwhile
  }
}

/** The names that the edge may have given the video of an offer: that of its track, or a plain one where that is but a random id. */
export function videoStreams(offer: string): string[] {
  const names = ["video"];
  for (const section of offer.split(/^m=/m)) if (section.startsWith("video")) for (const [, id] of section.matchAll(/^a=msid:\S+ (.*?)\r?$/gm)) names.push(id);
  return names;
}

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
 * Sets an encoding to what a demand asks for, but never above the page's own settings; without a demand they are what counts again.
 * @param encoding what to set @param own as the page set it @param wanted as encodingFor gives it
 */
export function follow(encoding: RTCRtpEncodingParameters, own: RTCRtpEncodingParameters, wanted: RTCRtpEncodingParameters): void {
  encoding.active = own.active !== false && wanted.active !== false;
  const rate = Math.min(own.maxFramerate ?? Infinity, wanted.maxFramerate ?? Infinity);
  if (rate < Infinity) encoding.maxFramerate = rate;
  else delete encoding.maxFramerate;
  encoding.scaleResolutionDownBy = Math.max(own.scaleResolutionDownBy ?? 1, wanted.scaleResolutionDownBy ?? 1);
}
