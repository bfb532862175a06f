// Starts Debian's Chromium without a window, and talks to the Go test: options come as JSON in the first argument, reports go to standard output as lines of JSON.

import puppeteer from "puppeteer-core";

/** @type {any} */
export const options = JSON.parse(process.argv[2]);

/** Tells the test something. @param {unknown} report */
export function tell(report) {
  process.stdout.write(`${JSON.stringify(report)}\n`);
}

/**
 * @param {{ permission?: boolean, camera?: string, cameras?: number, microphone?: string }} [wish]
 *   permission: what the browser's user says when a page asks for the camera; camera: a clip that it shows; cameras: how many that show a test picture there are,
 *   without a clip; microphone: a WAV file that it hears, again and again
 */
export function launch({ permission = true, camera, cameras, microphone } = {}) {
  return puppeteer.launch({
    executablePath: options.chromium,
    userDataDir: options.profile,
    headless: true,
    pipe: true, // so that it ends with this process, however that ends
    protocolTimeout: 240_000,
    args: [
      "--no-sandbox", // Chromium's own sandbox does not work for root
      "--disable-gpu",
      cameras ? `--use-fake-device-for-media-stream=device-count=${cameras}` : "--use-fake-device-for-media-stream",
      permission ? "--use-fake-ui-for-media-stream" : "--deny-permission-prompts",
      ...(camera ? [`--use-file-for-fake-video-capture=${camera}`] : []),
      ...(microphone ? [`--use-file-for-fake-audio-capture=${microphone}`] : []),
      "--allow-loopback-in-peer-connection",
      "--autoplay-policy=no-user-gesture-required",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
      "--disable-backgrounding-occluded-windows",
      "--disable-renderer-backgrounding",
    ],
  });
}

/** Collects what goes wrong on a page. @param {import("puppeteer-core").Page} page @returns {string[]} */
export function complaints(page) {
  /** @type {string[]} */
  const all = [];
  page.on("console", (message) => message.type() === "error" && all.push(`${message.text()} (${message.location()?.url ?? ""})`));
  page.on("pageerror", (error) => all.push(`uncaught: ${/** @type {Error} */ (error).stack ?? error}`));
  return all;
}
