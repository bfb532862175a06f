// Opens a test page, calls its run(options.run) and tells what it returned, with what the page complained about. Meanwhile the page may tell more, by window.tell(), and wait for the
// test to have seen enough, by window.over().

import { complaints, launch, options, tell } from "./chromium.mjs";

const browser = await launch({ camera: options.camera });
try {
  const [page] = await browser.pages();
  const said = complaints(page);
  await page.exposeFunction("tell", tell);
  await page.exposeFunction("over", () => new Promise((resolve) => process.stdin.on("end", () => resolve(undefined)).resume()));
  await page.goto(options.url);
  await page.waitForFunction("typeof window.run === 'function'");
  const report = await page.evaluate((run) => /** @type {any} */ (window).run(run), options.run);
  tell({ ...report, complaints: said });
} finally {
  process.stdin.destroy();
  await browser.close();
}
