// What Grafana's application registers at its start: the standard field options and transformations.
// Both are Grafana's own code from @grafana/data; only the lists are written here. The options' editors
// are left out, since nothing is edited.

import {
  booleanOverrideProcessor,
  dataLinksOverrideProcessor,
  displayNameOverrideProcessor,
  type FieldConfigPropertyItem,
  identityOverrideProcessor,
  numberOverrideProcessor,
  standardEditorsRegistry,
  standardFieldConfigEditorRegistry,
  standardTransformers,
  standardTransformersRegistry,
  stringOverrideProcessor,
  ThresholdsMode,
  thresholdsOverrideProcessor,
  unitOverrideProcessor,
  valueMappingsOverrideProcessor,
} from "@grafana/data";

type Process = FieldConfigPropertyItem["process"];

/** What a field has that says nothing else. */
const DEFAULTS: Record<string, unknown> = {
  mappings: [],
  thresholds: {
    mode: ThresholdsMode.Absolute,
    steps: [
      { value: -Infinity, color: "green" },
      { value: 80, color: "red" },
    ],
  },
};

const PROCESSES: Record<string, Process> = {
  displayName: displayNameOverrideProcessor,
  unit: unitOverrideProcessor,
  min: numberOverrideProcessor,
  max: numberOverrideProcessor,
  fieldMinMax: booleanOverrideProcessor,
  decimals: numberOverrideProcessor,
  noValue: stringOverrideProcessor,
  color: identityOverrideProcessor,
  thresholds: thresholdsOverrideProcessor,
  mappings: valueMappingsOverrideProcessor,
  links: dataLinksOverrideProcessor,
  actions: identityOverrideProcessor,
  filterable: booleanOverrideProcessor,
};

export const Nothing = (): null => null;

/** A field option that is applied to every field. */
export function fieldOption(path: string, process: Process): FieldConfigPropertyItem {
  return {
    id: path,
    path,
    name: path,
    process,
    defaultValue: DEFAULTS[path],
    editor: Nothing,
    override: Nothing,
    shouldApply: () => true,
  };
}

export function registerStandards(): void {
  standardEditorsRegistry.setInit(() => []);
  standardFieldConfigEditorRegistry.setInit(() =>
    Object.entries(PROCESSES).map(([path, process]) => fieldOption(path, process)),
  );
  const byId = new Map(Object.values(standardTransformers).map((one) => [one.id, one]));
  standardTransformersRegistry.setInit(() =>
    [...byId.values()].map((one) => ({
      id: one.id,
      name: one.name,
      transformation: () => Promise.resolve(one),
      imageDark: "",
      imageLight: "",
      editor: Nothing,
    })),
  );
}
