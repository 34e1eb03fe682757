// Stat: drawn by BigValue of @grafana/ui.

import {
  FieldColorModeId,
  FieldConfigProperty,
  getDisplayValueAlignmentFactors,
  type PanelProps,
} from "@grafana/data";
import {
  BigValueColorMode,
  BigValueGraphMode,
  BigValueJustifyMode,
  BigValueTextMode,
  PercentChangeColorMode,
  VizOrientation,
} from "@grafana/schema";
import type { Options } from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import { BigValue, useTheme2 } from "@grafana/ui";
import type { ComponentProps } from "react";

import { pluginOf } from "./plugin";
import { Values } from "./values";

type Drawn = ComponentProps<typeof BigValue>;

function Stat(panel: PanelProps<Options>) {
  const theme = useTheme2();
  const { options } = panel;
  return (
    <Values
      panel={panel}
      sparkline={options.graphMode !== BigValueGraphMode.None}
      percentChange={options.showPercentChange}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      autoGrid
      draw={({ value, alignmentFactors, width, height, count }) => (
        <BigValue
          value={value.display}
          count={count}
          sparkline={value.sparkline}
          colorMode={options.colorMode as unknown as Drawn["colorMode"]}
          graphMode={options.graphMode as unknown as Drawn["graphMode"]}
          justifyMode={options.justifyMode as unknown as Drawn["justifyMode"]}
          textMode={options.textMode as unknown as Drawn["textMode"]}
          alignmentFactors={alignmentFactors as Drawn["alignmentFactors"]}
          text={options.text}
          width={width}
          height={height}
          theme={theme}
          hasLinks={value.hasLinks}
          percentChangeColorMode={options.percentChangeColorMode}
          disableWideLayout={!options.wideLayout}
        />
      )}
    />
  );
}

export const stat = pluginOf<Options, object>({
  id: "stat",
  panel: Stat,
  options: {
    reduceOptions: { values: false, calcs: ["lastNotNull"], fields: "" },
    orientation: VizOrientation.Auto,
    colorMode: BigValueColorMode.Value,
    graphMode: BigValueGraphMode.Area,
    justifyMode: BigValueJustifyMode.Auto,
    textMode: BigValueTextMode.Auto,
    wideLayout: true,
    showPercentChange: false,
    percentChangeColorMode: PercentChangeColorMode.Standard,
  },
  standard: { [FieldConfigProperty.Color]: { mode: FieldColorModeId.Thresholds } },
  custom: {},
});
