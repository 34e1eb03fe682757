"""Reserved envelopes: money that nobody else in the session can take while they stand."""

# ruff: noqa: SIM117 - how scopes, calls and refusals nest is what is tested

import asyncio
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree import BudgetExceededError, ScopeError, Spendtree, Usage
from spendtree.event import Kind
from spendtree.scope import Scope
from spendtree.testing import assert_books_balance, assert_spent

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


def exhaust(where: Scope, cents: int = 2) -> int:
    """Spend until the budget refuses; return how often that went well."""
    for made in range(100):
        try:
            spend(where, cents)
        except BudgetExceededError:
            return made
    raise AssertionError("nothing refused")


def test_the_coordinator_can_pay_for_its_synthesis_whatever_its_workers_spend(
    tracker: Spendtree,
) -> None:
    async def worker(number: int) -> None:
        async with tracker.agent(f"worker-{number}") as run:
            while True:
                async with run.call("m", input_tokens=1000, max_output_tokens=1000) as call:
                    await asyncio.sleep(0)
                    call.record(Usage(1000, 1000))

    async def main() -> None:
        async with (
            tracker.session("s", ceiling="0.20") as session,
            session.agent("coordinator", envelope="0.06", reserved=True) as coordinator,
        ):
            spend(coordinator)
            results = await tracker.gather(*(worker(number) for number in range(5)))
            assert {type(result) for result in results} == {BudgetExceededError}
            assert session.breakdown()["coordinator"] == Decimal("0.02")
            spend(coordinator)
            spend(coordinator)

    asyncio.run(main())
    assert_spent(tracker, "0.06", agent="coordinator")
    assert_spent(tracker, "0.20")
    assert_books_balance(tracker)


def test_without_reserving_the_workers_leave_the_coordinator_nothing(tracker: Spendtree) -> None:
    with (
        tracker.session(ceiling="0.20"),
        tracker.agent("coordinator", envelope="0.06") as coordinator,
    ):
        with tracker.agent("worker") as worker:
            assert exhaust(worker) == 10
        with pytest.raises(BudgetExceededError):
            spend(coordinator)


def test_what_was_reserved_is_anybodys_again_when_its_agent_is_done(tracker: Spendtree) -> None:
    with tracker.session("s", ceiling="0.10") as session:
        with session.agent("coordinator", envelope="0.06", reserved=True) as coordinator:
            spend(coordinator)
            assert session.remaining() == Decimal("0.04")
            assert exhaust(session) == 2
        assert session.remaining() == Decimal("0.04")
        assert exhaust(session) == 2
    assert_books_balance(tracker)


def test_it_is_given_back_also_when_the_run_fails_and_when_the_last_of_several_ends(
    tracker: Spendtree,
) -> None:
    with tracker.session("s", ceiling="0.10") as session:
        with pytest.raises(ValueError, match="broken"):
            with session.agent("a", envelope="0.06", reserved=True):
                raise ValueError("broken")
        assert session.remaining() == Decimal("0.10")
        first = session.agent("a", envelope="0.06", reserved=True).open()
        second = session.agent("a", reserved=True).open()
        first.close()
        assert session.remaining() == Decimal("0.04")
        second.close()
        assert session.remaining() == Decimal("0.10")


def test_a_session_that_has_not_that_much_free_refuses_with_a_clear_error(
    tracker: Spendtree,
) -> None:
    with tracker.session("s", ceiling="0.10") as session:
        spend(session, 6)
        with pytest.raises(BudgetExceededError) as error:
            session.agent("coordinator", envelope="0.05", reserved=True).open()
        with session.agent("other"):
            spend(session, 4)
    refused = error.value
    assert (refused.kind, refused.name, refused.requested, refused.free) == (
        "session",
        "s",
        Decimal("0.05"),
        Decimal("0.04"),
    )
    assert "the session has not that much free to reserve" in str(refused)
    assert not [run for run in tracker.tree("s").nodes() if run.status == "open"]


def test_reserving_needs_an_envelope(tracker: Spendtree) -> None:
    with tracker.session(ceiling="1") as session:
        with pytest.raises(ScopeError, match="needs an envelope to reserve"):
            session.agent("coordinator", reserved=True).open()


def test_a_role_may_be_configured_to_reserve_and_a_run_not_to() -> None:
    tracker = Spendtree(
        "memory:",
        {"prices": PRICES, "agents": {"coordinator": {"envelope_usd": "0.06", "reserved": True}}},
    )
    with tracker.session("s", ceiling="0.10") as session:
        with session.agent("coordinator"):
            assert session.remaining() == Decimal("0.04")
        with session.agent("coordinator", reserved=False):
            assert session.remaining() == Decimal("0.10")


def test_the_error_says_what_output_is_affordable_beside_what_others_have_reserved(
    tracker: Spendtree,
) -> None:
    with (
        tracker.session("s", ceiling="0.10") as session,
        session.agent("coordinator", envelope="0.06", reserved=True) as coordinator,
    ):
        with pytest.raises(BudgetExceededError) as others:
            spend(session, 5)
        with pytest.raises(BudgetExceededError) as own:
            spend(coordinator, 7)
    assert (others.value.free, others.value.reserved) == (Decimal("0.04"), Decimal("0.06"))
    assert "(spent $0.00, held $0.00, reserved by others $0.06)" in str(others.value)
    assert (own.value.account, own.value.free) == ("envelope/s/coordinator", Decimal("0.06"))
    # Input 2500 tokens: 2.5 of 4 cents; input 3500 tokens: 3.5 of 6 cents.
    assert others.value.affordable_output_tokens == 1500
    assert own.value.affordable_output_tokens == 2500


def test_what_an_agent_has_reserved_itself_is_free_to_it_in_its_session(
    tracker: Spendtree,
) -> None:
    with (
        tracker.session("s", ceiling="0.10") as session,
        session.agent("coordinator", envelope="0.06", reserved=True) as coordinator,
    ):
        session.set_ceiling("0.04")
        with pytest.raises(BudgetExceededError) as error:
            spend(coordinator, 5)
    refused = error.value
    assert (refused.kind, refused.free, refused.reserved) == (
        "session",
        Decimal("0.04"),
        Decimal(0),
    )


def test_who_waits_for_a_hold_of_its_own_beside_a_reserve_is_told_at_once() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    with (
        tracker.session("s", ceiling="0.10") as session,
        session.agent("coordinator", envelope="0.05", reserved=True),
        session.call("m", input_tokens=1500, max_output_tokens=1500) as outer,
    ):
        with pytest.raises(BudgetExceededError, match="the call around this one"):
            spend(session, 4)
        outer.record(Usage(0, 0))


def test_a_session_without_a_ceiling_has_all_that_anybody_reserves(tracker: Spendtree) -> None:
    with tracker.session() as session, session.agent("a", envelope="0.06", reserved=True) as run:
        spend(session, 50)
        assert exhaust(run) == 3


def test_the_reserve_of_a_process_that_died_is_given_back(tmp_path: Path) -> None:
    tracker = Spendtree(f"sqlite:///{tmp_path}/spend.db", {"prices": PRICES})
    with tracker.session("s", ceiling="0.10") as session:
        pid = os.fork()
        if pid == 0:
            with tracker.session("s") as own:
                own.agent("coordinator", envelope="0.06", reserved=True).open()
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert session.remaining() == Decimal("0.04")
        tracker.lapse_abandoned()
        assert session.remaining() == Decimal("0.10")
    tracker.close()


def test_who_needs_what_a_dead_process_reserved_gets_it(tmp_path: Path) -> None:
    """No exporter runs, nobody sweeps: a call, a run and a reserving run find it out themselves."""
    for need in (
        lambda session: spend(session, 6),
        lambda session: session.agent("next", min_cost="0.06").open().close(),
        lambda session: session.agent("next", envelope="0.08", reserved=True).open().close(),
    ):
        tracker = Spendtree(f"sqlite:///{tmp_path}/spend.db", {"prices": PRICES})
        with tracker.session(ceiling="0.10") as session:
            pid = os.fork()
            if pid == 0:
                own = tracker.session(session.id).open()
                own.agent("coordinator", envelope="0.06", reserved=True).open()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            assert session.remaining() == Decimal("0.04")
            need(session)
        tracker.close()


def test_an_openings_event_says_that_it_reserved(tracker: Spendtree) -> None:
    with tracker.session(ceiling="1"), tracker.agent("a", envelope="0.06", reserved=True):
        pass
    (opened,) = tracker.store.events(kinds=[Kind.RUN_OPENED])
    assert opened.data == {"envelope": 6 * CENT, "reserved": True}
