// Follows a session by the SDK and by Server-Sent Events at once, and stands still for a while, as a page that the browser throttles or that is busy with something else. It tells what came
// by either way, and when.

/** @param {{ edge: string, models: string[], rate: number, before: number, still: number, after: number }} options rate: frames a second; times in seconds; still: how long it stands still */
window.run = async ({ edge, models, rate, before, still, after }) => {
  const { connect } = await import(`${edge}/sdk/sluice.js`);
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 360, frameRate: rate } }); // a camera goes on when the page does not
  const session = await connect({ url: `${edge}/`, stream, models });
  /** @type {{ at: number, by: string, sequence?: number, skipped?: number }[]} */ const came = [];
  const note = (/** @type {string} */ by, /** @type {object} */ what) => came.push({ at: Date.now(), by, ...what });
  session.addEventListener("outcome", ({ detail }) => note("channel", { sequence: detail.sequence }));
  session.addEventListener("skipped", ({ detail }) => note("channel", { skipped: detail }));
  const leave = new AbortController();
  const followed = events(session.resultsUrl, leave.signal, ({ outcome, skipped }) => {
    if (outcome) note("events", { sequence: outcome.sequence });
    if (skipped) note("events", { skipped });
  });
  await pause(before);
  const stoodStill = { from: Date.now(), to: 0 };
  if (still > 0) while (Date.now() < stoodStill.from + 1000 * still);
  stoodStill.to = Date.now();
  await pause(after);
  leave.abort();
  await followed;
  const { state } = session;
  await session.close();
  return { came, stoodStill, state };
};

/** Server-Sent Events by fetch, which takes from the network only what the page reads. @param {string} url @param {AbortSignal} signal @param {(message: any) => void} take */
async function events(url, signal, take) {
  const { body } = await fetch(url, { signal });
  let text = "";
  try {
    for await (const part of /** @type {any} */ (body).pipeThrough(new TextDecoderStream())) {
      const lines = (text + part).split("\n");
      text = lines.pop() ?? "";
      for (const line of lines) if (line.startsWith("data:")) take(JSON.parse(line.slice(5)));
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** @param {number} seconds */
function pause(seconds) {
  return new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
}
