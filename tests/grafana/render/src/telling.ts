// What became of every panel: read from the scene once nothing is loading any more.

import { FieldType, LoadingState } from "@grafana/data";
import { sceneGraph, type SceneObject, VizPanel } from "@grafana/scenes";

import type { Told } from "./asked";

export function tell(scene: SceneObject): Told[] | null {
  const panels = sceneGraph.findAllObjects(scene, (one) => one instanceof VizPanel) as VizPanel[];
  const told = panels.map(became);
  return told.every((one): one is Told => one !== null) ? told : null;
}

function became(panel: VizPanel): Told | null {
  const about = { id: panel.getLegacyPanelId(), title: panel.state.title, type: panel.state.pluginId };
  if (!panel.state.$data) return { ...about, state: "Done", errors: [], filled: [], rows: 0 };
  const { data } = sceneGraph.getData(panel).state;
  if (!data || ![LoadingState.Done, LoadingState.Error].includes(data.state)) return null;
  const errors = [...(data.errors ?? []), ...(data.error ? [data.error] : [])];
  const values = data.series.flatMap((frame) => frame.fields).filter(({ type }) => type !== FieldType.time);
  return {
    ...about,
    state: data.state,
    errors: [...new Set(errors.map((error) => error.message ?? "unknown"))],
    filled: values.filter((field) => field.values.some(present)).map((field) => field.name),
    rows: Math.max(0, ...data.series.map((frame) => frame.length)),
  };
}

const present = (value: unknown): boolean =>
  value !== null && value !== undefined && value !== "" && !Number.isNaN(value);
