// A panel plugin around a component. The panels of Grafana's application are not in its packages; each
// file beside this one stands in for one of them, on top of the component of @grafana/ui that draws.

import {
  FieldConfigProperty,
  identityOverrideProcessor,
  type PanelPluginMeta,
  PanelPlugin,
  type PanelProps,
  PluginType,
} from "@grafana/data";
import type { ComponentType } from "react";

import { Nothing } from "../standards";

export interface Form<Options, Custom> {
  id: string;
  panel: ComponentType<PanelProps<Options>>;
  options: Options;
  /** Every custom field option of the real panel, with its default value. */
  custom: { [Name in keyof Required<Custom>]: Custom[Name] };
  standard?: Partial<Record<FieldConfigProperty, unknown>>;
  padded?: boolean;
  /** Whether annotations are given to it. */
  annotated?: boolean;
}

export function pluginOf<Options extends object, Custom extends object>(
  form: Form<Options, Custom>,
): PanelPlugin {
  const plugin = new PanelPlugin<Options, Custom>(form.panel)
    .setDataSupport({ annotations: form.annotated ?? false })
    .useFieldConfig({
      standardOptions: Object.fromEntries(
        Object.entries(form.standard ?? {}).map(([name, value]) => [name, { defaultValue: value }]),
      ),
      useCustomConfig: (builder) => {
        for (const [path, defaultValue] of Object.entries(form.custom)) {
          builder.addCustomEditor({
            id: path,
            path: path as never,
            name: path,
            defaultValue: defaultValue as never,
            editor: Nothing,
            override: Nothing,
            process: identityOverrideProcessor,
            shouldApply: () => true,
          });
        }
      },
    });
  // setDefaults warns that it is deprecated, and the form that replaces it wants editors.
  Object.defineProperty(plugin, "defaults", { value: form.options });
  if (form.padded === false) plugin.setNoPadding();
  plugin.meta = { ...META, id: form.id, name: form.id };
  return plugin as unknown as PanelPlugin;
}

const META: PanelPluginMeta = {
  id: "",
  name: "",
  sort: 0,
  type: PluginType.panel,
  module: "",
  baseUrl: "",
  info: {
    author: { name: "" },
    description: "",
    links: [],
    logos: { small: "", large: "" },
    screenshots: [],
    updated: "",
    version: "13.2.2",
  },
};
