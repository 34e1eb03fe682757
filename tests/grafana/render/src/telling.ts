// What became of every panel: its data from the scene, once all of it has come, and what is on the page.

import { FieldType, LoadingState } from "@grafana/data";
import { sceneGraph, type SceneObject, VizPanel } from "@grafana/scenes";

import type { Told } from "./asked";

const LEAST_SATURATION = 24;

export function tell(scene: SceneObject): Told[] | null {
  const panels = sceneGraph.findAllObjects(scene, (one) => one instanceof VizPanel) as VizPanel[];
  const told = panels.map(became);
  return told.every((one): one is Told => one !== null) ? told : null;
}

function became(panel: VizPanel): Told | null {
  const element = document.querySelector(`[data-viz-panel-key="${panel.state.key}"]`);
  const content = element?.querySelector('[data-testid="data-testid panel content"]');
  if (!content) return null;
  const about = {
    id: panel.getLegacyPanelId(),
    title: panel.state.title,
    type: panel.state.pluginId,
    text: content.textContent ?? "",
    colored: [...content.querySelectorAll("canvas")].map(colored).reduce((sum, one) => sum + one, 0),
  };
  if (!panel.state.$data) return { ...about, state: "Done", errors: [], filled: [], rows: 0 };
  const source = sceneGraph.getData(panel);
  const { data } = source.state;
  const ended = data && [LoadingState.Done, LoadingState.Error].includes(data.state);
  // Before the first answer there is an empty one that says it is done.
  if (!ended || !source.isDataReadyToDisplay?.()) return null;
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

function colored(canvas: HTMLCanvasElement): number {
  if (!canvas.width || !canvas.height) return 0;
  const { data } = canvas.getContext("2d", { willReadFrequently: true })!.getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) {
    const [red, green, blue, alpha] = [data[at]!, data[at + 1]!, data[at + 2]!, data[at + 3]!];
    if (alpha && Math.max(red, green, blue) - Math.min(red, green, blue) >= LEAST_SATURATION) found++;
  }
  return found;
}
