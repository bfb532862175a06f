// What to tell people when something goes wrong: what happened, and what they can do about it. Pure.

/**
 * @typedef {object} Explanation
 * @property {string} code
 * @property {string} title
 * @property {string} text
 * @property {string[]} hints things to try, most likely first
 * @property {"retry" | "token" | "none"} action
 */

/** @typedef {{ retryAfter?: number, addresses?: string[], detail?: string, origin?: string, model?: string, status?: number }} Context */
/** @typedef {(context: Context) => Omit<Explanation, "code">} Entry */

/** @param {string} title @param {string} text @param {string[]} [hints] @param {Explanation["action"]} [action] @returns {Entry} */
const fixed = (title, text, hints = [], action = "retry") => () => ({ title, text, hints, action });

/** @type {Record<string, Entry>} */
const DEVICE = {
  INSECURE: ({ origin = "" }) => ({
    title: "Browsers give the camera to secure pages only",
    text: `This page came over plain HTTP from ${origin || "another machine"}, so the browser keeps camera and screen from it. A file still works.`,
    hints: [
      "On the edge's own machine, open it as http://localhost:8080.",
      "From elsewhere, give the edge a certificate (http.tls in edge.yaml) and open it with https://.",
      `For a quick try, forward the ports over SSH: ssh -L 8080:localhost:8080 ${origin.replace(/^\w+:\/\/|:\d+$/g, "") || "edge"} — media then needs ICE over TCP, port 8189, forwarded too.`,
    ],
    action: "none",
  }),
  NO_WEBRTC: fixed("This browser has no WebRTC", "Live pictures travel by WebRTC, which this browser lacks or has turned off.",
    ["Use a current Firefox, Chrome, Edge or Safari.", "Some privacy extensions and settings turn WebRTC off; allow it for this page."], "none"),
  NO_CAMERA: fixed("No camera found", "The browser sees no camera on this device.",
    ["Plug one in, or switch it on: some laptops have a slider or a key for it.", "Check that the system's privacy settings let the browser see it.", "A screen or a file works without a camera."]),
  CAMERA_DENIED: fixed("The camera is not allowed", "The browser, or somebody just now, refused this page the camera.",
    ["Click the camera or lock sign in the address bar, allow the camera, and try again.", "On a phone or a Mac, the browser itself also needs the permission in the system's settings."]),
  CAMERA_BUSY: fixed("The camera cannot be opened", "It is there, but it does not start. Most often another program has it.",
    ["Close the video call or the program that uses it.", "Unplug it and plug it in again."]),
  CAMERA_UNFIT: fixed("That camera is gone", "The camera chosen is no longer there, or cannot do what is asked.", ["Choose another camera."]),
  NO_MICROPHONE: fixed("The microphone cannot be used", "There is none, or this page was not allowed to hear it; the picture goes on without sound.",
    ["Click the lock sign in the address bar, allow the microphone, and tick it again."]),
  SCREEN_DENIED: fixed("No screen was shared", "The choice was cancelled, or the system does not let the browser see the screen.",
    ["Try again and choose a tab, a window or the screen.", "On a Mac, allow it in System Settings, Privacy & Security, Screen Recording."]),
  NO_SCREEN: fixed("This browser cannot share a screen", "Phones and some browsers do not let pages see the screen.", ["Use the camera or a file, or a desktop browser."], "none"),
  FILE_UNREADABLE: fixed("This file cannot be shown", "The browser cannot decode it as a video or a picture.",
    ["MP4 with H.264, WebM, JPEG, PNG and WebP work everywhere.", "Others can be converted: ffmpeg -i FILE clip.mp4"], "none"),
};

/** @type {Record<string, Entry>} */
const CONNECTION = {
  EDGE_UNREACHABLE: fixed("The edge does not answer", "There was no reply to the request over HTTP.",
    ["Is it running? Its log tells, and so does curl http://…:8081/readyz on its machine.", "Is this device still on the network?"]),
  ICE_FAILED: ({ addresses = [] }) => ({
    title: "No way through for the pictures",
    text: addresses.length
      ? `The edge answers over HTTP, but none of the addresses it named for media can be reached from here: ${addresses.slice(0, 6).join(", ")}${addresses.length > 6 ? ", …" : ""}.`
      : "The edge answers over HTTP, but it named no address for media.",
    hints: [
      "Open port 8189, UDP and TCP, to the edge: firewalls, cloud security groups and containers must let it through.",
      "Is the edge behind NAT or in a container? Then name its outside address in ice.addresses in edge.yaml.",
      "A VPN or a company network may block UDP altogether: configure a TURN server in ice.servers, or try another network.",
      "For a browser on the edge's own machine, ice.loopback: true helps.",
    ],
    action: "retry",
  }),
  SESSION_CLOSED: fixed("The edge ended the session", "It did so before the connection stood."),
  BAD_ANSWER: fixed("That was not an answer of an edge", "What replied does not speak WHIP, or its answer cannot be used.", ["Is there a proxy in between that changes it?"]),
  UNAUTHORIZED: fixed("This edge wants a token", "Enter one of those in http.tokens of its configuration. It is kept until this page is closed or loaded anew.", [], "token"),
  ORIGIN_NOT_ALLOWED: ({ origin = "this page's origin" }) => ({
    title: "This page may not use that edge", text: `The edge does not take requests from pages of ${origin}.`,
    hints: ["Open the page from the edge itself, or add the origin to http.origins in edge.yaml. An edge without tokens that is opened by a name must be told it: http.public_url."], action: "none",
  }),
  UNKNOWN_MODEL: ({ detail }) => ({
    title: "The edge does not know that model", text: sentence(detail) || "No router offers a model of that name any more.",
    hints: ["Choose from the models listed below; the list has just been read anew."], action: "retry",
  }),
  UNSUPPORTED_CODEC: fixed("No common codec", "The edge takes VP8, H.264, VP9 and AV1; this browser offers none of them.", ["Use another browser."], "none"),
  NO_ROUTER: fixed("The edge has no router yet", "It runs, but it has not reached a router, so it knows no models.",
    ["Is the router running? Its address is router.target in edge.yaml.", "This page keeps asking; it is enough to wait."]),
  TOO_MANY_SESSIONS: ({ retryAfter }) => ({
    title: "The edge is full", text: `It has as many sessions as it may have (limits.sessions).${wait(retryAfter)}`, hints: [], action: "retry",
  }),
  DRAINING: ({ retryAfter }) => ({
    title: "The edge is shutting down", text: `It takes no new sessions.${wait(retryAfter)}`, hints: [], action: "retry",
  }),
  VERSION_MISMATCH: fixed("This page and the edge are too far apart", "The edge has become another version since the page was loaded.", ["Load the page anew."]),
  SESSION_NOT_FOUND: fixed("No such session", "The edge has no session of that id, or it ended more than a minute ago.",
    ["Ids change: a client that connects again gets another one.", "With several edges, each knows only its own sessions."]),
  LOST: fixed("The connection was lost", "It broke off and could not be had back.", ["Is this device still on the network?", "Is the edge still running?"]),
  ENDED: fixed("The session has ended", "The edge ended it."),
};

/** @type {Record<string, Entry>} what may be wrong while a session stands */
const ADVICE = {
  INTERRUPTED: fixed("Connecting again", "Nothing gets through at the moment. The page tries to revive its connection, and else makes another one."),
  RECONNECTING: ({ detail = "" }) => ({ title: "Connecting again", text: detail, hints: [], action: "none" }),
  NO_MODELS: fixed("No models", "The router offers no models, so there will be no answers.", ["Add one to models in router.yaml."]),
  MODEL_NOT_READY: ({ model }) => ({
    title: `${model ? `“${model}” is` : "The model is"} not ready`, text: "No backend of it is up. Answers start by themselves once one is.", hints: [], action: "none",
  }),
  ROUTER_GONE: fixed("The edge has lost its router", "Frames are given up until it is back; the session stays."),
  TOO_SLOW: fixed("The model cannot keep up", "Most frames are given up because their answers would come too late."),
  DAMAGED: fixed("Packets get lost on the way", "Many frames arrive damaged and cannot be decoded. A better network helps."),
  RATE_LIMITED: fixed("More is sent than allowed", "The session goes beyond limits.bitrate of the edge; what is above it is dropped."),
  FAILING: ({ detail = "" }) => ({ title: "The model fails", text: `Most frames end in ${detail}.`, hints: [], action: "none" }),
  SILENT: fixed("Nothing comes back", "Frames are sent, but no answers come any more. If the connection is gone, the page will notice and connect again."),
  NO_ANSWERS: fixed("No answers yet", "Frames are sent, but nothing comes back. Does the model take pictures?"),
  NOTHING_SENT: fixed("No frames are sent", "The browser encodes nothing at the moment. A page in the background often pauses."),
};

/** @param {number | undefined} seconds */
function wait(seconds) {
  return seconds ? ` Try again in ${seconds} ${seconds === 1 ? "second" : "seconds"}.` : " Try again in a moment.";
}

/** All codes that have words of their own. */
export const CODES = Object.keys({ ...DEVICE, ...CONNECTION, ...ADVICE });

/** Words for a code; those of the edge itself (`context.detail`) for one that is not known here. @param {string} code @param {Context} [context] @returns {Explanation} */
export function explain(code, context = {}) {
  const entry = DEVICE[code] ?? CONNECTION[code] ?? ADVICE[code];
  if (entry) return { code, ...entry(context) };
  const busy = context.status === 503 || context.status === 429;
  return {
    code,
    title: busy ? "The edge is busy" : "That did not work",
    text: `${sentence(context.detail) || "The edge gave no reason."} (${code})${busy ? wait(context.retryAfter) : ""}`,
    hints: [], action: context.status === 401 ? "token" : "retry",
  };
}

/** Words for anything thrown: by the browser's devices, by the SDK, or by a mistake. @param {unknown} error @param {string} [source] @param {string} [origin] */
export function explainError(error, source, origin) {
  const { name = "", code, message = "", ...more } = /** @type {any} */ (error ?? {});
  if (typeof code === "string") return explain(code, { ...more, retryAfter: /** @type {any} */ (error).retryAfter, detail: message, origin });
  return explain(deviceCode(name, source) ?? "UNEXPECTED", { detail: message || String(error), origin });
}

/** @param {string} name of a DOMException of getUserMedia or getDisplayMedia @param {string} [source] */
function deviceCode(name, source) {
  const screen = source === "screen";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
    case "AbortError":
      return screen ? "SCREEN_DENIED" : "CAMERA_DENIED";
    case "NotFoundError":
      return screen ? "NO_SCREEN" : "NO_CAMERA";
    case "NotReadableError":
      return screen ? "SCREEN_DENIED" : "CAMERA_BUSY";
    case "OverconstrainedError":
      return "CAMERA_UNFIT";
    case "NotSupportedError":
      return screen ? "NO_SCREEN" : "NO_CAMERA";
    default:
      return undefined;
  }
}

/**
 * What to say about a session that stands: the code and context for explain(), or undefined when all is well.
 * @param {{ state: string, seconds: number, answered: boolean, sentRate?: number, lately: Record<string, number>, models: { name: string, ready: boolean }[] }} now
 *   seconds: since it stands; answered: whether it ever had an outcome; lately: outcomes of the last three seconds by how they ended;
 *   models: those chosen
 * @returns {{ code: string, context?: Context } | undefined}
 */
export function advise({ state, seconds, answered, sentRate, lately, models }) {
  if (state === "interrupted") return { code: "INTERRUPTED" };
  if (seconds < 3) return undefined;
  const total = Object.values(lately).reduce((sum, n) => sum + n, 0);
  const most = (/** @type {string[]} */ ...names) => total > 0 && names.reduce((sum, n) => sum + (lately[n] ?? 0), 0) > total / 2;
  const unready = models.find((model) => !model.ready);
  if (most("NO_ROUTER", "ROUTER_LOST")) return { code: "ROUTER_GONE" };
  if (most("BACKEND_UNAVAILABLE") || (total === 0 && unready)) return { code: "MODEL_NOT_READY", context: { model: unready?.name } };
  if (most("DAMAGED")) return { code: "DAMAGED" };
  if (most("RATE_LIMITED", "TOO_LARGE")) return { code: "RATE_LIMITED" };
  if (most("EXPIRED", "OVERLOADED", "SUPERSEDED", "BACKEND_TIMEOUT")) return { code: "TOO_SLOW" };
  const failing = Object.keys(lately).find((name) => name !== "result" && most(name));
  if (failing) return { code: "FAILING", context: { detail: failing } };
  if (total === 0 && sentRate === 0) return { code: "NOTHING_SENT" };
  if (total === 0 && answered) return { code: "SILENT" };
  if (total === 0 && models.length === 0) return { code: "NO_MODELS" };
  if (total === 0) return { code: "NO_ANSWERS" };
  return undefined;
}

/** What each way to end means, for the panel. */
export const ENDS = /** @type {Record<string, string>} */ ({
  result: "The model's answer came in time.",
  SUPERSEDED: "A newer frame took its place before it cost model time.",
  EXPIRED: "Its answer could not have come in time; no model time was spent.",
  OVERLOADED: "The fair share was used up, or the edge was at its limit.",
  DAMAGED: "Packets it depends on were lost.",
  RATE_LIMITED: "More was sent than the session may.",
  TOO_LARGE: "It was larger than a frame may be.",
  NO_ROUTER: "The edge had no router to send it to.",
  DRAINING: "The edge or the router is shutting down.",
  BACKEND_UNAVAILABLE: "No backend of the model was ready.",
  BACKEND_TIMEOUT: "The model did not answer in time.",
  BACKEND_PROTOCOL: "The model's answer could not be read.",
  BACKEND_REJECTED: "The model answered with an error.",
  DECODER: "It arrived whole but could not be decoded.",
  ROUTER_LOST: "The router did not answer in time.",
  UNSUPPORTED: "A format or size that is never taken.",
  INTERNAL: "A defect of Sluice: please report it.",
});

/** @param {string | undefined} text */
function sentence(text) {
  if (!text) return "";
  const upper = text[0].toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}
