// Reads from the browser's own statistics what is being sent.

/** @typedef {import("./panel.js").Sending} Sending */

export class SendingMeter {
  /** @type {{ at: number, frames: number, bytes: number } | undefined} */ #last;

  /** @param {RTCPeerConnection} peer @returns {Promise<Sending>} rates since the call before */
  async read(peer) {
    const report = await peer.getStats();
    const all = /** @type {any[]} */ ([...report.values()]);
    const out = all.find((s) => s.type === "outbound-rtp" && s.kind === "video");
    if (!out) return {};
    const pair = all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
    const now = { at: out.timestamp, frames: out.framesSent ?? 0, bytes: out.bytesSent ?? 0 };
    const seconds = this.#last ? (now.at - this.#last.at) / 1000 : 0;
    const rates = this.#last && seconds > 0
      ? { fps: (now.frames - this.#last.frames) / seconds, bits: (8 * (now.bytes - this.#last.bytes)) / seconds }
      : {};
    this.#last = now;
    return { ...rates, width: out.frameWidth, height: out.frameHeight, roundTrip: pair?.currentRoundTripTime };
  }
}
