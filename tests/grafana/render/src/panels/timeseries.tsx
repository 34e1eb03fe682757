// Time series: drawn by TimeSeries of @grafana/ui. Alerts' annotations are drawn here.

import {
  type DataFrame,
  FieldColorModeId,
  FieldConfigProperty,
  FieldType,
  type PanelProps,
} from "@grafana/data";
import {
  AxisColorMode,
  AxisPlacement,
  BarAlignment,
  GraphDrawStyle,
  GraphGradientMode,
  GraphThresholdsStyleMode,
  GraphTransform,
  LegendDisplayMode,
  LineInterpolation,
  ScaleDistribution,
  SortOrder,
  StackingMode,
  TooltipDisplayMode,
  VisibilityMode,
} from "@grafana/schema";
import type {
  FieldConfig,
  Options,
} from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";
import { TimeSeries, type UPlotConfigBuilder, useTheme2 } from "@grafana/ui";
import type uPlot from "uplot";

import { NoData } from "./empty";
import { pluginOf } from "./plugin";

function TimeSeriesPanel(props: PanelProps<Options>) {
  const { data, timeRange, timeZone, width, height, options, fieldConfig } = props;
  const theme = useTheme2();
  const frames = data.series.filter(drawable);
  if (!frames.length) return <NoData text={fieldConfig.defaults.noValue} />;
  return (
    <TimeSeries
      frames={frames}
      timeRange={timeRange}
      timeZone={timeZone}
      width={width}
      height={height}
      legend={options.legend}
      options={options}
    >
      {(config) => {
        annotate(config, data.annotations ?? [], theme.visualization.getColorByName("red"));
        return null;
      }}
    </TimeSeries>
  );
}

function drawable(frame: DataFrame): boolean {
  const types = frame.fields.map((field) => field.type);
  return frame.length > 0 && types.includes(FieldType.time) && types.includes(FieldType.number);
}

/** The events of each plot: they may come after the plot was made. */
const annotated = new WeakMap<UPlotConfigBuilder, DataFrame[]>();

function annotate(config: UPlotConfigBuilder, frames: DataFrame[], fallback: string): void {
  const known = annotated.has(config);
  annotated.set(config, frames);
  if (known) return;
  config.addHook("draw", (plot) => {
    for (const frame of annotated.get(config)!) {
      const values = (name: string): unknown[] =>
        frame.fields.find((field) => field.name === name)?.values ?? [];
      const [starts, ends, colors] = [values("time"), values("timeEnd"), values("color")];
      starts.forEach((start, row) => {
        mark(plot, Number(start), Number(ends[row] ?? start), String(colors[row] ?? fallback));
      });
    }
  });
}

/** A dashed line where the event begins, and a bar below the plot as long as it lasts. */
function mark(plot: uPlot, start: number, end: number, color: string): void {
  const { ctx, bbox, scales } = plot;
  const { min = 0, max = 0 } = scales["x"] ?? {};
  if (min === null || max === null || end < min || start > max) return;
  const left = plot.valToPos(Math.max(start, min), "x", true);
  const right = plot.valToPos(Math.min(end, max), "x", true);
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = color;
  if (start >= min) {
    ctx.setLineDash([4, 4]);
    ctx.beginPath();
    ctx.moveTo(left, bbox.top);
    ctx.lineTo(left, bbox.top + bbox.height);
    ctx.stroke();
  }
  ctx.fillRect(left, bbox.top + bbox.height, Math.max(right - left, 4), 4);
  ctx.restore();
}

export const timeseries = pluginOf<Options, FieldConfig>({
  id: "timeseries",
  panel: TimeSeriesPanel,
  annotated: true,
  options: {
    legend: {
      displayMode: LegendDisplayMode.List,
      placement: "bottom",
      showLegend: true,
      calcs: [],
    },
    tooltip: { mode: TooltipDisplayMode.Single, sort: SortOrder.None },
  },
  standard: { [FieldConfigProperty.Color]: { mode: FieldColorModeId.PaletteClassic } },
  custom: {
    axisBorderShow: false,
    axisCenteredZero: false,
    axisColorMode: AxisColorMode.Text,
    axisGridShow: true,
    axisLabel: "",
    axisPlacement: AxisPlacement.Auto,
    axisSoftMax: undefined,
    axisSoftMin: undefined,
    axisWidth: undefined,
    barAlignment: BarAlignment.Center,
    barMaxWidth: undefined,
    barWidthFactor: 0.6,
    drawStyle: GraphDrawStyle.Line,
    fillBelowTo: undefined,
    fillColor: undefined,
    fillOpacity: 0,
    gradientMode: GraphGradientMode.None,
    hideFrom: { legend: false, tooltip: false, viz: false },
    insertNulls: false,
    lineColor: undefined,
    lineInterpolation: LineInterpolation.Linear,
    lineStyle: undefined,
    lineWidth: 1,
    pointColor: undefined,
    pointSize: 5,
    pointSymbol: undefined,
    scaleDistribution: { type: ScaleDistribution.Linear },
    showPoints: VisibilityMode.Auto,
    showValues: false,
    spanNulls: false,
    stacking: { mode: StackingMode.None, group: "A" },
    thresholdsStyle: { mode: GraphThresholdsStyleMode.Off },
    transform: undefined as GraphTransform | undefined,
  },
});
