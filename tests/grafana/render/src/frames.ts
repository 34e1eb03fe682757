// Answers of Prometheus -> Grafana's data frames, as its data source makes them. In Grafana this is
// the data source's work, half of it in the server; neither half is in a package we may use.

import {
  type DataFrame,
  DataFrameType,
  type Field,
  FieldType,
  type Labels,
  renderLegendFormat,
} from "@grafana/data";

export interface Series {
  metric: Labels;
  values: [number, string][];
}

export interface Query {
  refId: string;
  expr: string;
  format: "time_series" | "table" | "heatmap";
  instant: boolean;
  range: boolean;
  legendFormat: string;
  /** The least step, as the dashboard wrote it. */
  interval: string;
}

/** One frame a series; a range has a value at each step, null where Prometheus has none. */
export function timeSeries(query: Query, series: Series[], times: number[] | null): DataFrame[] {
  const alone = series.length === 1;
  return series.map((one) => {
    const name = legend(query, one.metric, alone);
    const at = times ?? one.values.map(([seconds]) => seconds * 1000);
    const found = new Map(one.values.map(([seconds, value]) => [seconds * 1000, number(value)]));
    const values = at.map((time) => found.get(time) ?? null);
    return {
      refId: query.refId,
      name,
      length: at.length,
      meta: { type: DataFrameType.TimeSeriesMulti, executedQueryString: query.expr },
      fields: [
        { name: "Time", type: FieldType.time, config: {}, values: at },
        {
          name: "Value",
          type: FieldType.number,
          config: { displayNameFromDS: name },
          labels: one.metric,
          values,
        },
      ],
    };
  });
}

/** One frame of all series: a column a label, and the value last, named after the query if others are. */
export function table(query: Query, series: Series[], others: boolean): DataFrame[] {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  const rows = series.flatMap((one) => one.values.map((point) => ({ metric: one.metric, point })));
  const column = (name: string, type: FieldType, values: unknown[]): Field => ({
    name,
    type,
    config: name === "Time" ? {} : { filterable: type === FieldType.string },
    values,
  });
  const frame: DataFrame = {
    refId: query.refId,
    length: rows.length,
    meta: { executedQueryString: query.expr },
    fields: [
      column("Time", FieldType.time, rows.map((row) => row.point[0] * 1000)),
      ...labels.map((label) =>
        column(label, FieldType.string, rows.map((row) => row.metric[label] ?? "")),
      ),
      column(
        others ? `Value #${query.refId}` : "Value",
        FieldType.number,
        rows.map((row) => number(row.point[1])),
      ),
    ],
  };
  return rows.length ? [frame] : [];
}

/** One frame of the buckets of a histogram, least bound first, each without what is below it. */
export function heatmap(query: Query, series: Series[], times: number[]): DataFrame[] {
  const buckets = timeSeries(query, series, times)
    .map((frame) => ({ bound: bound(frame), frame }))
    .sort((one, other) => one.bound - other.bound);
  if (!buckets.length) return [];
  const fields = buckets.map(({ frame }, index): Field => {
    const below = index ? buckets[index - 1]!.frame.fields[1]!.values : [];
    const own = frame.fields[1]!;
    const { le } = own.labels ?? {};
    return {
      ...own,
      name: le ?? frame.name ?? "",
      config: { displayNameFromDS: le ?? frame.name },
      values: own.values.map((value: number | null, row) =>
        value === null ? null : Math.max(0, value - (Number(below[row]) || 0)),
      ),
    };
  });
  return [
    {
      refId: query.refId,
      length: times.length,
      meta: { type: DataFrameType.HeatmapRows, executedQueryString: query.expr },
      fields: [buckets[0]!.frame.fields[0]!, ...fields],
    },
  ];
}

function bound(frame: DataFrame): number {
  const le = frame.fields[1]!.labels?.["le"] ?? frame.name ?? "";
  return le === "+Inf" ? Infinity : Number(le);
}

function legend(query: Query, metric: Labels, alone: boolean): string {
  const { __name__: name = "", ...labels } = metric;
  const written = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const plain = name || written.length ? `${name}{${written.join(", ")}}` : query.expr;
  if (query.legendFormat === "__auto") {
    return alone && !written.length ? name || query.expr : plain;
  }
  return query.legendFormat ? renderLegendFormat(query.legendFormat, metric) : plain;
}

function number(text: string): number {
  return text === "+Inf" ? Infinity : text === "-Inf" ? -Infinity : Number(text);
}
