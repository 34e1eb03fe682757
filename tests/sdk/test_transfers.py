"""Transfers: unused money moves within one session, and what cannot move says why."""

# ruff: noqa: SIM117 - how scopes, calls and refusals nest is what is tested

import pickle
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree import (
    EnvelopeExhaustedError,
    MoneyError,
    ScopeError,
    Spendtree,
    TransferError,
    Usage,
)
from spendtree.account import Balance
from spendtree.event import Kind
from spendtree.scope import Scope
from spendtree.testing import assert_books_balance, assert_spent
from tests.sdk.patience import until

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
CENT = 10_000_000_000


@pytest.fixture(params=["memory:", "sqlite:///{}/spend.db"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = Spendtree(request.param.format(tmp_path), {"prices": PRICES})
    yield made
    made.close()


def spend(where: Scope, cents: int = 2) -> None:
    with where.call("m", input_tokens=500 * cents, max_output_tokens=500 * cents) as call:
        call.record(Usage(500 * cents, 500 * cents))


def caps(tracker: Spendtree) -> dict[str, int | None]:
    """Return the caps of envelopes and runs in cents, by role."""
    return {
        f"{account.kind} {account.agent}": None if money.cap is None else money.cap // CENT
        for account, money in tracker.store.accounts()
        if account.kind in ("envelope", "run")
    }


def test_unused_money_moves_between_envelopes_by_role(tracker: Spendtree) -> None:
    with tracker.session("s") as session, tracker.agent("coordinator"):
        with tracker.agent("researcher", envelope="0.05") as run:
            spend(run)
        with tracker.agent("extractor", envelope="0.02") as run:
            spend(run)
            with pytest.raises(EnvelopeExhaustedError):
                spend(run)
            session.transfer("researcher", "extractor", "0.03", "the sources were short")
            spend(run)
            assert run.tracker is tracker
    assert caps(tracker) == {"envelope researcher": 2, "envelope extractor": 5}
    (event,) = tracker.store.events(kinds=[Kind.TRANSFER])
    assert (event.cost, event.context.session) == (3 * CENT, "s")
    assert event.data == {
        "source": "envelope/s/researcher",
        "target": "envelope/s/extractor",
        "source_agent": "researcher",
        "target_agent": "extractor",
        "reason": "the sources were short",
    }
    assert_books_balance(tracker)


def test_money_moves_between_runs_with_a_max_cost_and_to_envelopes(tracker: Spendtree) -> None:
    with (
        tracker.session("s") as session,
        tracker.agent("a", max_cost="0.05", envelope="1") as one,
        tracker.agent("b", max_cost="0.05") as two,
        tracker.agent("c", envelope="0.01") as three,
    ):
        session.transfer(one, two, "0.01")
        session.transfer(two, three, "0.02")
        session.transfer(one, "c", "0.04")
    assert caps(tracker) == {"envelope a": 100, "run a": 0, "run b": 4, "envelope c": 7}


def test_transfers_conserve_the_sum_of_caps_and_are_no_spend(tracker: Spendtree) -> None:
    with tracker.session("s", ceiling="1") as session:
        for name in "abc":
            with session.agent(name, envelope="0.10") as run:
                spend(run, 1)
        for source, target, usd in (("a", "b", "0.07"), ("b", "c", "0.16"), ("c", "a", "0.2")):
            session.transfer(source, target, usd)
        assert sum(cap or 0 for cap in caps(tracker).values()) == 30
        assert session.remaining() == Decimal("0.97")
    assert_spent(tracker, "0.03")


def test_only_free_money_moves_and_a_rejected_transfer_says_why_and_changes_nothing(
    tracker: Spendtree,
) -> None:
    with tracker.session("s") as session, tracker.agent("a", envelope="0.10") as run:
        with tracker.agent("b", envelope="0.01"):
            pass
        spend(run, 3)
        with pytest.raises(TimeoutError), run.call("m", input_tokens=2000, max_output_tokens=0):
            raise TimeoutError
        with run.call("m", input_tokens=1000, max_output_tokens=1000) as held:
            with pytest.raises(
                TransferError,
                match=r"\$0\.031 cannot move from 'a' to 'b': only \$0\.03 of the \$0\.10",
            ) as error:
                session.transfer("a", "b", "0.031")
            session.transfer("a", "b", "0.03")
            held.record(Usage(1000, 1000))
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    assert len(list(tracker.store.events(kinds=[Kind.TRANSFER]))) == 1
    assert caps(tracker) == {"envelope a": 7, "envelope b": 4}


@pytest.mark.parametrize(
    ("source", "target", "why"),
    [
        ("a", "nobody", "agent 'nobody' has neither an envelope nor a max_cost in session 's'"),
        ("nobody", "a", "agent 'nobody' has neither"),
        ("a", "a", "the source and the target are one account"),
    ],
)
def test_a_transfer_that_makes_no_sense_is_rejected(
    tracker: Spendtree, source: str, target: str, why: str
) -> None:
    with tracker.session("s") as session, tracker.agent("a", envelope="0.10"):
        with pytest.raises(TransferError, match=why):
            session.transfer(source, target, "0.01")
        with pytest.raises(MoneyError, match=r"^amount: .* is negative"):
            session.transfer("a", "a", "-0.01")


def test_money_does_not_move_between_sessions() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    with tracker.session("s") as session, tracker.session("t"):
        with tracker.agent("a", max_cost="1") as there, session.agent("b", envelope="1"):
            with pytest.raises(TransferError, match="is of another session"):
                session.transfer(there, "b", "0.01")


def test_a_run_that_is_not_open_yet_has_nothing_to_move() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    with tracker.session("s") as session, tracker.agent("a", envelope="1"):
        with pytest.raises(ScopeError, match="enter it first"):
            session.transfer("a", tracker.agent("b", max_cost="1"), "0.01")


def test_who_waits_at_an_envelope_goes_on_when_money_is_moved_there() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    with tracker.session("s") as session, tracker.agent("rich", envelope="0.10"):
        with tracker.agent("a", envelope="0.02") as run:
            held = run.call("m", input_tokens=1000, max_output_tokens=1000).__enter__()
            waiter = threading.Thread(target=spend, args=(run,))
            waiter.start()
            until(lambda: tracker.lines)
            session.transfer("rich", "a", "0.02")
            waiter.join()
            held.record(Usage(1000, 1000))
            held.__exit__(None, None, None)
    assert_spent(tracker, "0.04", agent="a")


def test_money_moved_out_of_a_reserved_envelope_is_the_sessions_again(tracker: Spendtree) -> None:
    with (
        tracker.session("s", ceiling="0.20") as session,
        tracker.agent("a", envelope="0.10", reserved=True),
        tracker.agent("b", envelope="0.01"),
    ):
        assert session.remaining() == Decimal("0.10")
        session.transfer("a", "b", "0.04")
        assert session.remaining() == Decimal("0.14")
        session.transfer("b", "a", "0.05")
        assert session.remaining() == Decimal("0.09")
    balance = tracker.store.balance("session/s")
    assert balance is not None
    assert Balance(*balance[:4]) == Balance(20 * CENT)
    assert balance.terms.reserved == 0


def test_money_cannot_move_into_a_reserved_envelope_that_its_session_has_not_free() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    with (
        tracker.session("s", ceiling="0.10") as session,
        tracker.agent("b", envelope="0.50"),
        tracker.agent("a", envelope="0.06", reserved=True),
    ):
        with pytest.raises(TransferError, match=r"only \$0\.04 of the session is free to reserve"):
            session.transfer("b", "a", "0.05")
        session.transfer("b", "a", "0.04")
