// Prints, as JSON, the ids that @grafana/data knows: what a dashboard may name.

import { build } from "esbuild";
import { mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

// The formats of dates ask a browser for its language, which older versions of node do not have.
globalThis.navigator ??= { language: "en-US", languages: ["en-US"] };

/** Load @grafana/data as one bundle: what it requires is in a form that older versions of node refuse. */
async function loaded() {
  const folder = mkdtempSync(join(tmpdir(), "grafana-data-"));
  const outfile = join(folder, "data.cjs");
  try {
    await build({
      stdin: {
        contents: 'export * from "@grafana/data"',
        resolveDir: dirname(fileURLToPath(import.meta.url)),
      },
      bundle: true,
      platform: "node",
      format: "cjs",
      outfile,
      logLevel: "error",
    });
    return createRequire(import.meta.url)(outfile);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const grafana = await loaded();

const ids = (registry) => registry.list().map((one) => one.id);
const hues = grafana.createTheme().visualization.hues;

console.log(
  JSON.stringify({
    units: grafana.getValueFormats().flatMap(({ submenu }) => submenu.map(({ value }) => value)),
    transformations: Object.values(grafana.standardTransformers).map(({ id }) => id),
    reducers: ids(grafana.fieldReducers),
    matchers: ids(grafana.fieldMatchers),
    "color modes": ids(grafana.fieldColorModeRegistry),
    colors: hues.flatMap(({ shades }) =>
      shades.flatMap(({ name, aliases = [] }) => [name, ...aliases]),
    ),
  }),
);
