// What the test pages publish.

import { draw } from "./blocks.js";

/**
 * A canvas that shows a clip with a counter drawn over it.
 * @param {HTMLCanvasElement} canvas @param {string} clip address of a video @param {number} rate frames a second
 */
export async function countingCanvas(canvas, clip, rate) {
  const video = await player(clip);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  let number = 0;
  const paint = () => {
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    draw(context, number++ % 65536);
  };
  paint();
  setInterval(paint, 1000 / rate);
  return canvas.captureStream(rate);
}

/** A canvas that shows a clip. @param {HTMLCanvasElement} canvas @param {string} clip address of a video @param {number} rate frames a second */
export async function plainCanvas(canvas, clip, rate) {
  const video = await player(clip);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  const paint = () => context.drawImage(video, 0, 0, canvas.width, canvas.height);
  paint();
  setInterval(paint, 1000 / rate);
  return canvas.captureStream(rate);
}

/** A track of a sound, again and again. @param {string} address of a sound */
export async function voice(address) {
  const context = new AudioContext();
  const buffer = await context.decodeAudioData(await (await fetch(address)).arrayBuffer());
  const source = new AudioBufferSourceNode(context, { buffer, loop: true });
  const { stream } = source.connect(new MediaStreamAudioDestinationNode(context));
  source.start();
  return stream.getAudioTracks()[0];
}

/** The camera, played on the page. @param {HTMLVideoElement} video */
export async function camera(video) {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360, frameRate: 30 } });
  video.srcObject = stream;
  await video.play();
  return stream;
}

/** A canvas with something that moves, for tests that do not look at the picture. @param {HTMLCanvasElement} canvas @param {number} rate frames a second */
export function testCard(canvas, rate) {
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  let number = 0;
  const paint = () => {
    for (let bar = 0; bar < 16; bar++) {
      context.fillStyle = `hsl(${(number * 3 + bar * 22) % 360} 60% 50%)`;
      context.fillRect((bar * canvas.width) / 16, 0, canvas.width / 16, canvas.height);
    }
    draw(context, number++ % 65536);
  };
  paint();
  setInterval(paint, 1000 / rate);
  return canvas.captureStream(rate);
}

/** A clip, played without an end. @param {string} clip */
async function player(clip) {
  const video = Object.assign(document.createElement("video"), { src: clip, muted: true, loop: true, playsInline: true });
  await video.play();
  return video;
}
