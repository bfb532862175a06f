// Reads GET /models. Pure.

/** @typedef {{ name: string, ready: boolean, result: string, rate: number, deadline: number, takes: string, pictures: boolean, sound: boolean }} Model */

/** @param {any} body the JSON of GET /models @returns {Model[]} by name; what cannot be understood is left out */
export function parseModels(body) {
  const list = Array.isArray(body?.models) ? body.models : [];
  return list
    .filter((/** @type {any} */ m) => typeof m?.name === "string" && m.name !== "")
    .map((/** @type {any} */ m) => {
      const { picture, sound } = m.input ?? {};
      return {
        name: m.name,
        ready: m.ready !== false,
        result: m.result ?? "",
        rate: Number(m.rate) || 0,
        deadline: Number(m.deadline) || 0,
        takes: picture ? `${picture.width} × ${picture.height}` : sound ? `sound, ${sound.rate / 1000} kHz` : "",
        pictures: picture !== undefined || Object.keys(m.input ?? {}).length === 0,
        sound: sound !== undefined,
      };
    })
    .sort((/** @type {Model} */ a, /** @type {Model} */ b) => a.name.localeCompare(b.name));
}

/**
 * Frames a second worth sending of a source that the page itself draws: what the fastest chosen model looks at, but never more than
 * 20, so that frames lie 50 ms apart and none can be taken for its neighbour.
 * @param {readonly Model[]} models
 */
export function drawRate(models) {
  const rates = models.map((model) => model.rate || 20);
  return Math.min(20, Math.max(1, ...rates, rates.length ? 1 : 15));
}

/** The script that does what this page does, for the models chosen. @param {string} edge base URL @param {readonly string[]} models */
export function snippet(edge, models) {
  const wanted = models.length ? `, models: ${JSON.stringify(models)}` : "";
  return `<video id="video" autoplay muted playsinline></video>
<script type="module">
  import { connect, FrameBuffer } from "${new URL("sdk/sluice.js", edge)}";

  const session = await connect({ camera: true${wanted} });
  video.srcObject = session.stream;
  const frames = new FrameBuffer();
  frames.watch(video);

  for await (const outcome of session) {
    const { frame } = frames.find(session.captureTime(outcome));
    if (outcome.result && frame) console.log(frame.time, outcome.result);
  }
</script>`;
}
