"""The Spendtree object: its doors, and what it keeps when the store fails for a while."""

import gc
import os
import threading
import weakref
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree import (
    ConfigurationError,
    MoneyError,
    Spendtree,
    StoreError,
    StoreUnavailableError,
    Usage,
)
from spendtree.event import Kind
from spendtree.scope.agent import SUMMED_AT
from spendtree.store import open_store
from spendtree.testing import FrozenClock, assert_books_balance, assert_calls, assert_spent

CONFIG = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}


def spend(tracker: Spendtree) -> None:
    with tracker.call("m", input_tokens=1000, max_output_tokens=1000) as call:
        call.record(Usage(1000, 1000))


def test_a_store_is_given_open_or_by_its_url(tmp_path: Path) -> None:
    store = open_store("memory:")
    assert Spendtree(store).store is store
    by_url = Spendtree(f"sqlite:///{tmp_path}/s.db")
    assert by_url.store.url == f"sqlite:///{tmp_path}/s.db"
    by_url.close()
    with pytest.raises(StoreError, match="nonsense"):
        Spendtree("nonsense")


def test_a_configuration_is_a_mapping_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("session: {ceiling_usd: 0.10}\n", encoding="utf-8")
    tracker = Spendtree("memory:", tmp_path / "c.yaml")
    assert tracker.config.session.ceiling_usd == Decimal("0.1")
    with pytest.raises(ConfigurationError, match=r"session\.ceiling"):
        Spendtree("memory:", {"session": {"ceiling": 1}})


def test_its_clock_is_what_every_event_is_dated_by(frozen_clock: FrozenClock) -> None:
    tracker = Spendtree("memory:", CONFIG, clock=frozen_clock)
    with tracker.session(), tracker.agent("a"):
        spend(tracker)
        frozen_clock.advance(1)
        spend(tracker)
    at = frozen_clock.ns // 1000
    assert [event.at - at for event in tracker.store.events()] == [-(10**6)] * 3 + [0] * 3


@pytest.mark.parametrize("amount", ["-1", "nan", float("inf"), "ten", True])
def test_an_amount_that_is_none_is_refused_by_name(amount: Any) -> None:
    tracker = Spendtree("memory:")
    with pytest.raises(MoneyError, match=r"^ceiling: "):
        tracker.session(ceiling=amount)
    with pytest.raises(MoneyError, match=r"^expected_usd: "):
        tracker.session(expected_usd=amount)
    with pytest.raises(MoneyError, match=r"^envelope: "):
        tracker.agent("a", envelope=amount)
    with pytest.raises(MoneyError, match=r"^max_cost: "):
        tracker.agent("a", max_cost=amount)


def test_two_spendtrees_on_one_file_share_its_money(tmp_path: Path) -> None:
    one, two = (Spendtree(f"sqlite:///{tmp_path}/s.db", CONFIG) for _ in range(2))
    with one.session("s", ceiling="0.04"):
        spend(one)
    with two.session("s"):
        spend(two)
    for tracker in (one, two):
        assert_spent(tracker, "0.04", session="s")
        assert_calls(tracker, 2)
        assert_books_balance(tracker)
        tracker.close()


def test_a_closed_spendtree_opens_its_file_again_on_use(tmp_path: Path) -> None:
    tracker = Spendtree(f"sqlite:///{tmp_path}/s.db", CONFIG)
    spend(tracker)
    tracker.close()
    spend(tracker)
    assert_calls(tracker, 2)
    tracker.close()


def test_an_event_that_cannot_be_recorded_is_logged_and_not_raised(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Spendtree("memory:", CONFIG)

    def fail(*_: Any) -> None:
        raise StoreUnavailableError("the disk is full")

    with tracker.session(), tracker.agent("a"):
        monkeypatch.setattr(tracker.store, "append", fail)
        spend(tracker)
    assert "an event could not be recorded: the disk is full" in caplog.text
    assert_calls(tracker, 1)


def test_calls_that_end_while_the_store_fails_are_all_settled_by_many_threads_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracker = Spendtree("memory:", CONFIG)
    settle = tracker.store.settle
    broken = threading.Event()
    broken.set()

    def sometimes(*args: Any) -> Any:
        if broken.is_set():
            raise StoreUnavailableError("locked")
        return settle(*args)

    monkeypatch.setattr(tracker.store, "settle", sometimes)
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(50):
            spend(tracker)

    def threads() -> None:
        running = [threading.Thread(target=work) for _ in range(8)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    threads()
    assert len(tracker.unsettled) == 400
    assert_calls(tracker, 0)
    broken.clear()
    threads()
    tracker.retry_unsettled()
    assert_calls(tracker, 800)
    assert tracker.store.open_holds() == 0


def test_a_forked_child_leaves_what_could_not_be_settled_to_its_parent(tmp_path: Path) -> None:
    tracker = Spendtree(f"sqlite:///{tmp_path}/s.db", CONFIG)
    settle = tracker.store.settle
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker.store, "settle", _fail)
        spend(tracker)
    assert tracker.store.settle == settle
    pid = os.fork()
    if pid == 0:
        clean = tracker.unsettled == [] and not tracker.lines
        spend(tracker)
        os._exit(0 if clean and tracker.store.open_holds() == 1 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(tracker.unsettled) == 1
    tracker.close()
    assert_calls(tracker, 2)
    assert_books_balance(tracker)
    tracker.close()


def test_a_forked_child_goes_on_although_its_parents_locks_were_taken_at_the_fork(
    tmp_path: Path,
) -> None:
    tracker = Spendtree(f"sqlite:///{tmp_path}/s.db", CONFIG)
    with tracker.session("s") as session, tracker.agent("a") as run:
        with session._lock, run._lock:
            pid = os.fork()
            if pid == 0:
                with session.cycle(), session.agent("b"):
                    for _ in range(SUMMED_AT + 1):
                        spend(tracker)
                for _ in range(SUMMED_AT + 1):
                    run.bind(spend)(tracker)
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        spend(tracker)
    (closed,) = [
        event
        for event in tracker.store.events(kinds=[Kind.RUN_CLOSED])
        if event.context.agent == "a"
    ]
    assert closed.cost == 20_000_000_000
    assert_calls(tracker, 2 * SUMMED_AT + 3)
    tracker.close()


def _fail(*_: Any) -> None:
    raise StoreUnavailableError("locked")


def test_a_spendtree_that_nobody_uses_is_collected_although_forks_are_watched() -> None:
    tracker = Spendtree("memory:", CONFIG)
    gone = weakref.ref(tracker)
    del tracker
    gc.collect()
    assert gone() is None
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def test_the_memory_store_refuses_to_go_on_in_a_child() -> None:
    tracker = Spendtree("memory:", CONFIG)
    with tracker.session("s", ceiling="1"):
        pid = os.fork()
        if pid == 0:
            try:
                spend(tracker)
            except StoreError as error:
                os._exit(0 if "sqlite:///" in str(error) else 1)
            os._exit(2)
        assert os.waitpid(pid, 0)[1] == 0


def test_denied_spawns_say_that_they_were_spawns() -> None:
    tracker = Spendtree("memory:", CONFIG)
    with tracker.session("s", ceiling="0.02"):
        spend(tracker)
        with pytest.raises(Exception, match="nothing is left to start with"):
            tracker.agent("a").open()
    (denied,) = tracker.store.events(kinds=[Kind.DENIED])
    assert denied.data == {"account": "session/s", "kind": "session", "spawn": True}


@pytest.fixture
def frozen_clock() -> FrozenClock:
    return FrozenClock()
