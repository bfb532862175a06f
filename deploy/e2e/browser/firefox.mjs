// Starts Debian's Firefox ESR without a window.

import puppeteer from "puppeteer-core";

import { options } from "./chromium.mjs";

export function launchFirefox() {
  return puppeteer.launch({
    browser: "firefox",
    executablePath: options.firefox,
    userDataDir: options.profile,
    headless: true,
    protocolTimeout: 240_000,
    extraPrefsFirefox: {
      "media.navigator.streams.fake": true,
      "media.navigator.permission.disabled": true,
      "media.peerconnection.ice.loopback": true,
      "media.peerconnection.ice.obfuscate_host_addresses": false,
      "media.autoplay.default": 0,
    },
  });
}
