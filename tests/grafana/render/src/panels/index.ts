// The panels there are. A dashboard that uses another one is refused by name.

import type { PanelPlugin } from "@grafana/data";

import { bargauge } from "./bargauge";
import { gauge } from "./gauge";
import { heatmap } from "./heatmap";
import { stat } from "./stat";
import { table } from "./table";
import { text } from "./text";
import { timeseries } from "./timeseries";

const PANELS = [bargauge, gauge, heatmap, stat, table, text, timeseries];

export function panelPlugin(id: string): PanelPlugin {
  const found = PANELS.find((plugin) => plugin.meta.id === id);
  if (!found) throw new Error(`a panel that the harness cannot draw: ${id}`);
  return found;
}
