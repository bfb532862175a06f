// Publishes a video in three sizes (simulcast), stops one of them for a while as a browser does when bandwidth is short, and collects which size each outcome is about.

import { countingCanvas } from "./sources.js";
import { whip } from "./whip.js";

/** @param {{ edge: string, clip: string, stops: string, settle: number, pause: number, after: number }} options stops: the layer (RID) that stops; times in seconds */
window.run = async ({ edge, clip, stops, settle, pause, after }) => {
  const peer = new RTCPeerConnection();
  const channel = peer.createDataChannel("outcomes", { protocol: "sluice.v1+json" });
  /** @type {{ at: number, ssrc: number, end: string, faces: number, clock: string, age: number }[]} */ const outcomes = [];
  channel.onmessage = ({ data }) => {
    const { outcome } = JSON.parse(data);
    if (!outcome) return;
    const { ssrc, result, drop, error, clock, captureTime } = outcome;
    const age = Date.now() - Date.parse(captureTime);
    outcomes.push({ at: performance.now(), ssrc, end: drop?.reason ?? error?.code ?? "result", faces: result?.detections?.length ?? 0, clock, age });
  };
  const stream = await countingCanvas(/** @type {HTMLCanvasElement} */ (document.getElementById("video")), clip, 15);
  const transceiver = peer.addTransceiver(stream.getVideoTracks()[0], {
    direction: "sendonly",
    streams: [stream],
    sendEncodings: [
      { rid: "small", scaleResolutionDownBy: 4, maxBitrate: 150_000 },
      { rid: "middle", scaleResolutionDownBy: 2, maxBitrate: 400_000 },
      { rid: "large", maxBitrate: 900_000 },
    ],
  });
  sendCaptureTimes(transceiver);
  const { sender } = transceiver;
  const hangUp = await whip(peer, edge);
  const times = { stopped: 0, resumed: 0, ended: 0 };
  await wait(settle);
  times.stopped = await setActive(sender, stops, false);
  await wait(pause);
  times.resumed = await setActive(sender, stops, true);
  await wait(after);
  times.ended = performance.now();
  const layers = [];
  for (const report of (await sender.getStats()).values()) {
    if (report.type === "outbound-rtp") layers.push({ rid: report.rid, ssrc: report.ssrc, width: report.frameWidth ?? 0, frames: report.framesSent });
  }
  hangUp();
  return { outcomes, times, layers };
};

/** Has capture times sent in packets, which browsers do only when they are asked to. @param {RTCRtpTransceiver} transceiver */
function sendCaptureTimes(transceiver) {
  const extensions = transceiver.getHeaderExtensionsToNegotiate();
  for (const extension of extensions) if (extension.uri.endsWith("/abs-capture-time")) extension.direction = "sendrecv";
  transceiver.setHeaderExtensionsToNegotiate(extensions);
}

/** @param {RTCRtpSender} sender @returns when it was done */
async function setActive(sender, rid, active) {
  const parameters = sender.getParameters();
  for (const encoding of parameters.encodings) if (encoding.rid === rid) encoding.active = active;
  await sender.setParameters(parameters);
  return performance.now();
}

/** @param {number} seconds */
function wait(seconds) {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}
