"""Errors: what they say, and that they survive pickling, groups and gather."""

import asyncio
import copy
import inspect
import pickle
from decimal import Decimal
from typing import Any

import pytest

import spendtree
from spendtree import (
    BudgetExceededError,
    EnvelopeExhaustedError,
    LedgerConflictError,
    SkippedError,
    Spendtree,
    SpendtreeError,
    StoreError,
    StoreUnavailableError,
    UnknownPriceError,
    errors,
)
from spendtree.testing import FrozenClock

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
NUMBERS: dict[str, Any] = {
    "account": "envelope/s/researcher",
    "kind": "envelope",
    "name": "researcher",
    "reason": "exhausted",
    "requested": Decimal("0.031"),
    "free": Decimal("0.012"),
    "cap": Decimal("0.05"),
    "spent": Decimal("0.03"),
    "held": Decimal("0.008"),
    "affordable_output_tokens": 380,
    "advice": "wait longer",
}
KINDS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SpendtreeError)
]


def made(kind: type[SpendtreeError]) -> SpendtreeError:
    if issubclass(kind, BudgetExceededError):
        return kind(**NUMBERS)
    if issubclass(kind, UnknownPriceError):
        return kind(model="m", provider="p")
    return kind("what, where, what to do")


def test_every_error_is_public_and_ours() -> None:
    names = {kind.__name__ for kind in KINDS}
    assert names == set(errors.__all__)
    assert names <= set(spendtree.__all__)


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_survives_pickling_and_copying_with_all_it_says(
    kind: type[SpendtreeError],
) -> None:
    for noted in (False, True):
        error = made(kind)
        if noted:
            error.add_note("seen in branch 3")
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            again = pickle.loads(pickle.dumps(error, protocol))
            assert type(again) is kind
            assert (str(again), again.args, vars(again)) == (str(error), error.args, vars(error))
        assert str(copy.deepcopy(error)) == str(error)


def test_a_budget_error_carries_account_both_numbers_and_the_way_out() -> None:
    error = EnvelopeExhaustedError(**NUMBERS)
    assert str(error) == (
        "envelope 'researcher' is exhausted: requested $0.031, free $0.012 of $0.05 "
        "(spent $0.03, held $0.008); 380 output tokens would fit; wait longer"
    )
    assert {name: getattr(error, name) for name in NUMBERS} == NUMBERS
    plain = {**NUMBERS, "affordable_output_tokens": None, "advice": "", "free": Decimal("-0.5")}
    assert str(BudgetExceededError(**plain)).endswith(
        "free -$0.50 of $0.05 (spent $0.03, held $0.008)"
    )


def test_amounts_too_small_for_cents_are_written_out_in_full() -> None:
    error = BudgetExceededError(**{**NUMBERS, "requested": Decimal("0.000000000001")})
    assert "requested $0.000000000001," in str(error)


def test_an_unknown_price_says_where_to_put_one() -> None:
    assert "no price is known for model 'm', and" in str(UnknownPriceError(model="m", provider=""))
    error = UnknownPriceError(model="m", provider="p")
    assert "model 'm' of provider 'p'" in str(error)
    assert "`prices:` in spendtree.yaml" in str(error)


def test_the_axis_is_who_must_act() -> None:
    assert issubclass(EnvelopeExhaustedError, BudgetExceededError)
    assert not issubclass(UnknownPriceError, BudgetExceededError)
    assert issubclass(StoreUnavailableError, StoreError)
    assert issubclass(LedgerConflictError, StoreError)
    for kind, builtin in (
        (spendtree.MoneyError, ValueError),
        (spendtree.UsageError, ValueError),
        (spendtree.ConfigurationError, ValueError),
        (spendtree.ImportFormatError, ValueError),
        (spendtree.ScopeError, RuntimeError),
        (spendtree.TransferError, ValueError),
        (spendtree.ContractError, ValueError),
    ):
        assert issubclass(kind, builtin)
    assert issubclass(SkippedError, EnvelopeExhaustedError)
    for kind in (spendtree.TransferError, spendtree.ContractError):
        assert not issubclass(kind, BudgetExceededError)


def test_a_budget_of_a_period_says_when_the_next_one_begins() -> None:
    tracker = Spendtree(
        "memory:",
        {
            "prices": PRICES,
            "teams": {"search": {"budgets_usd": {"month": "0.01"}}},
        },
        clock=FrozenClock(),
    )
    with tracker.session(team="search"), pytest.raises(BudgetExceededError) as error:
        tracker.call("m", input_tokens=1000, max_output_tokens=1000).__enter__()
    assert str(error.value) == (
        "team 'search' is exhausted: requested $0.02, free $0.01 of $0.01 (spent $0.00, held "
        "$0.00); 0 output tokens would fit; its next budget begins 2026-02-01 (UTC)"
    )


def test_errors_of_skipping_moving_and_delivering_survive_gather_groups_and_pickling() -> None:
    tracker = Spendtree(
        "memory:",
        {
            "prices": PRICES,
            "agents": {
                "a": {
                    "policy": ["skip"],
                    "contract": {"output_tokens": {"max": 1}, "mode": "refuse"},
                }
            },
        },
    )

    async def skipped() -> None:
        async with (
            tracker.agent("a", envelope="0.01"),
            tracker.call("m", input_tokens=1000, max_output_tokens=1000, optional=True),
        ):
            pass

    async def moved() -> None:
        tracker.agent("b").open().session.transfer("a", "nobody", "0.01")

    async def delivered() -> None:
        async with tracker.agent("a") as run:
            run.deliver(100)

    async def main() -> list[Any]:
        async with tracker.session():
            return await spendtree.gather(skipped(), moved(), delivered())

    results = asyncio.run(main())
    assert [type(error) for error in results] == [
        SkippedError,
        spendtree.TransferError,
        spendtree.ContractError,
    ]
    group = pickle.loads(pickle.dumps(ExceptionGroup("together", results)))
    assert [(type(error), str(error)) for error in group.exceptions] == [
        (type(error), str(error)) for error in results
    ]
    assert group.exceptions[0].name == "a"


async def over(tracker: Spendtree, name: str) -> None:
    async with (
        tracker.agent(name, envelope="0.01"),
        tracker.call("m", input_tokens=1000, max_output_tokens=1000),
    ):
        pass


def test_a_real_error_survives_gather_and_names_its_own_agent() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})

    async def main() -> list[Any]:
        async with tracker.session():
            return await spendtree.gather(*(over(tracker, name) for name in "abc"))

    results = asyncio.run(main())
    assert [error.name for error in results] == ["a", "b", "c"]
    assert all(type(error) is EnvelopeExhaustedError for error in results)
    assert all(pickle.loads(pickle.dumps(error)).account == error.account for error in results)


def test_real_errors_survive_an_exception_group() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    caught: list[str] = []

    async def main() -> None:
        try:
            async with tracker.session(), asyncio.TaskGroup() as group:
                group.create_task(over(tracker, "a"))
                group.create_task(over(tracker, "b"))
        except* BudgetExceededError as group_of_errors:
            again = pickle.loads(pickle.dumps(group_of_errors))
            caught.extend(error.name for error in again.exceptions)

    asyncio.run(main())
    assert caught == ["a", "b"]
    (closed,) = tracker.store.events(kinds=[spendtree.event.Kind.SESSION_CLOSED])
    assert closed.status == "budget_exceeded"
