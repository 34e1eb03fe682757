"""A store's file that goes or is replaced under the exporter that has it open."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spendtree.errors import StoreError
from spendtree.store import Store, open_store
from spendtree_exporter import follow
from spendtree_exporter.follow import Follower
from tests.exporter.conftest import Load
from tests.exporter.test_follow_put_back import caught_up, copy, go_on
from tests.exporter.test_snapshot import exporter, lines
from tests.sdk.patience import until


@pytest.fixture(autouse=True)
def at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "_AFTER_ERROR", 0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@pytest.fixture
def store(path: Path, load: Load) -> Iterator[Store]:
    """A store of 20 calls, of which there is a copy, and 20 more."""
    with closing(open_store(f"sqlite:///{path}")) as opened:
        load(opened, 0, 20)
        copy(path, path.with_name("copy.db"))
        load(opened, 20, 20)
        yield opened


def away(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        if os.path.exists(f"{path}{suffix}"):
            os.rename(f"{path}{suffix}", f"{path}{suffix}.away")


def test_a_file_that_is_gone_is_an_error_until_it_is_back(
    store: Store, path: Path, load: Load
) -> None:
    follower = Follower(store)
    follower.start()
    try:
        until(lambda: follower.events_read == 40)
        away(path)
        until(lambda: follower.store_errors >= 2)
        lag = follower.lag_seconds
        until(lambda: follower.lag_seconds > lag + 0.1)
        assert follower.fold.events == 40, "the last good figures stay"

        os.rename(f"{path}.away", path)
        os.rename(f"{path}-wal.away", f"{path}-wal")
        os.rename(f"{path}-shm.away", f"{path}-shm")
        go_on(path, load, 40, 2)
        until(lambda: follower.fold.events == 42)
    finally:
        follower.stop()

    assert not follower.failure


@pytest.mark.parametrize("since", [0, 20, 50])
def test_a_copy_of_the_store_in_its_place_is_opened_and_read_anew(
    store: Store, path: Path, load: Load, since: int
) -> None:
    follower = Follower(store)
    caught_up(follower)

    away(path)
    path.with_name("copy.db").rename(path)
    go_on(path, load, 1_003, since)
    caught_up(follower)

    with closing(open_store(store.url)) as fresh:
        assert lines(follower.fold) == lines(exporter(fresh, path / "none").fold)
    assert follower.fold.events == 20 + since


def test_a_copy_that_holds_all_that_was_read_is_read_on(
    store: Store, path: Path, load: Load
) -> None:
    follower = Follower(store)
    caught_up(follower)
    whole = path.with_name("whole.db")
    copy(path, whole)

    away(path)
    whole.rename(path)
    go_on(path, load, 1_003, 5)
    caught_up(follower)

    assert follower.events_read == follower.fold.events == 45


@pytest.mark.parametrize("of", ["another store", "nobody", "no database"])
def test_a_file_that_is_not_the_stores_is_named_and_left_alone(
    store: Store, path: Path, of: str
) -> None:
    follower = Follower(store)
    caught_up(follower)

    away(path)
    if of == "another store":
        with closing(open_store(store.url)) as other:
            reason = f"another store \\({other.id}, not {store.id}\\)"
    else:
        path.write_text("Dear reader, " * 1_000 if of == "no database" else "")
        reason = "empty" if of == "nobody" else "not a database"
    before = path.read_bytes()

    for _ in range(2):
        with pytest.raises(StoreError, match=reason):
            follower.step()
    assert follower.fold.events == 40
    assert path.read_bytes() == before


def test_each_reason_is_told_once(
    store: Store, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    follower = Follower(store)
    follower.start()
    try:
        follower.wait(30)
        for text, reason in ((None, "is gone"), ("", "an empty one"), ("no", "not a database")):
            away(path) if text is None else path.write_text(text)
            until(lambda reason=reason: reason in caplog.text)  # type: ignore[misc]
            errors = follower.store_errors
            until(lambda errors=errors: follower.store_errors > errors + 2)  # type: ignore[misc]
    finally:
        follower.stop()

    assert caplog.text.count("the store cannot be read") == 3
