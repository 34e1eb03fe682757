"""Grafana's own types accept every dashboard, and it knows every id that a dashboard names.

The types are those of `@grafana/schema`, checked by `tsc`; the ids those of `@grafana/data`.
"""

import json
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.render.bundle import HERE, INSTALLED, node, run_node

ROOT = Path(__file__).resolve().parents[2]
DASHBOARDS = sorted((ROOT / "grafana" / "dashboards").glob("*.json"))

CONFIG = {
    "compilerOptions": {
        "target": "ES2022",
        "module": "ESNext",
        "moduleResolution": "bundler",
        "types": [],
        "strict": True,
        "noEmit": True,
        "skipLibCheck": True,
    },
    "include": ["*.ts"],
}

of_every_dashboard = pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)


def complaints(folder: Path, dashboards: dict[str, Any]) -> str:
    """Return what `tsc` says about dashboards, each a file of its own."""
    program = [node(), str(INSTALLED / "typescript" / "bin" / "tsc"), "-p", str(folder)]
    (folder / "node_modules").symlink_to(INSTALLED)
    (folder / "tsconfig.json").write_text(json.dumps(CONFIG))
    (folder / "spec.ts").write_text((HERE / "check" / "spec.ts").read_text("utf-8"))
    for name, dashboard in dashboards.items():
        text = json.dumps(dashboard, indent=2)
        (folder / f"{name}.ts").write_text(
            f'import type {{ Spec }} from "./spec";\nexport const dashboard: Spec = {text};\n'
        )
    done = subprocess.run(
        program, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout + done.stderr


def test_the_schema_of_grafana_accepts_every_dashboard(tmp_path: Path) -> None:
    assert DASHBOARDS

    said = complaints(tmp_path, {path.stem: json.loads(path.read_text()) for path in DASHBOARDS})

    assert said == ""


def a_dashboard(**panel: object) -> dict[str, Any]:
    shown = {"id": 1, "type": "stat", "gridPos": {"x": 0, "y": 0, "w": 1, "h": 1}, **panel}
    return {"title": "One", "schemaVersion": 41, "panels": [shown]}


def test_the_schema_refuses_what_is_misspelt_made_up_or_of_another_kind(tmp_path: Path) -> None:
    """At the dashboard, a panel, its options, its field options and its custom ones."""
    wrong = {
        "dashboard": {**a_dashboard(), "tittle": "One"},
        "panel": a_dashboard(titel="One"),
        "grid": a_dashboard(gridPos={"x": "0", "y": 0, "w": 1, "h": 1}),
        "options": a_dashboard(options={"graphmode": "area"}),
        "value": a_dashboard(options={"graphMode": "aera"}),
        "defaults": a_dashboard(fieldConfig={"defaults": {"units": "s"}, "overrides": []}),
        "custom": a_dashboard(
            type="timeseries",
            fieldConfig={"defaults": {"custom": {"lineWith": 1}}, "overrides": []},
        ),
        "kind": a_dashboard(type="graph"),
    }

    said = complaints(tmp_path, {"right": a_dashboard(options={"graphMode": "area"}), **wrong})

    assert {line.partition(".ts(")[0] for line in said.splitlines() if ".ts(" in line} == set(wrong)


@cache
def known() -> dict[str, set[str]]:
    """Return the ids that @grafana/data has, by kind."""
    return {kind: set(ids) for kind, ids in json.loads(run_node("check/ids.mjs")).items()}


@of_every_dashboard
def test_grafana_knows_every_id_that_a_dashboard_names(path: Path) -> None:
    named = set(ids(json.loads(path.read_text("utf-8"))))

    assert {kind for kind, _ in named} >= {"units", "reducers", "matchers", "colors"}
    assert {(kind, one) for kind, one in named if one not in known()[kind]} == set()


def test_an_id_that_grafana_does_not_know_is_found() -> None:
    dashboard = a_dashboard(
        options={"reduceOptions": {"calcs": ["newest"]}},
        transformations=[{"id": "organise"}],
        fieldConfig={
            "defaults": {"unit": "dollars", "color": {"mode": "bright", "fixedColor": "mauve"}},
            "overrides": [
                {"matcher": {"id": "byTitle"}, "properties": [{"id": "unit", "value": "euros"}]}
            ],
        },
    )

    assert sorted(ids(dashboard)) == [
        ("color modes", "bright"),
        ("colors", "mauve"),
        ("matchers", "byTitle"),
        ("reducers", "newest"),
        ("transformations", "organise"),
        ("units", "dollars"),
        ("units", "euros"),
    ]
    assert not [one for kind, one in ids(dashboard) if one in known()[kind]]


def ids(thing: object) -> Iterator[tuple[str, str]]:
    """Yield every id in a dashboard with its kind, wherever it stands."""
    if isinstance(thing, list):
        for item in thing:
            yield from ids(item)
    if isinstance(thing, dict):
        yield from _own(thing)
        for value in thing.values():
            yield from ids(value)


def _own(thing: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the ids that one object names itself."""
    match thing:
        case {"id": "unit", "value": str(unit)} | {"unit": str(unit)} if unit:
            # What follows `suffix:` is a unit of one's own.
            if not unit.startswith("suffix:"):
                yield "units", unit
    match thing:
        case {"matcher": {"id": str(matcher)}}:
            yield "matchers", matcher
    for reducer in thing.get("calcs") or []:
        yield "reducers", reducer
    for transformation in thing.get("transformations") or []:
        yield "transformations", transformation["id"]
    match thing:
        # A heatmap's colours have modes of their own, which are in its options.
        case {"defaults": {"color": {"mode": mode}}} | {"id": "color", "value": {"mode": mode}}:
            yield "color modes", mode
    match thing:
        # `text` is the theme's own, beside those of the palette.
        case {"fixedColor": str(color)} | {"color": str(color), "value": _} if color != "text":
            yield "colors", color
