// A visitor sends camera and microphone, and somebody else watches the session on another page.

import { complaints, launch, options, tell } from "./chromium.mjs";
import { DESKTOP, LOOKS, PATIENCE, WALL, counting, inspect, shoot, textOf, wear } from "./looks.mjs";

const browser = await launch({ camera: options.camera, microphone: options.microphone });
try {
  const [sender] = await browser.pages();
  const said = complaints(sender);
  await sender.setViewport(DESKTOP);
  await sender.goto(options.edge, { waitUntil: "networkidle2" });
  await sender.click("#microphone");
  await sender.waitForSelector('#model-list input[value="speech"]', PATIENCE);
  await sender.click('[data-source="camera"]');
  await counting(sender);
  const [id, address] = await sender.evaluate(() => [document.getElementById("session-id")?.textContent ?? "", /** @type {HTMLAnchorElement} */ (document.getElementById("session-watch")).href]);

  const watcher = await browser.newPage();
  const complained = complaints(watcher);
  await watcher.setViewport(DESKTOP);
  await watcher.goto(new URL("/watch", options.edge).href);
  const wrong = await inspect(watcher, "watch-ask", [LOOKS[0], LOOKS[3]]);
  await watcher.type("#wanted", id);
  await watcher.keyboard.press("Enter");
  await counting(watcher);
  await watcher.waitForFunction(() => document.getElementById("plates")?.textContent?.includes("1 face") && document.getElementById("plates")?.textContent?.includes("speech"), PATIENCE);
  wrong.push(...(await inspect(watcher, "watch")));
  await wear(watcher, { name: "wall", viewport: WALL, dark: true });
  await shoot(watcher, "watch-wall");
  await wear(watcher, LOOKS[0]);
  await watcher.click("#log button");
  await watcher.waitForSelector("#log-message:not([hidden])", PATIENCE);
  const message = JSON.parse(await textOf(watcher, "log-message"));
  await shoot(watcher, "watch-message", true);
  await watcher.click("#log-pause");
  const seen = { id, address, happening: await textOf(watcher, "happening"), looked: await textOf(watcher, "n-looked"), p50: await textOf(watcher, "n-p50"), message };

  await sender.bringToFront();
  await sender.click("#stop");
  await watcher.bringToFront();
  await watcher.waitForFunction(() => document.body.dataset.state === "ended" && !document.getElementById("summary")?.hidden, PATIENCE);
  wrong.push(...(await inspect(watcher, "watch-ended", [LOOKS[0], LOOKS[3]])));
  const summary = await watcher.$$eval("#summary-rows tr", (rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent ?? "")));
  const complaintsSoFar = [...said, ...complained];

  // Somebody who comes later reads what is kept; an id that was never given out is told as such.
  await watcher.goto(address);
  await watcher.waitForFunction(() => document.body.dataset.state === "ended", PATIENCE);
  await watcher.goto(new URL("/watch?session=nothing", options.edge).href);
  await watcher.waitForSelector("#problem:not([hidden])", PATIENCE);
  wrong.push(...(await inspect(watcher, "watch-unknown", [LOOKS[0], LOOKS[3]])));
  tell({ ...seen, summary, unknown: await textOf(watcher, "problem"), wrong, complaints: complaintsSoFar });
} finally {
  await browser.close();
}
