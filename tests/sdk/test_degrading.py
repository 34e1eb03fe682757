"""What a call does when there is not money enough: each step of a policy, alone and composed."""

# ruff: noqa: SIM117 - how scopes, calls and refusals nest is what is tested

import asyncio
import threading
from decimal import Decimal
from typing import Any

import pytest

import spendtree
from spendtree import (
    BudgetExceededError,
    EnvelopeExhaustedError,
    SkippedError,
    Spendtree,
    UnknownPriceError,
    Usage,
)
from spendtree.call import Call, CallOptions
from spendtree.event import Event, Kind
from spendtree.scope import Scope
from spendtree.testing import FakeProvider, assert_books_balance, assert_calls, assert_spent
from tests.sdk.patience import until

PRICES: dict[str, dict[str, Any]] = {
    "m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"},
    "large": {
        "input_usd_per_mtok": "10",
        "output_usd_per_mtok": "10",
        "context_window": 100_000,
        "max_output_tokens": 4000,
    },
    "cheap": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"},
    "windowed": {
        "input_usd_per_mtok": "1",
        "output_usd_per_mtok": "1",
        "context_window": 8000,
        "max_output_tokens": 500,
    },
}
TWO_CENTS: CallOptions = {"input_tokens": 1000, "max_output_tokens": 1000}
CENT = 10_000_000_000


def made(*policy: Any, store: str = "memory:", **agent: Any) -> Spendtree:
    """Return a Spendtree whose role "a" has this policy."""
    settings = {**agent, **({"policy": list(policy)} if policy else {})}
    return Spendtree(store, {"prices": PRICES, "agents": {"a": settings}})


def spend(where: Scope, cents: int = 2, **options: Any) -> Call:
    bounds = {"input_tokens": 500 * cents, "max_output_tokens": 500 * cents}
    with where.call("m", **{**bounds, **options}) as call:
        call.record(Usage(call.input_tokens or 0, call.max_output_tokens or 0))
    return call


def ended(tracker: Spendtree) -> Event:
    return list(tracker.store.events(kinds=[Kind.CALL]))[-1]


def denied(tracker: Spendtree) -> list[Event]:
    return list(tracker.store.events(kinds=[Kind.DENIED]))


# wait


def test_wait_waits_until_open_calls_give_money_back_and_notes_how_long() -> None:
    tracker = made("wait")
    with tracker.session(ceiling="0.03"), tracker.agent("a") as run:
        first = run.call("m", **TWO_CENTS).__enter__()
        waiter = threading.Thread(target=spend, args=(run,))
        waiter.start()
        until(lambda: tracker.lines)
        first.record(Usage(500, 500))
        first.__exit__(None, None, None)
        waiter.join()
    data = ended(tracker).data or {}
    assert data["waited_at"] == "session"
    assert 0 < data["waited_us"] < 30_000_000
    assert_spent(tracker, "0.03")


def test_wait_has_seconds_of_its_own() -> None:
    tracker = made({"wait": {"seconds": 0.01}})
    with (
        tracker.session(ceiling="0.03"),
        tracker.agent("a") as run,
        run.call("m", **TWO_CENTS) as held,
    ):
        failures: list[BudgetExceededError] = []

        def other() -> None:
            try:
                spend(run)
            except BudgetExceededError as error:
                failures.append(error)

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        held.record(Usage(0, 0))
    (failure,) = failures
    assert failure.reason == "busy"
    assert "wait longer" in str(failure)
    assert [event.status for event in denied(tracker)] == ["busy"]


def test_wait_does_not_wait_where_the_money_is_gone() -> None:
    tracker = made({"wait": {"seconds": 3600}})
    with tracker.session(ceiling="0.01"), tracker.agent("a") as run:
        with pytest.raises(BudgetExceededError) as error:
            spend(run)
    assert error.value.reason == "exhausted"


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_call_that_waits_for_a_hold_of_its_own_enclosing_call_raises_at_once(how: str) -> None:
    tracker = made({"wait": {"seconds": 3600}})

    async def main() -> None:
        with tracker.session(ceiling="0.03"), tracker.agent("a") as run:
            async with run.call("m", **TWO_CENTS) as outer:
                with tracker.agent("b") as below:
                    async with below.call("m", input_tokens=10, max_output_tokens=10) as between:
                        with pytest.raises(BudgetExceededError, match="the call around this one"):
                            async with run.call("m", **TWO_CENTS):
                                pass
                        between.record(Usage(0, 0))
                outer.record(Usage(0, 0))

    def plain() -> None:
        with tracker.session(ceiling="0.03"), tracker.agent("a") as run:
            with run.call("m", **TWO_CENTS) as outer:
                with pytest.raises(BudgetExceededError, match="the call around this one"):
                    spend(run)
                outer.record(Usage(0, 0))

    if how == "async":
        asyncio.run(main())
    else:
        plain()
    assert [event.status for event in denied(tracker)] == ["busy"]
    assert_books_balance(tracker)


# clamp


def test_clamp_lowers_the_output_limit_to_what_is_affordable_and_says_so() -> None:
    tracker, provider = made("clamp"), FakeProvider()
    with tracker.session("s", ceiling="0.015"), tracker.agent("a") as run:
        with run.call("m", **TWO_CENTS) as call:
            assert (call.max_output_tokens, call.held) == (500, Decimal("0.015"))
            call.record(
                provider.complete(
                    "m", input_tokens=1000, max_output_tokens=call.max_output_tokens or 0
                )
            )
    assert call.decisions == ("clamped output from 1000 to 500 tokens",)
    assert (ended(tracker).data or {})["decisions"] == list(call.decisions)
    assert_spent(tracker, "0.015")


def test_clamp_leaves_a_call_alone_that_has_money_enough() -> None:
    tracker = made("clamp")
    with tracker.session(ceiling="0.02"), tracker.agent("a") as run:
        call = spend(run)
    assert (call.max_output_tokens, call.decisions) == (1000, ())


@pytest.mark.parametrize(("floor", "fits"), [(500, True), (501, False)])
def test_clamp_does_not_go_below_its_floor(floor: int, fits: bool) -> None:
    tracker = made({"clamp": {"floor": floor}})
    with tracker.session(ceiling="0.015"), tracker.agent("a") as run:
        if fits:
            spend(run)
        else:
            with pytest.raises(BudgetExceededError) as error:
                spend(run)
            assert error.value.requested == Decimal("0.01501")
            assert error.value.affordable_output_tokens == 500


def test_a_floor_above_the_output_limit_asks_for_no_more_than_the_limit() -> None:
    tracker = made({"clamp": {"floor": 5000}})
    with tracker.session(ceiling="0.05"), tracker.agent("a") as run:
        run.call("m", **TWO_CENTS).__enter__()
        spend(run)
        with pytest.raises(BudgetExceededError):
            spend(run)


def test_clamp_does_not_lower_the_limit_to_nothing() -> None:
    tracker = made("clamp")
    with tracker.session(ceiling="0.01"), tracker.agent("a") as run:
        with pytest.raises(BudgetExceededError) as error:
            spend(run)
    assert error.value.affordable_output_tokens == 0


def test_a_clamp_that_found_nothing_waits_for_the_clamped_call() -> None:
    tracker = made({"clamp": {"floor": 400}}, "wait")
    with tracker.session(ceiling="0.015"), tracker.agent("a") as run:
        first = run.call("m", input_tokens=250, max_output_tokens=250).__enter__()
        calls: list[Call] = []
        waiter = threading.Thread(target=lambda: calls.append(spend(run)))
        waiter.start()
        until(lambda: bool(tracker.lines))
        first.record(Usage(0, 0))
        first.__exit__(None, None, None)
        waiter.join()
    assert [call.max_output_tokens for call in calls] == [500]


# fallback


def test_fallback_asks_a_cheaper_model_and_tells_which() -> None:
    tracker = made({"fallback": {"model": "cheap", "provider": "other"}})
    with tracker.session(ceiling="0.01"), tracker.agent("a") as run:
        call = spend(run, provider="first")
    assert (call.model, call.provider, call.held) == ("cheap", "other", Decimal("0.002"))
    event = ended(tracker)
    assert (event.request.model, event.request.provider, event.cost) == (
        "cheap",
        "other",
        CENT // 5,
    )
    assert (event.data or {})["decisions"] == ["fell back from m to cheap"]


def test_fallback_keeps_the_provider_where_it_names_none() -> None:
    tracker = made({"fallback": {"model": "cheap"}})
    with tracker.session(ceiling="0.01"), tracker.agent("a") as run:
        assert spend(run, provider="first").provider == "first"


def test_fallback_to_a_model_without_a_price_is_passed_over() -> None:
    tracker = made({"fallback": {"model": "nobody-knows"}}, {"fallback": {"model": "cheap"}})
    with tracker.session(ceiling="0.01"), tracker.agent("a") as run:
        call = spend(run)
    assert call.decisions == ("fell back from m to cheap",)


def test_fallback_takes_the_limits_of_the_model_that_it_falls_back_to() -> None:
    tracker = made({"fallback": {"model": "windowed"}})
    with tracker.session(ceiling="0.02"), tracker.agent("a") as run:
        with run.call("large", input="x" * 2000) as call:
            assert (call.model, call.max_output_tokens) == ("windowed", 500)
            assert call.held == Decimal((call.input_tokens or 0) + 500) / 1_000_000
            call.record(Usage(600, 500))


def test_fallback_does_not_trust_what_another_model_has_counted() -> None:
    tracker = made({"fallback": {"model": "cheap"}})
    text = "x" * 1000
    with tracker.session("s", ceiling="0.05"), tracker.agent("a") as run:
        with run.call("m", input=[text], max_output_tokens=100) as call:
            call.record(Usage(10, 10))
        with run.call("m", input=[text, "y"], max_output_tokens=100) as call:
            learned = call.input_tokens or 0
            call.record(Usage(11, 10))
        with run.call("m", input=[text, "y", "z"], max_output_tokens=9000) as call:
            assert call.model == "cheap"
            assert (call.input_tokens or 0) > 1000 > learned
            call.record(Usage(12, 10))


def test_fallback_to_a_model_that_nothing_bounds_is_passed_over() -> None:
    tracker = made({"fallback": {"model": "cheap"}}, "refuse")
    with tracker.session(ceiling="0.0001"), tracker.agent("a") as run:
        with pytest.raises(BudgetExceededError), run.call("windowed"):
            pass
    (refusal,) = denied(tracker)
    assert refusal.request.model == "windowed"
    assert "decisions" not in (refusal.data or {})


def test_a_call_inside_another_does_not_stand_behind_who_waits_for_that_one() -> None:
    tracker, order = made(), list[str]()

    def wait() -> None:
        spend(session, 3)
        order.append("waiter")

    with tracker.session(ceiling="0.05") as session:
        waiter = threading.Thread(target=wait)
        with session.call("m", input_tokens=1500, max_output_tokens=1500) as outer:
            waiter.start()
            until(lambda: bool(tracker.lines))
            spend(session, 1)
            order.append("inner")
            outer.record(Usage(0, 0))
        waiter.join()
    assert order == ["inner", "waiter"]


def test_a_call_inside_another_waits_ahead_of_who_waits_for_that_one() -> None:
    tracker, order = made(), list[str]()

    def wait() -> None:
        spend(session, 4)
        order.append("waiter")

    def let_go() -> None:
        until(lambda: sum(map(len, list(tracker.lines.by_account.values()))) == 2)
        other.record(Usage(0, 0))
        other.__exit__(None, None, None)

    with tracker.session(ceiling="0.05") as session:
        threads = [threading.Thread(target=each) for each in (wait, let_go)]
        other = threading_call(session)
        with session.call("m", **TWO_CENTS) as outer:
            threads[0].start()
            until(lambda: bool(tracker.lines))
            threads[1].start()
            with session.call("m", **TWO_CENTS) as inner:  # one cent is free: it waits for `other`
                inner.record(Usage(0, 0))
            order.append("inner")
            outer.record(Usage(0, 0))
        for thread in threads:
            thread.join()
    assert order == ["inner", "waiter"]


def threading_call(where: Scope) -> Call:
    """Return a call that another thread has entered: it is around nothing that is called here."""
    call = where.call("m", **TWO_CENTS)
    thread = threading.Thread(target=call.__enter__)
    thread.start()
    thread.join()
    return call


def test_who_waits_finds_out_that_only_the_call_around_it_is_in_the_way_by_now() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES, "periods": {"day": {"customer_usd": "0.05"}}})
    with tracker.session(customer="c") as elsewhere:
        other = threading_call(elsewhere)

        def let_go() -> None:
            until(lambda: bool(tracker.lines))
            other.record(Usage(0, 0))
            other.__exit__(None, None, None)

        with tracker.session(customer="c", ceiling="0.03") as session:
            thread = threading.Thread(target=let_go)
            with session.call("m", **TWO_CENTS) as outer:
                thread.start()
                with pytest.raises(BudgetExceededError, match="the call around this one") as error:
                    spend(session, 2)
                outer.record(Usage(0, 0))
            thread.join()
    assert (error.value.kind, error.value.reason) == ("session", "busy")


def test_what_costs_nothing_waits_for_nobody() -> None:
    tracker = made()
    with tracker.session(ceiling="0.03") as session:
        with session.call("m", **TWO_CENTS) as outer:
            waiter = threading.Thread(target=spend, args=(session,))
            waiter.start()
            until(lambda: bool(tracker.lines))
            done = threading.Thread(target=spend, args=(session, 0))
            done.start()
            done.join()
            assert waiter.is_alive()
            outer.record(Usage(0, 0))
        waiter.join()


# reallocate


def test_reallocate_takes_over_what_finished_agents_left_and_records_both() -> None:
    tracker = made("reallocate")
    with tracker.session("s", ceiling="1") as session:
        with tracker.agent("done", envelope="0.05") as run:
            spend(run)
        with tracker.agent("a", envelope="0.02") as run:
            spend(run)
            call = spend(run)
    assert call.decisions == ("took $0.02 that done left",)
    (moved,) = tracker.store.events(kinds=[Kind.TRANSFER])
    assert (moved.cost, moved.data) == (
        2 * CENT,
        {
            "source": "envelope/s/done",
            "target": "envelope/s/a",
            "source_agent": "done",
            "target_agent": "a",
            "reason": "reallocate",
        },
    )
    caps = {account.id: money.cap for account, money in tracker.store.accounts("envelope")}
    assert caps == {"envelope/s/done": 3 * CENT, "envelope/s/a": 4 * CENT}
    assert session.breakdown() == {"a": Decimal("0.04"), "done": Decimal("0.02")}


def test_reallocate_after_a_clamp_finds_money_for_the_whole_call() -> None:
    tracker = made({"clamp": {"floor": 400}}, "reallocate")
    with tracker.session("s", ceiling="1"):
        with tracker.agent("done", envelope="0.05"):
            pass
        with tracker.agent("a", envelope="0.01") as run:
            call = spend(run)
    assert (call.max_output_tokens, call.decisions) == (1000, ("took $0.01 that done left",))


def test_reallocate_that_finds_less_than_all_is_enough_for_a_clamp_before_it() -> None:
    tracker = made({"clamp": {"floor": 400}}, "reallocate")
    with tracker.session("s", ceiling="1"):
        with tracker.agent("done", envelope="0.005"):
            pass
        with tracker.agent("a", envelope="0.01") as run:
            call = spend(run)
    assert call.max_output_tokens == 500
    assert call.decisions == (
        "took $0.005 that done left",
        "clamped output from 1000 to 500 tokens",
    )


def test_reallocate_takes_from_several_and_from_runs_with_a_max_cost() -> None:
    tracker = made("reallocate")
    with tracker.session("s", ceiling="1"):
        with tracker.agent("x", envelope="0.01"), tracker.agent("y", max_cost="0.015"):
            pass
        with tracker.agent("a", max_cost="0.005") as run:
            call = spend(run)
    assert call.decisions == ("took $0.01 that x left", "took $0.005 that y left")


def test_reallocate_takes_nothing_of_who_is_still_at_work() -> None:
    tracker = made("reallocate")
    with (
        tracker.session("s", ceiling="1"),
        tracker.agent("busy", envelope="1", max_cost="1"),
        tracker.agent("a", envelope="0.01") as run,
        pytest.raises(EnvelopeExhaustedError),
    ):
        spend(run)
    assert list(tracker.store.events(kinds=[Kind.TRANSFER])) == []


def test_reallocate_helps_nobody_whose_session_is_exhausted() -> None:
    tracker = made("reallocate")
    with tracker.session("s", ceiling="0.01"):
        with tracker.agent("done", envelope="0.05"):
            pass
        with pytest.raises(BudgetExceededError) as error, tracker.agent("a") as run:
            spend(run)
    assert error.value.kind == "session"


# skip, optional and on_exhausted


def test_skip_leaves_out_what_is_optional_and_refuses_the_rest() -> None:
    tracker = made("skip")
    with tracker.session(ceiling="0.01"), tracker.agent("a") as run:
        with pytest.raises(SkippedError, match="it is optional and was skipped"):
            spend(run, optional=True)
        with pytest.raises(BudgetExceededError) as error:
            spend(run)
    assert not isinstance(error.value, SkippedError)
    assert [(event.data or {}).get("decisions") for event in denied(tracker)] == [["skipped"], None]
    assert_calls(tracker, 0)


def test_the_calls_of_an_optional_run_are_optional() -> None:
    tracker = made("skip")
    with tracker.session(ceiling="0.01"), tracker.agent("a", optional=True) as run:
        with pytest.raises(SkippedError):
            spend(run)


def test_an_optional_run_that_cannot_start_is_skipped_if_its_policy_says_so() -> None:
    tracker = made("skip")
    with tracker.session(ceiling="0.02") as session:
        spend(session)
        with pytest.raises(SkippedError, match="nothing is left to start with"):
            tracker.agent("a", optional=True).open()
        with pytest.raises(BudgetExceededError) as must:
            tracker.agent("a").open()
        with pytest.raises(BudgetExceededError) as without:
            tracker.agent("other", optional=True).open()
    assert type(must.value) is type(without.value) is BudgetExceededError


def test_a_run_that_skips_when_exhausted_ends_quietly_with_what_it_has() -> None:
    tracker = made(envelope_usd="0.05", on_exhausted="skip")
    found: list[int] = []
    with tracker.session("s") as session:
        with tracker.agent("a") as run:
            for number in range(10):
                spend(run)
                found.append(number)
        spend(session)
    assert found == [0, 1]
    (node,) = tracker.tree("s").roots
    assert node.status == "exhausted"
    assert tracker.tree("s").status == "succeeded"


def test_on_exhausted_in_code_wins_and_a_decorated_function_ends_quietly_too() -> None:
    tracker = made(on_exhausted="raise")

    @tracker.agent("a", max_cost="0.03", on_exhausted="skip")
    async def work() -> str:
        spend(spendtree.current() or pytest.fail("no scope"), 2)
        spend(spendtree.current() or pytest.fail("no scope"), 2)
        return "all"

    async def main() -> None:
        async with tracker.session():
            assert await work() is None

    asyncio.run(main())
    assert_spent(tracker, "0.02", agent="a")


def test_a_run_that_skips_does_not_hide_other_errors_nor_that_the_session_is_exhausted() -> None:
    tracker = made(on_exhausted="skip")
    with tracker.session("s", ceiling="0.02"):
        with pytest.raises(KeyError), tracker.agent("a"):
            raise KeyError("x")
        with pytest.raises(BudgetExceededError) as error, tracker.agent("a") as run:
            spend(run, 4)
        with pytest.raises(ExceptionGroup), tracker.agent("a", envelope="0.01") as run:
            raise ExceptionGroup("two", [_refusal(run), KeyError("x")])
        with tracker.agent("a") as run:
            _raise(ExceptionGroup("one", [_refusal(run)]))
    assert error.value.kind == "session"


def _raise(error: Exception) -> None:
    raise error


def _refusal(run: Scope) -> BudgetExceededError:
    with pytest.raises(EnvelopeExhaustedError) as error:
        spend(run)
    return error.value


def test_an_ancestors_exhausted_max_cost_goes_up_through_the_sub_agent_to_that_ancestor() -> None:
    tracker = Spendtree("memory:", {"prices": PRICES})
    reached: list[str] = []
    with tracker.session("s"), tracker.agent("top") as top:
        with tracker.agent("lead", max_cost="0.03", on_exhausted="skip"):
            with tracker.agent("middle", on_exhausted="skip", max_cost="1"):
                with tracker.agent("leaf", on_exhausted="skip", envelope="1") as leaf:
                    spend(leaf)
                    with pytest.raises(EnvelopeExhaustedError) as error:
                        spend(leaf)
                    assert (error.value.kind, error.value.name) == ("run", "lead")
                    spend(leaf)
                reached.append("middle")
            reached.append("lead")
        spend(top)
    assert reached == []
    status = {node.agent: node.status for node in tracker.tree("s").nodes()}
    assert status == {
        "top": "succeeded",
        "lead": "exhausted",
        "middle": "exhausted",
        "leaf": "exhausted",
    }


# Composed.


def test_steps_are_tried_in_order_and_each_decision_is_recorded_on_the_call() -> None:
    tracker = made(
        "reallocate", "wait", {"clamp": {"floor": 900}}, {"fallback": {"model": "cheap"}}
    )
    with tracker.session("s", ceiling="1"):
        with tracker.agent("done", envelope="0.005"):
            pass
        with tracker.agent("a", envelope="0.01") as run:
            call = spend(run)
    assert call.decisions == ("took $0.005 that done left", "fell back from m to cheap")
    assert (ended(tracker).data or {})["decisions"] == list(call.decisions)


def test_clamp_after_fallback_clamps_the_model_that_was_fallen_back_to() -> None:
    tracker = made({"fallback": {"model": "cheap"}}, {"clamp": {"floor": 100}}, "refuse")
    with tracker.session("s", ceiling="0.0015"), tracker.agent("a") as run:
        call = spend(run)
    assert (call.model, call.max_output_tokens) == ("cheap", 500)
    assert call.decisions == (
        "fell back from m to cheap",
        "clamped output from 1000 to 500 tokens",
    )


def test_clamp_after_a_wait_that_timed_out_takes_what_is_left() -> None:
    tracker = made({"wait": {"seconds": 0.01}}, {"clamp": {"floor": 100}})
    with tracker.session("s", ceiling="0.035"), tracker.agent("a") as run:
        held = run.call("m", **TWO_CENTS).__enter__()
        calls: list[Call] = []
        thread = threading.Thread(target=lambda: calls.append(spend(run)))
        thread.start()
        thread.join()
        held.record(Usage(1000, 1000))
        held.__exit__(None, None, None)
    (call,) = calls
    assert call.max_output_tokens == 500
    assert_spent(tracker, "0.035")


def test_what_was_decided_before_a_refusal_is_recorded_with_it() -> None:
    tracker = made({"fallback": {"model": "cheap"}}, "refuse")
    with tracker.session("s", ceiling="0.001"), tracker.agent("a") as run:
        with pytest.raises(BudgetExceededError) as error:
            spend(run)
    (refusal,) = denied(tracker)
    assert (refusal.data or {})["decisions"] == ["fell back from m to cheap"]
    assert (refusal.request.model, error.value.requested) == ("cheap", Decimal("0.002"))


def test_refuse_refuses_at_once_what_waiting_could_have_got() -> None:
    tracker = made("refuse")
    with tracker.session("s", ceiling="0.03"), tracker.agent("a") as run:
        with run.call("m", **TWO_CENTS) as held:
            with pytest.raises(BudgetExceededError) as error:
                spend(run)
            held.record(Usage(0, 0))
    assert error.value.reason == "busy"


def test_a_policy_is_named_in_the_configuration_and_is_that_of_its_role_only() -> None:
    tracker = Spendtree(
        "memory:",
        {
            "prices": PRICES,
            "policies": {"careful": [{"clamp": {"floor": 10}}, "refuse"]},
            "agents": {"a": {"policy": "careful"}},
        },
    )
    with tracker.session(ceiling="0.015") as session:
        with pytest.raises(BudgetExceededError):
            spend(session)
        with pytest.raises(BudgetExceededError), tracker.agent("b") as other:
            spend(other)
        with tracker.agent("a") as run:
            assert spend(run).max_output_tokens == 500


def test_a_policy_does_not_make_an_unknown_price_known() -> None:
    tracker = made({"fallback": {"model": "cheap"}})
    with tracker.session(ceiling="1"), tracker.agent("a") as run:
        with pytest.raises(UnknownPriceError), run.call("nobody-knows", **TWO_CENTS):
            pass


# What is said of waiting.


def test_a_call_that_waited_for_nothing_is_not_advised_to_wait_longer() -> None:
    """While it waited the open calls spent the money: no wait brings it back."""
    tracker = made("wait", "refuse")
    with tracker.session(ceiling="0.03"), tracker.agent("a") as run:
        first = run.call("m", **TWO_CENTS).__enter__()
        refused: list[BudgetExceededError] = []

        def wait() -> None:
            try:
                spend(run)
            except BudgetExceededError as error:
                refused.append(error)

        waiter = threading.Thread(target=wait)
        waiter.start()
        until(lambda: bool(tracker.lines))
        first.record(Usage(1000, 1000))
        first.__exit__(None, None, None)
        waiter.join(timeout=30)

    (error,) = refused
    assert error.reason == "exhausted"
    assert "wait" not in str(error)
    assert "settle" not in str(error)


def test_advice_of_a_step_that_was_left_behind_is_not_given() -> None:
    """It waited for a busy session, then fell back to a model that could never be paid."""
    dear = {"input_usd_per_mtok": "100", "output_usd_per_mtok": "100"}
    policy = [{"wait": {"seconds": 0}}, {"fallback": {"model": "dear"}}, "refuse"]
    tracker = Spendtree(
        "memory:", {"prices": {**PRICES, "dear": dear}, "agents": {"a": {"policy": policy}}}
    )
    with tracker.session(ceiling="0.03"), tracker.agent("a") as run:
        with run.call("m", **TWO_CENTS) as first:
            first.record(Usage(10, 10))

            def other() -> str:
                with pytest.raises(BudgetExceededError) as refused:
                    spend(run)
                return f"{refused.value.reason}: {refused.value}"

            with spendtree.ThreadPoolExecutor() as pool:
                said = pool.submit(other).result(timeout=30)

    assert said.startswith("exhausted")
    assert "settle" not in said
    assert "busy_timeout_seconds" not in said


@pytest.mark.parametrize("policy", [["refuse"], [{"wait": {"seconds": 0}}, "refuse"]])
def test_a_busy_refusal_says_that_waiting_can_help(policy: list[Any]) -> None:
    tracker = made(*policy)
    with tracker.session(ceiling="0.03"), tracker.agent("a") as run:
        first = run.call("m", **TWO_CENTS).__enter__()
        said: list[str] = []

        def other() -> None:
            with pytest.raises(BudgetExceededError) as refused:
                spend(run)
            said.append(f"{refused.value.reason}: {refused.value}")

        thread = threading.Thread(target=run.bind(other))
        thread.start()
        thread.join(timeout=30)
        first.record(Usage(10, 10))
        first.__exit__(None, None, None)

    assert said[0].startswith("busy")
    assert "settle" in said[0]
    assert "wait" in said[0]
