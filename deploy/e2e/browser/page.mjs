// Uses the edge's own page as a visitor would and tells what it shows. options.scene names what happens.

import { join } from "node:path";

import { complaints, launch, options, tell } from "./chromium.mjs";

const DESKTOP = { width: 1440, height: 1000 };
const PHONE = { width: 390, height: 844, deviceScaleFactor: 2 };
const PATIENCE = { timeout: 45_000 };

/** @type {Record<string, (page: import("puppeteer-core").Page) => Promise<void>>} */
const scenes = { live, refused, killed, spoken };

const browser = await launch({ camera: options.camera, microphone: options.microphone, permission: options.scene !== "refused" });
try {
  const [page] = await browser.pages();
  const said = complaints(page);
  await page.setViewport(DESKTOP);
  await page.goto(options.edge, { waitUntil: "networkidle2" });
  await scenes[options.scene](page);
  tell({ complaints: said });
} finally {
  await browser.close();
}

/** The camera is started, its picture gets boxes and the numbers move; Stop ends it. */
async function live(page) {
  await shoot(page, "start");
  await start(page);
  await page.waitForFunction(() => Number(document.getElementById("n-answers")?.textContent) > 5, PATIENCE);
  await pause(5000); // for the plot, and for the clocks to be matched
  await shoot(page, "live");
  const text = (/** @type {string} */ id) => page.$eval(`#${id}`, (/** @type {Element} */ node) => node.textContent ?? "");
  const report = {
    status: await text("status"), sent: await text("n-sent"), answers: await text("n-answers"), p50: await text("n-p50"), p95: await text("n-p95"),
    ends: await text("ends"), picture: await page.$eval("#picture", (/** @type {Element} */ node) => node.getAttribute("aria-label")),
  };
  await page.setViewport(PHONE);
  await pause(1500);
  await shoot(page, "phone", true);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.setViewport(DESKTOP);
  const boxes = [];
  for (let tries = 0; boxes.length < 10 && tries < 60; tries++) {
    const box = await page.evaluate(findBox);
    if (box) boxes.push(box);
    await pause(200);
  }
  await page.click("#stop");
  await page.waitForFunction(() => document.body.dataset.state === "idle", PATIENCE);
  tell({ ...report, boxes, overflow });
}

/** Camera and microphone are sent together: the face keeps its box, and the meter says when somebody speaks and when not. */
async function spoken(page) {
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  await start(page);
  await page.waitForFunction(() => Number(document.getElementById("n-answers")?.textContent) > 0, PATIENCE);
  await page.click("#microphone");
  const says = (/** @type {string} */ state) => page.waitForFunction((wanted) => document.getElementById("speech")?.dataset.speech === wanted, PATIENCE, state);
  await says("speech");
  await shoot(page, "speech-dark");
  await says("silence");
  await says("speech");
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
  await page.setViewport(PHONE);
  await pause(1500);
  await shoot(page, "speech-phone", true);
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  await page.waitForFunction(() => document.getElementById("picture")?.getAttribute("aria-label")?.includes("1 face"), PATIENCE);
  const models = await page.$$eval("#model-list input:checked", (/** @type {HTMLInputElement[]} */ boxes) => boxes.map((box) => box.value));
  await page.click("#microphone");
  await page.waitForSelector("#speech", { hidden: true, ...PATIENCE });
  tell({ overflow, models });
}

/** The visitor does not allow the camera. */
async function refused(page) {
  await start(page);
  await problem(page, "refused");
}

/** The edge dies in mid-session: the test kills it when it is told that the page is live. */
async function killed(page) {
  await start(page);
  await page.waitForFunction(() => Number(document.getElementById("n-answers")?.textContent) > 0, PATIENCE);
  tell({ live: true });
  await page.waitForFunction(() => document.getElementById("advice")?.dataset.code === "RECONNECTING", PATIENCE);
  tell({ advice: await page.$eval("#advice", (/** @type {HTMLElement} */ node) => node.innerText) });
  await shoot(page, "interrupted");
  await problem(page, "lost");
}

async function start(page) {
  await page.click('[data-source="camera"]');
}

/** Waits for the page to say what is wrong, and tells it. */
async function problem(page, name) {
  await page.waitForSelector("#problem:not([hidden])", PATIENCE);
  tell({ problem: await page.$eval("#problem", (/** @type {HTMLElement} */ node) => node.innerText) });
  await shoot(page, name);
}

/**
 * Runs in the page: where the picture has a box of the face's colour, in fractions of the picture, and how much of what is in it looks like skin. The clip is a face before a grey wall.
 * @returns {{ x: number, y: number, width: number, height: number, skin: number } | undefined}
 */
function findBox() {
  const shown = /** @type {HTMLCanvasElement} */ (document.getElementById("picture"));
  const { width, height } = shown;
  const context = /** @type {OffscreenCanvasRenderingContext2D} */ (new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true }));
  context.drawImage(shown, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  /** @type {Map<number, number[]>} */ const columns = new Map(); // the rows of the box's colour, by column
  for (let y = 0; y < height; y += 2)
    for (let x = 0; x < width; x++) {
      const at = 4 * (y * width + x);
      if (Math.abs(data[at] - 45) + Math.abs(data[at + 1] - 212) + Math.abs(data[at + 2] - 191) < 24) columns.set(x, [...(columns.get(x) ?? []), y]);
    }
  // The tag above the box is of the same colour; the sides are the columns with the most of it.
  const most = Math.max(0, ...[...columns.values()].map((rows) => rows.length));
  const sides = [...columns].filter(([, rows]) => rows.length > 0.8 * most).map(([x]) => x);
  const [left, right] = [Math.min(...sides), Math.max(...sides)];
  if (!(right - left > 10)) return undefined;
  const rows = columns.get(left) ?? [];
  const [top, bottom] = [rows[0], rows[rows.length - 1]];
  let [skin, all] = [0, 0];
  for (let y = Math.round(0.5 * (top + bottom)); y < 0.2 * top + 0.8 * bottom; y++) // below the eyes
    for (let x = Math.round(0.7 * left + 0.3 * right); x < 0.3 * left + 0.7 * right; x++) {
      const [r, g, b] = data.slice(4 * (y * width + x));
      all++;
      if (r > 90 && r - b > 25 && r - g > 8) skin++;
    }
  return { x: left / width, y: top / height, width: (right - left) / width, height: (bottom - top) / height, skin: skin / all };
}

/** @param {import("puppeteer-core").Page} page @param {string} name @param {boolean} [fullPage] */
async function shoot(page, name, fullPage = false) {
  if (options.screenshots) await page.screenshot({ path: join(options.screenshots, `${name}.png`), fullPage });
}

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
