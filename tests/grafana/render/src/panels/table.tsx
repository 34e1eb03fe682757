// Table: drawn by TableNG of @grafana/ui, which is what Grafana's own table panel draws with.

import { cacheFieldDisplayNames, FieldColorModeId, FieldConfigProperty, type PanelProps } from "@grafana/data";
import { defaultTableFieldOptions, TableCellHeight } from "@grafana/schema";
import type {
  FieldConfig,
  Options,
} from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import { TableNG } from "@grafana/ui/unstable";

import { NoData } from "./empty";
import { pluginOf } from "./plugin";

function TablePanel(panel: PanelProps<Options>) {
  const { data, options, width, height, timeRange, fieldConfig } = panel;
  const frame = data.series[options.frameIndex ?? 0];
  if (!frame?.length) return <NoData text={fieldConfig.defaults.noValue} />;
  // TableNG takes names from there alone, and the overrides have cleared it.
  cacheFieldDisplayNames(data.series);
  return (
    <TableNG
      data={frame}
      width={width}
      height={height}
      timeRange={timeRange}
      fieldConfig={fieldConfig}
      noHeader={!options.showHeader}
      sortBy={options.sortBy}
      cellHeight={options.cellHeight}
      maxRowHeight={options.maxRowHeight}
      enablePagination={options.enablePagination}
      frozenColumns={options.frozenColumns?.left}
      structureRev={data.structureRev}
      // All rows at once: the picture is of the whole panel.
      enableVirtualization={false}
    />
  );
}

export const table = pluginOf<Options, FieldConfig>({
  id: "table",
  panel: TablePanel,
  options: { frameIndex: 0, showHeader: true, cellHeight: TableCellHeight.Sm },
  standard: { [FieldConfigProperty.Color]: { mode: FieldColorModeId.Thresholds } },
  custom: {
    align: "auto",
    cellOptions: defaultTableFieldOptions.cellOptions!,
    displayMode: undefined,
    filterable: undefined,
    footer: undefined,
    hideFrom: undefined,
    hideHeader: undefined,
    inspect: false,
    minWidth: undefined,
    sortable: undefined,
    styleField: undefined,
    tooltip: undefined,
    width: undefined,
    wrapHeaderText: undefined,
    wrapText: undefined,
  },
});
