"""Following a store that is put back meanwhile: an older copy, in the same file."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spendtree.store import Store, open_store
from spendtree_exporter import follow
from spendtree_exporter.follow import Follower
from tests.exporter.conftest import Load
from tests.exporter.test_snapshot import exporter, lines


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@pytest.fixture
def store(path: Path, load: Load) -> Iterator[Store]:
    """A store of 20 calls of ten sessions, of which there is a copy."""
    with closing(open_store(f"sqlite:///{path}")) as opened:
        load(opened, 0, 20)
        copy(path, path.with_name("copy.db"))
        yield opened


def copy(source: Path, target: Path) -> None:
    """Copy a database as `sqlite3 TARGET '.restore SOURCE'` does, under whoever has it open."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)


def put_back(path: Path) -> None:
    copy(path.with_name("copy.db"), path)


def go_on(path: Path, load: Load, first: int, count: int) -> None:
    """Record calls as another process does, which knows nothing of what this one remembers."""
    with closing(open_store(f"sqlite:///{path}")) as other:
        load(other, first, count)


def caught_up(follower: Follower) -> None:
    while follower._advance()[1]:
        pass


@pytest.mark.parametrize("since", [0, 5, 20, 60])
def test_what_came_after_the_copy_is_shown(
    store: Store, path: Path, load: Load, since: int
) -> None:
    load(store, 20, 20)
    follower = Follower(store)
    caught_up(follower)
    assert follower.fold.events == 40

    put_back(path)
    go_on(path, load, 1_003, since)
    caught_up(follower)

    with closing(open_store(store.url)) as fresh:
        assert lines(follower.fold) == lines(exporter(fresh, path / "none").fold)
    assert follower.fold.events == 20 + since
    assert follower.store_errors == 0


def test_a_log_that_is_put_back_between_two_pages_is_found_out(
    store: Store, path: Path, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PAGE", 15)
    load(store, 20, 20)
    follower = Follower(store)
    follower.step()
    follower.step()

    put_back(path)
    go_on(path, load, 1_003, 40)
    caught_up(follower)

    with closing(open_store(store.url)) as fresh:
        assert lines(follower.fold) == lines(exporter(fresh, path / "none").fold)


def test_a_restart_notices_that_the_log_was_put_back_and_keeps_no_wrong_state(
    store: Store, path: Path, load: Load
) -> None:
    file = path.with_name("state")
    load(store, 20, 20)
    follower = Follower(store, state_file=file)
    caught_up(follower)
    follower._write_down()
    resumed = Follower(store, state_file=file)
    resumed.resume()

    put_back(path)
    go_on(path, load, 1_003, 30)
    caught_up(resumed)
    resumed._write_down()

    with closing(open_store(store.url)) as fresh:
        assert exporter(fresh, file).fold.events == 50
        assert lines(resumed.fold) == lines(exporter(fresh, path / "none").fold)
