"""Health: what is told of a store's file, which is only looked at."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from spendtree import Spendtree, StoreError, Usage
from spendtree.store.health import Health, Unpriced, examine

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend 1.db"


@pytest.fixture
def tracker(path: Path) -> Spendtree:
    return Spendtree(f"sqlite:///{path}", {"prices": PRICES})


def spend(tracker: Spendtree, model: str = "m") -> None:
    with tracker.call(model, input_tokens=100, max_output_tokens=100) as call:
        call.record(Usage(100, 100))


def test_a_new_store_is_sound_and_empty(tracker: Spendtree, path: Path) -> None:
    health = examine(str(path))
    assert health == Health(tracker.store.id, health.known_schema, health.known_schema, ())
    assert health.known_schema >= 2


def test_it_counts_events_and_calls_outside_scopes_and_of_unknown_price(
    tracker: Spendtree, path: Path
) -> None:
    with tracker.session():
        spend(tracker)
        spend(tracker, "new-model")
    spend(tracker)
    spend(tracker)

    health = examine(str(path))

    events = list(tracker.store.events())
    assert (health.events, health.last_at) == (len(events), events[-1].at)
    (stray,) = health.strays
    assert (stray.reason, stray.calls, stray.cost) == ("no_scope", 2, 2 * 2 * 10**9)
    assert stray.last_at == events[-1].at
    assert health.unpriced == (Unpriced("", "new-model", 1),)


def test_pruning_changes_no_count(tracker: Spendtree, path: Path) -> None:
    for _ in range(5):
        spend(tracker)
        spend(tracker, "new-model")
    before = examine(str(path))
    assert tracker.store.prune(2**62).events > 0
    after = examine(str(path))

    assert (after.strays, after.unpriced) == (before.strays, before.unpriced)


HOLDER = """
import os, sys
from spendtree import Spendtree
tracker = Spendtree(sys.argv[1], {"prices": {"m": {
    "input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}})
for _ in range(2):
    tracker.call("m", input_tokens=100, max_output_tokens=100).__enter__()
os._exit(0)
"""


def test_holds_are_told_by_their_process_and_whether_it_is_dead(
    tracker: Spendtree, path: Path
) -> None:
    died = subprocess.Popen([sys.executable, "-c", HOLDER, f"sqlite:///{path}"])
    assert died.wait(60) == 0
    with tracker.call("m", input_tokens=1, max_output_tokens=1):
        held = {each.process: each for each in examine(str(path)).held}

    ours, theirs = held[f"process {os.getpid()}"], held[f"process {died.pid}"]
    assert (ours.dead, ours.holds, ours.amount) == (False, 1, 2 * 10**7)
    assert (theirs.dead, theirs.holds, theirs.amount) == (True, 2, 4 * 10**9)
    assert theirs.oldest < ours.oldest


def test_a_process_of_another_host_may_be_dead_or_not(tracker: Spendtree, path: Path) -> None:
    with tracker.call("m", input_tokens=1, max_output_tokens=1):
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE owner SET host = 'elsewhere', lock = ''")
        connection.close()
        (held,) = examine(str(path)).held
    assert held.dead is None
    assert held.process == f"process {os.getpid()} of elsewhere"


def test_looking_changes_nothing_and_does_not_upgrade(tracker: Spendtree, path: Path) -> None:
    tracker.close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    before = path.read_bytes()

    health = examine(str(path))

    assert (health.schema, health.known_schema > 1, health.strays) == (1, True, ())
    assert path.read_bytes() == before


def test_damage_is_found(tracker: Spendtree, path: Path) -> None:
    with tracker.session():
        for _ in range(200):
            spend(tracker)
    tracker.close()
    with path.open("r+b") as file:
        file.seek(20 * 1024)
        file.write(b"\x55" * 8 * 1024)

    try:
        faults = examine(str(path)).faults
    except StoreError as error:
        faults = (str(error),)
    assert faults


def test_what_is_no_store_of_ours_is_refused(tmp_path: Path) -> None:
    text, foreign, missing = tmp_path / "a.txt", tmp_path / "b.db", tmp_path / "c.db"
    text.write_text("no database " * 500)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()

    with pytest.raises(StoreError, match="no SQLite database"):
        examine(str(text))
    with pytest.raises(StoreError, match="no store of Spendtree"):
        examine(str(foreign))
    with pytest.raises(StoreError, match="cannot be opened"):
        examine(str(missing))
    assert not missing.exists()
