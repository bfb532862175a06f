// Uses the edge's own page as a visitor would and tells what it shows. options.scene names what happens.

import { complaints, launch, options, tell } from "./chromium.mjs";
import { DESKTOP, LOOKS, PATIENCE, counting, inspect, shoot, textOf, wear } from "./looks.mjs";

/** @type {Record<string, (page: import("puppeteer-core").Page) => Promise<void>>} */
const scenes = { live, refused, killed, spoken, models, keyboard, token, routerless };

const wish = options.scene === "keyboard" ? { cameras: 2 } : { camera: options.camera };
const browser = await launch({ ...wish, microphone: options.microphone, permission: options.scene !== "refused" });
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
  const wrong = await inspect(page, "start");
  await page.keyboard.press("?");
  wrong.push(...(await inspect(page, "help", LOOKS.slice(0, 2))));
  await page.keyboard.press("Escape");
  await start(page);
  await page.waitForFunction(() => Number(document.getElementById("n-answers")?.textContent) > 5, PATIENCE);
  await page.waitForFunction(() => document.getElementById("notice")?.hasAttribute("data-calm"), PATIENCE); // boxes are on their frames
  await page.waitForFunction(() => document.getElementById("happening")?.textContent?.includes("late, so that"), PATIENCE);
  await page.waitForFunction(() => document.querySelectorAll("#ends li").length > 0 && Number(document.querySelector("#ends var")?.textContent) >= 100, PATIENCE); // something to plot
  const report = {
    status: await textOf(page, "status"), sent: await textOf(page, "n-sent"), answers: await textOf(page, "n-answers"), p50: await textOf(page, "n-p50"), p95: await textOf(page, "n-p95"),
    ends: await textOf(page, "ends"), happening: await textOf(page, "happening"), picture: await page.$eval("#picture", (/** @type {Element} */ node) => node.getAttribute("aria-label")),
    life: await life(page),
  };
  wrong.push(...(await inspect(page, "live")));
  const boxes = [];
  for (let tries = 0; boxes.length < 10 && tries < 60; tries++) {
    const box = await page.evaluate(findBox);
    if (box) boxes.push(box);
    await pause(200);
  }
  await page.click("#session-details summary");
  await page.click("#use summary");
  await shoot(page, "live-details", true);
  await page.click("#stop");
  await page.waitForFunction(() => document.body.dataset.state === "idle", PATIENCE);
  tell({ ...report, boxes, wrong });
}

/** One answered frame's life, which stands still while it is read. */
async function life(page) {
  await page.keyboard.press("ArrowLeft");
  const rows = await page.$$eval("#life-stages li", (/** @type {HTMLElement[]} */ all) => all.map((row) => ({
    stage: row.children[0].textContent, ms: Number(row.querySelector("var")?.textContent?.replace(/[^0-9.]/g, "")), width: row.querySelector(".track")?.lastElementChild?.getBoundingClientRect().width,
  })));
  const report = { total: Number((await textOf(page, "life-total")).replace(/[^0-9.]/g, "")), about: await textOf(page, "life-about"), rows };
  await page.keyboard.press("l");
  return report;
}

/** Two models look at one camera, and a third cannot: each has its row, and can be left out. */
async function models(page) {
  await start(page);
  const rows = () => page.$$eval("#model-rows tr", (/** @type {HTMLElement[]} */ all) => all.map((row) => [...row.children].map((cell) => cell.textContent)));
  await page.waitForFunction(() => document.querySelectorAll("#model-rows tr").length === 3, PATIENCE);
  await page.waitForFunction(() => Number(document.getElementById("n-answers")?.textContent) > 10, PATIENCE);
  const before = await rows();
  const chips = await textOf(page, "model-list");
  await page.keyboard.press("g"); // a frame that was given up
  await page.waitForFunction(() => document.getElementById("life-about")?.textContent?.includes("BACKEND_UNAVAILABLE"), PATIENCE);
  const wrong = await inspect(page, "models");
  await page.keyboard.press("l");
  await page.click('#model-rows [data-model="small"]');
  await page.waitForFunction(() => document.getElementById("ends")?.textContent?.includes("BACKEND_UNAVAILABLE") === false, PATIENCE);
  await shoot(page, "models-one-alone");
  const session = () => page.$eval("#session-id", (/** @type {Element} */ node) => node.textContent);
  const first = await session();
  await page.click('#model-list input[value="absent"]');
  await page.waitForFunction((first) => document.body.dataset.state === "live" && document.getElementById("session-id")?.textContent !== first, PATIENCE, first);
  await page.waitForFunction(() => document.getElementById("advice")?.hidden && document.querySelectorAll("#model-list input:checked").length === 2, PATIENCE);
  await counting(page);
  tell({ rows: before, chips, wrong });
}

/** All of it without a mouse, and another camera in the middle of a session. */
async function keyboard(page) {
  const focused = () => page.evaluate(() => document.activeElement?.id || /** @type {HTMLElement} */ (document.activeElement)?.dataset.source || "");
  const pressed = (/** @type {string} */ selector) => page.$eval(selector, (/** @type {Element} */ node) => node.getAttribute("aria-pressed"));
  const visited = [];
  for (let tries = 0; tries < 12 && visited.at(-1) !== "camera"; tries++) {
    await page.keyboard.press("Tab");
    visited.push(await focused());
  }
  await shoot(page, "focus");
  await page.keyboard.press("Enter");
  await counting(page);
  const session = () => page.$eval("#session-id", (/** @type {Element} */ node) => node.textContent);
  const first = await session();
  const mirrored = await pressed("#mirror");
  await page.keyboard.press("m");
  const report = { visited, mirror: mirrored !== (await pressed("#mirror")), picks: [] };
  for (const key of ["w", "g", "a", "l"]) {
    await page.keyboard.press(key);
    report.picks.push(await page.$eval('[data-pick][aria-pressed="true"]', (/** @type {HTMLElement} */ node) => node.dataset.pick));
  }
  const label = () => page.$eval("#cameras", (/** @type {HTMLSelectElement} */ select) => select.selectedOptions[0]?.textContent);
  const [was, options] = [await label(), await page.$$eval("#cameras option", (/** @type {HTMLOptionElement[]} */ all) => all.map((option) => option.value))];
  await page.select("#cameras", options[1]);
  await page.waitForFunction((was) => document.querySelector("#cameras option:checked")?.textContent !== was, PATIENCE, was);
  await page.select("#sizes", "360");
  await page.waitForFunction(() => /** @type {HTMLVideoElement} */ (document.getElementById("preview")).videoHeight === 360, PATIENCE);
  await counting(page);
  report.cameras = { was, is: await label(), sameSession: first === (await session()) };
  await page.evaluate(() => /** @type {HTMLElement} */ (document.activeElement)?.blur());
  await page.keyboard.press("?");
  await page.click("#keys-on"); // letters are no shortcuts now
  await page.keyboard.press("Escape");
  await page.keyboard.press("x");
  report.off = await page.evaluate(() => document.body.dataset.state);
  await page.click("#help");
  await page.click("#keys-on");
  await page.keyboard.press("Escape");
  await page.keyboard.press("x");
  await page.waitForFunction(() => document.body.dataset.state === "idle", PATIENCE);
  report.theme = [];
  for (let i = 0; i < 3; i++) {
    await page.keyboard.press("t");
    report.theme.push(await page.evaluate(() => getComputedStyle(document.documentElement).colorScheme));
  }
  tell({ ...report, focus: await focused() });
}

/** The edge wants a token: a wrong one is asked for again, the right one opens it. */
async function token(page) {
  await page.waitForSelector("#problem .token", PATIENCE);
  const wrong = await inspect(page, "token", [LOOKS[0], LOOKS[3]], { settled: 150 });
  const enter = async (/** @type {string} */ text) => {
    await page.type("#problem [name=token]", text);
    await page.keyboard.press("Enter");
  };
  await enter("not-the-right-token");
  await page.waitForFunction(() => document.getElementById("model-list")?.textContent?.includes("token"), PATIENCE);
  await page.waitForSelector("#problem .token", PATIENCE);
  await enter(options.token);
  await page.waitForSelector("#model-list input", PATIENCE);
  await start(page);
  await counting(page);
  tell({ wrong, follow: await page.$eval("#session-follow", (/** @type {Element} */ node) => node.textContent) });
}

/** The router goes away and comes back: the page says so, and its session stays. The test stops and starts it. */
async function routerless(page) {
  await start(page);
  await counting(page);
  const session = () => page.$eval("#session-id", (/** @type {Element} */ node) => node.textContent);
  const first = await session();
  tell({ live: true });
  await page.waitForFunction(() => document.getElementById("advice")?.dataset.code === "ROUTER_GONE", PATIENCE);
  const wrong = await inspect(page, "router-gone", [LOOKS[0], LOOKS[3]]);
  tell({ advice: await textOf(page, "advice"), wrong });
  await page.waitForFunction(() => document.getElementById("advice")?.hidden && Number(document.getElementById("n-answers")?.textContent) > 5, PATIENCE);
  tell({ sameSession: first === (await session()) });
}

/** Camera and microphone are sent together: the face keeps its box, and the meter says when somebody speaks and when not. */
async function spoken(page) {
  await wear(page, LOOKS[1]);
  await start(page);
  await counting(page);
  await page.click("#microphone");
  const says = (/** @type {string} */ state) => page.waitForFunction((wanted) => document.getElementById("speech")?.dataset.speech === wanted, PATIENCE, state);
  await says("speech");
  await shoot(page, "speech-dark");
  await says("silence");
  await says("speech");
  const wrong = await inspect(page, "speech", [LOOKS[2]]);
  await page.waitForFunction(() => document.getElementById("picture")?.getAttribute("aria-label")?.includes("1 face"), PATIENCE);
  const models = await page.$$eval("#model-list input:checked", (/** @type {HTMLInputElement[]} */ boxes) => boxes.map((box) => box.value));
  await page.click("#microphone");
  await page.waitForSelector("#speech", { hidden: true, ...PATIENCE });
  tell({ wrong, models });
}

/** The visitor does not allow the camera. */
async function refused(page) {
  await start(page);
  await problem(page, "refused");
}

/** The edge dies in mid-session: the test kills it when it is told that the page is live. */
async function killed(page) {
  await start(page);
  await counting(page);
  tell({ live: true });
  await page.waitForFunction(() => document.getElementById("advice")?.dataset.code === "INTERRUPTED", PATIENCE);
  tell({ advice: await textOf(page, "advice") });
  await shoot(page, "interrupted");
  await problem(page, "lost");
}

async function start(page) {
  await page.click('[data-source="camera"]');
}

/** Waits for the page to say what is wrong, and tells it. */
async function problem(page, name) {
  await page.waitForSelector("#problem:not([hidden])", PATIENCE);
  tell({ problem: await textOf(page, "problem") });
  await inspect(page, name, [LOOKS[0], LOOKS[3]], { settled: 150 });
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

/** @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
