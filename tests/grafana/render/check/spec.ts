// What a dashboard's JSON may be: the types of @grafana/schema, with the options of each kind of panel.
// The schema names values by enums, which JSON writes as what they stand for; and it calls required what
// a panel fills in itself, so options may be left out at any depth, but none may be made up.

import type { AnnotationQuery, Dashboard, FieldConfig, Panel, RowPanel } from "@grafana/schema";
import type * as BarChart from "@grafana/schema/dist/esm/raw/composable/barchart/panelcfg/x/BarChartPanelCfg_types.gen";
import type * as BarGauge from "@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen";
import type * as Gauge from "@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen";
import type * as Heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as PieChart from "@grafana/schema/dist/esm/raw/composable/piechart/panelcfg/x/PieChartPanelCfg_types.gen";
import type * as Stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as StateTimeline from "@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen";
import type * as Table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as Text from "@grafana/schema/dist/esm/raw/composable/text/panelcfg/x/TextPanelCfg_types.gen";
import type * as TimeSeries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Any<T> = 0 extends 1 & T ? true : false;

/** Enums of text as their texts, and objects of them. */
type Plain<T> =
  Any<T> extends true ? unknown
  : T extends string ? (string extends T ? T : `${T}`)
  : T extends (infer Item)[] ? Plain<Item>[]
  : T extends object ? { [Key in keyof T]: Plain<T[Key]> }
  : T;

type Partly<T> = T extends (infer Item)[] ? Partly<Item>[]
  : T extends object ? { [Key in keyof T]?: Partly<T[Key]> }
  : T;

interface Shown<Kind extends string, Options, Custom = object>
  extends Omit<Plain<Panel>, "type" | "options" | "fieldConfig"> {
  type: Kind;
  options?: Partly<Plain<Options>>;
  fieldConfig?: {
    defaults: Omit<Plain<FieldConfig>, "custom"> & { custom?: Partly<Plain<Custom>> };
    overrides: { matcher: { id: string; options?: unknown }; properties: { id: string; value?: unknown }[] }[];
  };
}

type Row = Omit<Plain<RowPanel>, "panels" | "type"> & { type: "row"; panels?: Known[] };

type Known =
  | Shown<"barchart", BarChart.Options, BarChart.FieldConfig>
  | Shown<"bargauge", BarGauge.Options>
  | Shown<"gauge", Gauge.Options>
  | Shown<"heatmap", Heatmap.Options, Heatmap.FieldConfig>
  | Shown<"piechart", PieChart.Options, PieChart.FieldConfig>
  | Shown<"stat", Stat.Options>
  | Shown<"state-timeline", StateTimeline.Options, StateTimeline.FieldConfig>
  | Shown<"table", Table.Options, Table.FieldConfig>
  | Shown<"text", Text.Options>
  | Shown<"timeseries", TimeSeries.Options, TimeSeries.FieldConfig>;

/** Prometheus' data source writes these beside the schema's own. */
type Annotation = Plain<AnnotationQuery> & {
  expr?: string;
  step?: string;
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
};

/** A dashboard as it stands in a file: what an import by hand asks for may stand in it, too. */
export type Spec = Omit<Plain<Dashboard>, "panels" | "annotations"> & {
  annotations?: { list?: Annotation[] };
  panels: (Known | Row)[];
  __inputs?: object[];
  __requires?: object[];
  __elements?: object;
};
