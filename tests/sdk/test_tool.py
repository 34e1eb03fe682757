"""Tool charges: held and settled like calls, at a price that is known before."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import spendtree
from spendtree import (
    BudgetExceededError,
    EnvelopeExhaustedError,
    ScopeError,
    SkippedError,
    Spendtree,
    Tool,
    Usage,
)
from spendtree.errors import MoneyError
from spendtree.event import Event, Kind
from spendtree.metrics import Fold
from spendtree.testing import ProviderError, assert_books_balance, assert_calls, assert_spent

CENT = 10**10
CONFIG: dict[str, Any] = {
    "prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}},
    "busy_timeout_seconds": 0.01,
}


@pytest.fixture(params=["memory", "sqlite"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> Spendtree:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/spend.db"
    return Spendtree(url, CONFIG)


def charges(tracker: Spendtree) -> list[Event]:
    return list(tracker.store.events(kinds=[Kind.TOOL, Kind.LAPSE]))


def test_a_charge_is_held_while_it_is_open_and_spent_after(tracker: Spendtree) -> None:
    with tracker.session("s", ceiling="0.05") as session, tracker.agent("researcher") as agent:
        with tracker.tool("web_search", cost="0.02") as tool:
            assert session.remaining() == Decimal("0.03")
            assert (tool.name, tool.held, len(tool.id)) == ("web_search", Decimal("0.02"), 32)
        assert session.remaining() == Decimal("0.03")
        assert tracker.store.open_holds() == 0

    (charge,) = charges(tracker)
    assert (charge.kind, charge.cost, charge.held) == (Kind.TOOL, 2 * CENT, 2 * CENT)
    assert (charge.status, charge.data) == ("ok", {"name": "web_search"})
    assert (charge.context.agent, charge.context.run) == ("researcher", agent.id)
    assert session.breakdown() == {"researcher": Decimal("0.02")}
    assert_books_balance(tracker)


def test_it_counts_in_costs_but_is_no_call(tracker: Spendtree) -> None:
    with tracker.session("s"), tracker.agent("researcher"):
        with tracker.call("m", input_tokens=1000, max_output_tokens=1000) as call:
            call.record(Usage(1000, 1000))
        with tracker.tool("web_search", cost="0.01"):
            pass

    assert_spent(tracker, "0.03", session="s", agent="researcher")
    assert_calls(tracker.store, 1)
    (run,) = tracker.store.events(kinds=[Kind.RUN_CLOSED])
    assert run.cost == 3 * CENT
    fold = Fold("store")
    fold.apply(tracker.store.events())
    costs = sum(series.value for series in fold.rows("cost_usd_total").values())
    calls = sum(series.value for series in fold.rows("calls_total").values())
    assert (costs, calls) == (3 * CENT, 1)
    tree = tracker.tree("s")
    assert (tree.totals.cost, tree.totals.calls) == (3 * CENT, 1)


def test_what_it_may_not_cost_is_refused_before_it_is_used(tracker: Spendtree) -> None:
    used = []
    with tracker.session("s", ceiling="0.05"), tracker.agent("a", envelope="0.015"):
        with tracker.tool("search", cost="0.01"):
            used.append(1)
        with pytest.raises(EnvelopeExhaustedError) as refused, tracker.tool("search", cost="0.01"):
            used.append(2)
    with (
        pytest.raises(BudgetExceededError),
        tracker.session("t", ceiling="0.01"),
        tracker.tool("search", cost="0.011"),
    ):
        used.append(3)

    assert used == [1]
    assert refused.value.requested == Decimal("0.01")
    assert "output tokens" not in str(refused.value)
    denied = list(tracker.store.events(kinds=[Kind.DENIED]))
    assert [(each.held, (each.data or {})["name"]) for each in denied] == [
        (CENT, "search"),
        (11 * CENT // 10, "search"),
    ]


def test_of_many_at_once_as_many_are_let_through_as_fit(tracker: Spendtree) -> None:
    async def search(inside: list[int]) -> None:
        async with spendtree.agent("searcher"), spendtree.tool("search", cost="0.01"):
            inside.append(1)
            await asyncio.sleep(0)

    async def main() -> list[int]:
        inside: list[int] = []
        async with tracker.session("s", ceiling="0.05"):
            await spendtree.gather(*(search(inside) for _ in range(20)))
        return inside

    assert len(asyncio.run(main())) == 5
    assert_spent(tracker, "0.05", session="s")


def test_the_true_cost_may_be_another_one(tracker: Spendtree) -> None:
    with tracker.session("s", ceiling="1"):
        for price, cost in (("0.05", "0.03"), ("0.05", "0"), ("0.05", "0.08")):
            with tracker.tool("sandbox", cost=price) as tool:
                tool.record(cost)

    assert [charge.cost for charge in charges(tracker)] == [3 * CENT, 0, 8 * CENT]
    assert [charge.overrun for charge in charges(tracker)] == [0, 0, 3 * CENT]
    fold = Fold("store")
    fold.apply(tracker.store.events())
    over = sum(series.value for series in fold.rows("overrun_usd_total").values())
    assert over == 3 * CENT
    assert_books_balance(tracker)


@pytest.mark.parametrize(
    ("error", "kind", "status", "cost", "presumed"),
    [
        (TimeoutError(), Kind.LAPSE, "lapsed", 0, CENT),
        (KeyError("x"), Kind.LAPSE, "lapsed", 0, CENT),
        (ConnectionRefusedError(), Kind.TOOL, "failed", 0, 0),
        (ProviderError(429), Kind.TOOL, "failed", 0, 0),
    ],
)
def test_an_unclear_end_is_presumed_and_one_that_is_surely_not_billed_is_free(
    tracker: Spendtree, error: Exception, kind: Kind, status: str, cost: int, presumed: int
) -> None:
    with tracker.session("s", ceiling="1"):
        with pytest.raises(type(error)), tracker.tool("search", cost="0.01"):
            raise error
        balance = tracker.store.balance("session/s")

    (charge,) = charges(tracker)
    assert (charge.kind, charge.status, charge.cost) == (kind, status, cost)
    assert (charge.data or {})["name"] == "search"
    assert charge.request.purpose == "tool"
    assert balance is not None
    assert (balance.spent, balance.presumed, balance.held) == (cost, presumed, 0)
    assert_books_balance(tracker)


def fail_after(tool: Tool, cost: str) -> None:
    tool.record(cost)
    raise KeyError("x")


def test_what_was_recorded_is_charged_whatever_comes_after(tracker: Spendtree) -> None:
    with tracker.session("s"):
        with pytest.raises(KeyError), tracker.tool("search", cost="0.05") as tool:
            fail_after(tool, "0.01")
        with tracker.tool("search", cost="0.05") as tool:
            tool.void("the cache had it")
        with tracker.tool("search", cost="0.05") as tool:
            tool.lapse("no answer")

    charged, void, lapsed = charges(tracker)
    assert (charged.cost, charged.status) == (CENT, "failed")
    assert (charged.data or {})["error"] == "KeyError"
    assert (void.cost, void.status) == (0, "failed")
    assert (void.data or {})["reason"] == "the cache had it"
    assert (lapsed.kind, lapsed.held) == (Kind.LAPSE, 5 * CENT)


def test_it_may_be_skipped_and_warned_about_like_a_call(tmp_path: Path) -> None:
    config = {"agents": {"a": {"policy": ["skip"]}}, "modes": {"session": "warn"}}
    tracker = Spendtree("memory:", {**CONFIG, **config})
    with tracker.session(ceiling="0.001"), tracker.tool("search", cost="0.01"):
        pass
    (would,) = tracker.store.events(kinds=[Kind.DENIED])
    assert (would.data or {}) == {
        "name": "search",
        "would": True,
        "account": would.context.path[0],
        "kind": "session",
    }
    with (
        tracker.session(),
        tracker.agent("a", max_cost="0.001") as agent,
        pytest.raises(SkippedError),
        agent.tool("search", cost="0.01", optional=True),
    ):
        pass


def test_outside_any_scope_it_is_unattributed(tracker: Spendtree) -> None:
    with tracker.tool("search", cost="0.01"):
        pass
    (charge,) = charges(tracker)
    assert charge.data == {"unattributed": "no_scope", "name": "search"}
    fold = Fold("store")
    fold.apply(tracker.store.events())
    (series,) = fold.rows("unattributed_cost_usd_total").values()
    assert series.value == CENT


def test_it_leaves_alone_what_the_agent_last_asked(tracker: Spendtree) -> None:
    """A message to an agent is priced by the model that it asked last."""
    with tracker.session(), tracker.agent("coordinator") as coordinator:
        with tracker.call("m", input_tokens=1, max_output_tokens=1) as call:
            call.record(Usage(1, 1))
        with tracker.tool("search", cost="0.01"):
            pass
        assert coordinator.last_request is not None
        assert coordinator.last_request.model == "m"


def test_late_truth_of_a_lapsed_charge_adjusts_it(tracker: Spendtree) -> None:
    with tracker.session("s", ceiling="1"):
        with pytest.raises(TimeoutError), tracker.tool("search", cost="0.05"):
            raise TimeoutError
        (lapsed,) = charges(tracker)
        late = lapsed._replace(kind=Kind.TOOL, cost=CENT, status="ok")
        for _ in range(2):
            assert tracker.store.settle(lapsed.id, CENT, late).kind == Kind.ADJUSTMENT
        balance = tracker.store.balance("session/s")
    assert balance is not None
    assert (balance.spent, balance.presumed) == (CENT, 0)


def test_a_charge_that_is_settled_again_is_answered_as_before(tracker: Spendtree) -> None:
    with tracker.session("s", ceiling="1"), tracker.tool("search", cost="0.05"):
        pass
    (charge,) = charges(tracker)
    before = list(tracker.store.events())

    settled = tracker.store.settle(charge.id, charge.cost, charge)
    assert (settled.kind, settled.cost, settled.held) == (Kind.TOOL, 5 * CENT, 5 * CENT)
    with pytest.raises(spendtree.LedgerConflictError):
        tracker.store.settle(charge.id, CENT, charge._replace(cost=CENT))
    grant = tracker.store.hold(
        charge.id,
        charge.context.path,
        5 * CENT,
        context=charge.context,
        request=charge.request,
        at=charge.started,
    )
    assert grant.amount == 5 * CENT  # type: ignore[union-attr]
    assert tracker.store.open_holds() == 0
    assert list(tracker.store.events()) == before


def test_pruning_keeps_its_cost(tracker: Spendtree) -> None:
    with tracker.session("s", ceiling="1"):
        for _ in range(5):
            with tracker.tool("search", cost="0.01"):
                pass
    tracker.store.prune(2**62)
    assert_spent(tracker, "0.05", session="s")
    assert_books_balance(tracker)


@pytest.mark.parametrize("cost", ["-0.01", "much", float("nan")])
def test_a_cost_that_is_none_is_refused(tracker: Spendtree, cost: Any) -> None:
    with pytest.raises((MoneyError, ScopeError)):
        tracker.tool("search", cost=cost)


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_tool_has_a_name(tracker: Spendtree, name: Any) -> None:
    with pytest.raises(ScopeError, match="a tool needs a name"):
        tracker.tool(name, cost="0.01")


def test_it_is_used_once(tracker: Spendtree) -> None:
    tool = tracker.tool("search", cost="0.01")
    with tool:
        pass
    with pytest.raises(ScopeError, match="once"), tool:
        pass


def test_the_default_charges_the_current_scope() -> None:
    tracker = Spendtree("memory:", CONFIG)
    with tracker.session("s"), spendtree.tool("search", cost=0.01):
        pass
    spendtree.configure("memory:", config=CONFIG)
    with spendtree.tool("search", cost=0.01):
        pass
    assert_spent(tracker, "0.01", session="s")
