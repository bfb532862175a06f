// Follows a session's results over Server-Sent Events. EventSource cannot send a token, so the stream is read by fetch.

/** @typedef {{ id?: string, type: string, data: string }} ServerEvent */

const RETRIES = [500, 1000, 2000, 4000, 8000]; // ms before each attempt to go on; the last one is repeated
const SILENCE = 40_000; // ms after which a stream is taken for dead: the edge sends a comment every 15 s

/** Reads the event-stream format (HTML Standard section 9.2). Text comes in pieces of any size. */
export class EventParser {
  #rest = "";
  /** @type {string[]} */ #data = [];
  #type = "";
  /** @type {string | undefined} */ #id;

  /** @param {string} text @returns {ServerEvent[]} the events that are whole now */
  push(text) {
    const lines = (this.#rest + text).split(/\r\n|\n|\r(?=[^\n])/);
    this.#rest = lines.pop() ?? "";
    return lines.flatMap((line) => this.#line(line) ?? []);
  }

  /** @param {string} line @returns {ServerEvent | undefined} */
  #line(line) {
    if (line === "") {
      const event = { id: this.#id, type: this.#type || "message", data: this.#data.join("\n") };
      const isEmpty = this.#data.length === 0;
      [this.#data, this.#type] = [[], ""];
      return isEmpty ? undefined : event;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return undefined; // a comment
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id") this.#id = value;
    return undefined;
  }
}

/** A refusal of the edge: its code, and the status and the words that came with it. */
export class Refusal extends Error {
  /** @param {string} code @param {number} status @param {string} [detail] */
  constructor(code, status, detail) {
    super(detail ?? code);
    this.code = code;
    this.status = status;
  }
}

/**
 * Follows a session until it ends, over lost connections: it resumes after the last event that came. It throws a Refusal when trying again does
 * not help, and ends quietly when the signal says so.
 * @param {URL} url @param {{ token?: string, signal: AbortSignal, fetch?: typeof globalThis.fetch, state?: (state: "following" | "interrupted") => void, pause?: (ms: number) => Promise<unknown> }} options
 *   state: told when the stream stands, and when it broke off
 * @returns {AsyncGenerator<ServerEvent, void, undefined>}
 */
export async function* follow(url, { token, signal, fetch = globalThis.fetch, state = () => {}, pause = wait }) {
  /** @type {string | undefined} */ let last;
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    try {
      const response = await fetch(url, { signal, cache: "no-store", headers: headers(token, last) });
      if (response.status === 204) return; // it has ended, and all of it was read
      if (!response.ok) throw await refusal(response);
      state("following");
      for await (const event of events(response, signal)) {
        attempt = 0;
        last = event.id ?? last;
        yield event;
        if (event.type === "summary") return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refusal && error.status < 500) throw error;
    }
    if (signal.aborted) return;
    state("interrupted");
    await pause(RETRIES[Math.min(attempt, RETRIES.length - 1)]);
  }
}

/** @param {Response} response @param {AbortSignal} signal @returns {AsyncGenerator<ServerEvent, void, undefined>} */
async function* events(response, signal) {
  const text = /** @type {any} */ (new TextDecoderStream()); // TypeScript takes its input for too wide
  const reader = /** @type {ReadableStreamDefaultReader<string>} */ (/** @type {ReadableStream} */ (response.body).pipeThrough(text).getReader());
  const parser = new EventParser();
  try {
    while (!signal.aborted) {
      const { done, value } = await silenceBounded(reader.read());
      if (done) return;
      yield* parser.push(value);
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

/** @template T @param {Promise<T>} read @returns {Promise<T>} */
async function silenceBounded(read) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  const silence = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error("nothing came for too long")), SILENCE)));
  try {
    return await Promise.race([read, /** @type {Promise<never>} */ (silence)]);
  } finally {
    clearTimeout(timer);
  }
}

/** @param {string | undefined} token @param {string | undefined} last @returns {Record<string, string>} */
function headers(token, last) {
  return { Accept: "text/event-stream", ...(token ? { Authorization: `Bearer ${token}` } : {}), ...(last ? { "Last-Event-ID": last } : {}) };
}

/** @param {Response} response */
async function refusal(response) {
  const problem = await response.json().catch(() => ({}));
  return new Refusal(problem.code ?? `HTTP_${response.status}`, response.status, problem.detail);
}

/**
 * How to follow a session from a shell. The id may be anything, for it comes from the page's address: a link must not bring a command of its own.
 * @param {string} id @param {URL} url of its results @param {boolean} hasToken whether the edge wants one, which the shell then has as $TOKEN
 */
export function commands(id, url, hasToken) {
  return {
    curl: `curl -N ${hasToken ? '-H "Authorization: Bearer $TOKEN" ' : ""}${/^[\w:/.%-]*$/.test(url.href) ? url : quote(url.href)}`,
    grpcurl: `grpcurl -plaintext -d ${quote(JSON.stringify({ session: id }))} 127.0.0.1:50052 sluice.v1.InspectService/WatchOutcomes`,
  };
}

/** One word for a POSIX shell. @param {string} text */
function quote(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** @param {number} ms */
function wait(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
