// Heatmap: axes by UPlotConfigBuilder of @grafana/ui, cells of our own. One row a field of the frame,
// least first; it knows a colour scheme and one colour of growing opacity, and nothing else.

import { type DataFrame, type Field, FieldType, type PanelProps } from "@grafana/data";
import {
  AxisPlacement,
  HeatmapCellLayout,
  ScaleDirection,
  ScaleDistribution,
  ScaleOrientation,
  TooltipDisplayMode,
  VisibilityMode,
} from "@grafana/schema";
import {
  HeatmapColorMode,
  HeatmapColorScale,
  type Options,
} from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import { UPlotChart, UPlotConfigBuilder, useTheme2 } from "@grafana/ui";
import { colorManipulator, formattedValueToString, getValueFormat, type GrafanaTheme2 } from "@grafana/data";
import * as schemes from "d3-scale-chromatic";
import { useMemo } from "react";
import type uPlot from "uplot";

import { NoData } from "./empty";
import { pluginOf } from "./plugin";

const LINE_PIXELS = 20;

function Heatmap(panel: PanelProps<Options>) {
  const { data, options, timeRange, timeZone, width, height, fieldConfig } = panel;
  const theme = useTheme2();
  const frame = data.series.find((one) => one.length);
  const config = useMemo(
    () => frame && prepare(frame, panel, theme),
    [frame, options, timeRange, timeZone, theme],
  );
  if (!frame || !config) return <NoData text={fieldConfig.defaults.noValue} />;
  const times = frame.fields.find((field) => field.type === FieldType.time)!.values;
  return (
    <UPlotChart
      config={config}
      data={[times, times.map(() => null)] as unknown as uPlot.AlignedData}
      width={width}
      height={height}
    />
  );
}

const rowsOf = (frame: DataFrame): Field[] =>
  frame.fields.filter((field) => field.type === FieldType.number);

function prepare(frame: DataFrame, panel: PanelProps<Options>, theme: GrafanaTheme2): UPlotConfigBuilder {
  const { options, timeRange, timeZone } = panel;
  const rows = rowsOf(frame);
  const names = rows.map((row) => row.config.displayNameFromDS ?? row.name);
  const unit = getValueFormat(options.yAxis.unit ?? rows[0]?.config.unit);
  const named = (name: string): string =>
    name && Number.isFinite(Number(name))
      ? formattedValueToString(unit(Number(name), options.yAxis.decimals))
      : name;
  const builder = new UPlotConfigBuilder(timeZone);
  builder.addScale({
    scaleKey: "x",
    isTime: true,
    orientation: ScaleOrientation.Horizontal,
    direction: ScaleDirection.Right,
    range: () => [timeRange.from.valueOf(), timeRange.to.valueOf()],
  });
  builder.addAxis({ scaleKey: "x", isTime: true, placement: AxisPlacement.Bottom, timeZone, theme });
  builder.addScale({
    scaleKey: "y",
    orientation: ScaleOrientation.Vertical,
    direction: options.yAxis.reverse ? ScaleDirection.Down : ScaleDirection.Up,
    range: () => [0, rows.length],
  });
  builder.addAxis({
    scaleKey: "y",
    placement: AxisPlacement.Left,
    theme,
    label: options.yAxis.axisLabel,
    // A bucket's name is its upper bound, so it stands at the upper edge of its row.
    splits: (plot) => standing(plot, names.length),
    values: (_, splits: number[]) => splits.map((split) => named(names[split - 1] ?? "")),
    grid: { show: false },
  });
  builder.addSeries({ scaleKey: "y", theme, show: true, pathBuilder: () => null, pointsBuilder: () => undefined });
  builder.addHook("draw", (plot) => drawCells(plot, frame, options, theme));
  return builder;
}

/** As many of the rows' edges as have room for a name. */
function standing(plot: uPlot, rows: number): number[] {
  const every = Math.ceil(rows / Math.max(1, plot.bbox.height / devicePixelRatio / LINE_PIXELS));
  return Array.from({ length: Math.floor(rows / every) }, (_, index) => (index + 1) * every);
}

function drawCells(plot: uPlot, frame: DataFrame, options: Options, theme: GrafanaTheme2): void {
  const times = plot.data[0];
  const rows = rowsOf(frame);
  const counts = rows.flatMap((row) => row.values as number[]).filter((value) => value > 0);
  const most = options.color.max ?? Math.max(...counts, 0);
  const least = options.filterValues?.le ?? 1e-9;
  const color = colors(options, theme);
  const step = (times[1] ?? times[0]! + 1) - times[0]!;
  const gap = options.cellGap ?? 1;
  const { ctx } = plot;
  ctx.save();
  ctx.beginPath();
  ctx.rect(plot.bbox.left, plot.bbox.top, plot.bbox.width, plot.bbox.height);
  ctx.clip();
  rows.forEach((row, index) => {
    const [top, bottom] = [plot.valToPos(index + 1, "y", true), plot.valToPos(index, "y", true)];
    row.values.forEach((value: number | null, column) => {
      if (value === null || value <= least) return;
      const [left, right] = [times[column]! - step, times[column]!].map((at) => plot.valToPos(at, "x", true));
      ctx.fillStyle = color(value / most);
      ctx.fillRect(left!, Math.min(top, bottom), Math.max(right! - left! - gap, 1), Math.abs(bottom - top) - gap);
    });
  });
  ctx.restore();
}

function colors(options: Options, theme: GrafanaTheme2): (share: number) => string {
  const { mode, fill, exponent, scale, scheme, reverse, steps } = options.color;
  if (mode === HeatmapColorMode.Opacity) {
    const base = theme.visualization.getColorByName(fill);
    const power = scale === HeatmapColorScale.Linear ? 1 : exponent;
    return (share) => colorManipulator.alpha(base, Math.pow(Math.min(1, share), power));
  }
  const found = (schemes as unknown as Record<string, (at: number) => string>)[`interpolate${scheme}`];
  if (!found) throw new Error(`no such colour scheme in d3-scale-chromatic: ${scheme}`);
  // Grafana turns most schemes around in the dark, so that the many are bright there.
  const turned = theme.isDark !== Boolean(reverse);
  return (share) => {
    const at = Math.round(Math.min(1, share) * (steps - 1)) / (steps - 1);
    return found(turned ? 1 - at : at);
  };
}

export const heatmap = pluginOf<Options, object>({
  id: "heatmap",
  panel: Heatmap,
  options: {
    calculate: false,
    cellGap: 1,
    color: {
      mode: HeatmapColorMode.Scheme,
      scheme: "Oranges",
      fill: "dark-orange",
      exponent: 0.5,
      reverse: false,
      scale: HeatmapColorScale.Exponential,
      steps: 64,
    },
    exemplars: { color: "rgba(255,0,255,0.7)" },
    filterValues: { le: 1e-9 },
    legend: { show: true },
    rowsFrame: { layout: HeatmapCellLayout.auto },
    showValue: VisibilityMode.Auto,
    tooltip: { mode: TooltipDisplayMode.Single },
    yAxis: { axisPlacement: AxisPlacement.Left },
  },
  custom: { scaleDistribution: { type: ScaleDistribution.Linear }, hideFrom: undefined } as never,
});
