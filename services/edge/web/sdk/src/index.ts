/**
 * Sluice for browsers: sends a camera, a screen or any MediaStream to an edge and gives back what the models say, each answer with
 * the moment its frame was captured. One ES module without dependencies.
 *
 * ```js
 * import { connect, Overlay } from "https://edge.example/sdk/sluice.js"; // or "@sluice-dev/sdk"
 *
 * const session = await connect("https://edge.example/", { camera: true, models: ["faces"] });
 * video.srcObject = session.stream;
 * new Overlay(canvas, video).attach(session); // boxes, each on the very frame that it is about
 * for await (const { result } of session) if (result) console.log(result.detections);
 * ```
 *
 * To draw otherwise, give the overlay a `draw` function, or keep the frames yourself with a {@link FrameBuffer} and ask it for the one that an outcome is
 * about: `frames.locate(outcome, session.clock)`.
 *
 * Times of frames are milliseconds on the page's own clock (performance.now()); durations in messages are seconds, as the edge
 * sends them.
 *
 * @packageDocumentation
 */

export { connect, type ConnectOptions, Session } from "./session.js";
export type { CloseReason, ReconnectDetail, SessionEvents, SessionState } from "./events.js";
export type { SourceEnded, SourceOptions } from "./sources.js";
export type { SendOptions, Sent, Unsent, UnsentReason } from "./send.js";
export type { Datatype, ImageSource } from "./content.js";
export { type Device, deviceError, openCamera, openMicrophone, openScreen } from "./devices.js";
export { type DeviceErrorCode, type SendErrorCode, type SessionErrorCode, SluiceError, type SluiceErrorCode, type SluiceErrorDetails } from "./errors.js";
export { type Frame, FrameBuffer, type FrameBufferOptions, findFrame, type Lookup, type Wanted } from "./frames.js";
export { type Drawn, Overlay, type OverlayEvents, type OverlayOptions, type SyncState } from "./overlay.js";
export { type Drawing, drawDetections } from "./draw.js";
export {
  type Box, type Demand, type Detection, type Drain, type DropReason, type ErrorCode, type ModelCounts, type Outcome, parseMessage, type Result,
  type SenderReport, type ServerMessage, type StreamCounts, type Summary, type Timings,
} from "./messages.js";

// For clients that do their own signalling.
export { SenderWatch, type SentFrame } from "./transform.js";
export { MediaClock, soundRates } from "./clock.js";
export { DemandFollower, videoStreams } from "./demand.js";
export { encodingFor, encodingsFor, follow, type Picture, type WantedEncoding } from "./encodings.js";
export { candidateAddresses } from "./sdp.js";
export { type Link, parseLinks } from "./signal.js";
