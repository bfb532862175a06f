// Messages of the edge, as in sluice/v1/message.proto and outcome.proto.

/** One unit's end for one model. */
export interface Outcome {
  session?: string;
  stream?: string;
  /** Number of the unit in its stream, from 1. */
  sequence: number;
  rtpTimestamp?: number;
  ssrc?: number;
  /** RFC 3339; information only. */
  captureTime?: string;
  clock?: "ARRIVAL" | "SENDER_REPORT" | "ABS_CAPTURE";
  model: string;
  batchSize?: number;
  /** Exactly one of result, drop and error is there. */
  result?: Result;
  drop?: { reason: DropReason };
  error?: { code: ErrorCode };
  timings?: Timings;
}

export type DropReason =
  | "SUPERSEDED" | "EXPIRED" | "OVERLOADED" | "DAMAGED" | "RATE_LIMITED" | "TOO_LARGE" | "NO_ROUTER" | "DRAINING";

export type ErrorCode =
  | "BACKEND_UNAVAILABLE" | "BACKEND_TIMEOUT" | "BACKEND_PROTOCOL" | "BACKEND_REJECTED"
  | "DECODER" | "ROUTER_LOST" | "UNSUPPORTED" | "INTERNAL";

/** Seconds. */
export interface Timings {
  receive?: number;
  decode?: number;
  convert?: number;
  queue?: number;
  infer?: number;
  total?: number;
}

export interface Result {
  detections?: Detection[];
  classes?: { label?: string; score?: number }[];
  speech?: { probability?: number }[];
  embedding?: number[];
  tensors?: { name?: string; datatype?: string; shape?: number[]; values?: number[] }[];
  json?: string[];
}

export interface Detection {
  label?: string;
  /** 0 to 1. */
  score?: number;
  /** Fractions of the upright source picture. */
  box?: Box;
  landmarks?: { x: number; y: number }[];
}

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** An RTCP sender report as the edge received it. */
export interface SenderReport {
  ssrc: number;
  rtpTimestamp: number;
  ntpMillis: number;
}

/** What the models can use of a stream. */
export interface Demand {
  stream?: string;
  maxFramerate?: number;
  maxWidth?: number;
  maxHeight?: number;
}

/** The edge is shutting down. */
export interface Drain {
  /** Seconds. */
  reconnectWithin?: number;
}

/** The session's counts, when it ends. */
export interface Summary {
  session?: string;
  streams?: StreamCounts[];
}

export interface StreamCounts {
  stream?: string;
  received?: number;
  notDue?: number;
  accepted?: number;
  models?: ModelCounts[];
}

export interface ModelCounts {
  model?: string;
  notSampled?: number;
  accepted?: number;
  results?: number;
  drops?: Record<string, number>;
  errors?: Record<string, number>;
  inFlight?: number;
  late?: number;
}

export type ServerMessage =
  | { kind: "outcome"; value: Outcome }
  | { kind: "senderReport"; value: SenderReport }
  | { kind: "demand"; value: Demand }
  | { kind: "drain"; value: Drain }
  | { kind: "skipped"; value: number }
  | { kind: "summary"; value: Summary }
  | { kind: "pong"; value: { id?: number } };

const KINDS = ["outcome", "senderReport", "demand", "drain", "skipped", "summary", "pong"] as const;

/** Reads one server message; undefined for anything that is none, or of a kind that this version does not know. */
export function parseMessage(data: unknown): ServerMessage | undefined {
  if (typeof data !== "string") return undefined;
  try {
    const message = JSON.parse(data);
    const kind = KINDS.find((k) => message?.[k] !== undefined);
    return kind && { kind, value: message[kind] };
  } catch {
    return undefined;
  }
}
