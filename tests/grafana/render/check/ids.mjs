// Prints, as JSON, the ids that @grafana/data knows: what a dashboard may name.

import { createRequire } from "node:module";

// The formats of dates ask a browser for its language, which older versions of node do not have.
globalThis.navigator ??= { language: "en-US", languages: ["en-US"] };

const grafana = createRequire(import.meta.url)("@grafana/data");

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
