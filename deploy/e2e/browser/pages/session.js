// Publishes by the SDK and tells what becomes of the session as it happens, with the time of the machine's clock, until the test has seen enough.

import { camera, testCard } from "./sources.js";

const SAMPLE = 100; // ms

/**
 * @param {{ edge: string, models: string[], source: "camera" | "card" | "two cards", encodings?: RTCRtpEncodingParameters[], gateway?: string }} options
 *   gateway: the only way to the edge's media
 */
window.run = async ({ edge, models, source, encodings, gateway }) => {
  if (gateway) sendBy(gateway);
  const { connect } = await import(`${edge}/sdk/sluice.js`);
  const stream = source === "camera" ? await camera(element("video")) : testCard(element("canvas"), 30);
  if (source === "two cards") stream.addTrack(testCard(element("another"), 30).getVideoTracks()[0]);
  const tell = (/** @type {object} */ what) => void window.tell({ at: Date.now(), ...what });
  tell({ begun: true });
  const session = await connect({ url: `${edge}/`, stream, models, encodings });
  const state = () => tell({ state: session.state, session: session.id });
  state();
  session.addEventListener("state", state);
  session.addEventListener("outcome", ({ detail: { session, sequence, result, drop, error } }) =>
    tell({ session, sequence, end: result ? "result" : (drop?.reason ?? error?.code) }));
  session.addEventListener("demand", ({ detail }) => tell({ demand: detail }));
  session.addEventListener("skipped", ({ detail }) => tell({ skipped: detail }));
  const sampling = setInterval(async () => tell({ sent: await sent(session.peer) }), SAMPLE);
  await window.over();
  clearInterval(sampling);
  await session.close();
  return { at: Date.now(), closed: true };
};

/** What of the videos has left, in all and by the video (its media id) or its layer, and the width of the widest now. @param {RTCPeerConnection} peer */
async function sent(peer) {
  const sum = { frames: 0, bytes: 0, width: 0, /** @type {Record<string, number>} */ each: {} };
  for (const report of (await peer.getStats()).values()) {
    if (report.type !== "outbound-rtp" || report.kind !== "video") continue;
    sum.frames += report.framesSent;
    sum.bytes += report.bytesSent;
    sum.width = Math.max(sum.width, report.frameWidth ?? 0);
    sum.each[report.rid ?? report.mid] = report.framesSent;
  }
  return sum;
}

/** Has media go to a gateway instead of the edge, which is not told of another way back. @param {string} gateway host:port */
function sendBy(gateway) {
  const plain = window.fetch.bind(window);
  const candidates = /^a=candidate:.*\r\n/gm;
  window.fetch = async (url, init) => {
    if (typeof init?.body !== "string") return plain(url, init);
    const response = await plain(url, { ...init, body: init.body.replace(candidates, "") });
    const there = (/** @type {string} */ line) => (/ udp .* typ host/.test(line) ? line.replace(/( udp \d+ )\S+ \d+/, `$1${gateway.replace(":", " ")}`) : "");
    const answer = new Response((await response.text()).replace(candidates, there), { status: response.status, headers: response.headers });
    Object.defineProperty(answer, "url", { value: response.url });
    return answer;
  };
}

/** @param {string} id @returns {any} */
function element(id) {
  return document.getElementById(id);
}
