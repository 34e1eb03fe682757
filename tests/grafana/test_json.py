"""The dashboards' files are what their Python makes, and what Grafana's own SDK understands."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.build.boards import BOARDS
from grafana.build.dashboard import as_json
from tests.grafana.boards import FILES, ROOT, read

OURS = ("__inputs", "__elements", "__requires")
"""What the SDK has no place for: it is of the file that is imported, not of the dashboard."""

each_file = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def test_the_files_are_those_of_the_boards_and_no_others() -> None:
    assert {file.stem for file in FILES} == {board.uid for board in BOARDS}


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_a_file_is_what_its_python_makes(board: Any) -> None:
    committed = (ROOT / "grafana" / "dashboards" / f"{board.uid}.json").read_text("utf-8")

    assert as_json(board) == committed, "run: python -m grafana.build"


def test_the_command_writes_the_files(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "grafana.build", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{board.uid}.json" for board in BOARDS]
    written = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert written == {file.name: file.read_bytes() for file in FILES}


@each_file
def test_a_round_trip_through_the_sdk_loses_no_key(file: Path) -> None:
    plugins.register_default_plugins()
    body = {key: value for key, value in read(file).items() if key not in OURS}

    again = json.loads(json.dumps(Dashboard.from_json(body), cls=JSONEncoder))

    assert list(lost(body, again)) == []


def lost(before: Any, after: Any, place: str = "") -> Iterator[str]:
    """Yield where something is missing or another; what the SDK adds are defaults."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{place}.{key}")
            else:
                yield f"{place}.{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for number, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{place}[{number}]")
    elif before != after:
        yield place


@each_file
def test_a_key_that_the_sdk_does_not_know_would_be_noticed(file: Path) -> None:
    plugins.register_default_plugins()
    body = {key: value for key, value in read(file).items() if key not in OURS}
    body["panels"][0]["no_such_key"] = 1
    body["templating"]["list"][0]["label"] = "Changed"

    again = json.loads(json.dumps(Dashboard.from_json(body), cls=JSONEncoder))
    again["templating"]["list"][0]["label"] = "Data source"

    assert list(lost(body, again)) == [".templating.list[0].label", ".panels[0].no_such_key"]


@each_file
def test_importing_by_hand_asks_for_the_data_source_and_uses_the_answer(file: Path) -> None:
    board = read(file)
    (source,) = board["__inputs"]
    (variable,) = (v for v in board["templating"]["list"] if v["type"] == "datasource")

    assert (source["type"], source["pluginId"]) == ("datasource", "prometheus")
    assert variable["current"]["value"] == f"${{{source['name']}}}"
    assert {"grafana", "prometheus"} <= {each["id"] for each in board["__requires"]}


@each_file
def test_the_file_says_which_panels_it_needs(file: Path) -> None:
    board = read(file)
    needed = {each["id"] for each in board["__requires"] if each["type"] == "panel"}

    assert needed == {panel["type"] for panel in board["panels"]} - {"row"}
