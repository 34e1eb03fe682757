"""`spendtree demo`: everything it promises to show happens, and its figures add up."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree.cli import main
from spendtree.event import Event, Kind
from spendtree.store import Store, open_store
from spendtree.testing import assert_books_balance
from spendtree.tree import SessionTree, build
from tests.processes import rest_of

SESSIONS = 3


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the store that one demo of three sessions filled."""
    made = f"sqlite:///{tmp_path_factory.mktemp('demo')}/demo.db"
    assert main(["demo", "--sessions", str(SESSIONS), "--store", made]) == 0
    return made


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = open_store(url, create=False)
    yield opened
    opened.close()


def sessions_of(url: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    assert main(["sessions", "--json", "--store", url]) == 0
    rows: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return rows


def trees(store: Store) -> list[SessionTree]:
    opened = store.events(kinds=(Kind.SESSION_OPENED,))
    return [build(store.events(session=event.context.session)) for event in opened]


def calls(store: Store) -> list[Event]:
    return list(store.events(kinds=(Kind.CALL, Kind.LAPSE)))


def test_the_sessions_add_up_to_the_store(
    url: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = sessions_of(url, capsys)
    everything = sum(row.cost for row in store.totals())
    assert sum(Decimal(row["cost_usd"]) for row in rows) == Decimal(everything).scaleb(-12) > 0
    assert sum(row["calls"] for row in rows) == len(calls(store))
    assert sum(bool(row["session"]) for row in rows) == SESSIONS
    assert_books_balance(store)


def test_every_tree_adds_up_to_its_row(
    url: str, store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {row["session"]: row for row in sessions_of(url, capsys)}
    for tree in trees(store):
        assert rows[tree.session]["cost_usd"] == tree.to_dict()["totals"]["cost_usd"]


def test_a_researcher_fails_and_its_task_is_routed_again_in_a_second_cycle(store: Store) -> None:
    (tree,) = (tree for tree in trees(store) if len(tree.cycles) == 2)
    (failed,) = (node for node in tree.nodes() if node.status == "failed")
    again = [node for node in tree.nodes() if node.cycle == 2 and node.task == failed.task]
    assert (failed.agent, failed.cycle) == ("researcher", 1)
    assert [node.status for node in again] == ["succeeded"]


def test_an_agent_with_too_small_an_envelope_is_denied_a_call(store: Store) -> None:
    denied = [e for e in store.events(kinds=(Kind.DENIED,)) if e.context.agent == "extractor"]
    assert denied
    assert {event.status for event in denied} == {"exhausted"}


def test_sub_agents_run_side_by_side_and_several_levels_deep(store: Store) -> None:
    nodes = [node for tree in trees(store) for node in tree.nodes()]
    assert max(node.level for node in nodes) == 3
    times = [(n.started or 0, n.ended or 0) for n in nodes if n.agent == "researcher"]
    (first_started, first_ended), (second_started, _) = times[:2]
    assert 0 < first_started <= second_started < first_ended


def test_a_session_runs_into_its_ceiling(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    statuses = [row["status"] for row in sessions_of(url, capsys) if row["session"]]
    assert sorted(statuses) == ["budget_exceeded", "succeeded", "succeeded"]


def test_a_stray_call_is_recorded_as_unattributed(store: Store) -> None:
    (stray,) = (event for event in calls(store) if not event.context.session)
    assert stray.data == {"unattributed": "no_scope"}


def test_several_models_are_called_and_all_are_priced(store: Store) -> None:
    finished = [event for event in calls(store) if event.kind == Kind.CALL]
    assert len({event.request.model for event in finished}) >= 4
    assert all(event.cost is not None for event in finished)
    assert any(event.cache_read_tokens for event in finished)


def test_the_same_seed_spends_the_same_and_another_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = []
    for number, seed in enumerate(("7", "7", "8")):
        made = f"sqlite:///{tmp_path}/{number}.db"
        assert main(["demo", "--sessions", "2", "--seed", seed, "--json", "--store", made]) == 0
        rows = json.loads(capsys.readouterr().out)
        costs.append(sorted((row["customer"], row["cost_usd"], row["calls"]) for row in rows))
    assert costs[0] == costs[1] != costs[2]


@pytest.mark.parametrize("seed", ["2", "3", "4", "5"])
def test_whatever_the_seed_everything_promised_happens(
    seed: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = f"sqlite:///{tmp_path}/demo.db"
    assert main(["demo", "--sessions", "3", "--seed", seed, "--json", "--store", made]) == 0
    rows = json.loads(capsys.readouterr().out)
    opened = open_store(made)
    found = trees(opened)
    assert sorted(row["status"] for row in rows) == ["budget_exceeded", "succeeded", "succeeded"]
    assert {node.status for tree in found for node in tree.nodes()} >= {"failed", "exhausted"}
    assert_books_balance(opened)
    opened.close()


def test_it_shows_the_dearest_tree_and_says_what_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = f"sqlite:///{tmp_path}/demo.db"
    assert main(["demo", "--sessions", "3", "--store", made]) == 0
    text = capsys.readouterr().out
    assert text.count("\nsession ") + text.startswith("session ") == 3
    dearest = max(sessions_of(made, capsys), key=lambda row: Decimal(row["cost_usd"]))
    assert f"Session {dearest['session']}  {dearest['status']}" in text
    assert re.search("✗ ?1", text)  # narrow screens leave the words out
    for command in re.findall(r"^  spendtree (.*)", text, re.MULTILINE):
        assert main(command.split()) == 0, command
    assert re.search(r"^  spendtree-exporter --store ", text, re.MULTILINE)


def test_the_environments_store_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPENDTREE_STORE", f"sqlite:///{tmp_path}/real.db")
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--sessions", "1", "--json"]) == 0
    assert {path.name for path in tmp_path.glob("*.db")} == {"spendtree-demo.db"}


def test_an_address_that_is_none_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = f"sqlite:///{tmp_path}/demo.db"
    assert main(["demo", "--serve", "--listen", "nowhere", "--store", made]) == 1
    said = capsys.readouterr().err
    assert "nowhere" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("options", [["--sessions", "2"], ["--forever"]])
def test_it_serves_metrics_until_it_is_interrupted(options: list[str], tmp_path: Path) -> None:
    """What is scraped in the end is what the store holds, and the exit code is 0."""
    made = f"sqlite:///{tmp_path}/demo.db"
    arguments = ["demo", "--serve", "--listen", "127.0.0.1:0", "--store", made, *options]
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "spendtree.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        served = re.match(r"serving (http://\S+)/metrics", process.stdout.readline())
        assert served, process.stderr.read()
        finished = [process.stdout.readline() for _ in range(2)]
        with urllib.request.urlopen(f"{served[1]}/metrics", timeout=30) as response:
            body = response.read().decode()
        process.send_signal(signal.SIGTERM)
        rest, errors = rest_of(process)
    assert process.returncode == 0, errors
    assert errors == ""
    assert all(line.startswith("session ") for line in finished)
    assert "The dearest session:" in "".join(finished) + rest
    assert "spendtree_cost_usd_total{" in body


def test_a_port_that_is_taken_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        made = f"sqlite:///{tmp_path}/demo.db"
        assert main(["demo", "--serve", "--listen", address, "--store", made]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_whoever_stops_reading_ends_it_without_a_complaint(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/demo.db"
    with subprocess.Popen(
        [sys.executable, "-m", "spendtree.cli", "demo", "--sessions", "30", "--store", url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        assert running.stdout.readline().startswith(b"session ")
        running.stdout.close()
        assert running.stderr.read() == b""
        assert running.wait(timeout=120) == 0

    with closing(open_store(url, create=False)) as store:
        opened = list(store.events(kinds=(Kind.SESSION_OPENED,)))
        closed = list(store.events(kinds=(Kind.SESSION_CLOSED,)))
    assert len(opened) == len(closed) < 30
