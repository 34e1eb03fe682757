"""Following a store: pages, trouble, and how soon a call is seen."""

import threading
import time
from collections.abc import Callable

import pytest

from spendtree.errors import StoreUnavailableError
from spendtree.metrics import Fold
from spendtree.store.memory import MemoryStore
from spendtree.store.protocol import START, Cursor, Page
from spendtree_exporter import follow
from spendtree_exporter.follow import Follower
from tests.exporter.conftest import Load


class TroubledStore(MemoryStore):
    """A memory store whose reads can be made to fail."""

    trouble: Exception | None = None

    def read(self, cursor: Cursor = START, limit: int = 10_000) -> Page:
        if self.trouble:
            raise self.trouble
        return super().read(cursor, limit)


def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Return once the condition holds; fail if it does not in time."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        pause.wait(0.005)


def test_pages_are_folded_until_the_end_of_the_log_is_reached(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PAGE", 10)
    store = MemoryStore()
    load(store, 0, 25)
    follower = Follower(store)

    steps = [follower.step() for _ in range(3)]

    assert steps == [(10, True), (10, True), (5, False)]
    assert follower.complete
    assert follower.events_read == follower.fold.events == 25
    assert follower.step() == (0, False)


def test_a_call_is_in_the_fold_within_a_second_of_being_recorded(load: Load) -> None:
    store = MemoryStore()
    follower = Follower(store)
    follower.start()
    try:
        for number in range(5):
            load(store, number, 1)
            wanted = number + 1
            until(lambda wanted=wanted: follower.fold.events == wanted, seconds=1.0)  # type: ignore[misc]
    finally:
        follower.stop()


def test_a_store_that_fails_is_counted_and_read_on_when_it_is_back(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "_AFTER_ERROR", 0.01)
    store = TroubledStore()
    load(store, 0, 3)
    follower = Follower(store)
    follower.start()
    try:
        until(lambda: follower.events_read == 3)
        store.trouble = StoreUnavailableError("the disk is away")
        until(lambda: follower.store_errors >= 2)
        load(store, 3, 2)
        store.trouble = None
        until(lambda: follower.events_read == 5)
    finally:
        follower.stop()

    assert not follower.failure
    assert follower.fold.events == 5


def test_the_lag_grows_while_the_store_cannot_be_read() -> None:
    store = TroubledStore()
    follower = Follower(store)
    follower.step()
    store.trouble = StoreUnavailableError("the disk is away")

    with pytest.raises(StoreUnavailableError):
        follower.step()
    before = follower.lag_seconds
    until(lambda: follower.lag_seconds > before)

    store.trouble = None
    reached = time.monotonic()
    follower.step()
    assert follower.lag_seconds <= time.monotonic() - reached


def test_an_error_that_nobody_expected_ends_following_with_a_reason() -> None:
    store = TroubledStore()
    store.trouble = ZeroDivisionError("a bug")
    follower = Follower(store)
    follower.start()
    follower.wait(10)
    follower.stop()

    assert "ZeroDivisionError" in follower.failure
    assert not follower.complete


def test_sessions_leave_by_the_clock_of_the_exporter_when_the_log_is_quiet(load: Load) -> None:
    now = 4_000_000_000_000_000
    store = MemoryStore()
    load(store, 0, 1)
    follower = Follower(store, fold=Fold(store.id, linger_us=5), now=lambda: now)

    follower.step()
    assert follower.fold.session_series == 3

    now += 5
    follower.step()
    assert follower.fold.session_series == 0
