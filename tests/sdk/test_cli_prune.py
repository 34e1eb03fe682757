"""`spendtree prune`: says what it did, changes no figure, and takes only ages that can be meant."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from spendtree.account import session_account
from spendtree.cli import main
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.ids import new_id
from spendtree.store import open_store

HOUR = 3_600_000_000
CALLS = 30


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store with a session that ended 100 days ago, and one that ended an hour ago."""
    url = f"sqlite:///{tmp_path}/spend.db"
    opened = open_store(url)
    now = time.time_ns() // 1000
    for name, at in (("old", now - 100 * 24 * HOUR), ("young", now - 2 * HOUR)):
        who = Context(name, "acme", path=(f"session/{name}",))
        id = derived_id("session", name)
        events = [Event(0, Kind.SESSION_OPENED, at, id, who, started=at)]
        events += [
            Event(0, Kind.CALL, at, new_id(), who, Request("", "m"), 5, status="ok", started=at)
            for _ in range(CALLS)
        ]
        events.append(Event(0, Kind.SESSION_CLOSED, at, id, who, cost=150, status="succeeded"))
        opened.load([session_account(name)], events)
    opened.close()
    return url


def told(store: str, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    assert main(["prune", "--json", "--store", store, *options]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    found: dict[str, Any] = json.loads(said.out)
    return found


def sessions(store: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert main(["sessions", "--json", "--store", store]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_is_older_is_rolled_up_and_the_list_of_sessions_stays_as_it_was(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sessions(store, capsys)

    done = told(store, capsys, "--older-than", "90d")

    assert (done["sessions"], done["events"], done["rollups"]) == (1, CALLS - 1, 1)
    assert done["longest_stall_seconds"] > 0
    assert done["dry_run"] is False
    assert sessions(store, capsys) == before
    assert told(store, capsys, "--older-than", "1h")["sessions"] == 1
    assert sessions(store, capsys) == before


def test_a_dry_run_says_the_same_and_does_nothing(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        planned = told(store, capsys, "--older-than", "13w", "--dry-run")
        assert (planned["sessions"], planned["events"], planned["rollups"]) == (1, CALLS - 1, 1)
        assert planned["freed_bytes"] is planned["longest_stall_seconds"] is None


def test_people_are_told_what_was_done_and_how_long_others_waited(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", "--older-than", "90d", "--dry-run", "--store", store]) == 0
    planned = capsys.readouterr().out
    assert f"{CALLS - 1} events would be rolled up into 1 sum, of 1 session" in planned
    assert "given back" not in planned

    assert main(["prune", "--older-than", "90d", "--store", store]) == 0
    done = capsys.readouterr().out
    assert f"{CALLS - 1} events rolled up into 1 sum, of 1 session" in done
    assert "given back" in done
    assert " ms" in done


@pytest.mark.parametrize("age", ["90", "d", "-3d", "1.5d", "90 days", "59m", "0h", "999999w", ""])
def test_an_age_that_cannot_be_meant_is_exit_code_2(
    age: str, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", f"--older-than={age}", "--store", store]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "--older-than" in said.err or "age" in said.err or "hour" in said.err


def test_the_age_must_be_given(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", "--store", store]) == 2
    assert "--older-than" in capsys.readouterr().err


def test_a_store_that_is_missing_is_exit_code_1_and_not_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", "--older-than", "90d", "--store", f"sqlite:///{tmp_path}/no.db"]) == 1
    assert "no.db" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("age", ["90", "1d2", "0h", "9999w"])
def test_an_age_that_is_none_is_refused_with_its_option(
    age: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", "--older-than", age]) == 2

    assert "Invalid value for --older-than" in capsys.readouterr().err
