"""The clock: a call belongs to the period of its own time, whatever the clock does meanwhile."""

# ruff: noqa: SIM117 - the order in which scopes and calls nest is what is tested

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from spendtree import BudgetExceededError, ClockError, Spendtree, SpendtreeError, Usage
from spendtree.event import Event, Kind
from spendtree.ids import new_id
from spendtree.scope import Scope
from spendtree.store.sqlite import SqliteStore
from spendtree.testing import FrozenClock, assert_books_balance

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
CENT = 10_000_000_000
HOUR, DAY = 3600 * 10**9, 86_400 * 10**9
BEFORE_NEW_YEAR = int(datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()) * 10**9
IMPOSSIBLE = (-1, -5 * 10**9, 253_402_300_800 * 10**9, 10**21, 2**200)
"""Just before 1970, in 1969, the beginning of the year 10000, the year 33658, and beyond all."""


@pytest.fixture(params=["memory:", "sqlite:///{}/spend.db"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock(BEFORE_NEW_YEAR)


def made(store: str, clock: Callable[[], int], **config: Any) -> Spendtree:
    return Spendtree(store, {"prices": PRICES, **config}, clock=clock)


def spend(where: Spendtree | Scope) -> None:
    """Spend a cent."""
    with where.call("m", input_tokens=500, max_output_tokens=500) as call:
        call.record(Usage(500, 500))


def cents(tracker: Spendtree) -> dict[str, int]:
    found = tracker.store.accounts("customer")
    return {account.period: balance.spent // CENT for account, balance in found}


def ends(tracker: Spendtree) -> list[Event]:
    return list(tracker.store.events(kinds=[Kind.CALL, Kind.LAPSE, Kind.TOOL]))


# Back over the end of a period.


def test_a_clock_that_goes_back_charges_the_earlier_period_again(
    store: str, clock: FrozenClock
) -> None:
    budgets = {"day": "0.02", "week": "0.10", "month": "0.03"}
    tracker = made(store, clock, customers={"a": {"budgets_usd": budgets}})
    with tracker.session(customer="a") as session, session.agent("x") as agent:
        for _ in range(2):
            spend(agent)
        clock.ns += 2 * 10**9
        spend(agent)
        clock.ns -= HOUR
        with pytest.raises(BudgetExceededError, match="customer"):
            spend(agent)
        with pytest.raises(BudgetExceededError, match="customer"):
            spend(session)
        clock.ns -= DAY  # the day has money, and the month one cent of it
        spend(agent)
        with pytest.raises(BudgetExceededError):
            spend(agent)
        clock.ns = BEFORE_NEW_YEAR + 2 * 10**9
        spend(agent)
    assert cents(tracker) == {
        "2026-12-30": 1,
        "2026-12-31": 2,
        "2027-01-01": 2,
        "2026-W53": 5,
        "2026-12": 3,
        "2027-01": 2,
    }
    assert_books_balance(tracker)


def test_a_call_that_waits_follows_a_clock_that_goes_back(store: str, clock: FrozenClock) -> None:
    clock.ns += 2 * 10**9
    tracker = made(store, clock, customers={"a": {"budgets_usd": {"month": "0.01"}}})

    async def main() -> None:
        async with tracker.session(customer="a") as session:
            first = session.call("m", input_tokens=500, max_output_tokens=500)
            await first.__aenter__()
            second = session.call("m", input_tokens=500, max_output_tokens=500)
            waiting = asyncio.create_task(second.__aenter__())
            await asyncio.sleep(0)  # it asks, and stands in line
            assert tracker.lines
            clock.ns -= HOUR
            await asyncio.wait_for(waiting, 60)
            for call in (first, second):
                call.record(Usage(500, 500))
                await call.__aexit__(None, None, None)

    asyncio.run(main())
    assert cents(tracker) == {"2027-01": 1, "2026-12": 1}


# Back within a call.


@pytest.mark.parametrize("back", [1_000, 40 * DAY, 10**30, -(10**30)])
def test_what_was_paid_for_is_recorded_whatever_the_clock_says_at_its_end(
    store: str, clock: FrozenClock, back: int
) -> None:
    tracker = made(store, clock, customers={"a": {"budgets_usd": {"month": "1"}}})
    began, said = clock.ns // 1000, (clock.ns - back) // 1000
    with tracker.session(customer="a") as session, session.agent("x") as agent:
        with agent.call("m", input_tokens=500, max_output_tokens=500) as call:
            with agent.call("m", input_tokens=500, max_output_tokens=500):
                with agent.tool("search", cost="0.01"):
                    clock.ns -= back
                    call.record(Usage(500, 500))

    assert [event.kind for event in ends(tracker)] == [Kind.TOOL, Kind.LAPSE, Kind.CALL]
    for event in ends(tracker):
        assert (event.started, event.at) == (began, began), "lasts no time, and not less"
        assert (event.data or {})["clock_us"] == said
    assert tracker.store.open_holds() == 0
    assert cents(tracker) == {"2026-12": 2}
    closed = list(tracker.store.events(kinds=[Kind.RUN_CLOSED, Kind.SESSION_CLOSED]))
    assert len(closed) == 2
    assert all(event.at >= began for event in closed)


def test_a_clock_that_goes_on_leaves_no_mark(store: str, clock: FrozenClock) -> None:
    tracker = made(store, clock)
    with tracker.session() as session:
        with session.call("m", input_tokens=500, max_output_tokens=500) as call:
            clock.advance(0)
            call.record(Usage(500, 500))
    assert [event.data for event in ends(tracker)] == [None]


def test_the_hold_of_a_dead_process_lapses_no_earlier_than_it_was_made(
    tmp_path: Path, clock: FrozenClock
) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    tracker = made(url, clock)
    with tracker.session() as session:
        session.call("m", input_tokens=500, max_output_tokens=500).__enter__()
        assert isinstance(tracker.store, SqliteStore)
        tracker.store._database.query("SELECT 1")
        _disown(tmp_path / "spend.db")
        assert tracker.store.lapse_abandoned(now=clock.ns // 1000 - DAY // 1000, idle=0) == 1
    (lapse,) = ends(tracker)
    assert lapse.at == lapse.started == BEFORE_NEW_YEAR // 1000


def _disown(path: Path) -> None:
    import sqlite3  # noqa: PLC0415

    connection = sqlite3.connect(path)
    with connection:
        connection.execute("UPDATE owner SET pid = pid + 10000000, start = 1")
    connection.close()


# Times that cannot be.


@pytest.mark.parametrize("ns", IMPOSSIBLE)
def test_an_impossible_time_is_an_error_before_anything_is_sent(
    store: str, clock: FrozenClock, ns: int
) -> None:
    tracker = made(store, clock, customers={"a": {"budgets_usd": {"day": "1"}}})
    with tracker.session(customer="a") as session, session.agent("x") as agent:
        good, clock.ns = clock.ns, ns
        for open in (
            tracker.session("other", customer="a").open,
            tracker.agent("y").open,
            agent.agent("z").open,
            agent.call("m", input_tokens=1, max_output_tokens=1).__enter__,
            agent.tool("search", cost=0).__enter__,
            lambda: session.set_ceiling(1),
        ):
            with pytest.raises(ClockError, match="1970 to 9999") as wrong:
                open()
            assert isinstance(wrong.value, (SpendtreeError, ValueError))
        clock.ns = good
        spend(agent)
    assert cents(tracker) == {"2026-12-31": 1}
    assert tracker.store.open_holds() == 0


def test_an_impossible_time_is_told_as_a_date_where_it_has_one(clock: FrozenClock) -> None:
    tracker = made("memory:", clock)
    for ns, said in ((-5 * 10**9, "1969-12-31 23:59:55 UTC"), (10**21, f"{10**21} nanoseconds")):
        clock.ns = ns
        with pytest.raises(ClockError, match=said):
            tracker.session().open()


@pytest.mark.parametrize(
    "moment", ["1970-01-01", "1970-01-04", "2262-04-12", "9999-12-30", "9999-12-31T23:59:59"]
)
def test_the_first_and_the_last_times_of_the_calendar_have_budgets_like_any_other(
    store: str, moment: str
) -> None:
    time = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    seconds = (time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    budgets = {"day": "0.01", "week": "0.01", "month": "0.01"}
    tracker = made(
        store, FrozenClock(int(seconds) * 10**9), customers={"a": {"budgets_usd": budgets}}
    )
    with tracker.session(customer="a") as session:
        spend(session)
        with pytest.raises(BudgetExceededError):
            spend(session)
    assert list(cents(tracker).values()) == [1, 1, 1]


def test_an_id_is_made_at_any_time() -> None:
    for ns in IMPOSSIBLE:
        assert len(new_id(ns)) == 16
