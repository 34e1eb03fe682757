// A dashboard's JSON -> a scene. Grafana's application does the same; what the dashboards do not use
// (repeats, library panels, panels' own time) is refused, so that nothing is left out silently.

import { DataTransformerID, standardTransformersRegistry } from "@grafana/data";
import type { Dashboard, DataTransformerConfig, Panel, RowPanel } from "@grafana/schema";
import {
  behaviors,
  dataLayers,
  SceneDataLayerSet,
  SceneDataTransformer,
  SceneGridItem,
  type SceneGridItemLike,
  SceneGridLayout,
  SceneGridRow,
  SceneQueryRunner,
  SceneTimeRange,
  VizPanel,
} from "@grafana/scenes";

import { Page } from "./page";
import { panelPlugin } from "./panels";
import { variablesOf } from "./variables";

const UNKNOWN = ["repeat", "libraryPanel", "timeFrom", "timeShift", "hideTimeOverride"] as const;

export function sceneOf(dashboard: Dashboard): Page {
  const { from = "now-6h", to = "now" } = dashboard.time ?? {};
  return new Page({
    title: dashboard.title ?? "",
    links: dashboard.links ?? [],
    $timeRange: new SceneTimeRange({ from, to, timeZone: "utc" }),
    $variables: variablesOf(dashboard.templating?.list ?? []),
    $data: annotationsOf(dashboard),
    $behaviors: [new behaviors.CursorSync({ sync: dashboard.graphTooltip ?? 0 })],
    body: new SceneGridLayout({ isLazy: false, children: itemsOf(dashboard.panels ?? []) }),
  });
}

function annotationsOf(dashboard: Dashboard): SceneDataLayerSet {
  const queries = (dashboard.annotations?.list ?? []).filter(
    // Notes that people keep in Grafana itself: there is no such server here.
    ({ datasource }) => datasource?.uid !== "-- Grafana --",
  );
  return new SceneDataLayerSet({
    layers: queries.map(
      (query, index) =>
        new dataLayers.AnnotationsDataLayer({
          key: `annotations-${index}`,
          name: query.name,
          query,
          isEnabled: query.enable,
          isHidden: Boolean(query.hide),
        }),
    ),
  });
}

/** Panels below a row that is open are its siblings in the JSON, and its children in the scene. */
function itemsOf(panels: (Panel | RowPanel)[]): SceneGridItemLike[] {
  const items: SceneGridItemLike[] = [];
  let row: { state: RowPanel; children: SceneGridItem[] } | null = null;
  const close = (): void => {
    if (row) items.push(rowOf(row.state, row.children));
    row = null;
  };
  for (const panel of panels) {
    if (isRow(panel)) {
      close();
      row = { state: panel, children: panel.panels.map((one) => itemOf(one as Panel)) };
    } else {
      (row?.children ?? items).push(itemOf(panel));
    }
  }
  close();
  return items;
}

const isRow = (panel: Panel | RowPanel): panel is RowPanel => panel.type === "row";

function rowOf(row: RowPanel, children: SceneGridItem[]): SceneGridRow {
  return new SceneGridRow({
    key: `row-${row.id}`,
    title: row.title ?? "",
    y: row.gridPos?.y ?? 0,
    isCollapsible: true,
    // Drawn open all the same: a closed row shows nothing that could be looked at.
    isCollapsed: false,
    children,
  });
}

function itemOf(panel: Panel): SceneGridItem {
  panelPlugin(panel.type);
  for (const feature of UNKNOWN) {
    if (panel[feature]) {
      throw new Error(`panel ${panel.id} uses ${feature}, which the harness does not know`);
    }
  }
  const { x, y, w, h } = panel.gridPos!;
  return new SceneGridItem({
    key: `grid-${panel.id}`,
    x,
    y,
    width: w,
    height: h,
    body: new VizPanel({
      key: `panel-${panel.id}`,
      pluginId: panel.type,
      title: panel.title ?? "",
      description: panel.description ?? "",
      options: panel.options ?? {},
      fieldConfig: (panel.fieldConfig ?? { defaults: {}, overrides: [] }) as never,
      displayMode: panel.transparent ? "transparent" : "default",
      hoverHeader: !panel.title,
      $data: panel.targets?.length ? dataOf(panel) : undefined,
    }),
  });
}

function dataOf(panel: Panel): SceneDataTransformer {
  const transformations = (panel.transformations ?? []) as DataTransformerConfig[];
  for (const { id } of transformations) {
    // Left out without a word otherwise, and the panel would be judged on other data.
    if (!standardTransformersRegistry.getIfExists(id as DataTransformerID)) {
      throw new Error(`panel ${panel.id} uses the transformation ${id}, which is not in @grafana/data`);
    }
  }
  return new SceneDataTransformer({
    transformations,
    $data: new SceneQueryRunner({
      datasource: panel.datasource ?? undefined,
      queries: panel.targets as never,
      maxDataPoints: panel.maxDataPoints ?? undefined,
      maxDataPointsFromWidth: true,
      minInterval: panel.interval ?? undefined,
    }),
  });
}
