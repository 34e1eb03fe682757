"""Panels: the few kinds that the dashboards are made of, each with all that a panel must have.

A panel has a title that is a question or a plain noun, a unit, and a description that says what to
do when it looks wrong. What it shows is decided by the dashboards.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, Self

from grafana_foundation_sdk.builders import bargauge, heatmap, stat, table, timeseries
from grafana_foundation_sdk.builders.common import (
    GraphThresholdsStyleConfig,
    ReduceDataOptions,
    StackingConfig,
    TableSortByFieldState,
    VizLegendOptions,
    VizTextDisplayOptions,
    VizTooltipOptions,
)
from grafana_foundation_sdk.builders.dashboard import FieldColor, ThresholdsConfig
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models.common import DataSourceRef
from grafana_foundation_sdk.models.dashboard import (
    DataTransformerConfig,
    DynamicConfigValue,
    MatcherConfig,
    Panel,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode, HeatmapColorScale
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from grafana.build import colours

SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")

USD = "currencyUSD"
RATIO = "percentunit"
TIMES = "suffix:×"
COUNT = "short"
SECONDS = "s"
TOKENS = "suffix: tok"
USD_PER_MTOK = "currencyUSD"
BYTES = "bytes"

Override = tuple[MatcherConfig, list[DynamicConfigValue]]


LIMIT_LINE: Override = (
    colours.named("limit"),
    [
        colours.colour(colours.LIMIT),
        DynamicConfigValue(id_val="custom.lineStyle", value={"fill": "dash", "dash": [8, 6]}),
        DynamicConfigValue(id_val="custom.fillOpacity", value=0),
        DynamicConfigValue(
            id_val="custom.stacking", value={"mode": common.StackingMode.NONE.value, "group": "A"}
        ),
    ],
)
"""How a series called `limit` is drawn."""

SESSION_LINK: Mapping[str, object] = {
    "links": [
        {
            "title": "Open the session",
            "url": "${exporter}/sessions/${__value.text:percentencode}",
            "targetBlank": True,
        }
    ]
}
"""A click on a session's id opens its page in the exporter."""

SEVERITIES: Mapping[str, object] = {
    "mappings": [
        {
            "type": "value",
            "options": {
                "critical": {"color": colours.OVER, "index": 0},
                "warning": {"color": colours.NEAR, "index": 1},
                "info": {"color": "blue", "index": 2},
            },
        }
    ],
    "custom.cellOptions": {"type": "color-text"},
}
"""The colours of an alert's severity."""


NAMELESS = {
    "customer": "no customer",
    "team": "no team",
    "agent": "no agent",
    "model": "no model",
}
"""What is called so belongs to none: a stray call, a router before the first agent."""

LEGEND_WIDTH = 290


class Query(NamedTuple):
    """An expression and what its series are called; `{{label}}` is put in by Grafana."""

    expr: str
    legend: str = ""


class About(NamedTuple):
    """What every panel says of itself."""

    title: str
    description: str
    unit: str
    decimals: int | None = None


class _Described(Protocol):
    def title(self, title: str) -> Self: ...
    def description(self, description: str) -> Self: ...
    def unit(self, unit: str) -> Self: ...
    def decimals(self, decimals: float) -> Self: ...
    def datasource(self, datasource: DataSourceRef) -> Self: ...
    def with_target(self, target: Dataquery) -> Self: ...


def stat_of(
    about: About,
    expr: str,
    *,
    thresholds: ThresholdsConfig | None = None,
    colour: str = colours.QUIET,
    legend: str = "",
    empty: str = "–",
    trend: bool = False,
) -> Builder[Panel]:
    """Return one large figure; coloured by its thresholds if it has some."""
    panel = stat.Panel()
    _describe(panel, about, [Query(expr, legend or about.title)], instant=not trend)
    calc = ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    panel.reduce_options(calc).no_value(empty)
    panel.graph_mode(common.BigValueGraphMode.AREA if trend else common.BigValueGraphMode.NONE)
    panel.text_mode(common.BigValueTextMode.VALUE).color_mode(common.BigValueColorMode.VALUE)
    if thresholds is None:
        panel.color_scheme(colours.fixed(colour))
    else:
        panel.thresholds(thresholds).color_scheme(colours.by_threshold())
    return panel


def graph(
    about: About,
    queries: Sequence[Query],
    *,
    stacked: bool = False,
    bars: bool = False,
    overrides: Sequence[Override] = (),
    colour: FieldColor | None = None,
    thresholds: ThresholdsConfig | None = None,
    top: float | None = None,
    calcs: Sequence[str] = ("lastNotNull", "max"),
    interval: str = "",
    bottom: float = 0,
    narrow: bool = False,
) -> Builder[Panel]:
    """Return lines over time, with their names and last values beside them.

    On a `narrow` panel the names stand below. `top` is how high the axis goes at least.
    """
    panel = timeseries.Panel()
    _describe(panel, about, queries)
    legend = VizLegendOptions().show_legend(True).calcs(list(calcs))
    if narrow:
        legend.display_mode(common.LegendDisplayMode.LIST).placement(common.LegendPlacement.BOTTOM)
    else:
        legend.display_mode(common.LegendDisplayMode.TABLE)
        legend.placement(common.LegendPlacement.RIGHT).width(LEGEND_WIDTH)
        legend.sort_by("Last *").sort_desc(True)
    tooltip = VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel.legend(legend).tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    panel.color_scheme(colour or colours.by_alphabet())
    panel.line_width(1).fill_opacity(
        30 if stacked or (len(queries) == 1 and not _names(queries[0])) else 0
    ).min(bottom)
    panel.show_points(common.VisibilityMode.NEVER).span_nulls(False)
    if stacked:
        panel.stacking(StackingConfig().mode(common.StackingMode.NORMAL).group("A"))
    if bars:
        panel.draw_style(common.GraphDrawStyle.BARS).fill_opacity(70)
    if thresholds is not None:
        style = GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds(thresholds).thresholds_style(style)
    if top is not None:
        panel.axis_soft_max(top)
    if interval:
        panel.interval(interval)
    for matcher, properties in overrides:
        panel.with_override(matcher, properties)
    return panel


def ranking(
    about: About,
    queries: Sequence[Query],
    *,
    thresholds: ThresholdsConfig | None = None,
    colour: FieldColor | None = None,
    overrides: Sequence[Override] = (),
    top: float | None = None,
    empty: str = "–",
) -> Builder[Panel]:
    """Return bars, one below the other, of what stands now or of the time that is shown."""
    panel = bargauge.Panel()
    _describe(panel, about, queries, instant=True)
    panel.orientation(common.VizOrientation.HORIZONTAL).no_value(empty)
    panel.display_mode(common.BarGaugeDisplayMode.BASIC).show_unfilled(False).min(0)
    panel.value_mode(common.BarGaugeValueMode.TEXT)
    panel.name_placement(common.BarGaugeNamePlacement.LEFT)
    panel.sizing(common.BarGaugeSizing.MANUAL).min_viz_height(16).max_viz_height(28)
    panel.reduce_options(ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    panel.text(VizTextDisplayOptions().title_size(12).value_size(14))
    if top is not None:
        panel.max(top)
    if thresholds is None:
        panel.color_scheme(colour or colours.fixed(colours.SPENT))
    else:
        panel.thresholds(thresholds).color_scheme(colours.by_threshold())
    for matcher, properties in overrides:
        panel.with_override(matcher, properties)
    return panel


class Column(NamedTuple):
    """A column of a table: the field it is made of, its name, and how its values are shown."""

    field: str
    name: str
    unit: str = ""
    decimals: int | None = None
    width: int | None = None
    more: Mapping[str, object] = {}


def table_of(
    about: About,
    queries: Sequence[str],
    columns: Sequence[Column],
    *,
    sort: str = "",
    thresholds: ThresholdsConfig | None = None,
) -> Builder[Panel]:
    """Return rows: the queries' series joined by their labels, a column for each label and value.

    The value of query A is the field `Value #A`. Columns stand in the order given; what is not
    named is hidden. Without `sort` the rows stand in the order of the query.
    """
    panel = table.Panel()
    _describe(panel, about, [Query(expr) for expr in queries], instant=True, tabular=True)
    panel.no_value("–").cell_height(common.TableCellHeight.SM).align(common.FieldTextAlignment.AUTO)
    if sort:
        panel.sort_by([TableSortByFieldState().display_name(sort).desc(True)])
    panel.thresholds(thresholds or colours.steps()).color_scheme(colours.fixed(colours.QUIET))
    if len(queries) > 1:
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    fields = [column.field for column in columns]
    panel.with_transformation(
        DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": fields}})
    )
    panel.with_transformation(
        DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": {},
                "indexByName": {name: number for number, name in enumerate(fields)},
                "renameByName": {column.field: column.name for column in columns},
            },
        )
    )
    for column in columns:
        if properties := _properties(column):
            panel.with_override(colours.named(column.name), properties)
    return panel


def _properties(column: Column) -> list[DynamicConfigValue]:
    found: dict[str, object] = {}
    if column.unit:
        found["unit"] = column.unit
    if column.decimals is not None:
        found["decimals"] = column.decimals
    if column.width is not None:
        found["custom.width"] = column.width
    return [
        DynamicConfigValue(id_val=key, value=value)
        for key, value in (found | dict(column.more)).items()
    ]


def buckets(about: About, expr: str, *, interval: str = "") -> Builder[Panel]:
    """Return a histogram's buckets over time, darker where more fell into them."""
    panel = heatmap.Panel()
    _describe(panel, about, [Query(expr, "{{le}}")], heatmap_format=True)
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues")
    colour.scale(HeatmapColorScale.EXPONENTIAL).exponent(0.5).steps(32).fill("dark-blue")
    panel.color(colour).calculate(False).cell_gap(1).show_legend()
    axis = heatmap.YAxisConfig().axis_placement(common.AxisPlacement.LEFT).unit(about.unit)
    if about.decimals is not None:
        axis.decimals(about.decimals)
    panel.y_axis(axis)
    panel.cell_values(heatmap.CellValues().unit(COUNT).decimals(1))
    if interval:
        panel.interval(interval)
    panel.rows_frame(heatmap.RowsHeatmapOptions().layout(common.HeatmapCellLayout.AUTO))
    return panel


def _names(query: Query) -> list[str]:
    """Return the labels that a query's series are called by."""
    return re.findall(r"{{(\w+)}}", query.legend)


def _all_named(query: Query) -> str:
    """Return the query so that no series lacks a name: Grafana would call it by the label's."""
    expr = query.expr
    for label in _names(query):
        if label in NAMELESS:
            expr = f'label_replace({expr}, "{label}", "{NAMELESS[label]}", "{label}", "")'
    return expr


def _describe(
    panel: _Described,
    about: About,
    queries: Sequence[Query],
    *,
    instant: bool = False,
    tabular: bool = False,
    heatmap_format: bool = False,
) -> None:
    panel.title(about.title).description(about.description).unit(about.unit).datasource(SOURCE)
    if about.decimals is not None:
        panel.decimals(about.decimals)
    for number, query in enumerate(queries):
        expr = query.expr if tabular else _all_named(query)
        target = Dataquery().expr(expr).ref_id(chr(ord("A") + number)).datasource(SOURCE)
        if instant:
            target.instant()
        else:
            target.range()
        if query.legend:
            target.legend_format(query.legend)
        if tabular:
            target.format(PromQueryFormat.TABLE)
        elif heatmap_format:
            target.format(PromQueryFormat.HEATMAP)
        else:
            target.format(PromQueryFormat.TIME_SERIES)
        panel.with_target(target)
