// What a Grafana server writes into the page. It has to be there before @grafana/runtime is loaded.

import { asked } from "./asked";

window.__grafana_public_path__ = "/public/";
window.grafanaBootData = {
  assets: { dark: "", light: "" },
  navTree: [],
  user: { theme: asked().theme, timezone: "utc", weekStart: "monday", locale: "en-US", orgId: 1 },
  settings: {
    appUrl: "/",
    appSubUrl: "",
    buildInfo: { version: "13.2.2", commit: "", env: "production" },
    featureToggles: {},
    minRefreshInterval: "5s",
  },
};
