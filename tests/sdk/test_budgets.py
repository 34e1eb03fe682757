"""Budgets of customers and teams by UTC period, the live ceiling, and what may start at all."""

import os
import pickle
import threading
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree import (
    BudgetExceededError,
    EnvelopeExhaustedError,
    Spendtree,
    StoreUnavailableError,
    Usage,
)
from spendtree.account import Balance
from spendtree.event import Event, Kind
from spendtree.scope import Scope
from spendtree.testing import FrozenClock, assert_books_balance, assert_spent
from tests.sdk.patience import until

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
CENT = 10_000_000_000
DAY = 86_400


def at(*moment: int) -> FrozenClock:
    """Return a clock that stands at a moment of UTC: year, month, day, hour, minute, second."""
    year, month, day, *rest = moment
    hour, minute, second = (*rest, 0, 0, 0)[:3]
    seconds = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    return FrozenClock(int(seconds) * 10**9)


@pytest.fixture(params=["memory:", "sqlite:///{}/spend.db"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(request.param).format(tmp_path)


def made(store: str, clock: FrozenClock, **config: Any) -> Spendtree:
    return Spendtree(store, {"prices": PRICES, **config}, clock=clock)


def spend(where: Spendtree | Scope, cents: int = 2) -> None:
    with where.call("m", input_tokens=500 * cents, max_output_tokens=500 * cents) as call:
        call.record(Usage(500 * cents, 500 * cents))


def spent(tracker: Spendtree) -> dict[str, int]:
    """Return the cents that each budget of a customer or team has spent."""
    return {
        account.id: balance.spent // CENT
        for account, balance in tracker.store.accounts()
        if account.kind in ("customer", "team")
    }


def balance(tracker: Spendtree, account: str) -> Balance:
    found = tracker.store.balance(account)
    assert found is not None
    return Balance(*found[:4])


def events(tracker: Spendtree, *kinds: Kind) -> list[Event]:
    return list(tracker.store.events(kinds=kinds or None))


# Customers and teams.


def test_a_customers_and_a_teams_budgets_are_accounts_of_the_utc_period(store: str) -> None:
    tracker = made(
        store,
        at(2026, 11, 23, 12),
        customers={"acme": {"budgets_usd": {"day": "1", "month": "5"}}},
        teams={"search": {"budgets_usd": {"week": "3"}}},
    )
    with tracker.session("s", customer="acme", team="search") as session:
        spend(session)
        path = session.context.path
    assert path == (
        "customer/2026-11-23/acme",
        "customer/2026-11/acme",
        "team/2026-W48/search",
        "session/s",
    )
    assert set(spent(tracker).values()) == {2}
    caps = {account.id: money.cap for account, money in tracker.store.accounts()}
    assert [caps[name] for name in path] == [100 * CENT, 500 * CENT, 300 * CENT, None]
    assert_books_balance(tracker)
    tracker.close()


@pytest.mark.parametrize("kind", ["customer", "team"])
def test_a_budget_is_shared_by_all_sessions_and_refuses_when_it_is_gone(
    store: str, kind: str
) -> None:
    tracker = made(store, at(2026, 11, 23), **{f"{kind}s": {"x": {"budgets_usd": {"day": "0.05"}}}})
    who: Any = {kind: "x"}
    with tracker.session(**who) as one, tracker.session(**who) as two:
        spend(one)
        spend(two)
        with pytest.raises(BudgetExceededError) as error:
            spend(one)
    refused = error.value
    assert not isinstance(refused, EnvelopeExhaustedError)
    assert (refused.kind, refused.name, refused.reason) == (kind, "x", "exhausted")
    assert refused.account == f"{kind}/2026-11-23/x"
    assert str(refused).endswith("its next budget begins 2026-11-24 (UTC)")
    assert str(pickle.loads(pickle.dumps(refused))) == str(refused)
    tracker.close()


def test_who_has_no_budget_of_their_own_has_that_of_the_period_and_nobody_has_none(
    store: str,
) -> None:
    tracker = made(
        store,
        at(2026, 11, 23),
        periods={"day": {"customer_usd": "1"}},
        customers={"big": {"budgets_usd": {"day": "7"}}},
    )
    for customer in ("big", "small", ""):
        with tracker.session(customer=customer) as session:
            spend(session)
    caps = {account.id: money.cap for account, money in tracker.store.accounts("customer")}
    assert caps == {"customer/2026-11-23/big": 700 * CENT, "customer/2026-11-23/small": 100 * CENT}
    tracker.close()


@pytest.mark.parametrize(
    ("kind", "before", "names"),
    [
        ("day", (2026, 11, 23, 23, 59, 59), ("2026-11-23", "2026-11-24")),
        ("week", (2026, 11, 29, 23, 59, 59), ("2026-W48", "2026-W49")),
        ("month", (2026, 11, 30, 23, 59, 59), ("2026-11", "2026-12")),
        ("month", (2026, 12, 31, 23, 59, 59), ("2026-12", "2027-01")),
    ],
)
def test_a_new_period_is_a_new_account_and_the_old_one_is_never_reset(
    store: str, kind: str, before: tuple[int, ...], names: tuple[str, str]
) -> None:
    clock = at(*before)
    tracker = made(store, clock, customers={"x": {"budgets_usd": {kind: "0.02"}}})
    with tracker.session(customer="x"), tracker.agent("a") as run, tracker.cycle() as cycle:
        spend(cycle)
        with pytest.raises(BudgetExceededError):
            spend(run)
        clock.advance(1)
        spend(cycle)
        with pytest.raises(BudgetExceededError):
            spend(run)
    old, new = (f"customer/{name}/x" for name in names)
    assert spent(tracker) == {old: 2, new: 2}
    assert_spent(tracker, "0.04")
    assert_books_balance(tracker)
    tracker.close()


def test_the_very_first_moment_of_a_period_is_in_it_however_late_the_last_look_was(
    store: str,
) -> None:
    clock = at(2026, 11, 23, 23, 59, 59)
    tracker = made(store, clock, customers={"x": {"budgets_usd": {"day": "1"}}})
    with tracker.session(customer="x") as session:
        clock.advance(0.75)
        spend(session)
        clock.advance(0.25)
        spend(session)
    assert spent(tracker) == {"customer/2026-11-23/x": 2, "customer/2026-11-24/x": 2}
    tracker.close()


def test_a_call_belongs_to_the_period_in_which_it_was_held_however_late_it_ends(store: str) -> None:
    clock = at(2026, 11, 30, 23, 59, 59)
    tracker = made(store, clock, customers={"x": {"budgets_usd": {"month": "1"}}})
    with tracker.session(customer="x") as session:
        with session.call("m", input_tokens=1000, max_output_tokens=1000) as late:
            clock.advance(5 * DAY)
            spend(session, 4)
            late.record(Usage(1000, 1000))
        with pytest.raises(TimeoutError), session.call("m", input_tokens=1000, max_output_tokens=0):
            raise TimeoutError
    assert spent(tracker) == {"customer/2026-11/x": 2, "customer/2026-12/x": 4}
    assert balance(tracker, "customer/2026-12/x").presumed == CENT
    paths = {call.cost: call.context.path[0] for call in events(tracker, Kind.CALL)}
    assert paths == {2 * CENT: "customer/2026-11/x", 4 * CENT: "customer/2026-12/x"}
    assert_books_balance(tracker)
    tracker.close()


def test_a_call_that_waited_into_the_next_period_is_held_in_that_one() -> None:
    clock = at(2026, 11, 30, 23, 59, 59)
    tracker = made("memory:", clock, customers={"x": {"budgets_usd": {"month": "0.02"}}})
    holding = threading.Event()
    with tracker.session("s", customer="x") as session:
        first = session.call("m", input_tokens=1000, max_output_tokens=1000).__enter__()

        def wait() -> None:
            holding.set()
            spend(session)

        waiter = threading.Thread(target=wait)
        waiter.start()
        holding.wait()
        until(lambda: tracker.lines)
        clock.advance(1)  # November's money is still held: only December's can pay
        waiter.join()
        first.record(Usage(500, 500))
        first.__exit__(None, None, None)
    assert spent(tracker) == {"customer/2026-11/x": 1, "customer/2026-12/x": 2}
    started = {call.context.path[0]: call.started for call in events(tracker, Kind.CALL)}
    turn = at(2026, 12, 1).ns // 1000
    assert started == {"customer/2026-11/x": turn - 1_000_000, "customer/2026-12/x": turn}
    assert_books_balance(tracker)


def test_a_continued_session_is_charged_to_the_budgets_of_now_and_of_its_own_customer(
    store: str,
) -> None:
    clock = at(2026, 11, 30)
    tracker = made(store, clock, customers={"x": {"budgets_usd": {"month": "0.03"}}})
    with tracker.session("s", customer="x", ceiling="1") as session:
        spend(session)
    clock.advance(2 * DAY)
    with tracker.session("s") as again:
        spend(again)
        with pytest.raises(BudgetExceededError) as error:
            spend(again)
    assert error.value.account == "customer/2026-12/x"
    assert spent(tracker) == {"customer/2026-11/x": 2, "customer/2026-12/x": 2}
    assert balance(tracker, "session/s") == Balance(100 * CENT, 4 * CENT)
    tracker.close()


def test_a_session_of_a_customer_without_money_does_not_start(store: str) -> None:
    tracker = made(store, at(2026, 11, 23), customers={"x": {"budgets_usd": {"day": "0.02"}}})
    with tracker.session(customer="x") as session:
        spend(session)
        with pytest.raises(BudgetExceededError, match="nothing is left to start with"):
            tracker.session("late", customer="x").open()
    closed = [event.status for event in events(tracker, Kind.SESSION_CLOSED)]
    assert closed == ["budget_exceeded", "succeeded"]
    tracker.close()


def test_a_budget_that_is_configured_otherwise_is_set_in_live_sessions_and_recorded(
    store: str,
) -> None:
    clock = at(2026, 11, 23)
    tracker = made(store, clock, customers={"x": {"budgets_usd": {"day": "0.02"}}})

    def budget(**usd: str) -> None:
        tracker.reconfigure({"prices": PRICES, "customers": {"x": {"budgets_usd": usd}}})

    with tracker.session("s", customer="x"), tracker.agent("a") as run:
        spend(run)
        with pytest.raises(BudgetExceededError):
            spend(run)
        budget(day="0.06", month="0.02")
        spend(run)
        with pytest.raises(BudgetExceededError) as month:
            spend(run)
        budget(day="0.01")
        with pytest.raises(BudgetExceededError) as day:
            spend(run)
        budget()
        with pytest.raises(BudgetExceededError):
            spend(run)  # what stands binds until its period is over
    assert month.value.account == "customer/2026-11/x"
    assert (day.value.cap, day.value.free) == (Decimal("0.01"), Decimal("-0.03"))
    changes = [(event.cost, event.data) for event in events(tracker, Kind.CAP_CHANGED)]
    account = {
        "account": "customer/2026-11-23/x",
        "kind": "customer",
        "reason": "configuration",
        "configuration": "given in code at 2026-11-23 00:00:00 UTC",
    }
    assert changes == [(6 * CENT, account), (CENT, account)]
    assert spent(tracker) == {"customer/2026-11-23/x": 4, "customer/2026-11/x": 2}
    tracker.close()


def test_processes_share_a_customers_budget(tmp_path: Path) -> None:
    tracker = made(
        f"sqlite:///{tmp_path}/s.db",
        at(2026, 11, 23),
        customers={"x": {"budgets_usd": {"day": "0.05"}}},
    )
    with tracker.session(customer="x") as session:
        spend(session)
        pid = os.fork()
        if pid == 0:
            with tracker.session(customer="x") as own:
                spend(own)
                try:
                    spend(own)
                except BudgetExceededError:
                    os._exit(0)
            os._exit(1)
        assert os.waitpid(pid, 0)[1] == 0
        with pytest.raises(BudgetExceededError):
            spend(session)
    assert spent(tracker) == {"customer/2026-11-23/x": 4}
    tracker.close()


def test_a_forked_child_follows_another_configuration_in_its_parents_session(
    tmp_path: Path,
) -> None:
    tracker = made(f"sqlite:///{tmp_path}/s.db", at(2026, 11, 23))
    with tracker.session("s", customer="x") as session:
        session._lock.acquire()  # as if another thread of the parent had it just now
        pid = os.fork()
        if pid == 0:
            tracker.reconfigure(
                {"prices": PRICES, "customers": {"x": {"budgets_usd": {"day": "0.01"}}}}
            )
            try:
                spend(session)
            except BudgetExceededError:
                os._exit(0)
            os._exit(1)
        session._lock.release()
        assert os.waitpid(pid, 0)[1] == 0
    tracker.close()


def test_a_period_that_cannot_be_opened_is_not_taken_for_the_old_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = at(2026, 11, 30, 23, 59, 59)
    tracker = made("memory:", clock, customers={"x": {"budgets_usd": {"month": "1"}}})
    with tracker.session("s", customer="x") as session:
        spend(session)
        clock.advance(1)
        with monkeypatch.context() as patch:
            patch.setattr(tracker.store, "open_accounts", unreachable)
            for _ in range(2):
                with pytest.raises(StoreUnavailableError):
                    spend(session)
            with pytest.raises(StoreUnavailableError):
                tracker.agent("a").open()
        spend(session)
    assert spent(tracker) == {"customer/2026-11/x": 2, "customer/2026-12/x": 2}


def unreachable(*_: Any, **__: Any) -> Any:
    raise StoreUnavailableError("the disk is full")


# The live ceiling.


def test_a_ceiling_is_raised_and_lowered_while_the_session_runs_and_both_are_recorded(
    store: str,
) -> None:
    tracker = made(store, at(2026, 11, 23))
    with tracker.session("s", ceiling="0.02") as session, tracker.agent("a") as run:
        spend(run)
        with pytest.raises(BudgetExceededError):
            spend(run)
        session.set_ceiling("0.05")
        spend(run)
        assert session.remaining() == Decimal("0.01")
        session.set_ceiling("0.03")
        assert session.remaining() == Decimal("-0.01")
        with pytest.raises(BudgetExceededError) as error:
            spend(run)
        session.set_ceiling(None)
        spend(run)
        assert session.remaining() is None
        session.set_ceiling("0.06")
        with pytest.raises(BudgetExceededError):
            spend(run)
    assert (error.value.cap, error.value.free) == (Decimal("0.03"), Decimal("-0.01"))
    changes = events(tracker, Kind.CAP_CHANGED)
    assert [event.cost for event in changes] == [5 * CENT, 3 * CENT, None, 6 * CENT]
    assert {(event.data or {})["reason"] for event in changes} == {"set_ceiling"}
    assert_books_balance(tracker)
    tracker.close()


def test_a_ceiling_that_is_raised_lets_go_on_who_waits_for_money() -> None:
    tracker = made("memory:", at(2026, 11, 23))
    with tracker.session("s", ceiling="0.02") as session:
        first = session.call("m", input_tokens=1000, max_output_tokens=1000).__enter__()
        waiter = threading.Thread(target=spend, args=(session,))
        waiter.start()
        until(lambda: tracker.lines)
        session.set_ceiling("0.04")
        waiter.join()
        first.record(Usage(1000, 1000))
        first.__exit__(None, None, None)
    assert_spent(tracker, "0.04")


def test_a_ceiling_set_by_another_process_binds_here(tmp_path: Path) -> None:
    one, two = (made(f"sqlite:///{tmp_path}/s.db", at(2026, 11, 23)) for _ in range(2))
    with one.session("s") as here:
        spend(here)
        with two.session("s") as there:
            there.set_ceiling("0.03")
        with pytest.raises(BudgetExceededError):
            spend(here)
    one.close()
    two.close()


def test_the_ceiling_of_a_session_that_is_not_open_cannot_be_set() -> None:
    tracker = made("memory:", at(2026, 11, 23))
    with pytest.raises(RuntimeError, match="enter it first"):
        tracker.session("s").set_ceiling("1")


# What may start.


def test_a_run_is_refused_its_start_when_less_than_its_min_cost_is_left(store: str) -> None:
    tracker = made(store, at(2026, 11, 23), agents={"configured": {"min_cost_usd": "0.03"}})
    with tracker.session("s", ceiling="0.06") as session:
        spend(session, 4)
        for refused in (
            session.agent("a", min_cost="0.021"),
            session.agent("configured"),
            session.agent("own", envelope="0.01", min_cost="0.02"),
            session.agent("own", max_cost="0.01", min_cost="0.02"),
        ):
            with pytest.raises(BudgetExceededError, match="nothing is left to start with"):
                refused.open()
        with session.agent("a", min_cost="0.02") as run:
            spend(run)
    kinds = [(event.data or {})["kind"] for event in events(tracker, Kind.DENIED)]
    assert kinds == ["session", "session", "envelope", "run"]
    assert len(events(tracker, Kind.RUN_OPENED)) == 1
    tracker.close()


def test_a_session_is_refused_its_start_when_less_than_the_configured_least_is_left(
    store: str,
) -> None:
    tracker = made(store, at(2026, 11, 23), session={"min_cost_usd": "0.02"})
    with tracker.session("s", ceiling="0.05") as session:
        spend(session, 2)
        with tracker.session("s"):
            spend(session, 2)
        with pytest.raises(BudgetExceededError, match="nothing is left to start with"):
            tracker.session("s").open()
        with pytest.raises(BudgetExceededError):
            tracker.session("small", ceiling="0.01").open()
    tracker.close()


def test_what_others_have_reserved_is_nothing_to_start_with() -> None:
    tracker = made("memory:", at(2026, 11, 23))
    with (
        tracker.session("s", ceiling="0.10") as session,
        session.agent("coordinator", envelope="0.08", reserved=True) as coordinator,
    ):
        with pytest.raises(BudgetExceededError):
            session.agent("worker", min_cost="0.03").open()
        with coordinator.agent("coordinator", min_cost="0.03"):
            pass


def test_money_that_is_only_held_does_not_keep_a_run_from_starting() -> None:
    tracker = made("memory:", at(2026, 11, 23))
    with (
        tracker.session("s", ceiling="0.02") as session,
        session.call("m", input_tokens=1000, max_output_tokens=1000) as call,
    ):
        with session.agent("a"):
            pass
        call.record(Usage(0, 0))


def test_an_envelope_whose_run_was_refused_its_start_is_opened_with_its_cap_by_the_next() -> None:
    tracker = made("memory:", at(2026, 11, 23))
    with tracker.session("s", ceiling="0.10") as session:
        with pytest.raises(BudgetExceededError):
            session.agent("a", envelope="0.20", reserved=True).open()
        with session.agent("a"), session.agent("a", envelope="0.02") as run:
            spend(run)
            with pytest.raises(EnvelopeExhaustedError):
                spend(run)


# Without the store (rule 11).


def test_without_an_enforced_cap_no_scope_and_no_call_is_stopped_by_the_store(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = made("memory:", at(2026, 11, 23), modes={"envelope": "warn", "run": "warn"})
    with monkeypatch.context() as patch:
        for verb in ("open", "open_accounts", "hold", "balance", "append"):
            patch.setattr(tracker.store, verb, unreachable)
        session = tracker.session("s", customer="x").open()
        run = session.agent("a", envelope="1", max_cost="1").open()
        spend(run)
        spend(session)
    assert tracker.unrecorded_calls == 2
    assert "a scope goes on unrecorded" in caplog.text
    assert events(tracker) == []
    spend(run)
    spend(session)
    run.close()
    session.close()
    assert [Kind(event.kind).name for event in events(tracker)] == [
        *("SESSION_OPENED", "CALL", "CALL", "RUN_CLOSED", "SESSION_CLOSED")
    ]
    assert balance(tracker, "session/s") == Balance(None, 4 * CENT)
    tree = tracker.tree("s")
    assert (tree.customer, tree.status, tree.totals.calls) == ("x", "succeeded", 2)
    assert_books_balance(tracker)


def test_a_session_whose_start_is_recorded_late_has_its_caps_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracker = made(
        "memory:",
        at(2026, 11, 23),
        mode="warn",
        customers={"x": {"budgets_usd": {"day": "0.01"}}},
    )
    with monkeypatch.context() as patch:
        patch.setattr(tracker.store, "open", unreachable)
        session = tracker.session("s", customer="x", ceiling="0.02").open()
        spend(session)
    tracker.reconfigure({"prices": PRICES, "customers": {"x": {"budgets_usd": {"day": "0.03"}}}})
    spend(session)
    with pytest.raises(BudgetExceededError) as error:
        spend(session)
    assert error.value.account == "customer/2026-11-23/x"
    assert balance(tracker, "session/s") == Balance(2 * CENT, 2 * CENT)
    session.close()


def test_a_session_that_nobody_called_in_is_recorded_when_it_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracker = made("memory:", at(2026, 11, 23))
    with monkeypatch.context() as patch:
        patch.setattr(tracker.store, "open", unreachable)
        session = tracker.session("s").open()
    session.close()
    assert [event.kind for event in events(tracker)] == [Kind.SESSION_OPENED, Kind.SESSION_CLOSED]


def test_an_envelope_that_could_not_be_opened_is_opened_with_its_cap_by_the_next_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tracker = made("memory:", at(2026, 11, 23), modes={"envelope": "warn"})
    with tracker.session("s") as session:
        with monkeypatch.context() as patch:
            patch.setattr(tracker.store, "open", unreachable)
            session.agent("a", envelope="0.01").open()
        with session.agent("a") as run:
            assert run.context.path == ("session/s",)
        with session.agent("a", envelope="0.02"):
            assert balance(tracker, "envelope/s/a") == Balance(2 * CENT)


@pytest.mark.parametrize(
    "options", [{"ceiling": "1"}, {"customer": "x"}, {"customer": "x", "ceiling": "1"}]
)
def test_with_an_enforced_cap_a_session_does_not_start_unseen(
    options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = made("memory:", at(2026, 11, 23), customers={"x": {"budgets_usd": {"day": "1"}}})
    monkeypatch.setattr(tracker.store, "open", unreachable)
    with pytest.raises(StoreUnavailableError):
        tracker.session("s", **options).open()


@pytest.mark.parametrize("options", [{"envelope": "1"}, {"max_cost": "1"}])
def test_with_an_enforced_cap_a_run_does_not_start_unseen(
    options: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = made("memory:", at(2026, 11, 23))
    with tracker.session("s"):
        monkeypatch.setattr(tracker.store, "open", unreachable)
        with pytest.raises(StoreUnavailableError):
            tracker.agent("a", **options).open()
        with tracker.agent("free"):
            pass


def test_an_unenforced_budget_does_not_stop_a_call_that_the_store_cannot_book(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = at(2026, 11, 30, 23, 59, 59)
    tracker = made(
        "memory:", clock, modes={"customer": "warn"}, periods={"month": {"customer_usd": "1"}}
    )
    with tracker.session("s", customer="x") as session:
        spend(session)
        monkeypatch.setattr(tracker.store, "hold", unreachable)
        spend(session)
        clock.advance(1)
        monkeypatch.setattr(tracker.store, "open_accounts", unreachable)
        spend(session)
    assert tracker.unrecorded_calls == 2
