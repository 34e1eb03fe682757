// The page: one dashboard, drawn by Grafana's packages, with the data of one Prometheus.

import "./boot";

import { config } from "@grafana/runtime";
import { ThemeContext } from "@grafana/data";
import { GlobalStyles, PortalContainer } from "@grafana/ui";
import { createRoot } from "react-dom/client";
import { MemoryRouter } from "react-router-dom";

import { asked } from "./asked";
import { sceneOf } from "./dashboard";
import { Prometheus } from "./prometheus";
import { startServices } from "./services";
import { registerStandards } from "./standards";
import { tell } from "./telling";

async function start(): Promise<void> {
  const { dashboard, prometheus, scrapeInterval, theme } = asked();
  document.body.classList.add(`theme-${theme}`);
  registerStandards();
  await startServices(new Prometheus("prometheus", prometheus, scrapeInterval));
  const scene = sceneOf(dashboard);
  window.__grafanaSceneContext = scene;
  window.spendtreeTold = () => tell(scene);
  createRoot(document.getElementById("root")!).render(
    <ThemeContext.Provider value={config.theme2}>
      <GlobalStyles />
      <MemoryRouter>
        <scene.Component model={scene} />
      </MemoryRouter>
      <PortalContainer />
    </ThemeContext.Provider>,
  );
}

start().catch((error: unknown) => {
  window.spendtreeTold = () => {
    throw error;
  };
});
