// Opens a test page, calls its run(options.run) and tells what it returned, with what the page complained about. Meanwhile the page may tell more, by window.tell().

import { complaints, launch, options, tell } from "./chromium.mjs";

const browser = await launch({ camera: options.camera });
try {
  const [page] = await browser.pages();
  const said = complaints(page);
  await page.exposeFunction("tell", tell);
  await page.goto(options.url);
  await page.waitForFunction("typeof window.run === 'function'");
  const report = await page.evaluate((run) => /** @type {any} */ (window).run(run), options.run);
  tell({ ...report, complaints: said });
} finally {
  await browser.close();
}
