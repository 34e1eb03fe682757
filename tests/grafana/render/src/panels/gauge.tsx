// Gauge: an arc of our own, since no package of Grafana's exports its gauge.

import {
  FieldColorModeId,
  FieldConfigProperty,
  formattedValueToString,
  type PanelProps,
  ThresholdsMode,
} from "@grafana/data";
import { BarGaugeSizing, VizOrientation } from "@grafana/schema";
import type { Options } from "@grafana/schema/dist/esm/raw/composable/gauge/panelcfg/x/GaugePanelCfg_types.gen";
import { useTheme2 } from "@grafana/ui";

import { pluginOf } from "./plugin";
import { Values } from "./values";

const SWEEP = 1.2 * Math.PI;

function Gauge(panel: PanelProps<Options>) {
  const theme = useTheme2();
  return (
    <Values
      panel={panel}
      autoGrid
      draw={({ value, width, height }) => {
        const { display, field } = value;
        const min = field.min ?? 0;
        const max = field.max ?? (field.unit === "percentunit" ? 1 : 100);
        const share = (of: number): number => Math.min(1, Math.max(0, (of - min) / (max - min)));
        const radius = Math.min(width, height * 1.4) / 2 - 12;
        const center = { x: width / 2, y: height / 2 + radius * 0.25 };
        const shown = Math.max(0.004, share(display.numeric));
        const steps = field.thresholds?.steps ?? [];
        const percent = field.thresholds?.mode === ThresholdsMode.Percentage;
        return (
          <svg width={width} height={height} role="img">
            <Arc {...center} radius={radius * 0.85} width={radius * 0.22} from={0} to={1} color={theme.colors.background.secondary} />
            <Arc {...center} radius={radius * 0.85} width={radius * 0.22} from={0} to={shown} color={display.color ?? theme.colors.text.primary} />
            {panel.options.showThresholdMarkers &&
              steps.map((step, index) => {
                const next = steps[index + 1]?.value;
                const at = (of: number | null | undefined, otherwise: number): number =>
                  of === null || of === undefined || !Number.isFinite(of) ? otherwise : percent ? of / 100 : share(of);
                return (
                  <Arc key={index} {...center} radius={radius} width={4} from={at(step.value, 0)} to={at(next, 1)} color={theme.visualization.getColorByName(step.color)} />
                );
              })}
            <text x={center.x} y={center.y} textAnchor="middle" dominantBaseline="middle" fontSize={radius * 0.34} fill={display.color ?? theme.colors.text.primary}>
              {formattedValueToString(display)}
            </text>
            <text x={center.x} y={height - 4} textAnchor="middle" fontSize={13} fill={theme.colors.text.primary}>
              {display.title}
            </text>
          </svg>
        );
      }}
    />
  );
}

interface ArcProps {
  x: number;
  y: number;
  radius: number;
  width: number;
  from: number;
  to: number;
  color: string;
}

function Arc({ x, y, radius, width, from, to, color }: ArcProps) {
  const point = (share: number): string => {
    const angle = -Math.PI / 2 - SWEEP / 2 + share * SWEEP;
    return `${x + radius * Math.cos(angle)} ${y + radius * Math.sin(angle)}`;
  };
  const large = (to - from) * SWEEP > Math.PI ? 1 : 0;
  const path = `M ${point(from)} A ${radius} ${radius} 0 ${large} 1 ${point(to)}`;
  return <path d={path} fill="none" stroke={color} strokeWidth={width} />;
}

export const gauge = pluginOf<Options, object>({
  id: "gauge",
  panel: Gauge,
  options: {
    reduceOptions: { values: false, calcs: ["lastNotNull"], fields: "" },
    orientation: VizOrientation.Auto,
    showThresholdMarkers: true,
    showThresholdLabels: false,
    sizing: BarGaugeSizing.Auto,
    minVizHeight: 75,
    minVizWidth: 75,
  } as Options,
  standard: { [FieldConfigProperty.Color]: { mode: FieldColorModeId.Thresholds } },
  custom: {},
});
