// The WHIP clients that people take from npm, as esbuild bundles them for pages/publishers.js.

export { WHIPClient as Eyevinn } from "@eyevinn/whip-web-client";
export { WHIPClient as Medooze } from "whip-whep/whip.js";
