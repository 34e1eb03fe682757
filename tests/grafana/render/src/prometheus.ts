// The data source: Prometheus' HTTP API, asked from the page. It stands in for Grafana's own one, and
// follows its rules on steps, on $__rate_interval and on how variables are written into a query.

import {
  type AnnotationEvent,
  type AnnotationQuery,
  type DataFrame,
  type DataQueryRequest,
  type DataQueryResponse,
  type DataSourceApi,
  type MetricFindValue,
  rangeUtil,
  type ScopedVars,
  type TimeRange,
} from "@grafana/data";
import type { DataQuery } from "@grafana/schema";
import { RuntimeDataSource, sceneGraph, type SceneObject } from "@grafana/scenes";
import { from, type Observable, of } from "rxjs";

import { heatmap, type Query, type Series, table, timeSeries } from "./frames";

const MOST_POINTS = 11_000;

interface Answer {
  status: string;
  error?: string;
  data: { resultType: string; result: { metric: Record<string, string>; value?: [number, string]; values?: [number, string][] }[] };
}

type Target = Partial<Query> & DataQuery;

export class Prometheus extends RuntimeDataSource {
  constructor(
    uid: string,
    private readonly url: string,
    private readonly scrapeInterval: string,
  ) {
    super("prometheus", uid);
    this.meta.name = "Prometheus";
    // Grafana finds these two by looking for them on the data source.
    (this as DataSourceApi).annotations = {
      prepareAnnotation: withTarget,
      processEvents: (annotation, frames) => of(events(annotation, frames)),
    };
    this.interval = scrapeInterval;
  }

  override query(request: DataQueryRequest): Observable<DataQueryResponse> {
    const targets = (request.targets as Target[]).filter((target) => !target.hide && target.expr);
    const answers = targets.map((target) => this.ask(target, request, targets.length > 1));
    return from(Promise.all(answers).then((frames) => ({ data: frames.flat() })));
  }

  /** Variables: label_values(label), label_values(query, label), query_result(query), metrics(regex). */
  override async metricFindQuery(
    asked: string | { query?: string },
    options?: { scopedVars?: ScopedVars; range?: TimeRange },
  ): Promise<MetricFindValue[]> {
    const { scopedVars = {}, range } = options ?? {};
    const text = typeof asked === "string" ? asked : (asked.query ?? "");
    const query = interpolate(text, scopedVars);
    const limits: Record<string, string> = range
      ? { start: seconds(range.from.valueOf()), end: seconds(range.to.valueOf()) }
      : {};
    const values = /^label_values\((?:(.+),\s*)?([a-zA-Z_]\w*)\)\s*$/.exec(query);
    if (values) {
      if (values[1]) limits["match[]"] = values[1].trim();
      return this.values(`label/${values[2]}/values`, limits);
    }
    const metrics = /^metrics\((.*)\)\s*$/.exec(query);
    if (metrics) {
      const found = await this.values("label/__name__/values", limits);
      return found.filter(({ text }) => new RegExp(metrics[1]!).test(text));
    }
    const result = /^query_result\((.+)\)\s*$/s.exec(query);
    if (result) {
      const time = limits["end"] ?? seconds(Date.now());
      const series = await this.series("query", { query: result[1]!, time });
      return series.map(({ metric, values: [point] }) => {
        const { __name__: name = "", ...labels } = metric;
        const written = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
        const when = Math.round(point![0] * 1000);
        return { text: `${name}{${written.join(",")}} ${point![1]} ${when}` };
      });
    }
    throw new Error(`a variable's query that the harness does not know: ${query}`);
  }

  private async ask(
    target: Target,
    request: DataQueryRequest,
    others: boolean,
  ): Promise<DataFrame[]> {
    const query: Query = {
      refId: target.refId,
      expr: "",
      format: target.format ?? "time_series",
      instant: target.instant ?? false,
      range: target.range ?? !target.instant,
      legendFormat: target.legendFormat ?? "__auto",
      interval: target.interval ?? "",
    };
    if (query.instant === query.range) {
      throw new Error(`query ${query.refId}: either instant or range, one frame a query`);
    }
    const step = this.step(query, request);
    query.expr = interpolate(target.expr!, this.macros(step, request));
    query.legendFormat = interpolate(query.legendFormat, request.scopedVars);
    const to = request.range.to.valueOf() / 1000;
    if (query.instant) {
      const series = await this.series("query", { query: query.expr, time: String(to) });
      return query.format === "table"
        ? table(query, series, others)
        : timeSeries(query, series, null);
    }
    // Aligned, so that the same points are asked for again after a while: as Grafana does.
    const start = Math.floor(request.range.from.valueOf() / 1000 / step) * step;
    const end = Math.floor(to / step) * step;
    const series = await this.series("query_range", {
      query: query.expr,
      start: String(start),
      end: String(end),
      step: String(step),
    });
    const times = Array.from({ length: Math.floor((end - start) / step) + 1 }, (_, row) =>
      Math.round((start + row * step) * 1000),
    );
    if (query.format === "table") return table(query, series, others);
    return query.format === "heatmap"
      ? heatmap(query, series, times)
      : timeSeries(query, series, times);
  }

  private step(query: Query, request: DataQueryRequest): number {
    const least = interpolate(query.interval, request.scopedVars) || this.scrapeInterval;
    const range = request.range.to.valueOf() - request.range.from.valueOf();
    return Math.max(
      rangeUtil.intervalToSeconds(least),
      request.intervalMs / 1000,
      Math.ceil(range / 1000 / MOST_POINTS),
    );
  }

  private macros(step: number, request: DataQueryRequest): ScopedVars {
    const scrape = rangeUtil.intervalToSeconds(this.scrapeInterval);
    const range = Math.round((request.range.to.valueOf() - request.range.from.valueOf()) / 1000);
    const macro = (value: string): { text: string; value: string } => ({ text: value, value });
    return {
      ...request.scopedVars,
      __interval: macro(`${step}s`),
      __interval_ms: macro(String(step * 1000)),
      __rate_interval: macro(`${Math.max(step + scrape, 4 * scrape)}s`),
      __range: macro(`${range}s`),
      __range_s: macro(String(range)),
      __range_ms: macro(String(range * 1000)),
    };
  }

  private async series(path: string, parameters: Record<string, string>): Promise<Series[]> {
    const { data } = await this.get<Answer>(path, parameters);
    if (data.resultType === "scalar" || data.resultType === "string") {
      return [{ metric: {}, values: [data.result as unknown as [number, string]] }];
    }
    return data.result.map(({ metric, value, values }) => ({
      metric,
      values: values ?? (value ? [value] : []),
    }));
  }

  private async values(path: string, parameters: Record<string, string>): Promise<MetricFindValue[]> {
    const { data } = await this.get<{ data: string[] }>(path, parameters);
    return data.map((text) => ({ text }));
  }

  private async get<T>(path: string, parameters: Record<string, string>): Promise<T> {
    const answer = await fetch(`${this.url}/api/v1/${path}?${new URLSearchParams(parameters)}`);
    const body = (await answer.json()) as T & { error?: string };
    if (!answer.ok) throw new Error(`${body.error ?? answer.statusText}: ${parameters["query"]}`);
    return body;
  }
}

/** Variables into a query: several values as alternatives of a regular expression, escaped. */
export function interpolate(text: string, scoped: ScopedVars): string {
  const scene = scoped["__sceneObject"]?.value?.valueOf() as SceneObject | undefined;
  if (!scene) return text;
  return sceneGraph.interpolate(
    scene,
    text,
    scoped,
    (value: unknown, variable: { multi?: boolean; includeAll?: boolean }) => {
      if (!Array.isArray(value)) {
        const one = String(value);
        return variable.multi || variable.includeAll ? escaped(one) : quoted(one);
      }
      const values = value.map((one) => escaped(String(one)));
      return values.length === 1 ? values[0]! : `(${values.join("|")})`;
    },
  );
}

const quoted = (value: string): string => value.replace(/\\/g, "\\\\").replace(/"/g, '\\"');

const escaped = (value: string): string =>
  value.replace(/\\/g, "\\\\\\\\").replace(/[$^*{}[\]+?.()|]/g, "\\\\$&").replace(/"/g, '\\"');

const seconds = (milliseconds: number): string => String(milliseconds / 1000);

function withTarget(annotation: AnnotationQuery & { expr?: string; step?: string }): AnnotationQuery {
  const { expr, step: interval = "" } = annotation;
  if (annotation.target || !expr) return annotation;
  return { ...annotation, target: { refId: "Anno", expr, interval, range: true } as DataQuery };
}

/** Every stretch of steps in which a series has a value other than 0 is one event. */
function events(
  annotation: AnnotationQuery & { titleFormat?: string; textFormat?: string; tagKeys?: string },
  frames: DataFrame[],
): AnnotationEvent[] {
  const found: AnnotationEvent[] = [];
  for (const frame of frames) {
    const [time, value] = frame.fields;
    const labels = value?.labels ?? {};
    const write = (format = ""): string => format.replace(/{{\s*(\w+)\s*}}/g, (_, label: string) => labels[label] ?? "");
    let open: AnnotationEvent | null = null;
    for (let row = 0; row < frame.length; row++) {
      const at = time!.values[row] as number;
      if (!value!.values[row]) {
        open = null;
      } else if (open) {
        open.timeEnd = at;
        open.isRegion = true;
      } else {
        open = {
          time: at,
          title: write(annotation.titleFormat),
          text: write(annotation.textFormat),
          tags: (annotation.tagKeys ?? "").split(",").flatMap((key) => labels[key.trim()] ?? []),
        };
        found.push(open);
      }
    }
  }
  return found;
}
