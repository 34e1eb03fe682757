// A dashboard's variables -> the scene's. Kinds that the dashboards do not use are refused.

import type { VariableModel } from "@grafana/schema";
import {
  ConstantVariable,
  CustomVariable,
  DataSourceVariable,
  IntervalVariable,
  QueryVariable,
  type SceneVariable,
  SceneVariableSet,
  TextBoxVariable,
} from "@grafana/scenes";

import { asked } from "./asked";

const ALL = "$__all";

export function variablesOf(models: VariableModel[]): SceneVariableSet {
  return new SceneVariableSet({ variables: models.map(variableOf) });
}

function variableOf(model: VariableModel): SceneVariable {
  const { name, hide, skipUrlSync } = model;
  const label = model.label ?? undefined;
  const common = { name, label, hide, skipUrlSync, description: model.description ?? null };
  const wanted = asked().variables[name];
  const value = wanted ?? model.current?.value ?? (model.includeAll ? ALL : "");
  const text = wanted ?? model.current?.text ?? (model.includeAll ? "All" : "");
  const many = {
    value: value as string | string[],
    text: text as string | string[],
    isMulti: model.multi ?? false,
    includeAll: model.includeAll ?? false,
    defaultToAll: model.includeAll ?? false,
    allValue: model.allValue ?? undefined,
  };
  switch (model.type) {
    case "datasource":
      return new DataSourceVariable({
        ...common,
        pluginId: String(model.query),
        regex: model.regex ?? "",
      });
    case "query":
      return new QueryVariable({
        ...common,
        ...many,
        datasource: model.datasource ?? null,
        query: model.query as string,
        regex: model.regex ?? "",
        refresh: model.refresh ?? 1,
        sort: model.sort ?? 0,
      });
    case "custom":
      return new CustomVariable({ ...common, ...many, query: String(model.query) });
    case "interval":
      return new IntervalVariable({
        ...common,
        value: String(value),
        intervals: String(model.query).split(","),
      });
    case "textbox":
      return new TextBoxVariable({ ...common, value: String(value || model.query || "") });
    case "constant":
      return new ConstantVariable({ ...common, value: String(model.query) });
    default:
      throw new Error(`variable ${name} is of a kind that the harness does not know: ${model.type}`);
  }
}
