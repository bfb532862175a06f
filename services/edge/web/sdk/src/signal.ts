import { SluiceError } from "./errors.js";

const PROTOCOL = 1; // what the edge and this module have agreed on: messages, channels, their meaning
const RESULTS_RELATION = "urn:ietf:params:whip:ext:sluice:results";

/** One link of a Link header; its other parameters are beside these. */
export interface Link {
  target: string;
  rel: string;
  username?: string;
  credential?: string;
}

/** What an edge makes of an offer (RFC 9725 section 4.2). */
export interface Published {
  answer: string;
  /** Absolute URL that controls the session: it is a secret. */
  resource: string;
  /** Absolute URL of its results, and the session's public id in it; empty where the edge names none. */
  resultsUrl: string;
  id: string;
  iceServers: RTCIceServer[];
}

/** Publishes an offer by WHIP (RFC 9725). It throws a {@link SluiceError} for what the edge refuses, or the signal's reason. */
export async function publish(endpoint: URL, offer: string, token: string | undefined, signal: AbortSignal): Promise<Published> {
  const headers = { "Content-Type": "application/sdp", ...authorization(token) };
  const response = await request(endpoint, { method: "POST", body: offer, signal, headers });
  const location = response.headers.get("Location");
  const mismatch = versionMismatch(response);
  if (mismatch && location) void erase(new URL(location, response.url).href, token);
  if (mismatch) throw mismatch;
  if (response.status !== 201 || !location) throw new SluiceError("BAD_ANSWER", `${endpoint.host} does not speak WHIP.`);
  const links = parseLinks(response.headers.get("Link"));
  const results = links.find((link) => link.rel === RESULTS_RELATION);
  const resultsUrl = results ? new URL(results.target, response.url).href : "";
  return {
    answer: await response.text(),
    resource: new URL(location, response.url).href,
    resultsUrl,
    id: decodeURIComponent(/\/sessions\/([^/]+)\/results$/.exec(resultsUrl)?.[1] ?? ""),
    iceServers: links
      .filter((link) => link.rel === "ice-server")
      .map(({ target, username, credential }) => ({ urls: target, username, credential })),
  };
}

/** Asks for another ICE session in place of the one there is, whichever it is (RFC 9725 section 4.4.3), and gives the edge's fragment. */
export async function restart(resource: string, fragment: string, token: string | undefined, signal: AbortSignal): Promise<string> {
  const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*", ...authorization(token) };
  const response = await request(new URL(resource), { method: "PATCH", body: fragment, signal, headers });
  if (response.status !== 200) throw new SluiceError("BAD_ANSWER", `The edge answered ${response.status} where it should have restarted ICE.`);
  return response.text();
}

/** Ends a session, also from a page that is being left. It never fails: an edge that is gone has nothing left to end. */
export async function erase(resource: string, token: string | undefined): Promise<void> {
  await fetch(resource, { method: "DELETE", keepalive: true, headers: authorization(token) }).catch(() => undefined);
}

async function request(url: URL, init: RequestInit): Promise<Response> {
  let response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted && init.signal.reason?.name !== "TimeoutError") throw init.signal.reason;
    throw new SluiceError("EDGE_UNREACHABLE", `${url.origin} does not answer.`, { cause: error });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw versionMismatch(response) ?? new SluiceError(problem.code ?? `HTTP_${response.status}`, problem.detail ?? `The edge answered ${response.status}.`, {
    status: response.status,
    retryAfter: Number(response.headers.get("Retry-After")) || undefined,
  });
}

/** What is wrong where the edge does not speak what this module does. One that does not say is given the chance. */
function versionMismatch(response: Response): SluiceError | undefined {
  const said = response.headers.get("Sluice-Protocol");
  const version = Number(said ?? PROTOCOL);
  if (version === PROTOCOL) return undefined;
  const older = version > PROTOCOL ? "SDK" : "edge";
  return new SluiceError("VERSION_MISMATCH", `The edge speaks version ${said} of the protocol and this SDK version ${PROTOCOL}: load sluice.js from the edge, or update the ${older}.`);
}

function authorization(token: string | undefined): Record<string, string> {
  return token ? { Authorization: `Bearer ${token}` } : {};
}

/** Reads a Link header (RFC 8288). */
export function parseLinks(header: string | null): Link[] {
  const links = [];
  for (const [, target, rest] of (header ?? "").matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^",;\s]+))*)/g)) {
    const parameters = rest.matchAll(/([\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",;\s]+))/g);
    const pairs = [...parameters].map(([, name, quoted, plain]) => [name.toLowerCase(), plain ?? quoted.replace(/\\(.)/g, "$1")]);
    links.push({ target, rel: "", ...Object.fromEntries(pairs) });
  }
  return links;
}
