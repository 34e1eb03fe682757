// Bundles the page, and lays beside it the icons and fonts where Grafana's packages ask for them.
// Argument: the directory to make.

import { build } from "esbuild";
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const target = process.argv[2];
if (!target) throw new Error("usage: node build.mjs DIRECTORY");

const installed = (...path) => join(here, "node_modules", ...path);

const fonts = {
  "@fontsource/inter/files/inter-latin-400-normal.woff2": "inter/Inter-Regular.woff2",
  "@fontsource/inter/files/inter-latin-500-normal.woff2": "inter/Inter-Medium.woff2",
  "@fontsource/inter/files/inter-latin-400-italic.woff2": "inter/Inter-Italic.woff2",
  "@fontsource/inter/files/inter-latin-500-italic.woff2": "inter/Inter-MediumItalic.woff2",
  "@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff2":
    "roboto/L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ.woff2",
};

mkdirSync(target, { recursive: true });
cpSync(join(here, "index.html"), join(target, "index.html"));
cpSync(installed("@grafana/ui/dist/public"), join(target, "public/build"), { recursive: true });
// @grafana/scenes asks for this one, and only its mirror image is in the packages.
const icons = join(target, "public/build/img/icons/unicons");
const right = readFileSync(join(icons, "angle-double-right.svg"), "utf8");
writeFileSync(
  join(icons, "angle-double-left.svg"),
  right.replace("<path ", '<path transform="translate(24) scale(-1 1)" '),
);
for (const [from, to] of Object.entries(fonts)) {
  cpSync(installed(from), join(target, "public/fonts", to));
}

/** Editors and maps: most of the bundle, and nothing is edited or mapped here. */
const unused = {
  name: "unused",
  setup({ onResolve, onLoad }) {
    const packages = /^(monaco-editor|@monaco-editor\/react|ol)(\/|$)/;
    onResolve({ filter: packages }, ({ path }) => ({ path, namespace: "unused" }));
    onLoad({ filter: /.*/, namespace: "unused" }, () => ({ contents: "module.exports = {}" }));
  },
};

await build({
  entryPoints: [join(here, "src/main.tsx")],
  outfile: join(target, "main.js"),
  bundle: true,
  format: "iife",
  target: "es2022",
  minify: true,
  legalComments: "none",
  loader: { ".woff2": "empty", ".svg": "dataurl" },
  define: { "process.env.NODE_ENV": '"production"', global: "window" },
  // That package is version 6 for applications that still have 5; this one has none.
  alias: { "react-router-dom-v5-compat": "react-router-dom" },
  plugins: [unused],
  logLevel: "warning",
});
