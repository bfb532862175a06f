/**
 * - `NO_WEBRTC`: the browser cannot do it.
 * - `EDGE_UNREACHABLE`: no HTTP answer, or one that this page's origin must not read.
 * - `BAD_ANSWER`: what answered is not an edge, or its answer cannot be used.
 * - `ICE_FAILED`: the edge answered, but none of the addresses it named can be reached; see {@link SluiceError.addresses}.
 * - `SESSION_CLOSED`: the edge ended the session before it was connected.
 *
 * What the edge refuses has the edge's own code, among them `UNAUTHORIZED`, `ORIGIN_NOT_ALLOWED`, `UNKNOWN_MODEL`,
 * `UNSUPPORTED_CODEC`, `NO_ROUTER`, `TOO_MANY_SESSIONS` and `DRAINING`, or `HTTP_` and the status.
 */
export type SluiceErrorCode =
  | "NO_WEBRTC" | "EDGE_UNREACHABLE" | "BAD_ANSWER" | "ICE_FAILED" | "SESSION_CLOSED"
  | "UNAUTHORIZED" | "ORIGIN_NOT_ALLOWED" | "UNKNOWN_MODEL" | "UNSUPPORTED_CODEC" | "NO_ROUTER" | "TOO_MANY_SESSIONS" | "DRAINING"
  | (string & {});

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
