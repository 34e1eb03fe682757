"""Every dashboard, drawn from its JSON by Grafana's front-end packages against a real Prometheus.

The pictures stay in `artifacts/dashboards`, which is what to look at when a test fails.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Error

from tests.grafana.render.browser import Drawing, Drawn, chromium, draw
from tests.grafana.render.bundle import serving

ROOT = Path(__file__).resolve().parents[3]
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))
PICTURES = ROOT / "artifacts" / "dashboards"

EMPTY: dict[tuple[str, str], str] = {}
"""Panels without data in the demo's workload, by dashboard and title, each with the reason."""

PLOTTED = {"timeseries", "heatmap"}
"""Panels that draw on a canvas: there must be colours on it, beside what can be read."""

pytestmark = pytest.mark.render

Draw = Callable[[dict[str, Any], str, Path], Drawing]


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving(tmp_path_factory.mktemp("page")) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[BrowserContext]:
    with chromium() as context:
        yield context


@pytest.fixture
def drawn(page: str, browser: BrowserContext, filled: Any) -> Draw:
    def with_theme(dashboard: dict[str, Any], theme: str, picture: Path) -> Drawing:
        return draw(
            browser,
            page,
            dashboard=dashboard,
            prometheus=filled.url,
            now=filled.now,
            theme=theme,
            picture=picture,
        )

    return with_theme


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_of_a_dashboard_shows_data_and_nothing_is_complained_of(
    drawn: Draw, path: Path, theme: str
) -> None:
    dashboard = json.loads(path.read_text("utf-8"))

    drawing = drawn(dashboard, theme, PICTURES / f"{path.stem}-{theme}.png")

    assert drawing.complaints == []
    assert {panel.id for panel in drawing.panels} == ids(dashboard["panels"])
    troubled = {panel.title: why for panel in drawing.panels if (why := trouble(panel))}
    allowed = {title for (uid, title) in EMPTY if uid == dashboard["uid"]}
    assert troubled.keys() == allowed, troubled


def ids(panels: list[dict[str, Any]]) -> set[int]:
    """Return the ids of all panels, those of closed rows included."""
    found = {panel["id"] for panel in panels if panel["type"] != "row"}
    return found.union(*(ids(row["panels"]) for row in panels if row.get("panels")))


def trouble(panel: Drawn) -> str:
    """Return what is wrong with a panel, "" if it shows what it should."""
    if panel.errors:
        return f"errors: {panel.errors}"
    if panel.type != "text" and not panel.filled:
        return "its queries answer nothing"
    if panel.type in PLOTTED and not panel.colored:
        return "nothing is plotted"
    if panel.type not in PLOTTED and not panel.text.strip():
        return "nothing can be read"
    if "No data" in panel.text or "unexpected error" in panel.text:
        return panel.text
    return ""


def one_panel(kind: str, expression: str) -> dict[str, Any]:
    """Return a dashboard of one panel."""
    return {
        "title": "One panel",
        "uid": "one",
        "time": {"from": "now-1h", "to": "now"},
        "panels": [
            {
                "id": 1,
                "type": kind,
                "title": "The panel",
                "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8},
                "datasource": {"type": "prometheus", "uid": "prometheus"},
                "targets": [{"refId": "A", "expr": expression, "range": True}],
                "fieldConfig": {"defaults": {}, "overrides": []},
            }
        ],
    }


@pytest.mark.parametrize(
    ("kind", "expression", "told"),
    [
        ("timeseries", "up", ""),
        ("stat", "sum(up)", ""),
        ("timeseries", "no_such_metric", "its queries answer nothing"),
        ("stat", "sum(up", "errors: "),
        ("timeseries", "up * NaN", "its queries answer nothing"),
    ],
)
def test_a_panel_without_data_is_told_from_one_with_data(
    drawn: Draw, tmp_path: Path, kind: str, expression: str, told: str
) -> None:
    (panel,) = drawn(one_panel(kind, expression), "dark", tmp_path / "one.png").panels

    assert trouble(panel)[: len(told) or None] == told


def test_a_panel_that_the_page_cannot_draw_is_complained_of(drawn: Draw, tmp_path: Path) -> None:
    with pytest.raises(Error, match="a panel that the harness cannot draw: geomap"):
        drawn(one_panel("geomap", "up"), "dark", tmp_path / "one.png")
