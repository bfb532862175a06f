import type { Demand, Drain, Outcome, SenderReport, Summary } from "./messages.js";
import type { Unsent } from "./send.js";
import type { SourceEnded } from "./sources.js";

/** `interrupted`: nothing comes from the edge; the session is trying to come back. */
export type SessionState = "connecting" | "connected" | "interrupted" | "closed";

/**
 * Who ended a session: `client` (close was called), `server` (the edge), `network` (the connection was lost and did not come back in time),
 * `refused` (the edge would not have it back), `failed` (it never stood).
 */
export type CloseReason = "client" | "server" | "network" | "refused" | "failed";

/** How a session came back. */
export interface ReconnectDetail {
  /** The session's id at the edge. */
  id: string;
  /** Whether it is the same session, which has lost nothing: its sequences go on. Otherwise they start anew. */
  resumed: boolean;
}

export interface SessionEvents {
  /** One unit's end for one model. */
  outcome: CustomEvent<Outcome>;
  /** An RTCP sender report as the edge received it. */
  senderreport: CustomEvent<SenderReport>;
  /** What the models can use of a stream. Already followed, unless `followDemand` is false. */
  demand: CustomEvent<Demand>;
  /** The edge is shutting down. The session looks for another one by itself. */
  drain: CustomEvent<Drain>;
  /** Outcomes that this client lost because it was slow. */
  skipped: CustomEvent<number>;
  /** The counts of a session of the edge, when it ends. */
  summary: CustomEvent<Summary>;
  state: CustomEvent<SessionState>;
  /** The connection is back, or there is another one. */
  reconnect: CustomEvent<ReconnectDetail>;
  /** A message was not sent: a newer one took its place, or there was no connection. */
  unsent: CustomEvent<Unsent>;
  /** A track has ended by itself. One of a device that the session opened is replaced as soon as there is such a device again. */
  sourceended: CustomEvent<SourceEnded>;
  /** The session has ended. The error is what was in the way of coming back. */
  close: CustomEvent<{ reason: CloseReason; error?: unknown }>;
}
