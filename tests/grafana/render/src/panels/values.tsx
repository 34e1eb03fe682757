// What stat, gauge and bar gauge share: the values of the fields, reduced by @grafana/data and laid out
// by VizRepeater of @grafana/ui.

import {
  type FieldDisplay,
  getFieldDisplayValues,
  type PanelProps,
  VizOrientation,
} from "@grafana/data";
import type { SingleStatBaseOptions } from "@grafana/schema";
import { useTheme2, VizRepeater, type VizRepeaterRenderValueProps } from "@grafana/ui";
import type { ComponentProps, JSX } from "react";

import { NoData } from "./empty";

type Repeated = Partial<ComponentProps<typeof VizRepeater<FieldDisplay, object>>>;

export interface Laid<Options extends SingleStatBaseOptions> extends Repeated {
  panel: PanelProps<Options>;
  sparkline?: boolean;
  percentChange?: boolean;
  draw: (shown: VizRepeaterRenderValueProps<FieldDisplay, object>) => JSX.Element;
}

export function Values<Options extends SingleStatBaseOptions>(laid: Laid<Options>) {
  const { panel, sparkline = false, percentChange = false, draw, ...repeated } = laid;
  const { data, options, fieldConfig, replaceVariables, timeZone, width, height } = panel;
  const theme = useTheme2();
  const filled = data.series.filter((frame) => frame.length);
  const values = filled.length
    ? getFieldDisplayValues({
        fieldConfig,
        reduceOptions: options.reduceOptions,
        replaceVariables,
        theme,
        data: data.series,
        sparkline,
        percentChange,
        timeZone,
      })
    : [];
  if (!values.length) return <NoData text={fieldConfig.defaults.noValue} />;
  return (
    <VizRepeater<FieldDisplay, object>
      getValues={() => values}
      renderValue={draw}
      width={width}
      height={height}
      source={data}
      itemSpacing={3}
      renderCounter={panel.renderCounter}
      orientation={options.orientation as unknown as VizOrientation}
      {...repeated}
    />
  );
}
