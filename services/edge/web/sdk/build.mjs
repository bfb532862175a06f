// Writes what the edge serves and the package holds: sluice.js, one ES module, and sluice.d.ts, its types. With --tests it writes
// each module of src/ by itself into build/ instead, for the unit tests.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { generateDtsBundle } from "dts-bundle-generator";
import { build } from "esbuild";

const at = (/** @type {string} */ path) => fileURLToPath(new URL(path, import.meta.url));
const read = (/** @type {string} */ path) => readFileSync(at(path), "utf8");
const common = /** @type {const} */ ({ format: "esm", target: "es2022", charset: "utf8", logLevel: "warning" });

if (process.argv.includes("--tests")) {
  const sources = readdirSync(at("src")).filter((name) => name.endsWith(".ts"));
  await build({ ...common, entryPoints: sources.map((name) => at(`src/${name}`)), outdir: at("build") });
} else {
  const banner = `// Sluice for browsers ${JSON.parse(read("package.json")).version}, Apache-2.0. Generated from src/*.ts by make generate.\n`;
  await build({ ...common, entryPoints: [at("src/index.ts")], bundle: true, minify: true, lineLimit: 8000, outfile: at("sluice.js"), banner: { js: banner } });
  const entry = { filePath: at("src/index.ts"), output: { noBanner: true, exportReferencedTypes: false } };
  const [types] = generateDtsBundle([entry], { preferredConfigPath: at("tsconfig.json") });
  const introduction = read("src/index.ts").split("*/", 1)[0]; // the bundler of types leaves it out
  writeFileSync(at("sluice.d.ts"), `${banner}\n${introduction}*/\n\n${types}`);
}
