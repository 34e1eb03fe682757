"""Processes of one store with different configurations: what stands binds all of them."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree import BudgetExceededError, Spendtree
from spendtree.collector.hearing import hear
from spendtree.event import Event, Kind
from spendtree.ids import new_id
from spendtree.ingest.load import import_files
from spendtree.store import open_store
from spendtree.testing import FrozenClock, assert_books_balance
from tests.sdk.test_budgets import CENT, DAY, PRICES, at, events, spend, spent

Made = Callable[..., Spendtree]
DAY_ACCOUNT = "customer/2026-11-23/x"


@pytest.fixture
def clock() -> FrozenClock:
    return at(2026, 11, 23, 12)


@pytest.fixture(params=["memory:", "sqlite:///{}/spend.db"])
def made(request: pytest.FixtureRequest, tmp_path: Path, clock: FrozenClock) -> Iterator[Made]:
    """Make trackers of one store, each with a configuration of its own, like processes."""
    url = str(request.param).format(tmp_path)
    shared = open_store(url)
    with ExitStack() as stack:

        def make(config: Any = None, **keys: Any) -> Spendtree:
            config = {"prices": PRICES, **keys} if config is None else config
            store = shared if url == "memory:" else open_store(url)
            tracker = Spendtree(store, config, clock=clock)
            stack.callback(tracker.close)
            return tracker

        yield make
        shared.close()


def budget(kind: str = "customer", **usd: str) -> dict[str, Any]:
    return {f"{kind}s": {"x": {"budgets_usd": usd}}}


def cap(tracker: Spendtree, account: str = DAY_ACCOUNT) -> int | None:
    balance = tracker.store.balance(account)
    assert balance is not None
    return None if balance.cap is None else balance.cap // CENT


@pytest.mark.parametrize("kind", ["customer", "team"])
@pytest.mark.parametrize("period", ["day", "week", "month"])
def test_a_process_that_does_not_know_a_budget_spends_under_it(
    made: Made, kind: str, period: str
) -> None:
    knows, does_not = made(**budget(kind, **{period: "0.06"})), made()
    who: Any = {kind: "x"}
    with knows.session(**who) as session:
        spend(session)
    with does_not.session(**who) as session, session.agent("a") as run:
        spend(run)
        spend(session)
        with pytest.raises(BudgetExceededError) as error:
            spend(run)
    assert (error.value.kind, error.value.free) == (kind, Decimal(0))
    assert list(spent(knows).values()) == [6]
    with pytest.raises(BudgetExceededError, match="nothing is left to start with"):
        does_not.session(**who).open()
    assert_books_balance(does_not)


def test_an_open_session_finds_within_a_second_what_another_process_opens(
    made: Made, clock: FrozenClock
) -> None:
    does_not, knows = made(), made(**budget(day="0.04"))
    with does_not.session(customer="x") as one, does_not.session(customer="x") as two:
        spend(one)
        spend(two)
        with knows.session(customer="x") as session:
            spend(session)
        clock.advance(1)
        spend(one)
        with pytest.raises(BudgetExceededError):
            spend(two)
    assert spent(does_not) == {DAY_ACCOUNT: 4}


def test_a_new_period_is_found_when_another_process_opens_it(
    made: Made, clock: FrozenClock
) -> None:
    knows, does_not = made(**budget(day="0.02")), made()
    with knows.session(customer="x") as here, does_not.session(customer="x") as there:
        spend(there)
        with pytest.raises(BudgetExceededError):
            spend(there)
        clock.advance(DAY)
        spend(there)  # nobody has opened the day's budget yet
        spend(here)
        clock.advance(1)
        with pytest.raises(BudgetExceededError):
            spend(there)
    assert spent(knows) == {DAY_ACCOUNT: 2, "customer/2026-11-24/x": 2}


def test_a_budget_is_found_by_sessions_that_are_continued_and_by_those_of_others(
    made: Made, clock: FrozenClock
) -> None:
    does_not, knows = made(), made(**budget(day="0.02"))
    with does_not.session("s", customer="x") as session:
        headers = does_not.inject()
        with knows.session(customer="x") as other:
            spend(other)
        clock.advance(1)
        with does_not.extract(headers), pytest.raises(BudgetExceededError):
            spend(does_not)
    with pytest.raises(BudgetExceededError, match="nothing is left to start with"):
        does_not.session("s").open()
    assert session.context.customer == "x"


def test_a_look_costs_a_call_nothing_but_every_half_second(
    made: Made, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = made()
    looks: list[int] = []
    real = tracker.store.newest_budget

    def look() -> int:
        looks.append(1)
        return real()

    monkeypatch.setattr(tracker.store, "newest_budget", look)
    with tracker.session(customer="x") as one, tracker.session(customer="x") as two:
        for _ in range(3):
            for _ in range(20):
                spend(one)
                spend(two)
            clock.advance(0.5)
    assert len(looks) == 3
    looks.clear()
    with tracker.session() as nobodys:
        spend(nobodys)
    assert looks == []


# Whose amount holds.


def test_of_two_amounts_that_of_the_newer_version_holds_in_whatever_order_they_start(
    made: Made,
) -> None:
    old, new = made(version=1, **budget(day="0.02")), made(version=2, **budget(day="0.06"))
    for tracker, expected in ((old, 2), (new, 6), (old, 6), (new, 6), (old, 6)):
        with tracker.session(customer="x"):
            assert cap(tracker) == expected
    (changed,) = events(old, Kind.CAP_CHANGED)
    assert (changed.cost, changed.data) == (
        6 * CENT,
        {
            "account": DAY_ACCOUNT,
            "kind": "customer",
            "reason": "configuration",
            "configuration": "2",
        },
    )
    lower = made(version="2026-12-01", **budget(day="0.01"))
    with lower.session(customer="x"):
        assert cap(lower) == 1
    assert len(events(old, Kind.CAP_CHANGED)) == 2


def test_a_newer_version_with_the_same_amount_keeps_one_in_between_from_changing_it(
    made: Made,
) -> None:
    for version, usd in ((1, "0.05"), (3, "0.05"), (2, "0.01"), (3, "0.09")):
        with made(version=version, **budget(day=usd)).session(customer="x") as session:
            assert cap(session.tracker) == 5
    assert events(session.tracker, Kind.CAP_CHANGED) == []


def test_files_without_a_version_are_ordered_by_their_time_below_every_version(
    made: Made, tmp_path: Path
) -> None:
    def file(name: str, usd: str, second: int, version: str = "") -> Path:
        path = tmp_path / name
        path.write_text(f"{version}\ncustomers: {{x: {{budgets_usd: {{day: {usd}}}}}}}\n")
        os.utime(path, (second, second))
        return path

    early, late = file("early.yaml", "0.02", 1_000), file("late.yaml", "0.04", 2_000)
    stated = file("stated.yaml", "0.06", 500, "version: 0")
    for path, expected in ((late, 4), (early, 4), (stated, 6), (late, 6)):
        tracker = made(path)
        with tracker.session(customer="x"):
            assert cap(tracker) == expected
    early.write_text("customers: {x: {budgets_usd: {day: 0.03}}}\n")
    (changed,) = events(tracker, Kind.CAP_CHANGED)
    assert (changed.data or {})["configuration"] == "0"


def test_a_file_that_is_changed_and_read_again_is_a_newer_one(made: Made, tmp_path: Path) -> None:
    file = tmp_path / "spendtree.yaml"
    text = "customers: {x: {budgets_usd: {day: %s}}}\nprices: {m: {input_usd_per_mtok: 10, "
    text += "output_usd_per_mtok: 10}}\n"
    file.write_text(text % "0.02")
    os.utime(file, (1_000, 1_000))
    tracker = made(file)
    with tracker.session(customer="x") as session:
        spend(session)
        file.write_text(text % "0.04")
        tracker.reconfigure(file)
        spend(session)
        with pytest.raises(BudgetExceededError):
            spend(session)
    assert len(events(tracker, Kind.CAP_CHANGED)) == 1


def test_a_mapping_opens_what_does_not_stand_and_never_changes_what_does(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "spendtree")
    low, high = made(**budget(day="0.02")), made(**budget(day="1", week="0.09"))
    with low.session(customer="x"):
        pass
    for _ in range(2):
        with high.session(customer="x"):
            assert cap(high) == 2
            assert cap(high, "customer/2026-W48/x") == 9
    assert [record.getMessage() for record in caplog.records] == [
        "the budget of customer 'x' for 2026-11-23 is $0.02, not the $1.00 of this configuration, "
        "which cannot be ordered among others: give it a `version` (a number or a date) to change "
        "what another one has set"
    ]
    versioned = made(version=1, **budget(day="0.05"))
    with versioned.session(customer="x"):
        assert cap(versioned) == 5


def test_an_older_version_is_told_once_that_it_does_not_hold(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "spendtree")
    for version, usd in ((5, "0.02"), (4, "0.03"), (5, "0.04")):
        tracker = made(version=version, **budget(day=usd))
        for _ in range(2):
            with tracker.session(customer="x"):
                assert cap(tracker) == 2
    older, same = (record.getMessage() for record in caplog.records)
    assert "is $0.02, not the $0.03 of this configuration, which is older than the one" in older
    assert "which is of the same version as the one that set it (5): raise its `version`" in same


def test_what_a_process_says_again_while_it_runs_is_of_that_moment(
    made: Made, clock: FrozenClock
) -> None:
    """`reconfigure` with a mapping is a change; what a program says at its start is none."""
    one, two = made(**budget(day="0.02")), made(**budget(day="0.02"))
    with one.session(customer="x"), two.session(customer="x"):
        for tracker, usd in ((one, "0.04"), (two, "0.06"), (one, "0.05")):
            clock.advance(1)
            tracker.reconfigure({"prices": PRICES, **budget(day=usd)})
            with tracker.session(customer="x"):
                assert cap(tracker) == int(Decimal(usd) * 100)
    late = made()
    late.reconfigure({"prices": PRICES, **budget(day="9")})
    with late.session(customer="x"):
        assert cap(late) == 5, "it had no budgets before: these are its start"
    one.reconfigure({"prices": PRICES, "mode": "warn", **budget(day="0.05")})
    assert one.config.order is not None


def test_a_budget_that_is_taken_out_binds_until_its_period_is_over(
    made: Made, clock: FrozenClock
) -> None:
    tracker = made(version=1, **budget(day="0.02"))
    with tracker.session(customer="x") as session:
        spend(session)
        tracker.reconfigure({"prices": PRICES, "version": 2})
        with pytest.raises(BudgetExceededError):
            spend(session)
        clock.advance(DAY)
        spend(session, 50)
    assert spent(tracker) == {DAY_ACCOUNT: 2}


@pytest.mark.parametrize(
    ("config", "refuses"),
    [
        ({}, True),
        ({"mode": "record"}, False),
        ({"mode": "warn"}, False),
        ({"customers": {"x": {"mode": "record"}}}, False),
        ({"mode": "record", "customers": {"x": {"mode": "enforce"}}}, True),
        ({"modes": {"customer": "warn"}}, False),
        ({"modes": {"session": "warn"}}, True),
    ],
)
def test_a_process_enforces_what_it_does_not_know_by_its_own_mode_and_books_it_always(
    made: Made, config: dict[str, Any], refuses: bool
) -> None:
    knows, other = made(**budget(day="0.02")), made(**config)
    with knows.session(customer="x") as session:
        spend(session)
    with ExitStack() as stack:
        if refuses:
            stack.enter_context(pytest.raises(BudgetExceededError))
        with other.session(customer="x") as session:
            spend(session)
    assert spent(knows) == {DAY_ACCOUNT: 2 if refuses else 4}


def test_a_change_of_a_budget_is_told_to_who_listens_and_no_change_is_not(made: Made) -> None:
    class Listener:
        def __init__(self) -> None:
            self.kinds: list[int] = []

        def heard(self, event: Any) -> None:
            self.kinds.append(event.kind)

    for version, usd, told in ((1, "0.02", 0), (2, "0.04", 1), (3, "0.04", 0), (2, "0.09", 0)):
        tracker, listener = made(version=version, **budget(day=usd)), Listener()
        heard = hear(tracker)
        heard.listeners = (listener,)  # type: ignore[assignment]
        with tracker.session(customer="x"):
            pass
        assert listener.kinds.count(Kind.CAP_CHANGED) == told


def test_two_processes_that_decide_at_once_leave_the_newer_ones_amount(made: Made) -> None:
    """Each has seen the oldest amount stand; the store decides again when it sets one."""
    one, two = made(version=1, **budget(day="0.01")), made()
    with one.session(customer="x") as session:
        changed = Event(
            0, Kind.CAP_CHANGED, 1, new_id(), session.context, cost=1, data={"account": DAY_ACCOUNT}
        )
    assert two.store.set_budget(DAY_ACCOUNT, 3 * CENT, 3, changed) is True
    for version in (2, 3):
        again = changed._replace(id=new_id())
        assert one.store.set_budget(DAY_ACCOUNT, 2 * CENT, version, again) is False
    assert cap(one) == 3
    assert len(events(one, Kind.CAP_CHANGED)) == 1


def test_after_the_clock_went_back_others_budgets_are_found_as_soon(
    made: Made, clock: FrozenClock
) -> None:
    does_not, knows = made(), made(**budget(day="0.02"))
    with does_not.session(customer="x") as session:
        spend(session)
        clock.ns -= 3_600 * 10**9
        spend(session)
        with knows.session(customer="x") as other:
            spend(other)
        clock.advance(1)
        with pytest.raises(BudgetExceededError):
            spend(session)


# Imports.


def span(second: int, name: str) -> str:
    return json.dumps(
        {
            "trace_id": f"{second:032x}",
            "span_id": f"{second:016x}",
            "name": name,
            "start_time": f"2026-11-23T00:00:{second:02d}Z",
            "end_time": f"2026-11-23T00:00:{second:02d}.5Z",
            "attributes": {
                "gen_ai.operation.name": "chat",
                "gen_ai.request.model": "m",
                "gen_ai.usage.input_tokens": 500,
                "gen_ai.usage.output_tokens": 500,
            },
        }
    )


@pytest.mark.parametrize(("history", "charged"), [(False, 2), (True, 1)])
def test_what_is_imported_is_charged_to_the_budgets_that_stand_for_its_time(
    made: Made, tmp_path: Path, history: bool, charged: int
) -> None:
    file = tmp_path / "spans.jsonl"
    file.write_text("\n".join([span(1, "chat m")]))
    tracker = made(**budget(day="0.02", month="5"))
    with tracker.session(customer="x") as session:
        spend(session, 1)
    for _ in range(2):
        report = import_files(
            tracker.store, [file], prices=tracker.prices, history=history, customer="x"
        )
        assert report.problems == []
        assert report.calls == 1
    assert spent(tracker) == {DAY_ACCOUNT: charged, "customer/2026-11/x": charged}
    assert_books_balance(tracker)
    with tracker.session(customer="nobody's") as other:
        spend(other)


# Processes.

WORKER = """
import json, sys
from spendtree import BudgetExceededError, Spendtree, Usage
tracker = Spendtree(sys.argv[1], json.loads(sys.argv[2]))
made = 0
try:
    for _ in range(int(sys.argv[3])):
        with tracker.session(customer="x") as session:
            with session.call("m", input_tokens=500, max_output_tokens=500) as call:
                call.record(Usage(500, 500))
        made += 1
except BudgetExceededError:
    pass
print(made)
"""


def test_processes_of_two_configurations_side_by_side_spend_no_more_than_the_budget(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    opener = Spendtree(url, {"prices": PRICES, "version": 1, **budget(month="0.20")})
    with opener.session(customer="x"):
        pass
    configs: list[dict[str, Any]] = [
        {"version": 1, **budget(month="0.20")},
        {},
        {"version": 2, **budget(month="0.30")},
        budget(month="9"),
    ]
    command = [sys.executable, "-c", WORKER, url]
    workers = [
        subprocess.Popen(
            [*command, json.dumps({"prices": PRICES, **config}), "40"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for config in configs
    ]
    calls = [int(worker.communicate(timeout=120)[0]) for worker in workers]
    accounts = list(opener.store.accounts("customer"))
    assert sum(calls) <= 30
    assert [(money.cap, money.spent) for _, money in accounts] == [(30 * CENT, sum(calls) * CENT)]
    assert len(events(opener, Kind.CAP_CHANGED)) == 1
    opener.close()
