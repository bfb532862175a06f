// Takes the overlay's test page through a scenario and tells what it reports: changes of the rate and of the track, and the page in the background for a while.

import { complaints, launch, options, tell } from "./chromium.mjs";
import { launchFirefox } from "./firefox.mjs";

/** What is done after which share of the time. @type {[number, (page: import("puppeteer-core").Page) => Promise<unknown>][]} */
const scenario = [
  [0.2, (page) => step(page, "rate", 15)],
  [0.4, (page) => step(page, "rate", 0)],
  [0.5, (page) => step(page, "replace", options.run.source)],
  [0.65, (page) => step(page, "replace", "first")],
  [0.75, background],
  [0.85, (page) => page.bringToFront()],
];

const browser = await (options.firefox ? launchFirefox() : launch({ camera: options.camera }));
try {
  const [page] = await browser.pages();
  const said = complaints(page);
  await page.exposeFunction("reachable", (/** @type {string} */ client) => tell({ client }));
  await page.goto(options.url);
  await page.waitForFunction("typeof window.begin === 'function'");
  await page.evaluate((run) => /** @type {any} */ (window).begin(run), options.run);
  const start = performance.now();
  const until = (/** @type {number} */ share) => new Promise((resolve) => setTimeout(resolve, start + 1000 * share * options.seconds - performance.now()));
  for (const [share, act] of options.still ? [] : scenario) {
    await until(share);
    await act(page);
  }
  await until(1);
  tell({ ...(await page.evaluate(() => /** @type {any} */ (window).report())), complaints: said });
} finally {
  await browser.close();
}

function step(page, name, argument) {
  return page.evaluate((name, argument) => /** @type {any} */ (window).step(name, argument), name, argument);
}

/** Opens another tab before the page. */
async function background(page) {
  await (await browser.newPage()).bringToFront();
  const hidden = await page.evaluate(() => document.hidden);
  if (!hidden) throw new Error("the page is still seen");
}
