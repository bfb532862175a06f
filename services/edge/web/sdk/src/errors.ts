/**
 * What is in the way of a session:
 * - `NO_WEBRTC`: the browser cannot do it.
 * - `EDGE_UNREACHABLE`: no HTTP answer, or one that this page's origin must not read.
 * - `BAD_ANSWER`: what answered is not an edge, or its answer cannot be used.
 * - `VERSION_MISMATCH`: this SDK and the edge are too far apart.
 * - `ICE_FAILED`: the edge answered, but none of the addresses it named can be reached; see {@link SluiceError.addresses}.
 * - `SESSION_CLOSED`: the edge ended the session before it was connected.
 *
 * What the edge refuses has the edge's own code, among them `UNAUTHORIZED`, `ORIGIN_NOT_ALLOWED`, `UNKNOWN_MODEL`,
 * `UNSUPPORTED_CODEC`, `NO_ROUTER`, `TOO_MANY_SESSIONS` and `DRAINING`, or `HTTP_` and the status.
 */
export type SessionErrorCode =
  | "NO_WEBRTC" | "EDGE_UNREACHABLE" | "BAD_ANSWER" | "VERSION_MISMATCH" | "ICE_FAILED" | "SESSION_CLOSED"
  | "UNAUTHORIZED" | "ORIGIN_NOT_ALLOWED" | "UNKNOWN_MODEL" | "UNSUPPORTED_CODEC" | "NO_ROUTER" | "TOO_MANY_SESSIONS" | "DRAINING";

/**
 * What is in the way of a device:
 * - `INSECURE_CONTEXT`: the page is neither https:// nor on localhost.
 * - `PERMISSION_DENIED`: the visitor said no, or chose nothing to share.
 * - `BLOCKED_BY_POLICY`: the page's Permissions-Policy, its frame or the browser's settings do not let it.
 * - `BLOCKED_BY_SYSTEM`: the operating system does not let the browser.
 * - `NO_DEVICE`, `DEVICE_BUSY`: there is none, or another program has it.
 * - `DEVICE_UNFIT`: none does what was asked for.
 * - `DEVICE_LOST`: it was there and has gone.
 * - `SHARING_ENDED`: the visitor ended the sharing of a screen.
 * - `DEVICE_FAILED`: anything else.
 */
export type DeviceErrorCode =
  | "INSECURE_CONTEXT" | "PERMISSION_DENIED" | "BLOCKED_BY_POLICY" | "BLOCKED_BY_SYSTEM" | "NO_DEVICE" | "DEVICE_BUSY" | "DEVICE_UNFIT"
  | "DEVICE_LOST" | "SHARING_ENDED" | "DEVICE_FAILED";

/**
 * What is wrong with a message to send:
 * - `TOO_LARGE`: more than 4 MiB.
 * - `BAD_IMAGE`, `BAD_TENSOR`: a picture without a size; a tensor that does not fill its shape.
 * - `STREAM_TYPE`: its stream carries another kind of messages.
 * - `TOO_MANY_STREAMS`: more than 7.
 */
export type SendErrorCode = "TOO_LARGE" | "BAD_IMAGE" | "BAD_TENSOR" | "STREAM_TYPE" | "TOO_MANY_STREAMS";

export type SluiceErrorCode = SessionErrorCode | DeviceErrorCode | SendErrorCode | (string & {});

/** An error with a stable code: see {@link SluiceErrorCode}. */
export class SluiceError extends Error {
  override readonly name = "SluiceError";
  /** For programs; stable. */
  readonly code: SluiceErrorCode;
  /** The HTTP status, where there was one. */
  readonly status?: number;
  /** Seconds after which to try again, where the edge said so. */
  readonly retryAfter?: number;
  /** Addresses that were tried, as "udp 192.0.2.1:8189". */
  readonly addresses?: string[];

  constructor(code: SluiceErrorCode, message: string, more: SluiceErrorDetails = {}) {
    super(message, "cause" in more ? { cause: more.cause } : undefined);
    this.code = code;
    this.status = more.status;
    this.retryAfter = more.retryAfter;
    this.addresses = more.addresses;
  }
}

/** What is known about a {@link SluiceError} besides its code. */
export interface SluiceErrorDetails {
  status?: number;
  retryAfter?: number;
  addresses?: string[];
  cause?: unknown;
}
