// Opens what is to be sent: a camera, a screen, or a file that is drawn to a canvas.

/** @typedef {import("../sdk/sluice.js").FrameBuffer} FrameBuffer */

/**
 * @typedef {object} Source
 * @property {"camera" | "screen" | "file"} kind
 * @property {string} label for people
 * @property {MediaStream} stream what is sent
 * @property {boolean} mirror whether people expect it mirrored
 * @property {(frames: FrameBuffer, rate: number) => () => void} record keeps copies of its frames until stopped; rate: frames a second, where the page decides that
 * @property {() => void} close gives up the device or the file
 */

const MAX_WIDTH = 1280;
const MAX_HEIGHT = 1080;

/** Throws an error with a code of problems.js. @param {string} code @returns {never} */
function refuse(code) {
  throw Object.assign(new Error(code), { code });
}

/**
 * @param {HTMLVideoElement} preview plays the stream; it must be visible, or its frames cannot be followed
 * @param {{ deviceId?: string, height?: number }} [wish] height: of the pictures, which are 16:9 where the camera can @returns {Promise<Source>}
 */
export async function openCamera(preview, { deviceId, height = 720 } = {}) {
  if (!window.isSecureContext) refuse("INSECURE");
  if (!navigator.mediaDevices?.getUserMedia) refuse("NO_WEBRTC");
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
  const video = { ...which, width: { ideal: (height * 16) / 9 }, height: { ideal: height }, frameRate: { ideal: 30, max: 30 } };
  const stream = await navigator.mediaDevices.getUserMedia({ video });
  const facing = stream.getVideoTracks()[0]?.getSettings().facingMode;
  return { ...played(preview, stream), kind: "camera", mirror: facing !== "environment" };
}

/** @param {HTMLVideoElement} preview @returns {Promise<Source>} */
export async function openScreen(preview) {
  if (!window.isSecureContext) refuse("INSECURE");
  if (!navigator.mediaDevices?.getDisplayMedia) refuse("NO_SCREEN");
  const video = { width: { max: 1920 }, height: { max: MAX_HEIGHT }, frameRate: { ideal: 15, max: 30 } };
  const stream = await navigator.mediaDevices.getDisplayMedia({ video });
  return { ...played(preview, stream), kind: "screen", mirror: false };
}

/** @param {string} [deviceId] @returns {Promise<MediaStreamTrack>} the microphone's; stopping it gives the device up */
export async function openMicrophone(deviceId) {
  if (!window.isSecureContext) refuse("INSECURE");
  if (!navigator.mediaDevices?.getUserMedia) refuse("NO_WEBRTC");
  const which = deviceId ? { deviceId: { exact: deviceId } } : {};
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...which, channelCount: 1 } });
  return stream.getAudioTracks()[0];
}

/** @param {HTMLVideoElement} preview @param {MediaStream} stream */
function played(preview, stream) {
  return {
    label: stream.getVideoTracks()[0]?.label ?? "",
    stream,
    record: (/** @type {FrameBuffer} */ frames) => {
      preview.srcObject = stream;
      preview.play().catch(() => undefined); // a newer source took its place
      return frames.watch(preview);
    },
    close: () => {
      for (const track of stream.getTracks()) track.stop();
      if (preview.srcObject === stream) preview.srcObject = null;
    },
  };
}

/**
 * A file is drawn to a canvas by this page, and the canvas is what is sent: that works in every browser, and the page knows the
 * moment of each frame.
 * @param {File} file @returns {Promise<Source>}
 */
export async function openFile(file) {
  const picture = await (file.type.startsWith("video/") ? openVideo(file) : openImage(file));
  const canvas = document.createElement("canvas");
  const scale = Math.min(1, MAX_WIDTH / picture.width, MAX_HEIGHT / picture.height);
  canvas.width = even(picture.width * scale);
  canvas.height = even(picture.height * scale);
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  const stream = canvas.captureStream(0);
  const track = /** @type {CanvasCaptureMediaStreamTrack} */ (stream.getVideoTracks()[0]);
  const draw = () => {
    context.drawImage(picture.image, 0, 0, canvas.width, canvas.height);
    // Firefox has requestFrame on the stream.
    if (track.requestFrame) track.requestFrame();
    else /** @type {any} */ (stream).requestFrame?.();
  };
  draw();
  return {
    kind: "file", label: file.name, stream, mirror: false,
    record: (frames, rate) => every(1000 / rate, () => {
      draw();
      frames.push(canvas);
    }),
    close: () => {
      track.stop();
      picture.close();
    },
  };
}

/** Calls back on animation frames, at least `interval` ms apart. @param {number} interval @param {() => void} callback */
function every(interval, callback) {
  let last = -Infinity;
  let handle = requestAnimationFrame(function tick() {
    handle = requestAnimationFrame(tick);
    const now = performance.now();
    if (now - last < interval - 4) return; // an animation frame may be a little early
    last = now;
    callback();
  });
  return () => cancelAnimationFrame(handle);
}

/** @param {File} file */
async function openVideo(file) {
  const video = document.createElement("video");
  Object.assign(video, { src: URL.createObjectURL(file), muted: true, loop: true, playsInline: true });
  const close = () => {
    video.pause();
    URL.revokeObjectURL(video.src);
    video.removeAttribute("src");
    video.load();
  };
  try {
    await video.play();
    if (!video.videoWidth) throw new Error("no picture in it");
  } catch {
    close();
    refuse("FILE_UNREADABLE");
  }
  return { image: video, width: video.videoWidth, height: video.videoHeight, close };
}

/** @param {File} file */
async function openImage(file) {
  const image = await createImageBitmap(file).catch(() => refuse("FILE_UNREADABLE"));
  return { image, width: image.width, height: image.height, close: () => image.close() };
}

/** @param {number} length encoders want even sides */
function even(length) {
  return Math.max(2, 2 * Math.round(length / 2));
}
