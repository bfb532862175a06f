import { SluiceError } from "./errors.js";

/** One link of a Link header; its other parameters are beside these. */
export interface Link {
  target: string;
  rel: string;
  username?: string;
  credential?: string;
}

/** Sends a request to an edge. It throws a {@link SluiceError} for what the edge refuses, or the signal's reason. */
export async function request(url: URL, init: RequestInit): Promise<Response> {
  let response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (init.signal?.aborted) throw init.signal.reason;
    throw new SluiceError("EDGE_UNREACHABLE", `${url.origin} does not answer.`, { cause: error });
  }
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  throw new SluiceError(problem.code ?? `HTTP_${response.status}`, problem.detail ?? `The edge answered ${response.status}.`, {
    status: response.status,
    retryAfter: Number(response.headers.get("Retry-After")) || undefined,
  });
}

export function authorization(token: string | undefined): Record<string, string> {
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

/** The addresses that an SDP answer offers, as "udp 192.0.2.1:8189", for people. */
export function candidateAddresses(sdp: string): string[] {
  const found = sdp.matchAll(/^a=candidate:\S+ \d+ (\S+) \d+ (\S+) (\d+) typ/gm);
  const texts = [...found].map(([, transport, host, port]) => `${transport.toLowerCase()} ${host.includes(":") ? `[${host}]` : host}:${port}`);
  return [...new Set(texts)];
}

/** Waits until all candidates are known, but no longer than `limit` ms. */
export async function gathered(peer: RTCPeerConnection, limit: number): Promise<void> {
  const complete = new Promise<void>((resolve) => {
    const check = () => peer.iceGatheringState === "complete" && resolve();
    peer.addEventListener("icegatheringstatechange", check);
    check();
  });
  await Promise.race([complete, pause(limit)]);
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
