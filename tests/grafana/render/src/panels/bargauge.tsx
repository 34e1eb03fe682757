// Bar gauge: drawn by BarGauge of @grafana/ui.

import {
  FieldColorModeId,
  FieldConfigProperty,
  getDisplayProcessor,
  getDisplayValueAlignmentFactors,
  getFieldConfigWithMinMax,
  type PanelProps,
  VizOrientation as Direction,
} from "@grafana/data";
import {
  BarGaugeDisplayMode,
  BarGaugeNamePlacement,
  BarGaugeSizing,
  BarGaugeValueMode,
  LegendDisplayMode,
  VizOrientation,
} from "@grafana/schema";
import type { Options } from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import { BarGauge, useTheme2 } from "@grafana/ui";
import type { ComponentProps } from "react";

import { pluginOf } from "./plugin";
import { Values } from "./values";

type Drawn = ComponentProps<typeof BarGauge>;

function BarGaugePanel(panel: PanelProps<Options>) {
  const theme = useTheme2();
  const { options, width, height } = panel;
  const wide = width > height;
  const across = options.orientation === VizOrientation.Horizontal;
  const auto = options.sizing === BarGaugeSizing.Auto;
  return (
    <Values
      panel={panel}
      getAlignmentFactors={getDisplayValueAlignmentFactors}
      minVizWidth={auto ? 8 : options.minVizWidth}
      minVizHeight={auto ? 16 : options.minVizHeight}
      maxVizHeight={auto ? 300 : options.maxVizHeight}
      itemSpacing={options.displayMode === BarGaugeDisplayMode.Lcd ? 2 : 10}
      draw={(shown) => (
        <BarGauge
          value={shown.value.display}
          width={shown.width}
          height={shown.height}
          orientation={shown.orientation as Direction}
          field={getFieldConfigWithMinMax(
            { ...shown.value.view!.getFieldDisplayProcessor, config: shown.value.field } as never,
            Boolean(shown.value.field.fieldMinMax),
          ) as never}
          display={getDisplayProcessor({ field: { config: shown.value.field } as never, theme })}
          text={options.text}
          itemSpacing={10}
          theme={theme}
          displayMode={options.displayMode}
          alignmentFactors={shown.alignmentFactors as Drawn["alignmentFactors"]}
          showUnfilled={options.showUnfilled}
          valueDisplayMode={options.valueMode}
          namePlacement={options.namePlacement}
          isOverflow={!wide && across}
        />
      )}
    />
  );
}

export const bargauge = pluginOf<Options, object>({
  id: "bargauge",
  panel: BarGaugePanel,
  options: {
    displayMode: BarGaugeDisplayMode.Gradient,
    legend: {
      calcs: [],
      displayMode: LegendDisplayMode.List,
      placement: "bottom",
      showLegend: false,
    },
    maxVizHeight: 300,
    minVizHeight: 16,
    minVizWidth: 8,
    namePlacement: BarGaugeNamePlacement.Auto,
    orientation: VizOrientation.Auto,
    reduceOptions: { values: false, calcs: ["lastNotNull"], fields: "" },
    showUnfilled: true,
    sizing: BarGaugeSizing.Auto,
    valueMode: BarGaugeValueMode.Color,
  },
  standard: { [FieldConfigProperty.Color]: { mode: FieldColorModeId.Thresholds } },
  custom: {},
});
