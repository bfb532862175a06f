/**
 * Sluice for browsers: sends a camera, a screen or any MediaStream to an edge and gives back what the models say, each answer with
 * the moment its frame was captured. One ES module without dependencies.
 *
 * ```js
 * import { connect, FrameBuffer } from "https://edge.example/sdk/sluice.js";
 *
 * const stream = await navigator.mediaDevices.getUserMedia({ video: true });
 * video.srcObject = stream;
 * const frames = new FrameBuffer();
 * frames.watch(video);
 * const session = await connect({ stream, models: ["faces"] });
 * for await (const outcome of session) {
 *   const { frame } = frames.find(session.captureTime(outcome));
 *   if (outcome.result && frame) draw(frame.picture, outcome.result.detections ?? []);
 * }
 * ```
 *
 * Times of frames are milliseconds on the page's own clock (performance.now()); durations in messages are seconds, as the edge
 * sends them.
 *
 * @packageDocumentation
 */

export { connect, type CloseReason, type ConnectOptions, Session, type SessionEvents, type SessionState } from "./session.js";
export { SluiceError, type SluiceErrorCode, type SluiceErrorDetails } from "./errors.js";
export { type Frame, FrameBuffer, type FrameBufferOptions, findFrame, type Lookup } from "./frames.js";
export {
  type Box, type Demand, type Detection, type Drain, type DropReason, type ErrorCode, type ModelCounts, type Outcome, parseMessage, type Result,
  type SenderReport, type ServerMessage, type StreamCounts, type Summary, type Timings,
} from "./messages.js";

// For clients that do their own signalling.
export { MediaClock, soundRates } from "./clock.js";
export { DemandFollower, videoStreams } from "./demand.js";
export { encodingFor, encodingsFor, follow, type Picture, type WantedEncoding } from "./encodings.js";
export { candidateAddresses, type Link, parseLinks } from "./signal.js";
