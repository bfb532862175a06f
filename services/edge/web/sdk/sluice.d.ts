// Sluice for browsers 0.1.0, Apache-2.0. Generated from src/*.ts by make generate.

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
} | {
	kind: "pong";
	value: {
		id?: number;
	};
};
/** Reads one server message; undefined for anything that is none, or of a kind that this version does not know. */
export declare function parseMessage(data: unknown): ServerMessage | undefined;
/** A frame as it left the sender. */
export interface SentFrame {
	ssrc: number;
	rtpTimestamp: number;
	/** ms on the page's clock, performance.now(). */
	at: number;
}
/** Notes the frames of a connection's videos as they leave, by an encoded transform in a worker. */
export declare class SenderWatch {
	#private;
	private constructor();
	/**
	 * Starts the worker; gives nothing where the browser or the page's policy does not let it run.
	 * @param note is told of each frame @param timeOrigin performance.timeOrigin
	 */
	static start(note: (frame: SentFrame) => void, timeOrigin?: number): Promise<SenderWatch | undefined>;
	/**
	 * Lets a sender's frames pass through the worker. It must follow the making of the sender at once, or Chromium ignores it. A sender with a transform of
	 * the page's own, an encryption for instance, is left alone.
	 */
	attach(sender: RTCRtpSender): void;
	/** Ends the worker. The connection must be closed before. */
	close(): void;
}
/**
 * Maps RTP timestamps to the clock of performance.now() by sender reports: the median over the last five of each SSRC. An RTP clock never jumps
 * while its stream lives, so when the reports do, the sender's wall clock was set: the earlier relation goes on. Where the sender's frames are
 * noted as they leave, a relation that would have them leave before their capture, or a second after it, is not believed.
 * Pure: time comes in with what is noted.
 */
export declare class MediaClock {
	#private;
	readonly timeOrigin: number;
	readonly rate: number;
	/** @param timeOrigin performance.timeOrigin @param rate RTP ticks a second */
	constructor(timeOrigin: number, rate?: number);
	/** Says that a source counts in another rate than the clock's: sound does. @param rate RTP ticks a second */
	setRate(ssrc: number, rate: number): void;
	/** RTP ticks a second of an SSRC. */
	rateOf(ssrc: number): number;
	report({ ssrc, rtpTimestamp, ntpMillis }: SenderReport): void;
	/** Notes a frame of the sender's as it leaves: see {@link SenderWatch}. */
	sent(frame: SentFrame): void;
	/** Capture time in ms since timeOrigin; undefined before the first report of the SSRC, and when the sender's frames contradict the reports. */
	time(ssrc: number, rtpTimestamp: number): number | undefined;
	/** Whether a sender report of the SSRC is in. */
	isReported(ssrc: number): boolean;
	/** Capture times of the frames that were sent around one, in order, as far as they are known. @param before how many of those before it are wanted */
	neighbours(ssrc: number, rtpTimestamp: number, before: number): {
		before: number[];
		next?: number;
	};
	/** The shortest time in ms that a frame took lately from its capture to its sending, where that is known. */
	lag(ssrc: number): number | undefined;
	/** The frames that left last, in that order. */
	sentFrames(ssrc: number): readonly SentFrame[];
}
/** The rates in which an offer's sources of sound count their RTP timestamps, by SSRC: that of the first codec which the answer takes. */
export declare function soundRates(offer: string, answer: string): Map<number, number>;
/** What to send a message as. */
export interface SendOptions {
	/** Names the stream: outcomes carry it. All messages of a stream are of one kind. Default: "images", "tensors" or "messages". */
	stream?: string;
	/** When what is in it was captured, in ms on the clock of performance.now(); {@link Session.captureTime} gives it back. Default: now. */
	captureTime?: number;
	/** Models of the session that it is for. Default: all that take such. */
	models?: readonly string[];
}
/** Where a message went: an outcome about it has the same stream and sequence. */
export interface Sent {
	stream: string;
	sequence: number;
}
/**
 * - `SUPERSEDED`: a newer message of the stream took its place while the network was busy, or the browser with encoding.
 * - `NOT_CONNECTED`: there was no connection to send it on. Nothing is kept for later: answers about old frames are worth nothing.
 */
export type UnsentReason = "SUPERSEDED" | "NOT_CONNECTED";
/** A message that was not sent. */
export interface Unsent {
	stream: string;
	captureTime: number;
	reason: UnsentReason;
}
/** An encoded picture (JPEG, PNG or WebP), or anything that a canvas can draw. */
export type ImageSource = Blob | BufferSource | CanvasImageSource;
/** The data types of tensors, in the words of the Open Inference Protocol. */
export type Datatype = "BOOL" | "UINT8" | "UINT16" | "UINT32" | "UINT64" | "INT8" | "INT16" | "INT32" | "INT64" | "FP16" | "FP32" | "FP64";
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
export type SessionErrorCode = "NO_WEBRTC" | "EDGE_UNREACHABLE" | "BAD_ANSWER" | "VERSION_MISMATCH" | "ICE_FAILED" | "SESSION_CLOSED" | "UNAUTHORIZED" | "ORIGIN_NOT_ALLOWED" | "UNKNOWN_MODEL" | "UNSUPPORTED_CODEC" | "NO_ROUTER" | "TOO_MANY_SESSIONS" | "DRAINING";
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
export type DeviceErrorCode = "INSECURE_CONTEXT" | "PERMISSION_DENIED" | "BLOCKED_BY_POLICY" | "BLOCKED_BY_SYSTEM" | "NO_DEVICE" | "DEVICE_BUSY" | "DEVICE_UNFIT" | "DEVICE_LOST" | "SHARING_ENDED" | "DEVICE_FAILED";
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
/** What to send; several can be given. */
export interface SourceOptions {
	/** A camera, which the session opens, opens again when it comes back, and closes. */
	camera?: boolean | MediaTrackConstraints;
	/** A microphone, opened like the camera, or its track. */
	microphone?: boolean | MediaTrackConstraints | MediaStreamTrack;
	/** All tracks of a stream. */
	stream?: MediaStream | MediaStreamTrack;
	track?: MediaStreamTrack;
	/** What the page draws. A browser stops drawing in a hidden tab. */
	canvas?: HTMLCanvasElement;
	/** How video is encoded, each entry a layer of a simulcast, as for addTransceiver. */
	encodings?: RTCRtpEncodingParameters[];
}
/** A source that has ended by itself. */
export interface SourceEnded {
	track: MediaStreamTrack;
	error: SluiceError;
}
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
	close: CustomEvent<{
		reason: CloseReason;
		error?: unknown;
	}>;
}
export interface ConnectOptions extends SourceOptions {
	/** Names of the models wanted. Default: every model that fits the kind of a stream. */
	models?: readonly string[];
	/** Bearer token, for an edge that wants one. */
	token?: string;
	/** STUN and TURN servers. Default: those that the edge names. */
	iceServers?: RTCIceServer[];
	/** Milliseconds that the connection may take once the edge has answered. Default: 20 000. */
	timeout?: number;
	/** Seconds that a session tries to come back when its connection is lost, before it closes. Default: 60; 0: it closes at once. */
	reconnect?: number;
	/** Gives up connecting, and later closes the session. */
	signal?: AbortSignal;
	/** Whether to lower the frame rate and size of the video to what the models look at. Default: true. */
	followDemand?: boolean;
	/**
	 * Whether the frames of video pass through a worker that notes when they leave, by which the clock is checked. Default: true, where the browser can do it
	 * and the page's policy allows the worker (Content-Security-Policy: worker-src blob:).
	 */
	senderTransform?: boolean;
}
/**
 * Starts a session. Resolves once its connection stands; rejects with a {@link SluiceError} or the signal's reason.
 * @param url base URL of the edge; left out, it is the edge that this module was loaded from
 */
export declare function connect(url: string | URL, options?: ConnectOptions): Promise<Session>;
export declare function connect(options?: ConnectOptions): Promise<Session>;
export interface Session {
	addEventListener<K extends keyof SessionEvents>(type: K, listener: (event: SessionEvents[K]) => void, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
	removeEventListener<K extends keyof SessionEvents>(type: K, listener: (event: SessionEvents[K]) => void, options?: boolean | EventListenerOptions): void;
	removeEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | EventListenerOptions): void;
}
/**
 * What a page has with an edge, over all the connections that it takes: it notices within a second when one is lost, restarts ICE or
 * makes another, and its events and its iterator go on. {@link connect} makes it.
 */
export declare class Session extends EventTarget implements AsyncIterable<Outcome> {
	#private;
	/** Tells when frames were captured, by the sender reports that the edge relays: {@link FrameBuffer.locate} takes it. */
	readonly clock: MediaClock;
	private constructor();
	/** The session's public id: it opens its results, not its control. Another connection may bring another id. */
	get id(): string;
	/** Where its outcomes can be followed as Server-Sent Events. */
	get resultsUrl(): string;
	get state(): SessionState;
	/** What is sent, for a <video> that shows it. */
	get stream(): MediaStream;
	/** The connection itself, for statistics. After a `reconnect` event it may be another one. */
	get peer(): RTCPeerConnection;
	/**
	 * The moment that the outcome's frame was captured, in ms on the clock of performance.now(). For a track it is undefined until the
	 * first sender report of its SSRC is in (about half a second); for a message it is what it was sent with.
	 */
	captureTime(outcome: Pick<Outcome, "ssrc" | "rtpTimestamp"> & Partial<Outcome>): number | undefined;
	/** Outcomes in the order of their arrival, until the session ends. For one reader; one that falls 256 behind loses the oldest. */
	[Symbol.asyncIterator](): AsyncGenerator<Outcome, void, undefined>;
	/**
	 * Sends one picture, as a message on a data channel. Anything that a canvas can draw is encoded as JPEG; what it shows when this is called is
	 * what is sent.
	 * @returns where it went; undefined where a newer one of the stream took its place or there is no connection (see `unsent`)
	 */
	sendImage(image: ImageSource, options?: SendOptions): Promise<Sent | undefined>;
	/** Sends one tensor of raw values, little-endian, in row order; as {@link Session.sendImage}. All tensors of a stream have one shape. */
	sendTensor(values: BufferSource, { shape, datatype, ...options }: SendOptions & {
		shape: readonly number[];
		datatype?: Datatype;
	}): Promise<Sent | undefined>;
	/** Sends any message that the edge takes, such as `application/json` or `audio/x-raw;format=S16LE;rate=16000`; as {@link Session.sendImage}. */
	send(message: Blob | BufferSource | string, { type, ...options }: SendOptions & {
		type: string;
	}): Promise<Sent | undefined>;
	/** Sends another track of the same kind in place of one, now and on later connections. @param old default: the first of its kind */
	replaceTrack(track: MediaStreamTrack, old?: MediaStreamTrack): Promise<void>;
	/** Ends the session here and at the edge. It may be called at any time and more than once; it never fails. */
	close(): Promise<void>;
}
/** What a page can ask for. */
export type Device = "camera" | "microphone" | "screen";
/** Opens a camera. It throws a {@link SluiceError} that says what is in the way: see {@link DeviceErrorCode}. @param wish what a constraint `video` can say */
export declare function openCamera(wish?: MediaTrackConstraints): Promise<MediaStreamTrack>;
/** Opens a microphone; as {@link openCamera}. */
export declare function openMicrophone(wish?: MediaTrackConstraints): Promise<MediaStreamTrack>;
/** Has the visitor choose a screen, window or tab; as {@link openCamera}. It can only be asked for in answer to a click. */
export declare function openScreen(wish?: MediaTrackConstraints): Promise<MediaStreamTrack>;
/** Why a device cannot be had, in words for people. @param cause what getUserMedia or getDisplayMedia threw */
export declare function deviceError(cause: unknown, device: Device): SluiceError;
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
/** What is known about a frame that is looked for; ms on the clock of performance.now(). */
export interface Wanted {
	/** When it was captured. */
	time: number | undefined;
	/** When the next frame that was sent was captured, and those just before it in order, where that is known. */
	next?: number;
	before?: readonly number[];
	/** To be added to the times. */
	drift?: number;
}
/** Finds a frame among frames in capture order. It says "missing" whenever a neighbour could be meant. */
export declare function findFrame(frames: readonly Frame[], wish: Wanted): Lookup;
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
	/**
	 * Follows a <video> that plays the local stream that is sent; it must be visible. When it is given another track, the frames of the one
	 * before are forgotten.
	 * @returns a function that stops it
	 */
	watch(video: HTMLVideoElement): () => void;
	/** Takes the frame just drawn to a canvas whose captureStream() is sent. At least 50 ms must lie between two of them, or neither can be told from the other. */
	push(canvas: HTMLCanvasElement): void;
	/** Finds the frame captured at a time of Session.captureTime; a neighbour is never given in its place. @see {@link FrameBuffer.locate}, which knows more */
	find(time: number | undefined): Lookup;
	/** Finds the frame that an outcome is about, by the clock of its session. */
	locate(outcome: Pick<Outcome, "ssrc" | "rtpTimestamp">, clock: MediaClock): Lookup;
	/**
	 * When the outcome's frame was captured: what the clock says if the frames that were sent and those captured agree with it, and before the clock's
	 * first report what they say by themselves. Undefined while that is not sure.
	 */
	timeOf({ ssrc, rtpTimestamp }: Pick<Outcome, "ssrc" | "rtpTimestamp">, clock: MediaClock): number | undefined;
	/** Forgets all frames, for another source: what was captured before is not found any more. */
	clear(): void;
}
/** What is to be drawn over a picture. */
export interface Drawing {
	/** Results about one frame, one for each model. */
	outcomes: readonly Outcome[];
	/** Whether the picture is the very frame that they are about. */
	exact: boolean;
	/** How old that frame is, in ms, where it is known. */
	age: number | undefined;
	/** Whether the picture is shown as in a mirror: what is drawn must be moved, but not its text. */
	mirror: boolean;
	/** Pixels of the canvas for each pixel of the page, by which lines and text are to be scaled. */
	scale: number;
}
/**
 * Draws the detections of results over the whole of a canvas: boxes, landmarks, and labels with scores. What is not about the very frame is drawn with
 * broken lines, pale, and with its age.
 */
export declare function drawDetections(context: CanvasRenderingContext2D, drawing: Drawing): void;
export interface OverlayOptions {
	/**
	 * `exact`: the canvas shows the picture itself, a little late, each frame with the results that are about it; where none can be found for a while, the
	 * live picture. `live`: the canvas lies over the playing <video> and shows the newest results, marked as stale unless the video still shows their frame.
	 * Default: `exact`.
	 */
	mode?: "exact" | "live";
	/** Name of the stream whose results are drawn, for a session that sends several videos. Default: every picture's. */
	stream?: string;
	/** Shows the picture as in a mirror. Default: false. */
	mirror?: boolean;
	/** ms after which results are no longer drawn over the live picture. Default: 1000. */
	maxAge?: number;
	/** Draws results in place of {@link drawDetections}. */
	draw?: (context: CanvasRenderingContext2D, drawing: Drawing) => void;
}
/**
 * - `waiting`: no results yet, or the first are waiting for the clocks to be matched.
 * - `synced`: results find their frames.
 * - `unsynced`: they come, but their frames cannot be told for sure: nothing is drawn on a frame that they may not be about.
 */
export type SyncState = "waiting" | "synced" | "unsynced";
/** What the canvas shows from now on. */
export interface Drawn extends Drawing {
	/** The frame that was drawn; none in live mode, where the video shows it. */
	frame: Frame | undefined;
}
export interface OverlayEvents {
	/** The canvas has been drawn. */
	draw: CustomEvent<Drawn>;
	sync: CustomEvent<SyncState>;
}
export interface Overlay {
	addEventListener<K extends keyof OverlayEvents>(type: K, listener: (event: OverlayEvents[K]) => void, options?: boolean | AddEventListenerOptions): void;
	addEventListener(type: string, listener: EventListenerOrEventListenerObject | null, options?: boolean | AddEventListenerOptions): void;
}
/**
 * Draws results on a canvas, each on the very frame that it is about. The canvas takes the size of the frames in pixels; its size on the page is up to
 * the page's style, and to `object-fit` as for a <video>. A track that is replaced is noticed.
 */
export declare class Overlay extends EventTarget {
	#private;
	/** The frames that the overlay draws on. */
	readonly frames: FrameBuffer;
	readonly canvas: HTMLCanvasElement;
	/** @param source a <video> that plays what is sent, or a buffer that the page fills itself */
	constructor(canvas: HTMLCanvasElement, source: HTMLVideoElement | FrameBuffer, options?: OverlayOptions);
	get sync(): SyncState;
	/** Draws the results of a session from now on, in the place of another's. */
	attach(session: Session): void;
	/** Lets go of the session. The picture goes on without results. */
	detach(): void;
	/** Ends the overlay: nothing is drawn any more. */
	stop(): void;
}
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
/** The addresses that an SDP answer offers, as "udp 192.0.2.1:8189", for people. */
export declare function candidateAddresses(sdp: string): string[];
/** One link of a Link header; its other parameters are beside these. */
export interface Link {
	target: string;
	rel: string;
	username?: string;
	credential?: string;
}
/** Reads a Link header (RFC 8288). */
export declare function parseLinks(header: string | null): Link[];

export {};
