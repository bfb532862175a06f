// Sluice for browsers 0.1.0, Apache-2.0. Generated from src/*.ts by make generate.

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
	drop?: {
		reason: DropReason;
	};
	error?: {
		code: ErrorCode;
	};
	timings?: Timings;
}
export type DropReason = "SUPERSEDED" | "EXPIRED" | "OVERLOADED" | "DAMAGED" | "RATE_LIMITED" | "TOO_LARGE" | "NO_ROUTER" | "DRAINING";
export type ErrorCode = "BACKEND_UNAVAILABLE" | "BACKEND_TIMEOUT" | "BACKEND_PROTOCOL" | "BACKEND_REJECTED" | "DECODER" | "ROUTER_LOST" | "UNSUPPORTED" | "INTERNAL";
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
	classes?: {
		label?: string;
		score?: number;
	}[];
	speech?: {
		probability?: number;
	}[];
	embedding?: number[];
	tensors?: {
		name?: string;
		datatype?: string;
		shape?: number[];
		values?: number[];
	}[];
	json?: string[];
}
export interface Detection {
	label?: string;
	/** 0 to 1. */
	score?: number;
	/** Fractions of the upright source picture. */
	box?: Box;
	landmarks?: {
		x: number;
		y: number;
	}[];
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
export type ServerMessage = {
	kind: "outcome";
	value: Outcome;
} | {
	kind: "senderReport";
	value: SenderReport;
} | {
	kind: "demand";
	value: Demand;
} | {
	kind: "drain";
	value: Drain;
} | {
	kind: "skipped";
	value: number;
} | {
	kind: "summary";
	value: Summary;
};
/** Reads one server message; undefined for anything that is none, or of a kind that this version does not know. */
export declare function parseMessage(data: unknown): ServerMessage | undefined;
export interface ConnectOptions {
	/** Base URL of the edge. Default: the edge that this module was loaded from. */
	url?: string | URL;
	/** What to send: all of its tracks. Without it the session has data channels only: see {@link Session.peer}. */
	stream?: MediaStream | MediaStreamTrack;
	/** A microphone's track to send beside the stream; the answers about it have {@link Result.speech}, for instance. */
	microphone?: MediaStreamTrack;
	/** Names of the models wanted. Default: every model that fits the kind of a stream. */
	models?: readonly string[];
	/** Bearer token, for an edge that wants one. */
	token?: string;
	/** STUN and TURN servers. Default: those that the edge names. */
	iceServers?: RTCIceServer[];
	/** Milliseconds that the connection may take once the edge has answered. Default: 20 000. */
	timeout?: number;
	/** Gives up connecting. It does not end a session that stands. */
	signal?: AbortSignal;
	/** Whether to lower the frame rate and size of the video to what the models look at. Default: true. */
	followDemand?: boolean;
}
export type SessionState = "connecting" | "connected" | "interrupted" | "closed";
/** Who ended a session: `client` (close was called), `server` (the edge), `network` (the connection was lost), `failed` (it never stood). */
export type CloseReason = "client" | "server" | "network" | "failed";
export interface SessionEvents {
	/** One unit's end for one model. */
	outcome: CustomEvent<Outcome>;
	/** An RTCP sender report as the edge received it. */
	senderreport: CustomEvent<SenderReport>;
	/** What the models can use of a stream. Already followed, unless `followDemand` is false. */
	demand: CustomEvent<Demand>;
	/** The edge is shutting down: connect anew. */
	drain: CustomEvent<Drain>;
	/** Outcomes that this client lost because it was slow. */
	skipped: CustomEvent<number>;
	/** The session's counts, when it ends. */
	summary: CustomEvent<Summary>;
	state: CustomEvent<SessionState>;
	close: CustomEvent<{
		reason: CloseReason;
	}>;
}
/** Starts a session. Resolves once its connection stands; rejects with a {@link SluiceError} or the signal's reason. */
export declare function connect(options: ConnectOptions): Promise<Session>;
export interface Session {
	addEventListener<K extends keyof SessionEvents>(type: K, listener: (event: SessionEvents[K]) => void, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
	removeEventListener<K extends keyof SessionEvents>(type: K, listener: (event: SessionEvents[K]) => void, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
/** One connection to an edge. {@link connect} makes it. */
export declare class Session extends EventTarget implements AsyncIterable<Outcome> {
	#private;
	/** The session's public id: it opens its results, not its control. */
	get id(): string;
	/** Where its outcomes can be followed as Server-Sent Events. */
	get resultsUrl(): string;
	get state(): SessionState;
	/** The connection itself, for statistics, replaceTrack, or more data channels: each is a stream of frames. */
	readonly peer: RTCPeerConnection;
	private constructor();
	/**
	 * The moment that the outcome's frame was captured, in ms on the clock of performance.now(); undefined until the first sender
	 * report of its SSRC is in (about half a second), and for messages of data channels.
	 */
	captureTime({ ssrc, rtpTimestamp }: Pick<Outcome, "ssrc" | "rtpTimestamp">): number | undefined;
	/** Outcomes in the order of their arrival, until the session ends. For one reader; one that falls 256 behind loses the oldest. */
	[Symbol.asyncIterator](): AsyncGenerator<Outcome, void, undefined>;
	/** Ends the session here and at the edge. It may be called at any time and more than once; it never fails. */
	close(): Promise<void>;
}
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
export type SluiceErrorCode = "NO_WEBRTC" | "EDGE_UNREACHABLE" | "BAD_ANSWER" | "ICE_FAILED" | "SESSION_CLOSED" | "UNAUTHORIZED" | "ORIGIN_NOT_ALLOWED" | "UNKNOWN_MODEL" | "UNSUPPORTED_CODEC" | "NO_ROUTER" | "TOO_MANY_SESSIONS" | "DRAINING" | (string & {});
/** An error with a stable code: see {@link SluiceErrorCode}. */
export declare class SluiceError extends Error {
	readonly name = "SluiceError";
	/** For programs; stable. */
	readonly code: SluiceErrorCode;
	/** The HTTP status, where there was one. */
	readonly status?: number;
	/** Seconds after which to try again, where the edge said so. */
	readonly retryAfter?: number;
	/** Addresses that were tried, as "udp 192.0.2.1:8189". */
	readonly addresses?: string[];
	constructor(code: SluiceErrorCode, message: string, more?: SluiceErrorDetails);
}
/** What is known about a {@link SluiceError} besides its code. */
export interface SluiceErrorDetails {
	status?: number;
	retryAfter?: number;
	addresses?: string[];
	cause?: unknown;
}
/** A copy of one frame of the source. */
export interface Frame {
	/** The pixels, at most `maxWidth` wide. Lent: it is drawn over once the frame has left the buffer. */
	picture: HTMLCanvasElement;
	/** Size of the source frame. */
	width: number;
	height: number;
	/** What `time` is: the capture itself, the tick that first showed it, the moment the page drew it, or nothing to rely on. */
	kind: "captured" | "displayed" | "pushed" | "unknown";
	/** ms on the clock of performance.now(). */
	time: number;
}
/**
 * - `found`: this frame and no other.
 * - `early`: the frame has not reached the buffer yet; ask again after the next one.
 * - `missing`: it is no longer there, never was, or could be mistaken for a neighbour.
 * - `unsynced`: its capture time is not known, or that of the buffer's frames is not.
 */
export type Lookup = {
	status: "found";
	frame: Frame;
} | {
	status: "early" | "missing" | "unsynced";
	frame?: undefined;
};
/** Finds the frame captured at `time` among frames in capture order. It says "missing" whenever a neighbour could be meant. @param drift ms to add to `time` */
export declare function findFrame(frames: readonly Frame[], time: number | undefined, drift?: number): Lookup;
/** How many copies a {@link FrameBuffer} keeps, and how large. */
export interface FrameBufferOptions {
	/** Seconds that a frame is kept. Default: 1. */
	seconds?: number;
	/** Pixels across a copy. Default: 960. */
	maxWidth?: number;
	/** Frames kept at most. Default: 48. */
	limit?: number;
}
/** Keeps copies of the last frames of a video or canvas, so that an answer can be drawn on the very frame it is about. */
export declare class FrameBuffer {
	#private;
	constructor({ seconds, maxWidth, limit }?: FrameBufferOptions);
	/** The newest frame, if there is one. */
	get latest(): Frame | undefined;
	/** Follows a <video> that plays the local stream that is sent; it must be visible. @returns a function that stops it */
	watch(video: HTMLVideoElement): () => void;
	/** Takes the frame just drawn to a canvas whose captureStream() is sent. At least 50 ms must lie between two of them, or neither can be told from the other. */
	push(canvas: HTMLCanvasElement): void;
	/** Finds the frame captured at a time of Session.captureTime; a neighbour is never given in its place. */
	find(time: number | undefined): Lookup;
	/** Forgets all frames, for another source. */
	clear(): void;
}
/** Maps RTP timestamps to the clock of performance.now() by sender reports: the median over the last five of each SSRC. Pure: time comes in with the reports. */
export declare class MediaClock {
	#private;
	readonly timeOrigin: number;
	readonly rate: number;
	/** @param timeOrigin performance.timeOrigin @param rate RTP ticks a second */
	constructor(timeOrigin: number, rate?: number);
	/** Says that a source counts in another rate than the clock's: sound does. @param rate RTP ticks a second */
	setRate(ssrc: number, rate: number): void;
	report(report: SenderReport): void;
	/** Capture time in ms since timeOrigin, or undefined before the first report of the SSRC. */
	time(ssrc: number, rtpTimestamp: number): number | undefined;
}
/** The rates in which an offer's sources of sound count their RTP timestamps, by SSRC: that of the first codec which the answer takes. */
export declare function soundRates(offer: string, answer: string): Map<number, number>;
/**
 * Sends no more of a connection's videos than the models look at: sets their senders to what the edge demands, and back to the page's own
 * settings when a demand is over. One for each connection.
 */
export declare class DemandFollower {
	#private;
	constructor(peer: RTCPeerConnection);
	/** Learns from an outcome which of the connection's sources its stream is: a name alone may not tell one video from another. */
	learn({ stream, ssrc }: Pick<Outcome, "stream" | "ssrc">): void;
	/** Meets a demand, at once or as soon as it is known which video it is about. Resolves when all that can be done now is done; never rejects. */
	obey(demand: Demand): Promise<void>;
	/** Meets the demands anew: a video has another track, whose size and rate may differ. */
	refresh(): void;
}
/**
 * The names that the edge may have given the videos of an offer, or the one with a media id: that of its track, or a plain one where that is
 * but a random id.
 */
export declare function videoStreams(offer: string, mid?: string | null): string[];
/** What of an encoding a demand decides. */
export interface WantedEncoding {
	active: boolean;
	maxFramerate?: number;
	/** Bits a second. */
	maxBitrate?: number;
	scaleResolutionDownBy: number;
}
/** The picture that a video's encodings are made of, as MediaStreamTrack.getSettings() tells it. */
export interface Picture {
	/** Pixels; 0 where it is not known. */
	width?: number;
	height?: number;
	/** Frames a second. */
	frameRate?: number;
}
/** The encoding parameters that meet a demand for a video of the given size. */
export declare function encodingFor(demand: Demand, width?: number, height?: number): WantedEncoding;
/**
 * The encoding parameters that meet a demand, for each of a sender's encodings as the page set them. Of a simulcast's layers those that are
 * larger than what is looked at are left out; the smaller ones stay, for the edge to fall back to. Fewer frames get fewer bits: an encoder
 * spends all that it may, whatever the rate.
 */
export declare function encodingsFor(demand: Demand, own: readonly RTCRtpEncodingParameters[], picture: Picture): WantedEncoding[];
/**
 * Sets an encoding to what a demand asks for, but never above the page's own settings; without a demand they are what counts again.
 * @param encoding what to set @param own as the page set it @param wanted as encodingFor gives it
 */
export declare function follow(encoding: RTCRtpEncodingParameters, own: RTCRtpEncodingParameters, wanted: RTCRtpEncodingParameters): void;
/** One link of a Link header; its other parameters are beside these. */
export interface Link {
	target: string;
	rel: string;
	username?: string;
	credential?: string;
}
/** Reads a Link header (RFC 8288). */
export declare function parseLinks(header: string | null): Link[];
/** The addresses that an SDP answer offers, as "udp 192.0.2.1:8189", for people. */
export declare function candidateAddresses(sdp: string): string[];

export {};
