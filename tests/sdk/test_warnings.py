"""Warnings: each crossing recorded once, told at most once, by a process that has a handler."""

# ruff: noqa: SIM117 - how scopes, calls and refusals nest is what is tested

import asyncio
import logging
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree import ConfigurationError, Spendtree, Usage, Warning
from spendtree.event import Event, Kind
from spendtree.scope import Scope, telling
from spendtree.testing import FrozenClock, assert_books_balance

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}


@pytest.fixture(params=["memory:", "sqlite:///{}/spend.db"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


@pytest.fixture(autouse=True)
def _look_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sessions look for what other processes have crossed at each call."""
    monkeypatch.setattr(telling, "LOOK_SECONDS", -1.0)


def made(store: str = "memory:", **config: Any) -> Spendtree:
    return Spendtree(store, {"prices": PRICES, **config}, clock=FrozenClock())


def spend(where: Scope, cents: int = 2) -> None:
    with where.call("m", input_tokens=500 * cents, max_output_tokens=500 * cents) as call:
        call.record(Usage(500 * cents, 500 * cents))


def recorded(tracker: Spendtree) -> list[Event]:
    return list(tracker.store.events(kinds=[Kind.WARNED]))


def test_a_warning_says_which_account_has_reached_which_mark(store: str) -> None:
    tracker, told = made(store), list[Warning]()
    with tracker.session("s", ceiling="0.10", on_warning=told.append) as session:
        spend(session, 7)
        assert told == []
        spend(session, 1)
        assert told == [
            Warning("session/s", "session", "s", Decimal("0.8"), Decimal("0.10"), Decimal("0.08"))
        ]
        spend(session, 1)
    assert len(told) == 1
    (event,) = recorded(tracker)
    assert event.data == {"account": "session/s", "kind": "session", "mark": "0.8"}
    assert (event.cost, event.held, event.context.session) == (10**11, 8 * 10**10, "s")
    tracker.close()


def test_several_marks_are_each_told_once_also_if_one_call_crosses_them_all(store: str) -> None:
    tracker, told = made(store), list[Warning]()
    marks: list[str | float] = ["0.5", 0.9, "1"]
    with tracker.session(ceiling="0.10", warn_at=marks, on_warning=told.append) as session:
        spend(session, 6)
        spend(session, 4)
    assert [warning.mark for warning in told] == [Decimal("0.5"), Decimal("0.9"), Decimal(1)]
    assert len(recorded(tracker)) == 3
    tracker.close()


def test_every_kind_of_account_warns_by_its_name_for_people(store: str) -> None:
    tracker = made(
        store,
        customers={"x": {"budgets_usd": {"day": "0.02"}}},
        teams={"t": {"budgets_usd": {"week": "0.02"}}},
    )
    told: list[Warning] = []
    with (
        tracker.session("s", customer="x", team="t", ceiling="0.02", on_warning=told.append),
        tracker.agent("top", max_cost="0.02"),
        tracker.agent("a", envelope="0.02") as run,
    ):
        spend(run)
    assert sorted((warning.kind, warning.name) for warning in told) == [
        ("customer", "x"),
        ("envelope", "a"),
        ("run", "top"),
        ("session", "s"),
        ("team", "t"),
    ]
    tracker.close()


def test_marks_are_configured_for_sessions_roles_customers_and_teams() -> None:
    tracker = made(
        session={"warn_at": "0.5"},
        agents={"a": {"warn_at": [0.25]}},
        customers={"x": {"budgets_usd": {"day": "0.04"}, "warn_at": []}},
        teams={"t": {"budgets_usd": {"day": "0.04"}, "warn_at": "0.75"}},
    )
    told: list[Warning] = []
    with tracker.session(customer="x", team="t", ceiling="0.04", on_warning=told.append) as session:
        with session.agent("a", envelope="0.04") as run:
            for _ in range(4):
                spend(run, 1)
    assert [(warning.kind, str(warning.mark)) for warning in told] == [
        ("envelope", "0.25"),
        ("session", "0.5"),
        ("team", "0.75"),
    ]


@pytest.mark.parametrize("marks", [[0], ["1.01"], ["0.0000001"]])
def test_a_mark_that_is_no_fraction_is_refused(marks: Any) -> None:
    with pytest.raises(ConfigurationError, match="warn_at"):
        made().session(warn_at=marks)


def test_presumed_money_warns_like_spent_money(store: str) -> None:
    tracker, told = made(store), list[Warning]()
    with tracker.session(ceiling="0.10", on_warning=told.append) as session:
        with pytest.raises(TimeoutError):
            with session.call("m", input_tokens=4000, max_output_tokens=4000):
                raise TimeoutError
    assert [warning.spent for warning in told] == [Decimal("0.08")]
    tracker.close()


def test_a_cap_that_is_lowered_or_moved_away_warns_and_one_that_is_raised_warns_anew(
    store: str,
) -> None:
    tracker, told = made(store), list[Warning]()
    with tracker.session(ceiling="0.10", on_warning=told.append) as session:
        spend(session, 5)
        session.set_ceiling("0.05")
        assert [warning.cap for warning in told] == [Decimal("0.05")]
        session.set_ceiling("0.20")
        assert len(told) == 1
        with session.agent("a", envelope="0.05") as run, session.agent("b", envelope="0.05"):
            spend(run, 3)
            session.transfer("a", "b", "0.02")
    assert [(warning.kind, warning.cap) for warning in told[1:]] == [("envelope", Decimal("0.03"))]
    tracker.close()


def test_in_modes_that_only_book_marks_are_reached_all_the_same(store: str) -> None:
    tracker, told = made(store, mode="record"), list[Warning]()
    with tracker.session(ceiling="0.01", on_warning=told.append) as session:
        spend(session, 5)
        spend(session, 5)
    assert [warning.spent for warning in told] == [Decimal("0.05")]
    tracker.close()


# Callbacks.


def test_an_async_callback_runs_beside_the_loops_tasks_and_has_run_when_the_session_ends() -> None:
    tracker, told = made(), list[Decimal]()

    async def tell(warning: Warning) -> None:
        for _ in range(3):
            await asyncio.sleep(0)
        told.append(warning.mark)

    async def main() -> None:
        async with tracker.session(ceiling="0.10", warn_at=[0.5, 1], on_warning=tell) as session:
            async with session.call("m", input_tokens=4000, max_output_tokens=4000) as call:
                call.record(Usage(4000, 4000))
            assert told == []
            for _ in range(5):
                await asyncio.sleep(0)
            assert told == [Decimal("0.5")]
            spend(session, 2)

    asyncio.run(main())
    assert told == [Decimal("0.5"), Decimal(1)]


def test_an_async_callback_runs_to_its_end_where_there_is_no_loop() -> None:
    tracker, told = made(), list[Decimal]()

    async def tell(warning: Warning) -> None:
        await asyncio.sleep(0)
        told.append(warning.mark)

    with tracker.session(ceiling="0.02", on_warning=tell) as session:
        spend(session)
        assert told == [Decimal("0.8")]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_an_exception_in_a_callback_is_logged_and_changes_nothing(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = made()

    def tell(warning: Warning) -> None:
        raise RuntimeError("the pager is out of paper")

    async def tell_async(warning: Warning) -> None:
        raise RuntimeError("the pager is out of paper")

    async def main() -> None:
        handler = tell if how == "sync" else tell_async
        async with tracker.session("s", ceiling="0.04", on_warning=handler) as session:
            spend(session, 4)

    with caplog.at_level(logging.ERROR, logger="spendtree"):
        asyncio.run(main())
    assert "on_warning failed" in caplog.text
    assert "out of paper" in caplog.text
    (closed,) = tracker.store.events(kinds=[Kind.SESSION_CLOSED])
    assert closed.status == "succeeded"
    assert_books_balance(tracker)


def test_many_tasks_that_cross_a_mark_together_are_told_of_it_once(store: str) -> None:
    tracker, told = made(store), list[Warning]()

    async def one() -> None:
        async with tracker.call("m", input_tokens=500, max_output_tokens=500) as call:
            await asyncio.sleep(0)
            call.record(Usage(500, 500))

    async def main() -> None:
        async with tracker.session(ceiling="0.50", warn_at=[0.2, 0.8], on_warning=told.append):
            await asyncio.gather(*(one() for _ in range(50)))

    asyncio.run(main())
    assert [str(warning.mark) for warning in told] == ["0.2", "0.8"]
    assert len(recorded(tracker)) == 2
    tracker.close()


# Several sessions and processes.


def test_a_customers_mark_that_a_session_without_a_handler_crosses_is_told_by_one_that_has_one(
    store: str,
) -> None:
    tracker, told = made(store, periods={"day": {"customer_usd": "0.10"}}), list[Warning]()
    with tracker.session("loud", customer="x", on_warning=told.append) as loud:
        with tracker.session("quiet", customer="x") as quiet:
            spend(quiet, 8)
        assert told == []
        spend(loud, 1)
        assert [(warning.kind, warning.spent) for warning in told] == [
            ("customer", Decimal("0.08"))
        ]
    assert recorded(tracker)[0].context.session == "quiet"
    tracker.close()


def test_of_two_processes_on_one_file_the_one_with_a_handler_tells_and_only_once(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    tracker, told = made(url), list[Warning]()
    with tracker.session("s", ceiling="0.10", on_warning=told.append) as session:
        pid = os.fork()
        if pid == 0:
            other = made(url)
            with other.session("s") as same:
                spend(same, 8)
            other.close()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert (len(recorded(tracker)), told) == (1, [])
        spend(session, 1)
        spend(session, 1)
        assert [warning.spent for warning in told] == [Decimal("0.08")]
    assert len(told) == 1
    tracker.close()


def test_two_processes_with_handlers_tell_each_crossing_once_between_them(tmp_path: Path) -> None:
    url, notes = f"sqlite:///{tmp_path}/spend.db", tmp_path / "told"
    notes.touch()
    marks = [mark / 100 for mark in range(5, 101, 5)]

    def work() -> None:
        tracker = made(url)

        def note(warning: Warning) -> None:
            with notes.open("a", encoding="utf-8") as file:
                file.write(f"{warning.mark}\n")

        with tracker.session("s", ceiling="1", warn_at=marks, on_warning=note) as session:
            for _ in range(25):
                spend(session, 2)
        tracker.close()

    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    tracker = made(url)
    told = sorted(map(Decimal, notes.read_text("utf-8").split()))
    assert told == [Decimal(str(mark)) for mark in marks]
    assert len(recorded(tracker)) == 20
    tracker.close()


def test_what_nobody_was_told_of_is_told_at_the_end_of_the_session(store: str) -> None:
    tracker, told = made(store), list[Warning]()
    with tracker.session("s", ceiling="0.02", on_warning=told.append):
        with tracker.session("s") as quiet:
            spend(quiet)
    assert len(told) == 1
    tracker.close()


# What warnings are for.


@pytest.mark.parametrize(("ceiling", "checked"), [("1.00", True), ("0.10", False)])
def test_at_80_percent_the_coordinator_skips_the_quality_checker_and_returns_the_raw_synthesis(
    ceiling: str, checked: bool
) -> None:
    tracker = made()

    async def ask(tokens: int) -> None:
        async with tracker.call("m", input_tokens=tokens, max_output_tokens=tokens) as call:
            call.record(Usage(tokens, tokens))

    async def answer() -> str:
        tight = asyncio.Event()

        def save(warning: Warning) -> None:
            tight.set()

        async with tracker.session(ceiling=ceiling, on_warning=save):
            async with tracker.agent("coordinator"):
                await ask(4000)
                synthesis = "raw synthesis"
                if tight.is_set():
                    return synthesis
                async with tracker.agent("quality-checker"):
                    await ask(1000)
                return f"checked {synthesis}"

    result = asyncio.run(answer())
    assert result == ("checked raw synthesis" if checked else "raw synthesis")
    spenders = {row.context.agent for row in tracker.store.totals()}
    assert ("quality-checker" in spenders) is checked
