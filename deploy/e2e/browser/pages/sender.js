// The sender's transform: notes for each encoded frame its RTP timestamp and the number that is drawn in it. The number is read from the encoded bytes themselves, by decoding them,
// so there is nothing to guess about which captured frame they came from. The bytes go on untouched.

import { read } from "./blocks.js";

/** @type {Map<number, number | undefined>} number in the picture by RTP timestamp */
const sent = new Map();
/** @type {string[]} */
const troubles = [];
let jobs = Promise.resolve();

const decoder = new VideoDecoder({
  output: (picture) => (jobs = jobs.then(() => look(picture))),
  error: (error) => troubles.push(`decoder: ${error.message}`),
});
decoder.configure({ codec: "vp8" });

/** @param {VideoFrame} picture whose timestamp is the RTP timestamp */
async function look(picture) {
  const { width, height } = picture.visibleRect;
  const pixels = new Uint8Array(picture.allocationSize());
  const [{ offset, stride }] = await picture.copyTo(pixels); // the first plane of I420 and NV12 is the luma
  sent.set(picture.timestamp, read(width, height, (x, y) => pixels[offset + y * stride + x]));
  picture.close();
}

self.onrtctransform = ({ transformer }) => {
  const note = (/** @type {RTCEncodedVideoFrame} */ frame, /** @type {TransformStreamDefaultController} */ out) => {
    const { rtpTimestamp, mimeType } = frame.getMetadata();
    const timestamp = rtpTimestamp ?? frame.timestamp;
    if (mimeType && mimeType !== "video/VP8") troubles.push(`a frame is ${mimeType}`);
    decoder.decode(new EncodedVideoChunk({ type: frame.type, timestamp, data: frame.data }));
    out.enqueue(frame);
  };
  transformer.readable.pipeThrough(new TransformStream({ transform: note })).pipeTo(transformer.writable).catch(() => undefined); // the sender ended
};

/** Asked anything, it answers with all that was sent. */
self.onmessage = async () => {
  await decoder.flush().catch((error) => troubles.push(`flush: ${error.message}`));
  await jobs;
  self.postMessage({ sent: [...sent].map(([rtp, number]) => ({ rtp, number: number ?? -1 })), troubles });
};
