"""Dashboard: what all six have in common, and how one becomes JSON.

Panels stand in sections, and a section in lines of 24 columns: where each stands follows from
their order, so that none can overlap.
"""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from grafana_foundation_sdk.builders.dashboard import (
    AnnotationQuery,
    Dashboard,
    DashboardLink,
    DatasourceVariable,
    QueryVariable,
    Row,
    TextBoxVariable,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    GridPos,
    Panel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.table import Options as TableOptions

from grafana.build.panels import SOURCE
from grafana.build.queries import VARIABLES, select

TAG = "spendtree"
COLUMNS = 24
GRAFANA = "11.0.0"
EXPORTER_URL = "http://127.0.0.1:9797"


class Line(NamedTuple):
    """Panels side by side: their height, and each with its width."""

    height: int
    panels: Sequence[tuple[int, Builder[Panel]]]


class Section(NamedTuple):
    """Lines below a heading; the first section of a dashboard has none."""

    title: str
    lines: Sequence[Line]


class Board(NamedTuple):
    """A dashboard: its fixed uid, its words and its sections, top first."""

    uid: str
    title: str
    description: str
    sections: Sequence[Section]
    variables: Sequence[str] = VARIABLES
    time_from: str = "now-6h"
    marked: str = "Spendtree.*"
    """The alerts that are marked in its graphs, as a regular expression of their names."""


def as_json(board: Board) -> str:
    """Return the file's text."""
    body: dict[str, Any] = json.loads(json.dumps(_built(board), cls=JSONEncoder))
    kinds = sorted({panel["type"] for panel in body["panels"]} - {"row"})
    document = {"__inputs": INPUTS, "__elements": {}, "__requires": _requires(kinds), **body}
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=False) + "\n"


INPUTS = [
    {
        "name": "DS_PROMETHEUS",
        "label": "Prometheus",
        "description": "The Prometheus that scrapes spendtree-exporter and has its rules.",
        "type": "datasource",
        "pluginId": "prometheus",
        "pluginName": "Prometheus",
    }
]
"""What Grafana asks for when a dashboard is imported by hand: the variable's first value."""


def _requires(kinds: Sequence[str]) -> list[dict[str, str]]:
    grafana = {"type": "grafana", "id": "grafana", "name": "Grafana", "version": GRAFANA}
    source = {"type": "datasource", "id": "prometheus", "name": "Prometheus", "version": "1.0.0"}
    panels = [{"type": "panel", "id": kind, "name": kind, "version": ""} for kind in kinds]
    return [grafana, source, *panels]


def _built(board: Board) -> Any:
    made = (
        Dashboard(board.title)
        .uid(board.uid)
        .description(board.description)
        .tags([TAG])
        .editable()
        .timezone("browser")
        .time(board.time_from, "now")
        .refresh("1m")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .annotations([_alerts(board.marked)])
        .link(_links())
    )
    for variable in _variables(board.variables):
        made.with_variable(variable)
    y = 0
    for section in board.sections:
        if section.title:
            made.with_row(Row(section.title).grid_pos(GridPos(x=0, y=y, w=COLUMNS, h=1)))
            y += 1
        for line in section.lines:
            x = 0
            for width, panel in line.panels:
                made.with_panel(_Placed(panel, GridPos(x=x, y=y, w=width, h=line.height)))
                x += width
            assert x == COLUMNS, f"{board.uid}, {section.title}: a line of {x} columns"
            y += line.height
    found = made.build()
    for model in (found.templating.list_val if found.templating else None) or []:
        # Of variables of another kind: Grafana's own types do not have them here.
        model.auto = model.auto_min = model.auto_count = None
    for number, each in enumerate(found.panels or [], 1):
        each.id_val = number
        if isinstance(each, Panel) and isinstance(each.options, TableOptions):
            each.options.footer = None  # it was moved to the columns
    return found


class _Placed(Builder[Panel]):
    """A panel at its place. The SDK's own placing takes x=0, y=0 for not placed."""

    def __init__(self, panel: Builder[Panel], place: GridPos) -> None:
        self._panel = panel
        self._place = place

    def build(self) -> Panel:
        """Return the panel."""
        built = self._panel.build()
        built.grid_pos = self._place
        return built


def _variables(chosen: Sequence[str]) -> list[Builder[Any]]:
    source = (
        DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(VariableOption(text="${DS_PROMETHEUS}", value="${DS_PROMETHEUS}"))
    )
    exporter = (
        TextBoxVariable("exporter")
        .label("Exporter")
        .description("Where spendtree-exporter's pages are: a click on a session opens them.")
        .default_value(EXPORTER_URL)
        .current(VariableOption(text=EXPORTER_URL, value=EXPORTER_URL))
    )
    return [source, *(_choice(name, chosen) for name in chosen), exporter]


def _choice(name: str, chosen: Sequence[str]) -> QueryVariable:
    """Return a choice of a label's values, as far as the choices before it leave them."""
    before = chosen[: chosen.index(name)]
    others = tuple(each for each in VARIABLES if each not in before)
    query = f"label_values({select('cost_usd_total', skip=others)}, {name})"
    return (
        QueryVariable(name)
        .label(name.capitalize())
        .datasource(SOURCE)
        .query({"qryType": 1, "query": query, "refId": f"{name}s"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_CASE_INSENSITIVE_ASC)
        .multi(True)
        .include_all(True)
        # Prometheus skips such a matcher; a list of 200 names it would have to look up.
        .all_value(".*")
        .current(VariableOption(text=["All"], value=["$__all"]))
    )


def _links() -> DashboardLink:
    return (
        DashboardLink("Spendtree")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(False)
        .include_vars(True)
        .keep_time(True)
        .icon("dashboard")
    )


def _alerts(names: str) -> AnnotationQuery:
    """Return the marks of critical alerts: those of warnings would be a fence before the graphs.

    For the same reason an alert that comes and goes within a quarter of an hour is one mark.
    """
    fires = f'ALERTS{{alertname=~"{names}", alertstate="firing", severity="critical"}}'
    return (
        AnnotationQuery()
        .name("Alerts")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("red")
        .expr(f"max_over_time({fires}[15m])")
        .title_format("{{alertname}}")
        .text_format("{{customer}} {{team}} {{agent}}")
        .tag_keys("severity")
        .step("60s")
        .use_value_for_time(False)
    )
