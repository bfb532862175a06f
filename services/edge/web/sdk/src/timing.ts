/** Resolves after a while, or at once when the signal aborts. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    if (signal?.aborted) done();
    else signal?.addEventListener("abort", done);
  });
}

/** A signal that aborts when one of the given does, or after a while, with a TimeoutError. */
export function within(ms: number, ...signals: (AbortSignal | undefined)[]): AbortSignal {
  const timeout = new AbortController();
  setTimeout(() => timeout.abort(new DOMException("It took too long.", "TimeoutError")), ms);
  return AbortSignal.any([timeout.signal, ...signals.filter((signal) => signal !== undefined)]);
}
