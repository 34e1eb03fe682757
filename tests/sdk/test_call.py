"""One call: money held before, the truth settled after, and nothing hidden in between."""

# ruff: noqa: SIM117, PT012 - the order in which scopes, calls and refusals nest is what is tested

import asyncio
import gc
import logging
import os
import queue
import socket
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spendtree import (
    BudgetExceededError,
    Call,
    ConfigurationError,
    EnvelopeExhaustedError,
    ScopeError,
    Spendtree,
    StoreError,
    StoreUnavailableError,
    UnknownPriceError,
    Usage,
    UsageError,
)
from spendtree.account import Balance
from spendtree.call import CallOptions
from spendtree.event import Event, Kind
from spendtree.store import open_store
from spendtree.testing import FakeProvider, FrozenClock, ProviderError, assert_books_balance
from spendtree.waiting import Waiter

PRICES: dict[str, dict[str, Any]] = {
    "m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"},
    "limited": {
        "input_usd_per_mtok": "10",
        "output_usd_per_mtok": "10",
        "context_window": 5000,
        "max_output_tokens": 1000,
    },
    "window": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10", "context_window": 5000},
}
ONE_CENT: CallOptions = {"input_tokens": 500, "max_output_tokens": 500}
TWO_CENTS: CallOptions = {"input_tokens": 1000, "max_output_tokens": 1000}
SPENT = Usage(1000, 1000)
NOTHING = Usage(0, 0)
CENT = 10_000_000_000
"""In pico-dollars."""


def made(store: Any = "memory:", **config: Any) -> Spendtree:
    return Spendtree(store, {"prices": PRICES, **config})


def events(tracker: Spendtree, *kinds: Kind) -> list[Event]:
    return list(tracker.store.events(kinds=kinds))


def last(tracker: Spendtree) -> Event:
    return events(tracker, Kind.CALL, Kind.LAPSE)[-1]


def balance(tracker: Spendtree, account: str = "session/s") -> Balance:
    found = tracker.store.balance(account)
    assert found is not None
    return Balance(*found[:4])  # the money, without its warning marks


def pay_open(call: Call, usage: Usage) -> None:
    """End a call that somebody else entered."""
    call.record(usage)
    call.__exit__(None, None, None)


def pay(call: Call, usage: Usage = SPENT) -> None:
    with call as under:
        under.record(usage)


# Hold before, settle after.


def test_a_call_holds_its_worst_case_before_and_settles_the_truth_after(
    frozen_clock: FrozenClock,
) -> None:
    tracker = Spendtree("memory:", {"prices": PRICES}, clock=frozen_clock)
    with tracker.session("s", ceiling="0.10"), tracker.agent("worker"):
        with tracker.call(
            "m", provider="openai", purpose="plan", input_tokens=1000, max_output_tokens=1000
        ) as call:
            assert call.held == Decimal("0.02")
            assert (call.input_tokens, call.max_output_tokens) == (1000, 1000)
            assert balance(tracker) == Balance(10 * CENT, 0, 0, 2 * CENT)
            assert events(tracker, Kind.CALL) == []
            frozen_clock.advance(1.5)
            call.record(Usage(200, 300, 100, 50, 25, 10))
    event = last(tracker)
    assert balance(tracker) == Balance(10 * CENT, 675 * 10**7, 0, 0)
    assert event.id.hex() == call.id
    assert event.usage == Usage(200, 300, 100, 50, 25, 10)
    assert (event.kind, event.status, event.cost, event.held) == (
        Kind.CALL,
        "ok",
        675 * 10**7,
        2 * CENT,
    )
    assert event.request == ("openai", "m", "plan")
    assert (event.at - event.started, event.data) == (1_500_000, None)


def test_a_denied_call_sends_nothing_and_leaves_nothing_but_one_event() -> None:
    tracker, provider = made(), FakeProvider()
    with tracker.session("s", ceiling="0.03") as session:
        pay(session.call("m", **TWO_CENTS))
        with pytest.raises(BudgetExceededError) as error, session.call("m", **TWO_CENTS):
            provider.complete("m", input_tokens=1000, max_output_tokens=1000)
    raised = error.value
    assert provider.requests == []
    assert (raised.account, raised.kind, raised.name, raised.reason) == (
        "session/s",
        "session",
        "s",
        "exhausted",
    )
    assert (raised.requested, raised.free, raised.cap) == (
        Decimal("0.02"),
        Decimal("0.01"),
        Decimal("0.03"),
    )
    assert (raised.spent, raised.held, raised.affordable_output_tokens) == (
        Decimal("0.02"),
        Decimal(0),
        0,
    )
    assert balance(tracker) == Balance(3 * CENT, 2 * CENT)
    (denied,) = events(tracker, Kind.DENIED)
    assert (denied.status, denied.held, denied.request.model) == ("exhausted", 2 * CENT, "m")
    assert denied.data == {"account": "session/s", "kind": "session"}
    assert tracker.store.open_holds() == 0


def test_the_error_says_what_output_every_account_of_the_path_could_still_pay() -> None:
    tracker = made()
    with (
        tracker.session("s", ceiling="0.05"),
        tracker.agent("worker", envelope="0.03"),
        pytest.raises(BudgetExceededError) as error,
        tracker.call("m", input_tokens=1000, max_output_tokens=9000),
    ):
        pass
    assert error.value.kind == "session"
    assert error.value.affordable_output_tokens == 2000


def test_the_outermost_exhausted_account_is_named_and_its_kind_decides_the_error() -> None:
    tracker = made()
    with tracker.session("s", ceiling="1"), tracker.agent("a", max_cost="0.03"):
        with (
            tracker.agent("b", envelope="0.01"),
            pytest.raises(EnvelopeExhaustedError) as run,
            tracker.call("m", input_tokens=2000, max_output_tokens=2000),
        ):
            pass
        with (
            tracker.agent("b"),
            pytest.raises(EnvelopeExhaustedError) as envelope,
            tracker.call("m", **TWO_CENTS),
        ):
            pass
    assert (run.value.kind, run.value.cap) == ("run", Decimal("0.03"))
    assert (envelope.value.kind, envelope.value.name) == ("envelope", "b")


def test_an_overrun_is_booked_and_blocks_what_comes_after() -> None:
    tracker = made()
    with tracker.session("s", ceiling="0.03") as session:
        pay(session.call("m", **TWO_CENTS), Usage(3000, 1000))
        assert balance(tracker) == Balance(3 * CENT, 4 * CENT)
        with pytest.raises(BudgetExceededError) as error, session.call("m", **ONE_CENT):
            pass
    assert error.value.free == Decimal("-0.01")
    assert last(tracker).cost == 4 * CENT
    assert_books_balance(tracker)


def test_a_call_is_made_once() -> None:
    tracker = made()
    call = tracker.call("m", **TWO_CENTS)
    assert call.id == ""
    with call, pytest.raises(ScopeError, match="made once"), call:
        pass
    with pytest.raises(ScopeError, match="made once"), call:
        pass
    assert len(events(tracker, Kind.CALL, Kind.LAPSE)) == 1


# What was used.


def _attributes(body: Any) -> Any:
    """Return a body as a client's objects have it."""
    if isinstance(body, dict):
        return SimpleNamespace(**{key: _attributes(value) for key, value in body.items()})
    return body


RESPONSES = {
    "OpenAI chat": {
        "usage": {
            "prompt_tokens": 100,
            "completion_tokens": 50,
            "prompt_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
            "completion_tokens_details": {"reasoning_tokens": 40},
        }
    },
    "OpenAI responses": {
        "usage": {
            "input_tokens": 100,
            "output_tokens": 50,
            "input_tokens_details": {"cached_tokens": 30, "cache_write_tokens": 20},
            "output_tokens_details": {"reasoning_tokens": 40},
        }
    },
    "Anthropic": {
        "usage": {
            "input_tokens": 50,
            "output_tokens": 50,
            "cache_read_input_tokens": 30,
            "cache_creation_input_tokens": 20,
            "output_tokens_details": {"thinking_tokens": 40},
        }
    },
    "Gemini": {
        "usageMetadata": {
            "promptTokenCount": 90,
            "toolUsePromptTokenCount": 10,
            "candidatesTokenCount": 10,
            "thoughtsTokenCount": 40,
            "cachedContentTokenCount": 30,
        }
    },
}
COSTS = {"Gemini": Usage(70, 50, 30, 0, 0, 40)}


@pytest.mark.parametrize("form", ["dict", "object"])
@pytest.mark.parametrize("provider", RESPONSES)
def test_the_usage_is_read_from_a_providers_response(provider: str, form: str) -> None:
    tracker = made()
    body = RESPONSES[provider]
    with tracker.call("m", **TWO_CENTS) as call:
        call.record(body if form == "dict" else _attributes(body))
    assert last(tracker).usage == COSTS.get(provider, Usage(50, 50, 30, 20, 0, 40))
    assert last(tracker).cost == 15 * 10**8


def test_a_later_record_replaces_an_earlier_one_since_streams_repeat_theirs() -> None:
    tracker = made()
    with tracker.call("m", **TWO_CENTS) as call:
        for output in (1, 20, 300):
            call.record(Usage(10, output))
    assert last(tracker).usage == Usage(10, 300)


@pytest.mark.parametrize(
    "response",
    [
        {"choices": []},
        SimpleNamespace(usage=None),
        None,
        {"usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 20}}},
        {"usage": {"prompt_tokens": -5, "completion_tokens": 1}},
    ],
)
def test_a_response_whose_usage_cannot_be_told_is_presumed_spent_and_never_hidden(
    response: Any, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = made()
    with tracker.session("s", ceiling="0.10") as session:
        with session.call("m", **TWO_CENTS) as call:
            call.record(response)
    event = last(tracker)
    assert (event.kind, event.status, event.cost, event.held) == (
        Kind.LAPSE,
        "unmetered",
        0,
        2 * CENT,
    )
    assert balance(tracker) == Balance(10 * CENT, 0, 2 * CENT, 0)
    assert "presumed spent" in caplog.text


def test_leaving_without_usage_is_unmetered_and_leaving_by_an_error_lapses() -> None:
    tracker = made()
    with tracker.session("s", ceiling="0.10") as session:
        with session.call("m", **TWO_CENTS) as call:
            call.record({"id": "x"})
        unmetered = last(tracker)
        with pytest.raises(TimeoutError), session.call("m", **ONE_CENT):
            raise TimeoutError
    lapsed = last(tracker)
    assert (unmetered.status, unmetered.data) == (
        "unmetered",
        {"reason": "the response stated no usage"},
    )
    assert (lapsed.status, lapsed.data) == ("lapsed", {"reason": "ended by TimeoutError"})
    assert balance(tracker) == Balance(10 * CENT, 0, 3 * CENT, 0)
    assert_books_balance(tracker)


def test_an_error_after_the_usage_is_known_books_the_usage_as_a_failed_call() -> None:
    tracker = made()
    with pytest.raises(KeyError), tracker.call("m", **TWO_CENTS) as call:
        call.record(SPENT)
        raise KeyError("the answer has no such field")
    event = last(tracker)
    assert (event.kind, event.status, event.cost) == (Kind.CALL, "failed", 2 * CENT)
    assert event.data == {"unattributed": "no_scope", "error": "KeyError"}


# Surely not billed.


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 422, 429, 529])
def test_a_refusal_by_the_provider_gives_the_money_back(status: int) -> None:
    tracker = made()

    def refuse(*_: Any) -> Usage:
        raise ProviderError(status)

    provider = FakeProvider(refuse)
    with tracker.session("s", ceiling="0.02") as session:
        with pytest.raises(ProviderError), session.call("m", **TWO_CENTS):
            provider.complete("m", input_tokens=1000, max_output_tokens=1000)
    event = last(tracker)
    assert (event.kind, event.status, event.cost, event.usage) == (Kind.CALL, "failed", 0, NOTHING)
    assert event.data == {"reason": f"refused with HTTP status {status}"}
    assert balance(tracker) == Balance(2 * CENT)


@pytest.mark.parametrize("status", [408, 499, 500, 502, 503, 504])
def test_a_failure_that_may_have_been_billed_is_presumed_spent(status: int) -> None:
    tracker = made()
    with tracker.session("s", ceiling="0.02") as session:
        with pytest.raises(ProviderError), session.call("m", **TWO_CENTS):
            raise ProviderError(status)
    assert last(tracker).kind == Kind.LAPSE
    assert balance(tracker) == Balance(2 * CENT, 0, 2 * CENT)


def test_a_refused_connection_gives_the_money_back() -> None:
    tracker = made()
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = unheard.getsockname()
    with tracker.session("s", ceiling="0.02") as session:
        with pytest.raises(ConnectionRefusedError), session.call("m", **TWO_CENTS):
            socket.create_connection(address)
    assert last(tracker).data == {"reason": "connection refused"}
    assert balance(tracker) == Balance(2 * CENT)


def test_a_call_declared_void_gives_the_money_back() -> None:
    tracker = made()
    with tracker.session("s", ceiling="0.02") as session:
        with session.call("m", **TWO_CENTS) as call:
            call.void("answered from our own cache")
    assert (last(tracker).status, last(tracker).data) == (
        "failed",
        {"reason": "answered from our own cache"},
    )
    assert balance(tracker) == Balance(2 * CENT)


# The bound.


def test_an_unknown_price_is_refused_under_a_cap_and_booked_as_unpriced_without_one() -> None:
    tracker = made()
    with tracker.session("s", ceiling="1") as session:
        with pytest.raises(UnknownPriceError, match="'nobody' of provider 'unheard'") as error:
            with session.call("nobody", provider="unheard"):
                pass
    with tracker.session() as free, free.call("nobody", **TWO_CENTS) as call:
        call.record(SPENT)
    assert error.value.model == "nobody"
    assert [event.status for event in events(tracker, Kind.DENIED)] == ["unknown_price"]
    assert (last(tracker).cost, last(tracker).status) == (None, "ok")
    assert last(tracker).usage == SPENT
    assert call.held == 0


def test_a_call_under_a_cap_needs_a_bound_and_without_a_cap_none() -> None:
    tracker = made()
    with tracker.session("s", ceiling="1") as session:
        with pytest.raises(ConfigurationError, match="give input_tokens"):
            session.call("m", max_output_tokens=10).__enter__()
        with pytest.raises(ConfigurationError, match="give max_output_tokens"):
            session.call("m", input_tokens=10).__enter__()
    pay(tracker.call("m"))
    assert (last(tracker).cost, last(tracker).held) == (2 * CENT, 0)


@pytest.mark.parametrize(
    ("model", "options", "bound"),
    [
        ("limited", {}, (5000, 1000)),
        ("limited", {"max_output_tokens": 7}, (5000, 7)),
        ("limited", {"input_tokens": 70}, (70, 1000)),
        ("limited", {"input_tokens": 70_000}, (5000, 1000)),
        ("window", {"input_tokens": 70}, (70, 5000)),
        ("m", {"input": "ab" * 50, "max_output_tokens": 9}, (132, 9)),
        ("m", {"input": [{"role": "user", "content": "ä" * 50}], "max_output_tokens": 9}, None),
        ("limited", {"input": "x" * 9000, "max_output_tokens": 9}, (5000, 9)),
        ("limited", {"input": [{"type": "image", "data": ""}]}, (5000, 1000)),
    ],
)
def test_the_bound_comes_from_the_call_else_from_the_models_limits(
    model: str, options: Any, bound: tuple[int, int] | None
) -> None:
    tracker = made()
    with tracker.session("s", ceiling="1") as session, session.call(model, **options) as call:
        found = (call.input_tokens, call.max_output_tokens)
        if bound is None:
            assert found[0] is not None
            assert 100 < found[0] < 250
        else:
            assert found == bound
            assert call.held == Decimal(sum(bound)) / 100_000
        call.record(NOTHING)


def test_the_output_limit_is_the_calls_else_the_agents_else_the_configurations() -> None:
    tracker = made(agents={"b": {"max_output_tokens": 50}})
    limits = []
    with tracker.session():
        for name, option in (("a", 70), ("b", 30), ("b", None), ("c", None)):
            with tracker.agent(name, max_output_tokens=option):
                for given in (None, 5):
                    with tracker.call("limited", max_output_tokens=given) as call:
                        call.record(NOTHING)
                    limits.append(call.max_output_tokens)
    assert limits == [70, 5, 30, 5, 50, 5, 1000, 5]


@pytest.mark.parametrize(
    "options",
    [
        {"input_tokens": -1, "max_output_tokens": 1},
        {"input_tokens": 1, "max_output_tokens": -1000},
        {"input_tokens": 1.5, "max_output_tokens": 1},
        {"input_tokens": "1", "max_output_tokens": 1},
        {"input_tokens": 1, "max_output_tokens": 2**41},
    ],
)
def test_a_bound_that_is_no_count_is_refused_before_money_moves(options: Any) -> None:
    tracker = made()
    with tracker.session("s", ceiling="1") as session:
        with pytest.raises((UsageError, TypeError)), session.call("m", **options):
            pass
        assert balance(tracker) == Balance(100 * CENT)


def test_a_bound_beyond_what_an_account_can_hold_is_no_error_of_the_store(tmp_path: Path) -> None:
    tracker = made(f"sqlite:///{tmp_path}/s.db")
    huge: CallOptions = {"input_tokens": 2**40, "max_output_tokens": 2**40}
    with tracker.session("s", ceiling="1") as session:
        with pytest.raises(BudgetExceededError), session.call("m", **huge):
            pass
    pay(tracker.call("m", **huge))
    assert last(tracker).cost == 2 * CENT
    tracker.close()


def test_an_unknown_price_meets_a_ceiling_that_another_holder_of_the_session_has_set() -> None:
    tracker = made()
    with tracker.session("s") as one, tracker.session("s") as other:
        with other.call("nobody-knows", **ONE_CENT) as call:
            call.record(SPENT)
        one.set_ceiling("1")
        with pytest.raises(UnknownPriceError):
            other.call("nobody-knows", **ONE_CENT).__enter__()
        with pytest.raises(UnknownPriceError):
            other.call("nobody-knows", **ONE_CENT).__enter__()


def test_envelopes_of_two_sessions_are_two_whatever_their_names_are() -> None:
    tracker = made()
    for session, agent in (("a", "b/c"), ("a/b", "c"), ("a%2Fb", "c"), ("a", "b%2Fc")):
        with tracker.session(session), tracker.agent(agent, envelope="0.01") as run:
            with run.call("m", **ONE_CENT) as call:
                call.record(Usage(500, 500))
            with pytest.raises(EnvelopeExhaustedError) as error:
                run.call("m", **ONE_CENT).__enter__()
            assert error.value.name == agent
    assert len(list(tracker.store.accounts("envelope"))) == 4


def test_calls_that_overlap_are_forgotten_once_they_have_ended() -> None:
    """A task that always has one stream open keeps that one, not all that it ever had."""
    tracker, kept = made(), []
    with tracker.session("s") as session:
        last = session.call("m", **ONE_CENT).__enter__()
        for _ in range(50):
            kept.append(weakref.ref(last))
            following = session.call("m", **ONE_CENT).__enter__()
            last.record(NOTHING)
            last.__exit__(None, None, None)
            last = following
        last.record(NOTHING)
        last.__exit__(None, None, None)
        gc.collect()
        assert sum(each() is not None for each in kept) <= 3


# Waiting for money.


def watch_line(tracker: Spendtree) -> "queue.Queue[Waiter]":
    """Return a queue that gets every waiter when it has joined its line."""
    joined: queue.Queue[Waiter] = queue.Queue()
    join = tracker.lines.join

    def watched(account: str, wake: Callable[[], None], *, ahead: bool = False) -> Waiter:
        waiter = join(account, wake, ahead=ahead)
        joined.put(waiter)
        return waiter

    tracker.lines.join = watched  # type: ignore[method-assign]
    return joined


def test_threads_get_busy_money_first_come_first_served() -> None:
    tracker = made()
    joined = watch_line(tracker)
    order: list[int] = []

    def wait(number: int) -> None:
        with session.call("m", **TWO_CENTS) as call:
            order.append(number)
            call.record(NOTHING)

    threads = []
    with tracker.session("s", ceiling="0.02") as session:
        with session.call("m", **TWO_CENTS) as first:
            for number in range(8):
                threads.append(threading.Thread(target=wait, args=(number,)))
                threads[-1].start()
                joined.get(timeout=30)
            assert order == []
            first.record(NOTHING)
        for thread in threads:
            thread.join(30)
    assert order == list(range(8))
    assert not tracker.lines
    assert events(tracker, Kind.DENIED) == []


def test_tasks_get_busy_money_first_come_first_served_and_nobody_overtakes() -> None:
    tracker = made()
    order: list[str] = []

    async def wait(name: str, options: CallOptions) -> None:
        async with tracker.call("m", **options) as call:
            order.append(name)
            await asyncio.sleep(0)
            call.record(NOTHING)

    async def main() -> None:
        async with tracker.session("s", ceiling="0.03"), asyncio.TaskGroup() as group:
            async with tracker.call("m", **TWO_CENTS) as first:
                for number in range(4):
                    group.create_task(wait(f"big {number}", TWO_CENTS))
                    await asyncio.sleep(0)
                    # A cent is free, but others came before.
                    group.create_task(wait(f"small {number}", ONE_CENT))
                    await asyncio.sleep(0)
                assert order == []
                first.record(NOTHING)

    asyncio.run(main())

    assert order == [f"{size} {number}" for number in range(4) for size in ("big", "small")]
    assert not tracker.lines


def test_a_waiter_that_is_cancelled_leaves_the_line_and_nothing_else() -> None:
    tracker = made()
    order: list[int] = []

    async def wait(number: int) -> None:
        async with tracker.call("m", **TWO_CENTS) as call:
            order.append(number)
            call.record(NOTHING)

    async def main() -> None:
        async with tracker.session("s", ceiling="0.02"):
            async with tracker.call("m", **TWO_CENTS) as first:
                tasks = [asyncio.create_task(wait(number)) for number in range(3)]
                await asyncio.sleep(0)
                assert tracker.lines
                for number in (0, 1):
                    tasks[number].cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await tasks[number]
                first.record(NOTHING)
            await tasks[2]

    asyncio.run(main())

    assert order == [2]
    assert not tracker.lines
    assert len(events(tracker, Kind.CALL, Kind.LAPSE)) == 2
    assert events(tracker, Kind.DENIED) == []


def test_a_waiter_has_left_the_line_when_its_cancellation_is_seen() -> None:
    tracker = made()
    seen: list[str] = []

    async def wait() -> None:
        try:
            await tracker.call("m", **TWO_CENTS).__aenter__()
        except asyncio.CancelledError:
            seen.append(tracker.lines.busy(("session/s",)))
            raise

    async def main() -> None:
        async with tracker.session("s", ceiling="0.02"):
            async with tracker.call("m", **TWO_CENTS) as first:
                task = asyncio.create_task(wait())
                await asyncio.sleep(0)
                assert tracker.lines.busy(("session/s",)) == "session/s"
                task.cancel()
                await asyncio.wait([task])
                first.record(NOTHING)

    asyncio.run(main())

    assert seen == [""]


def test_waiters_are_told_when_what_they_wait_for_was_spent() -> None:
    tracker = made()
    joined = watch_line(tracker)
    errors: list[BudgetExceededError] = []

    def wait() -> None:
        try:
            pay(session.call("m", **TWO_CENTS))
        except BudgetExceededError as error:
            errors.append(error)

    with tracker.session("s", ceiling="0.03") as session:
        threads = [threading.Thread(target=wait) for _ in range(3)]
        with session.call("m", **TWO_CENTS) as call:
            for thread in threads:
                thread.start()
                joined.get(timeout=30)
            call.record(SPENT)
        for thread in threads:
            thread.join(30)
    assert [error.reason for error in errors] == ["exhausted"] * 3
    assert len(events(tracker, Kind.DENIED)) == 3


def test_a_call_that_no_wait_can_help_does_not_stand_in_line() -> None:
    tracker = made()

    async def wait() -> None:
        async with tracker.call("m", **TWO_CENTS) as call:
            call.record(NOTHING)

    async def main() -> None:
        async with tracker.session("s", ceiling="0.02") as session:
            async with session.call("m", **TWO_CENTS) as first:
                waiting = asyncio.create_task(wait())
                await asyncio.sleep(0)
                with pytest.raises(BudgetExceededError) as error:
                    async with session.call("m", input_tokens=9000, max_output_tokens=1):
                        pass
                assert error.value.reason == "exhausted"
                assert not waiting.done()
                first.record(NOTHING)
            await waiting

    asyncio.run(main())


@pytest.mark.parametrize("how", ["thread", "task"])
def test_who_waited_long_enough_is_refused_as_busy(how: str) -> None:
    tracker = made(busy_timeout_seconds=0.02)

    async def refused(session: Any) -> None:
        async with session.call("m", **TWO_CENTS):
            pass

    with tracker.session("s", ceiling="0.03") as session, ThreadPoolExecutor(1) as elsewhere:
        first = elsewhere.submit(session.call("m", **TWO_CENTS).__enter__).result()
        with pytest.raises(BudgetExceededError) as error:
            if how == "task":
                asyncio.run(refused(session))
            else:
                session.call("m", **TWO_CENTS).__enter__()
        pay_open(first, NOTHING)
    assert (error.value.reason, error.value.free, error.value.held) == (
        "busy",
        Decimal("0.01"),
        Decimal("0.02"),
    )
    assert error.value.affordable_output_tokens == 0
    assert "busy_timeout_seconds" in str(error.value)
    (denied,) = events(tracker, Kind.DENIED)
    assert (denied.status, denied.held) == ("busy", 2 * CENT)
    assert not tracker.lines


def test_a_sync_with_in_a_running_loop_refuses_to_wait_but_takes_free_money() -> None:
    tracker = made()

    async def main() -> None:
        with tracker.session("s", ceiling="0.02") as session:
            first = await asyncio.to_thread(session.call("m", **TWO_CENTS).__enter__)
            with pytest.raises(BudgetExceededError, match="use `async with`") as error:
                session.call("m", **TWO_CENTS).__enter__()
            assert error.value.reason == "busy"
            pay_open(first, NOTHING)
            pay(session.call("m", **TWO_CENTS), NOTHING)
            await asyncio.to_thread(pay, session.call("m", **TWO_CENTS), NOTHING)

    asyncio.run(main())

    assert len(events(tracker, Kind.CALL)) == 3


@pytest.mark.parametrize("how", ["thread", "running loop"])
def test_whoever_meets_busy_lapses_the_holds_of_dead_processes(tmp_path: Path, how: str) -> None:
    tracker = made(f"sqlite:///{tmp_path}/s.db")
    with tracker.session("s", ceiling="0.03") as session:
        pid = os.fork()
        if pid == 0:
            session.call("m", **TWO_CENTS).__enter__()
            os._exit(0)
        os.waitpid(pid, 0)
        assert balance(tracker).held == 2 * CENT

        async def in_loop() -> None:
            session.call("m", **TWO_CENTS).__enter__()

        with pytest.raises(BudgetExceededError) as error:
            if how == "thread":
                session.call("m", **TWO_CENTS).__enter__()
            else:
                asyncio.run(in_loop())
    assert error.value.reason == "exhausted"
    assert balance(tracker) == Balance(3 * CENT, 0, 2 * CENT, 0)
    assert last(tracker).data == {"reason": "its process ended before the call did"}
    tracker.close()


# The store in the way.


class Failing:
    """A store of which some verbs raise, while `error` says so."""

    def __init__(self, *verbs: str) -> None:
        self._store = open_store("memory:")
        self._verbs = verbs
        self.error: Exception | None = None
        self.tries: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in self._verbs:
            return found

        def verb(id: bytes, *args: Any, **kwargs: Any) -> Any:
            self.tries.append(id)
            if self.error is not None:
                raise self.error
            return found(id, *args, **kwargs)

        return verb


def test_a_capped_call_is_refused_when_the_store_is_out_of_reach() -> None:
    store, provider = Failing("hold"), FakeProvider()
    tracker = made(store)
    with tracker.session("s", ceiling="1") as session:
        store.error = StoreUnavailableError("the disk is full")
        with pytest.raises(StoreUnavailableError, match="disk is full"):
            with session.call("m", **TWO_CENTS):
                provider.complete("m", input_tokens=1000, max_output_tokens=1000)
        store.error = None
        pay(session.call("m", **TWO_CENTS))
    assert provider.requests == []
    assert (tracker.unrecorded_calls, balance(tracker).spent) == (0, 2 * CENT)


@pytest.mark.parametrize("mode", ["enforce", "record"])
def test_an_uncapped_call_goes_on_without_the_store_and_is_counted(
    mode: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = Failing("hold")
    tracker = made(store, mode=mode)
    with tracker.session("s", ceiling=None if mode == "enforce" else "0.01") as session:
        store.error = StoreUnavailableError("the disk is full")
        for _ in range(3):
            with session.call("m", **TWO_CENTS) as call:
                assert call.max_output_tokens == 1000
                call.record(SPENT)
        assert call.id == ""
    assert tracker.unrecorded_calls == 3
    assert [r.message for r in caplog.records if r.levelno == logging.ERROR] == [
        "calls go on unrecorded, since no cap is enforced on them: the disk is full"
    ]
    assert events(tracker, Kind.CALL) == []


@pytest.mark.parametrize("ending", ["settle", "lapse"])
def test_a_settle_that_fails_hides_no_response_and_is_retried_with_the_same_id(
    ending: str,
) -> None:
    store = Failing("settle", "lapse")
    tracker = made(store)
    with tracker.session("s", ceiling="0.10") as session:
        store.error = StoreUnavailableError("locked")
        calls = []
        for _ in range(3):
            with session.call("m", **TWO_CENTS) as call:
                if ending == "settle":
                    call.record(SPENT)
            calls.append(bytes.fromhex(call.id))
        assert balance(tracker) == Balance(10 * CENT, 0, 0, 6 * CENT)
        assert [event.id for event in tracker.unsettled] == calls
        store.tries.clear()
        pay(session.call("m", **TWO_CENTS))
        store.error = None
        pay(session.call("m", **TWO_CENTS))
    assert store.tries[0] == calls[0]  # one try, then the call went on
    assert tracker.unsettled == []
    ends = [event.id for event in events(tracker, Kind.CALL, Kind.LAPSE)]
    assert (len(ends), ends[:3]) == (5, calls)
    settled = 10 * CENT if ending == "settle" else 4 * CENT
    assert balance(tracker) == Balance(10 * CENT, settled, 10 * CENT - settled, 0)
    (closed,) = events(tracker, Kind.SESSION_CLOSED)
    assert closed.cost == settled


def test_what_could_not_be_settled_is_settled_when_the_session_or_the_tracker_ends() -> None:
    store = Failing("settle")
    tracker = made(store)
    with tracker.session("s") as session:
        store.error = StoreUnavailableError("locked")
        pay(session.call("m", **TWO_CENTS))
        store.error = None
    assert events(tracker, Kind.SESSION_CLOSED)[0].cost == 2 * CENT
    store.error = StoreUnavailableError("locked")
    pay(tracker.call("m", **TWO_CENTS))
    store.error = None
    tracker.close()
    assert len(events(tracker, Kind.CALL)) == 2


@pytest.mark.parametrize("error", [StoreError("damaged"), OverflowError("int too large")])
def test_no_failure_of_the_store_whatever_hides_a_response(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    store = Failing("settle")
    tracker = made(store)
    with tracker.session("s", ceiling="0.10") as session:
        store.error = error
        pay(session.call("m", **TWO_CENTS))
        assert balance(tracker).held == 2 * CENT
    assert "its hold stays" in caplog.text


@pytest.mark.parametrize("store", ["memory:", "sqlite:///{}/s.db"])
def test_a_cost_that_no_account_can_hold_hides_no_response_and_leaves_no_hold(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, store: str
) -> None:
    """A run states what was recorded, and its message is priced up to what can be recorded."""
    tracker = made(store.format(tmp_path))
    with tracker.session("s", ceiling="1"), tracker.agent("top"):
        with tracker.agent("a") as agent:
            with agent.call("m", **ONE_CENT) as second:
                pay(agent.call("m", **TWO_CENTS), Usage(2**40, 2**40))
                second.record(SPENT)
            agent.deliver(2**40)
        with pytest.raises(BudgetExceededError):
            tracker.call("m", **ONE_CENT).__enter__()
    calls = list(tracker.store.events(kinds=[Kind.CALL]))
    assert [(event.cost, event.data) for event in calls] == [
        (2**63 - 1, {"uncapped_usd": "21990232.55552"}),
        (0, {"uncapped_usd": "0.02"}),
    ]
    assert ["its hold stays" in caplog.text, "recorded capped" in caplog.text] == [False, True]
    assert tracker.store.open_holds() == 0
    runs = list(tracker.store.events(kinds=[Kind.RUN_CLOSED]))
    assert [run.cost for run in runs] == [2**63 - 1, 0]
    (message,) = tracker.store.events(kinds=[Kind.MESSAGE])
    assert message.input_tokens == 2**40
    (closed,) = tracker.store.events(kinds=[Kind.SESSION_CLOSED])
    assert closed.cost == 2**63 - 1
    assert_books_balance(tracker)
    tracker.close()


# Modes.


def test_mode_record_books_all_and_refuses_nothing() -> None:
    tracker = made(mode="record")
    with tracker.session("s", ceiling="0.02") as session:
        for _ in range(3):
            pay(session.call("m", **TWO_CENTS))
        with session.call("nobody", **TWO_CENTS) as unpriced:
            unpriced.record(SPENT)
        pay(session.call("m"))
    assert balance(tracker) == Balance(2 * CENT, 8 * CENT)
    assert last(tracker).cost == 2 * CENT
    assert events(tracker, Kind.DENIED) == []


def test_mode_warn_books_all_and_tells_what_enforcing_would_have_refused() -> None:
    tracker = made(mode="warn")
    with tracker.session("s", ceiling="0.03"), tracker.agent("worker"):
        for _ in range(3):
            pay(tracker.call("m", **TWO_CENTS))
    assert balance(tracker) == Balance(3 * CENT, 6 * CENT)
    denied = events(tracker, Kind.DENIED)
    assert [event.data for event in denied] == [
        {"account": "session/s", "kind": "session", "would": True}
    ] * 2
    assert [event.id for event in denied] == [event.id for event in events(tracker, Kind.CALL)[1:]]
    assert [event.held for event in denied] == [2 * CENT] * 2


@pytest.fixture
def frozen_clock() -> FrozenClock:
    return FrozenClock()
