// How a page looks: screenshots at the sizes and in the colours that people have, and what axe finds wrong for those who cannot see it.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

import { options } from "./chromium.mjs";

export const DESKTOP = { width: 1440, height: 1000 };
export const PHONE = { width: 390, height: 844, deviceScaleFactor: 2 }; // isMobile would have puppeteer load the page anew;
export const WALL = { width: 1920, height: 1080 };
export const PATIENCE = { timeout: 45_000 };

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/** @typedef {import("puppeteer-core").Page} Page */
/** @typedef {{ name: string, viewport: import("puppeteer-core").Viewport, dark: boolean }} Look */

const SETTLED = 700; // ms: plots are drawn ten times a second, numbers written twice

/** @type {Look[]} */
export const LOOKS = [
  { name: "desktop-light", viewport: DESKTOP, dark: false },
  { name: "desktop-dark", viewport: DESKTOP, dark: true },
  { name: "phone-light", viewport: PHONE, dark: false },
  { name: "phone-dark", viewport: PHONE, dark: true },
];

/**
 * Takes a screenshot of each look and leaves the page as the first one is.
 * @param {Page} page @param {string} name @param {readonly Look[]} [looks] @param {{ settled?: number, audited?: readonly Look[] }} [more] settled: ms until a look is all there; audited:
 *   those that axe looks at
 * @returns {Promise<string[]>} what is wrong: parts wider than the page, and what axe says
 */
export async function inspect(page, name, looks = LOOKS, { settled = SETTLED, audited = looks } = {}) {
  const wrong = [];
  for (const look of looks) {
    await wear(page, look, settled);
    await shoot(page, `${name}-${look.name}`, look.viewport === PHONE);
    const overflow = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    if (overflow > 0) wrong.push(`${name}, ${look.name}: the page is ${overflow} pixels too wide`);
    if (audited.includes(look)) for (const finding of await audit(page)) wrong.push(`${name}, ${look.name}: ${finding}`);
  }
  await wear(page, looks[0], settled);
  return wrong;
}

/** @param {Page} page @param {Look} look @param {number} [settled] ms */
export async function wear(page, { viewport, dark }, settled = SETTLED) {
  await page.setViewport(viewport);
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: dark ? "dark" : "light" }]);
  await page.evaluate((settled) => new Promise((resolve) => setTimeout(() => requestAnimationFrame(resolve), settled)), settled);
}

/** @param {Page} page @returns {Promise<string[]>} what axe finds wrong */
export async function audit(page) {
  await page.evaluate(AXE);
  return page.evaluate(async (rules) => {
    const { violations } = await /** @type {any} */ (window).axe.run(document, { runOnly: rules, resultTypes: ["violations"] });
    return violations.flatMap((/** @type {any} */ { id, nodes }) => nodes.map((/** @type {any} */ node) => `${id}: ${node.target.join(" ")}: ${node.failureSummary.replaceAll("\n", " ")}`));
  }, RULES);
}

/** @param {Page} page @param {string} name @param {boolean} [fullPage] */
export async function shoot(page, name, fullPage = false) {
  await page.screenshot({ path: join(options.screenshots, `${name}.png`), fullPage });
}

/** @param {Page} page @param {string} id @returns {Promise<string>} what an element says */
export function textOf(page, id) {
  return page.$eval(`#${id}`, (node) => /** @type {HTMLElement} */ (node).innerText);
}

/** Waits until a number of the panel is above zero. @param {Page} page @param {string} [id] */
export function counting(page, id = "n-answers") {
  return page.waitForFunction((id) => Number(document.getElementById(id)?.textContent) > 0, PATIENCE, id);
}
