// Opens one of the example pages with a face before the camera, waits until the page shows it, leaves it, and tells what it showed.

import { complaints, launch, options, tell } from "./chromium.mjs";

const browser = await launch({ camera: options.camera });
try {
  const [page] = await browser.pages();
  const said = complaints(page);
  await page.goto(options.url);
  await page.waitForFunction(() => document.getElementById("faces")?.textContent === "Faces: 1", { timeout: 45_000 });
  await page.waitForFunction(() => {
    const video = document.querySelector("video");
    return video && video.videoWidth > 0 && !video.paused;
  });
  tell({ shown: true });
  await page.goto("about:blank"); // the visitor leaves
  tell({ complaints: said });
  await new Promise((resolve) => process.stdin.once("end", resolve).resume()); // until the test has seen what the edge makes of it
} finally {
  await browser.close();
}
