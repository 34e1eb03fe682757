"""Modes: record and warn book everything and refuse nothing, for all, by kind and by payer."""

# ruff: noqa: SIM117 - how scopes, calls and refusals nest is what is tested

import threading
from typing import Any

import pytest

from spendtree import (
    BudgetExceededError,
    EnvelopeExhaustedError,
    Spendtree,
    UnknownPriceError,
    Usage,
)
from spendtree.account import Balance
from spendtree.event import Event, Kind
from spendtree.scope import Scope
from spendtree.testing import FrozenClock, assert_books_balance, assert_spent
from tests.sdk.patience import until

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
CENT = 10_000_000_000
stores = pytest.mark.parametrize("store", ["memory:", "sqlite:///{}/spend.db"])


def made(store: str = "memory:", **config: Any) -> Spendtree:
    return Spendtree(store, {"prices": PRICES, **config}, clock=FrozenClock())


def spend(where: Scope, cents: int = 2, model: str = "m") -> None:
    with where.call(model, input_tokens=500 * cents, max_output_tokens=500 * cents) as call:
        call.record(Usage(500 * cents, 500 * cents))


def told(tracker: Spendtree) -> list[tuple[Any, ...]]:
    """Return the refusals in the log: kind of account, reason, and whether it only would be one."""
    return [
        ((event.data or {}).get("kind"), event.status, (event.data or {}).get("would", False))
        for event in tracker.store.events(kinds=[Kind.DENIED])
    ]


def calls(tracker: Spendtree) -> list[Event]:
    return list(tracker.store.events(kinds=[Kind.CALL]))


@stores
@pytest.mark.parametrize("mode", ["record", "warn"])
def test_a_mode_that_only_books_refuses_neither_a_call_nor_a_start(
    store: str, mode: str, tmp_path: Any
) -> None:
    tracker = made(store.format(tmp_path), mode=mode)
    with tracker.session("s", ceiling="0.01") as session:
        for _ in range(2):
            with session.agent("a", envelope="0.01", max_cost="0.01") as run:
                spend(run)
    assert_spent(tracker, "0.04", session="s")
    assert told(tracker) == ([("session", "exhausted", True)] * 2 if mode == "warn" else [])
    assert_books_balance(tracker)
    tracker.close()


def test_enforcing_is_the_default_where_a_cap_is_given() -> None:
    tracker = made()
    with tracker.session(ceiling="0.01") as session, pytest.raises(BudgetExceededError):
        spend(session)
    assert told(tracker) == [("session", "exhausted", False)]


KINDS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("session", {"ceiling": "0.01"}, {}),
    ("envelope", {}, {"envelope": "0.01"}),
    ("run", {}, {"max_cost": "0.01"}),
    ("customer", {"customer": "x"}, {}),
    ("team", {"team": "x"}, {}),
]


@pytest.mark.parametrize(("kind", "session", "agent"), KINDS)
@pytest.mark.parametrize("others", ["enforce", "record"])
def test_the_mode_of_one_kind_of_account_is_that_of_no_other(
    kind: str, session: dict[str, Any], agent: dict[str, Any], others: str
) -> None:
    budget = {"day": {f"{kind}_usd": "0.01"}} if kind in ("customer", "team") else {}
    own = "warn" if others == "enforce" else "enforce"
    tracker = made(mode=others, modes={kind: own}, periods=budget)
    with tracker.session(**session), tracker.agent("a", **agent) as run:
        if own == "warn":
            spend(run)
        else:
            with pytest.raises(BudgetExceededError):
                spend(run)
    assert told(tracker) == [(kind, "exhausted", own == "warn")]


def test_a_customers_mode_is_that_of_every_account_of_its_calls() -> None:
    tracker = made(customers={"trial": {"mode": "warn"}})
    with (
        tracker.session(customer="trial", ceiling="0.01"),
        tracker.agent("a", envelope="0.01") as a,
    ):
        spend(a)
    with (
        tracker.session(customer="other", ceiling="0.01") as session,
        pytest.raises(BudgetExceededError),
    ):
        spend(session)
    assert told(tracker) == [("session", "exhausted", True), ("session", "exhausted", False)]


def test_a_teams_mode_is_that_of_its_own_budgets_only() -> None:
    teams = {"t": {"mode": "record", "budgets_usd": {"day": "0.01"}}}
    tracker = made(teams=teams)
    with tracker.session(team="t", ceiling="0.03") as session:
        spend(session)
        with pytest.raises(BudgetExceededError) as error:
            spend(session)
    assert error.value.kind == "session"
    tracker = made(teams=teams, customers={"c": {"mode": "enforce"}})
    with (
        tracker.session(team="t", customer="c") as session,
        pytest.raises(BudgetExceededError) as error,
    ):
        spend(session)
    assert error.value.kind == "team"


def test_an_enforced_account_refuses_although_the_one_around_it_only_warns() -> None:
    tracker = made(modes={"session": "warn"})
    with tracker.session(ceiling="0.01"), tracker.agent("a", envelope="0.03") as run:
        spend(run)
        with pytest.raises(EnvelopeExhaustedError):
            spend(run)
    assert told(tracker) == [("session", "exhausted", True), ("envelope", "exhausted", False)]


def test_switching_the_mode_needs_no_restart_and_reaches_what_is_open() -> None:
    tracker = made(mode="record")
    with tracker.session("s", ceiling="0.01"), tracker.agent("a", max_cost="0.01") as run:
        spend(run)
        tracker.reconfigure({"prices": PRICES, "mode": "warn"})
        spend(run)
        tracker.reconfigure({"prices": PRICES, "modes": {"session": "record"}})
        with pytest.raises(EnvelopeExhaustedError):
            spend(run)
        tracker.reconfigure({"prices": PRICES})
        with pytest.raises(BudgetExceededError) as error:
            spend(run)
    assert error.value.kind == "session"
    assert [refusal[2] for refusal in told(tracker)] == [True, False, False]
    assert_spent(tracker, "0.04")


def test_what_would_have_waited_is_told_apart_from_what_would_have_been_refused() -> None:
    tracker = made(mode="warn")
    with tracker.session(ceiling="0.03") as session:
        with session.call("m", input_tokens=1000, max_output_tokens=1000) as open_call:
            spend(session)
            open_call.record(Usage(0, 0))
        spend(session)
    assert told(tracker) == [("session", "busy", True), ("session", "exhausted", True)]


def test_who_would_wait_in_a_mode_that_only_books_does_not_wait() -> None:
    tracker = made(modes={"session": "warn"})
    with tracker.session(ceiling="0.02") as session:
        with session.call("m", input_tokens=1000, max_output_tokens=1000) as open_call:
            spend(session)
            open_call.record(Usage(0, 0))
    assert len(calls(tracker)) == 2


def test_who_asks_at_an_enforced_account_stands_in_line_there_although_another_only_warns() -> None:
    tracker = made(modes={"customer": "warn"}, periods={"day": {"customer_usd": "0.01"}})
    order: list[int] = []
    with tracker.session(customer="x", ceiling="0.04") as session:
        first = session.call("m", input_tokens=1500, max_output_tokens=1500).__enter__()

        def large() -> None:
            spend(session, 4)
            order.append(4)

        def small() -> None:
            spend(session, 1)
            order.append(1)

        waiters = tracker.lines.by_account
        threads = [threading.Thread(target=work) for work in (large, small)]
        threads[0].start()
        until(lambda: sum(map(len, list(waiters.values()))) == 1)
        threads[1].start()
        until(lambda: sum(map(len, list(waiters.values()))) == 2)
        session.set_ceiling("0.08")
        for thread in threads:
            thread.join()
        first.void("never sent")
        first.__exit__(None, None, None)
    assert order == [4, 1]


def test_an_unknown_price_is_unpriced_where_nothing_is_enforced_and_told_in_mode_warn() -> None:
    for mode, expected in (
        ("record", []),
        ("warn", [(None, "unknown_price", True)]),
    ):
        tracker = made(mode=mode)
        with tracker.session(ceiling="0.01") as session:
            spend(session, model="nobody-knows")
        assert [call.cost for call in calls(tracker)] == [None]
        assert told(tracker) == expected
    tracker = made()
    with tracker.session(ceiling="0.01") as session, pytest.raises(UnknownPriceError):
        spend(session, model="nobody-knows")
    assert told(tracker) == [(None, "unknown_price", False)]
    assert calls(tracker) == []


def test_an_unknown_price_without_any_cap_is_told_to_nobody() -> None:
    tracker = made(mode="warn")
    with tracker.session() as session:
        spend(session, model="nobody-knows")
    assert told(tracker) == []


def test_a_reserved_envelope_that_is_not_free_is_not_carved_where_nothing_is_enforced() -> None:
    tracker = made(mode="warn")
    with tracker.session("s", ceiling="0.05") as session:
        with session.agent("a", envelope="0.10", reserved=True) as run:
            spend(run)
        spend(session)
    balance = tracker.store.balance("session/s")
    assert balance is not None
    assert Balance(*balance[:4]) == Balance(5 * CENT, 4 * CENT)
    assert balance.terms.reserved == 0
