"""Who is spending right now: sessions, routing cycles and agent runs, however they are entered."""

import asyncio
import gc
import itertools
import json
import os
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree import (
    BudgetExceededError,
    Call,
    ConfigurationError,
    EnvelopeExhaustedError,
    Scope,
    ScopeError,
    Spendtree,
    ThreadPoolExecutor,
    UnknownPriceError,
    Usage,
    current,
)
from spendtree.account import Balance
from spendtree.call import CallOptions
from spendtree.event import Event, Kind
from spendtree.testing import assert_books_balance, assert_spent

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
TWO_CENTS: CallOptions = {"input_tokens": 1000, "max_output_tokens": 1000}
SPENT = Usage(1000, 1000)
TWO = 20_000_000_000
"""Two cents in pico-dollars."""


def made(store: str = "memory:", **config: Any) -> Spendtree:
    return Spendtree(store, {"prices": PRICES, **config})


def pay(call: Call) -> None:
    with call as under:
        under.record(SPENT)


def spend(tracker: Spendtree) -> None:
    pay(tracker.call("m", **TWO_CENTS))


def events(tracker: Spendtree, *kinds: Kind) -> list[Event]:
    return list(tracker.store.events(kinds=kinds))


def calls(tracker: Spendtree) -> list[Event]:
    return events(tracker, Kind.CALL, Kind.LAPSE)


def spenders(tracker: Spendtree) -> list[str]:
    return [event.context.agent for event in calls(tracker)]


def balance(tracker: Spendtree, account: str) -> Balance:
    found = tracker.store.balance(account)
    assert found is not None
    return Balance(*found[:4])  # the money, without its warning marks


# Who a call belongs to.


def test_a_call_belongs_to_the_innermost_run_and_names_all_that_is_around_it() -> None:
    tracker = made()
    with (
        tracker.session("s", customer="acme", team="search"),
        tracker.agent("coordinator") as top,
        tracker.agent("researcher", task_id="t-1", max_cost="1") as middle,
        tracker.agent("reader") as leaf,
    ):
        spend(tracker)

    (call,) = calls(tracker)
    assert call.context._asdict() == {
        "session": "s",
        "customer": "acme",
        "team": "search",
        "agent": "reader",
        "run": leaf.id,
        "parent": middle.id,
        "level": 3,
        "cycle": 1,
        "task_id": "t-1",
        "path": ("session/s", f"run/{middle.id}"),
        "origin": "",
    }
    assert middle.context.parent == top.id
    assert current() is None


def test_branches_of_gather_each_spend_as_their_own_agent() -> None:
    tracker = made()

    async def branch(name: str) -> None:
        async with tracker.agent(name):
            await asyncio.sleep(0)
            async with tracker.call("m", **TWO_CENTS) as call:
                await asyncio.sleep(0)
                call.record(SPENT)
            spend(tracker)

    async def main() -> None:
        async with tracker.session(), tracker.agent("coordinator") as top:
            await asyncio.gather(*(branch(f"a{n}") for n in range(10)))
            assert current() is top
            spend(tracker)

    asyncio.run(main())

    assert sorted(spenders(tracker)) == sorted([f"a{n}" for n in range(10)] * 2 + ["coordinator"])
    assert {call.context.level for call in calls(tracker)} == {1, 2}


def test_tasks_of_a_task_group_each_spend_as_their_own_agent() -> None:
    tracker = made()

    async def branch(name: str) -> None:
        async with tracker.agent(name), asyncio.TaskGroup() as group:
            group.create_task(leaf(f"{name}.x"))
            group.create_task(leaf(f"{name}.y"))

    async def leaf(name: str) -> None:
        async with tracker.agent(name):
            await asyncio.sleep(0)
            spend(tracker)

    async def main() -> None:
        async with tracker.session(), asyncio.TaskGroup() as group:
            for n in range(5):
                group.create_task(branch(f"a{n}"))

    asyncio.run(main())

    assert sorted(spenders(tracker)) == sorted(f"a{n}.{leaf}" for n in range(5) for leaf in "xy")
    opened = {event.context.run: event.context for event in events(tracker, Kind.RUN_OPENED)}
    for call in calls(tracker):
        assert opened[call.context.parent].agent == call.context.agent.partition(".")[0]


def test_a_function_in_to_thread_spends_as_who_started_it() -> None:
    tracker = made()

    async def main() -> None:
        async with tracker.session(), tracker.agent("worker"):
            await asyncio.gather(*(asyncio.to_thread(spend, tracker) for _ in range(4)))

    asyncio.run(main())

    assert spenders(tracker) == ["worker"] * 4


def test_a_thread_spends_in_a_scope_only_by_bind_and_a_lost_one_says_so() -> None:
    tracker = made()
    seen: list[Scope | None] = []

    def work() -> None:
        seen.append(current())
        spend(tracker)

    with tracker.session(), tracker.agent("worker") as worker:
        for target in (worker.bind(work), work):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    spend(tracker)

    bound, lost, outside = calls(tracker)
    assert seen == [worker, None]
    assert bound.context.agent == "worker"
    assert (lost.context.session, lost.context.level) == ("", 0)
    assert lost.data == {"unattributed": "lost_thread"}
    assert outside.data == {"unattributed": "no_scope"}


def test_a_bound_coroutine_function_runs_inside_the_scope_in_whatever_task() -> None:
    tracker = made()

    async def work() -> None:
        await asyncio.sleep(0)
        spend(tracker)

    async def main() -> None:
        with tracker.session() as session:
            scope = session.agent("worker").open()
            await asyncio.gather(asyncio.create_task(scope.bind(work)()), work())
            scope.close()

    asyncio.run(main())

    assert sorted(spenders(tracker)) == ["", "worker"]


def test_the_pool_of_threads_runs_functions_as_their_submitter_did() -> None:
    tracker = made()

    def work(count: int) -> str:
        spend(tracker)
        here = current()
        assert here is not None
        return f"{here.context.agent}{count}"

    with ThreadPoolExecutor(4) as pool, tracker.session():
        with tracker.agent("a"):
            first = pool.submit(work, 1)
            first.result()
            mapped = list(pool.map(work, [2, 3]))
        with tracker.agent("b"):
            second = pool.submit(work, 4).result()
        assert [first.result(), *mapped, second] == ["a1", "a2", "a3", "b4"]
        assert pool.submit(current).result() is current()

    assert sorted(spenders(tracker)) == ["a", "a", "a", "b"]


# The ways to enter a scope.


def test_a_decorated_function_opens_a_new_scope_at_each_call_and_each_recursion() -> None:
    tracker = made()

    @tracker.agent("digger", task="dig")
    def dig(depth: int) -> int:
        spend(tracker)
        return depth if depth == 3 else dig(depth + 1)

    with tracker.session():
        assert dig(1) == 3
        assert dig(3) == 3

    assert [call.context.level for call in calls(tracker)] == [1, 2, 3, 1]
    assert len({call.context.run for call in calls(tracker)}) == 4
    assert [event.data for event in events(tracker, Kind.RUN_OPENED)] == [{"task": "dig"}] * 4
    assert dig.__name__ == "dig"


def test_a_coroutine_function_below_another_decorator_runs_in_its_scope_to_its_end() -> None:
    tracker = made()

    def plain(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: function(*args)

    @tracker.agent("a", envelope="0.05")
    @plain
    async def work(times: int) -> str:
        for _ in range(times):
            async with tracker.call("m", **TWO_CENTS) as call:
                call.record(SPENT)
        return "done"

    async def main() -> None:
        async with tracker.session() as session:
            assert await work(1) == "done"
            assert session.breakdown() == {"a": Decimal("0.02")}
            with pytest.raises(EnvelopeExhaustedError):
                await work(2)

    asyncio.run(main())
    statuses = [event.status for event in events(tracker, Kind.RUN_CLOSED)]
    assert statuses == ["succeeded", "exhausted"]


def test_an_async_handler_of_a_decorated_session_is_waited_for() -> None:
    told: list[int] = []

    async def note(warning: Any) -> None:
        await asyncio.sleep(0)
        told.append(1)

    tracker = made()

    @tracker.session(ceiling="0.02", warn_at=["0.5"], on_warning=note)
    async def steps() -> AsyncIterator[int]:
        pay(tracker.call("m", **TWO_CENTS))
        yield 1

    async def main() -> None:
        assert [item async for item in steps()] == [1]
        assert told == [1]

    asyncio.run(main())


def test_wrong_arguments_of_a_decorated_function_open_nothing_for_good() -> None:
    tracker = made()

    def generator(topic: str) -> Generator[str, None, None]:
        yield topic

    async def async_generator(topic: str) -> AsyncIterator[str]:
        yield topic

    async def main(session: Scope) -> None:
        wrong: Any = session.agent("b", envelope="0.5", reserved=True)(async_generator)
        async for _ in wrong():
            pass

    with tracker.session(ceiling="1") as session:
        wrong: Any = session.agent("a", envelope="0.5", reserved=True)(generator)
        with pytest.raises(TypeError, match="topic"):
            list(wrong())
        with pytest.raises(TypeError, match="topic"):
            asyncio.run(main(session))
        assert session.remaining() == 1
    assert events(tracker, Kind.RUN_OPENED) == []


def test_a_scope_that_was_never_entered_pays_for_nothing() -> None:
    tracker = made()
    session = tracker.session("s", ceiling="0.01")

    @session.bind
    def bound() -> None:
        pay(tracker.call("m", **TWO_CENTS))

    attempts: list[Callable[[], Any]] = [
        lambda: pay(session.call("m", **TWO_CENTS)),
        lambda: pay(tracker.agent("a").call("m", **TWO_CENTS)),
        lambda: session.tool("search", cost="0.01").__enter__(),
        bound,
    ]
    for attempt in attempts:
        with pytest.raises(ScopeError, match="never entered"):
            attempt()
    assert calls(tracker) == []
    with session, pytest.raises(BudgetExceededError):
        bound()


def test_concurrent_calls_of_a_decorated_coroutine_function_are_runs_of_their_own() -> None:
    tracker = made()

    @tracker.agent("worker")
    async def work(number: int) -> int:
        await asyncio.sleep(0)
        spend(tracker)
        return number

    @tracker.session(customer="acme")
    async def main() -> list[int]:
        return await asyncio.gather(*(work(n) for n in range(5)))

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]
    assert asyncio.run(main()) == [0, 1, 2, 3, 4]

    assert len({call.context.run for call in calls(tracker)}) == 10
    assert len({call.context.session for call in calls(tracker)}) == 2
    assert len(events(tracker, Kind.SESSION_CLOSED)) == 2


def test_a_decorated_generator_spends_as_its_agent_and_its_consumer_does_not() -> None:
    tracker = made()

    @tracker.agent("writer")
    def write() -> Generator[str, str, str]:
        spend(tracker)
        with tracker.agent("helper"):
            answer = yield "first"
            spend(tracker)
            try:
                yield answer
            except KeyError:
                spend(tracker)
                yield "caught"
        return "done"

    with tracker.session() as session:
        generator = write()
        assert next(generator) == "first"
        assert current() is session
        spend(tracker)
        assert generator.send("sent") == "sent"
        assert current() is session
        assert generator.throw(KeyError("x")) == "caught"
        with pytest.raises(StopIteration) as end:
            next(generator)
        assert end.value.value == "done"
        assert current() is session

    assert spenders(tracker) == ["writer", "", "helper", "helper"]
    assert [event.status for event in events(tracker, Kind.RUN_CLOSED)] == ["succeeded"] * 2


def test_a_decorated_async_generator_spends_as_its_agent_and_its_consumer_does_not() -> None:
    tracker = made()
    cleaned: list[str] = []

    @tracker.agent("writer")
    async def write() -> AsyncIterator[int]:
        try:
            for number in range(3):
                await asyncio.sleep(0)
                async with tracker.call("m", **TWO_CENTS) as call:
                    call.record(SPENT)
                yield number
        finally:
            here = current()
            assert here is not None
            cleaned.append(here.context.agent)

    async def consume(items: int) -> None:
        async for number in write():
            here = current()
            assert here is not None
            assert here.context.agent == "reader"
            spend(tracker)
            if number + 1 == items:
                break

    async def main() -> None:
        async with tracker.session(), tracker.agent("reader"):
            await asyncio.gather(consume(3), consume(3))
            stopped = write()
            async for _ in stopped:
                break
            await stopped.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())

    assert spenders(tracker).count("writer") == 7
    assert spenders(tracker).count("reader") == 6
    assert cleaned == ["writer"] * 3
    closed = events(tracker, Kind.RUN_CLOSED)
    assert [event.status for event in closed] == ["succeeded"] * 4


def test_a_decorated_generator_that_raises_is_a_failed_run() -> None:
    tracker = made()

    @tracker.agent("writer")
    def write() -> Iterator[int]:
        yield 1
        raise ValueError("no")

    @tracker.agent("async writer")
    async def write_async() -> AsyncIterator[int]:
        yield 1
        raise ValueError("no")

    async def drain() -> None:
        async for _ in write_async():
            pass

    with tracker.session():
        with pytest.raises(ValueError, match="no"):
            list(write())
        with pytest.raises(ValueError, match="no"):
            asyncio.run(drain())
        assert current() is not None

    ends = [(event.context.agent, event.status) for event in events(tracker, Kind.RUN_CLOSED)]
    assert ends == [("writer", "failed"), ("async writer", "failed")]


def test_scopes_opened_explicitly_are_used_without_being_current() -> None:
    tracker = made()
    session = tracker.session("s", ceiling="1").open()
    run = session.agent("worker", envelope="0.5").open()
    below = run.agent("helper").open()
    pay(session.call("m", **TWO_CENTS))
    pay(run.call("m", **TWO_CENTS))
    pay(below.call("m", **TWO_CENTS))
    assert current() is None
    for scope in (below, run, session, session):
        scope.close()

    assert [(c.context.agent, c.context.level) for c in calls(tracker)] == [
        ("", 0),
        ("worker", 1),
        ("helper", 2),
    ]
    assert balance(tracker, "envelope/s/worker").spent == TWO
    (closed,) = events(tracker, Kind.SESSION_CLOSED)
    assert (closed.cost, closed.status) == (3 * TWO, "succeeded")
    assert_books_balance(tracker)


def test_a_scope_is_entered_once_and_says_so() -> None:
    tracker = made()
    with tracker.session() as session:
        with pytest.raises(ScopeError, match="opened once"), session:
            pass
        assert current() is session
    assert current() is None
    with pytest.raises(ScopeError, match="closed"):
        session.agent("late").open()
    with pytest.raises(ScopeError, match="belongs to a session"):
        tracker.cycle().open()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda t: t.session(""), "session id: it is empty"),
        (lambda t: t.session("x" * 201), "201 characters are more than 200"),
        (lambda t: t.session(7), "session id: 7 is no text"),
        (lambda t: t.session(customer="x" * 201), "customer: 201 characters"),
        (lambda t: t.session(cycles="often"), 'give "manual" or "auto"'),
        (lambda t: t.agent(""), "an agent needs a name"),
        (lambda t: t.agent("a", task_id="x" * 300), "task_id: 300 characters"),
        (lambda t: t.agent("a", max_output_tokens=0), "max_output_tokens=0: give 1 or more"),
    ],
)
def test_a_scope_that_cannot_be_meant_is_refused(
    make: Callable[[Spendtree], Scope], message: str
) -> None:
    with pytest.raises(ScopeError, match=message):
        make(made())


# What a garbage collection ends.


@pytest.mark.parametrize("store", ["memory:", "sqlite:///{}/spend.db"])
def test_what_is_ended_inside_a_verb_of_the_store_is_ended_after_it(
    store: str, tmp_path: Path
) -> None:
    """The collector may run a finalizer anywhere: waiting for its own thread would be for good."""
    tracker = made(store.format(tmp_path))
    session = tracker.session("s", ceiling="1").open()
    run = session.agent("a", envelope="0.5", reserved=True).open()
    call = run.call("m", **TWO_CENTS).__enter__()
    call.record(SPENT)
    inner: Any = tracker.store
    with inner._lock if store == "memory:" else inner._database.lock:
        call.__exit__(None, None, None)
        run.close()
        session.close()
    assert calls(tracker) == []

    with tracker.session("next") as other:
        pay(other.call("m", **TWO_CENTS))

    assert [call.context.session for call in calls(tracker)] == ["s", "next"]
    (closed,) = events(tracker, Kind.RUN_CLOSED)
    assert (closed.context.run, closed.cost) == (run.id, TWO)
    ended = {event.context.session: event.cost for event in events(tracker, Kind.SESSION_CLOSED)}
    assert ended == {"s": TWO, "next": TWO}
    account = tracker.store.balance("session/s")
    assert account is not None
    assert account.terms.reserved == 0
    assert_books_balance(tracker)


def test_what_is_ended_inside_a_look_at_the_lines_ends() -> None:
    tracker = made()
    with tracker.session(ceiling="0.03") as session:
        call = session.call("m", **TWO_CENTS).__enter__()
        waiter = tracker.lines.join("session/other", lambda: None)
        with tracker.lines._lock:
            call.__exit__(None, None, None)
        tracker.lines.leave(waiter)
    assert len(events(tracker, Kind.LAPSE)) == 1


# Nothing leaks (rule 13).


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_no_order_of_exits_leaks_a_scope(order: tuple[int, ...]) -> None:
    tracker = made()
    first = tracker.session("first")
    scopes: list[Scope] = [first.__enter__()]
    scopes.append(first.agent("inner").__enter__())
    scopes.append(tracker.session("second").__enter__())
    scopes.append(tracker.agent("innermost").__enter__())
    for index in order:
        scopes[index].__exit__(None, None, None)
        alive = [scope for scope in scopes if scope.alive]
        assert current() is (alive[-1] if alive else None)
    with tracker.session("third") as third:
        assert current() is third
    assert current() is None


def test_closed_scopes_are_skipped_in_every_task_that_inherited_them() -> None:
    tracker = made()

    async def late(start: asyncio.Event) -> None:
        await start.wait()
        spend(tracker)
        with tracker.agent("late"):
            spend(tracker)

    async def main() -> None:
        start = asyncio.Event()
        async with tracker.session("s"):
            async with tracker.agent("worker"):
                in_session = asyncio.create_task(late(start))
            start.set()
            await in_session
            start.clear()
            async with tracker.agent("worker"):
                after_session = asyncio.create_task(late(start))
        start.set()
        await after_session

    asyncio.run(main())

    first, below, stray, own = calls(tracker)
    assert (first.context.session, first.context.agent, first.context.level) == ("s", "", 0)
    assert (below.context.session, below.context.agent, below.context.level) == ("s", "late", 1)
    assert stray.data == {"unattributed": "no_scope"}
    assert own.context.agent == "late"
    assert own.context.session not in ("", "s")


@pytest.mark.parametrize("ending", ["close", "collect", "close in a thread"])
def test_an_abandoned_generator_neither_leaks_its_scope_nor_raises(ending: str) -> None:
    tracker = made()

    def items() -> Iterator[int]:
        with tracker.agent("generator"):
            yield 1
            yield 2

    with tracker.session("s"):
        generator = items()
        assert next(generator) == 1
    assert current() is None
    spend(tracker)
    if ending == "close":
        generator.close()  # type: ignore[attr-defined]
    elif ending == "collect":
        del generator
        gc.collect()
    else:
        thread = threading.Thread(target=generator.close)  # type: ignore[attr-defined]
        thread.start()
        thread.join()
    assert current() is None
    spend(tracker)

    assert [call.context.session for call in calls(tracker)] == ["", ""]
    (closed,) = events(tracker, Kind.RUN_CLOSED)
    assert (closed.context.agent, closed.status) == ("generator", "succeeded")


def test_an_async_generator_closed_in_another_task_neither_leaks_nor_raises() -> None:
    tracker = made()

    async def items() -> AsyncIterator[int]:
        async with tracker.agent("generator"):
            with tracker.purpose("plan"):
                yield 1
                yield 2

    async def main() -> None:
        async with tracker.session("s"):
            generator = items()
            assert await anext(generator) == 1

            async def close() -> None:
                await generator.aclose()  # type: ignore[attr-defined]
                here = current()
                assert here is None or here.alive

            await asyncio.create_task(close())
            here = current()
            assert here is not None
            assert here.context.agent == ""
            abandoned = items()
            await anext(abandoned)
            del abandoned
            gc.collect()
            await asyncio.sleep(0)
        assert current() is None
        spend(tracker)

    asyncio.run(main())

    assert [call.context.session for call in calls(tracker)] == [""]
    assert [event.status for event in events(tracker, Kind.RUN_CLOSED)] == ["succeeded"] * 2


def test_cancelling_a_task_ends_its_scopes_and_lapses_the_call_in_flight() -> None:
    tracker = made()

    async def work(sent: asyncio.Event) -> None:
        async with tracker.agent("worker"), tracker.call("m", **TWO_CENTS):
            sent.set()
            await asyncio.Event().wait()

    async def main() -> None:
        async with tracker.session("s", ceiling="1") as session:
            sent = asyncio.Event()
            task = asyncio.create_task(work(sent))
            await sent.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert current() is session

    asyncio.run(main())

    (lapse,) = calls(tracker)
    assert (lapse.kind, lapse.status, lapse.cost, lapse.held) == (Kind.LAPSE, "lapsed", 0, TWO)
    assert lapse.data == {"reason": "ended by CancelledError"}
    (run,) = events(tracker, Kind.RUN_CLOSED)
    assert (run.status, run.data) == ("failed", {"reason": "CancelledError"})
    (session,) = events(tracker, Kind.SESSION_CLOSED)
    assert session.status == "succeeded"
    assert balance(tracker, "session/s") == Balance(50 * TWO, 0, TWO, 0)


def test_a_stream_that_outlives_its_session_keeps_its_span() -> None:
    tracker = made()

    async def stream() -> AsyncIterator[int]:
        async with tracker.call("m", **TWO_CENTS) as call:
            yield 1
            call.record(SPENT)
            yield 2

    async def main() -> None:
        async with tracker.session("s", ceiling="1"), tracker.agent("worker"):
            items = stream()
            assert await anext(items) == 1
        assert current() is None
        assert balance(tracker, "session/s").held == TWO
        assert [item async for item in items] == [2]

    asyncio.run(main())

    (call,) = calls(tracker)
    assert (call.context.session, call.context.agent, call.cost) == ("s", "worker", TWO)
    assert call.seq > events(tracker, Kind.SESSION_CLOSED)[0].seq
    assert balance(tracker, "session/s") == Balance(50 * TWO, TWO)
    assert_spent(tracker, "0.02", session="s", agent="worker")


# How scopes end.

BUDGET: dict[str, Any] = {
    "account": "session/s",
    "kind": "session",
    "name": "s",
    "reason": "exhausted",
    "requested": Decimal(1),
    "free": Decimal(0),
    "cap": Decimal(0),
    "spent": Decimal(0),
    "held": Decimal(0),
}
OUT = BudgetExceededError(**BUDGET)
ENVELOPE_OUT = EnvelopeExhaustedError(**BUDGET)
NESTED_GROUP = ExceptionGroup("g", [OUT, ExceptionGroup("h", [ENVELOPE_OUT])])


@pytest.mark.parametrize(
    ("error", "run_status", "session_status"),
    [
        (None, "succeeded", "succeeded"),
        (ValueError("x"), "failed", "failed"),
        (asyncio.CancelledError(), "failed", "failed"),
        (GeneratorExit(), "succeeded", "succeeded"),
        (OUT, "exhausted", "budget_exceeded"),
        (ENVELOPE_OUT, "exhausted", "budget_exceeded"),
        (NESTED_GROUP, "exhausted", "budget_exceeded"),
        (ExceptionGroup("g", [OUT, ValueError("x")]), "failed", "failed"),
    ],
)  # fmt: skip
def test_a_scope_ends_as_its_exception_says(
    error: BaseException | None, run_status: str, session_status: str
) -> None:
    tracker = made()
    caught = None
    try:
        with tracker.session(), tracker.agent("worker"):
            if error is not None:
                raise error
    except BaseException as raised:
        caught = raised
    assert caught is error
    assert [event.status for event in events(tracker, Kind.RUN_CLOSED)] == [run_status]
    assert [event.status for event in events(tracker, Kind.SESSION_CLOSED)] == [session_status]


def test_a_run_that_is_told_to_have_failed_is_failed_with_the_reason() -> None:
    tracker = made()
    with tracker.session() as session:
        with tracker.agent("worker") as worker:
            worker.fail("the answer was no JSON")
        session.fail("")
    (run,) = events(tracker, Kind.RUN_CLOSED)
    (closed,) = events(tracker, Kind.SESSION_CLOSED)
    assert (run.status, run.data) == ("failed", {"reason": "the answer was no JSON"})
    assert (closed.status, closed.data) == ("failed", {"reason": "failed"})


def test_the_end_of_a_run_states_its_own_calls_and_that_of_a_session_all_of_them() -> None:
    tracker = made()
    with tracker.session(), tracker.agent("coordinator"):
        spend(tracker)
        with tracker.agent("worker"), tracker.call("m", **TWO_CENTS) as call:
            call.record(Usage(1, 2, 3, 4, 5, 1))
    worker, coordinator = events(tracker, Kind.RUN_CLOSED)
    (session,) = events(tracker, Kind.SESSION_CLOSED)
    assert (coordinator.cost, coordinator.input_tokens, coordinator.output_tokens) == (
        TWO,
        1000,
        1000,
    )
    assert (worker.cost, worker.cache_read_tokens, worker.cache_write_tokens) == (15 * 10**7, 3, 9)
    assert (session.cost, session.input_tokens, session.output_tokens) == (
        TWO + 15 * 10**7,
        1001,
        1002,
    )


def test_leaving_a_scope_never_raises_although_the_store_is_gone(tmp_path: Path) -> None:
    tracker = made(f"sqlite:///{tmp_path}/spend.db")
    with tracker.session("s"), tracker.agent("worker"):
        spend(tracker)
        tracker.close()
        for file in tmp_path.iterdir():
            file.unlink()
        tmp_path.rmdir()
    assert current() is None
    tmp_path.mkdir()


# Routing cycles.


def cycles(tracker: Spendtree) -> list[tuple[str, int]]:
    return [(call.context.agent, call.context.cycle) for call in calls(tracker)]


def test_explicit_cycles_count_up_and_spend_outside_them_is_in_the_first() -> None:
    tracker = made()
    with tracker.session() as session:
        spend(tracker)
        with session.cycle(), tracker.agent("a"):
            spend(tracker)
        with tracker.cycle():
            spend(tracker)
            with tracker.agent("b"), tracker.agent("c"):
                spend(tracker)
        with tracker.agent("d"):
            spend(tracker)
        spend(tracker)
    assert cycles(tracker) == [("", 1), ("a", 1), ("", 2), ("c", 2), ("d", 1), ("", 1)]


def test_the_outermost_open_cycle_counts() -> None:
    tracker = made()
    with tracker.session() as session, session.cycle():
        with session.cycle(), tracker.agent("a"):
            spend(tracker)
            with tracker.cycle():
                spend(tracker)
        spend(tracker)
    assert {cycle for _, cycle in cycles(tracker)} == {1}


def test_a_cycle_opened_inside_an_agent_is_that_agents_attempt() -> None:
    tracker = made()
    with tracker.session("s") as session, tracker.agent("coordinator", envelope="1") as top:
        for _ in range(2):
            with session.cycle() as attempt:
                assert attempt.run is top
                spend(tracker)
                with tracker.agent("worker"):
                    spend(tracker)
    assert cycles(tracker) == [("coordinator", 1), ("worker", 1), ("coordinator", 2), ("worker", 2)]
    assert {c.context.parent for c in calls(tracker) if c.context.agent == "worker"} == {top.id}
    assert balance(tracker, "envelope/s/coordinator").spent == 2 * TWO


def test_cycles_auto_opens_the_next_when_an_agent_is_spawned_after_a_run_failed() -> None:
    tracker = made()
    with tracker.session(cycles="auto"), tracker.agent("coordinator"):
        with tracker.agent("steady") as steady:
            spend(tracker)
            with tracker.agent("bad") as bad:
                bad.fail("no")
            spend(tracker)
        spend(tracker)
        second = tracker.agent("retry").open()
        pay(second.call("m", **TWO_CENTS))
        pay(steady.call("m", **TWO_CENTS))
        spend(tracker)
        with tracker.agent("more"):
            spend(tracker)
        second.close(ValueError())
        with tracker.agent("third"), tracker.agent("below"):
            spend(tracker)
        pay(second.call("m", **TWO_CENTS))
    assert cycles(tracker) == [
        ("steady", 1),
        ("steady", 1),
        ("coordinator", 1),
        ("retry", 2),
        ("steady", 1),
        ("coordinator", 2),
        ("more", 2),
        ("below", 3),
        ("retry", 2),
    ]


def test_cycles_are_manual_by_default_so_a_failed_run_opens_none() -> None:
    tracker = made()
    with tracker.session():
        with tracker.agent("bad") as bad:
            bad.fail("no")
        with tracker.agent("next"):
            spend(tracker)
    assert cycles(tracker) == [("next", 1)]


# What scopes carry.


def test_a_task_id_is_inherited_until_a_run_has_its_own() -> None:
    tracker = made()
    with tracker.session(), tracker.agent("a", task_id="t-1"):
        with tracker.agent("b"):
            spend(tracker)
        with tracker.agent("c", task_id="t-2", task="find sources"):
            spend(tracker)
    assert [call.context.task_id for call in calls(tracker)] == ["t-1", "t-2"]
    assert events(tracker, Kind.RUN_OPENED)[2].data == {"task": "find sources"}


def test_the_purpose_is_the_calls_own_else_that_around_it_else_work() -> None:
    tracker = made()
    with tracker.session():
        spend(tracker)
        with tracker.purpose("synthesize"):
            spend(tracker)
            pay(tracker.call("m", purpose="plan", input_tokens=1000, max_output_tokens=1000))
            with tracker.purpose("route"):
                spend(tracker)
        spend(tracker)
    assert [call.request.purpose for call in calls(tracker)] == [
        "work",
        "synthesize",
        "plan",
        "route",
        "work",
    ]


def test_what_a_session_should_cost_and_may_cost_is_in_the_log() -> None:
    tracker = made()
    with tracker.session(ceiling=0.25, expected_usd="0.1", cycles="auto"):
        pass
    (opened,) = events(tracker, Kind.SESSION_OPENED)
    assert opened.data is not None
    assert opened.data["ceiling"] == 250_000_000_000
    assert opened.data["expected"] == 100_000_000_000
    assert opened.data["auto"] is True


def test_the_configuration_gives_what_the_code_does_not_say() -> None:
    tracker = made(
        session={"ceiling_usd": "1"},
        agents={"worker": {"envelope_usd": "0.5", "max_cost_usd": "0.25"}},
    )
    with tracker.session("s"), tracker.agent("worker") as worker:
        pass
    with tracker.session("t", ceiling="2"), tracker.agent("worker", envelope="0.75"):
        pass
    assert balance(tracker, "session/s").cap == 50 * TWO
    assert balance(tracker, "envelope/s/worker").cap == 25 * TWO
    assert balance(tracker, f"run/{worker.id}").cap == 250_000_000_000
    assert balance(tracker, "session/t").cap == 100 * TWO
    assert balance(tracker, "envelope/t/worker").cap == 750_000_000_000


# Sessions that go on.


def test_reopening_a_known_session_continues_its_account_cycle_and_customer() -> None:
    tracker = made()
    with tracker.session("s", customer="acme", team="search", ceiling="0.10"):
        with tracker.cycle():
            spend(tracker)
        with tracker.cycle():
            spend(tracker)
    with tracker.session("s", ceiling="5") as again:
        spend(tracker)
        with again.cycle():
            spend(tracker)

    assert [call.context.cycle for call in calls(tracker)] == [1, 2, 2, 3]
    assert {call.context.customer for call in calls(tracker)} == {"acme"}
    assert balance(tracker, "session/s") == Balance(5 * TWO, 4 * TWO)
    with tracker.session("s", customer="acme", team="search"):
        spend(tracker)
    with pytest.raises(BudgetExceededError, match="nothing is left"), tracker.session("s"):
        pass
    assert len(events(tracker, Kind.SESSION_OPENED)) == 1


def test_a_session_closed_again_says_that_it_was_continued() -> None:
    tracker = made()
    for _ in range(3):
        with tracker.session("s"):
            spend(tracker)
    with tracker.session("s"):
        pass
    closed = events(tracker, Kind.SESSION_CLOSED)
    assert [(event.cost or 0) // TWO for event in closed] == [1, 2, 3, 3]
    assert [bool((event.data or {}).get("continued")) for event in closed] == [False] + [True] * 3
    assert len({event.id for event in closed}) == 4


@pytest.mark.parametrize("what", ["customer", "team"])
def test_a_known_session_of_somebody_else_is_refused(what: str) -> None:
    tracker = made()
    with tracker.session("s", customer="acme", team="search"):
        pass
    other = tracker.session("s", customer="evil" if what == "customer" else "acme",
                            team="evil" if what == "team" else "search")  # fmt: skip
    with pytest.raises(ScopeError, match=f"belongs to {what} '(acme|search)', not 'evil'"), other:
        pass
    assert current() is None


def test_an_agent_outside_a_session_is_a_session_of_its_own() -> None:
    tracker = made()
    with tracker.agent("loner", max_cost="1") as loner:
        spend(tracker)
    with pytest.raises(ValueError, match="x"), tracker.agent("loner"):
        raise ValueError("x")
    with tracker.agent("loner") as third:
        third.fail("bad answer")

    (call,) = calls(tracker)
    assert call.context.session == loner.session.id
    assert (call.context.level, call.context.parent) == (1, "")
    assert [event.status for event in events(tracker, Kind.SESSION_CLOSED)] == [
        "succeeded",
        "failed",
        "failed",
    ]
    assert len({event.context.session for event in events(tracker, Kind.RUN_CLOSED)}) == 3


# Caps: which accounts a call is charged to, and when nothing can start.


def test_an_envelope_binds_its_own_agent_and_max_cost_all_below_it() -> None:
    tracker = made()
    with (
        tracker.session("s", ceiling="1"),
        tracker.agent("top", envelope="0.5", max_cost="0.8") as top,
        tracker.agent("middle", max_cost="0.4", envelope="0.3") as middle,
        tracker.agent("leaf") as leaf,
    ):
        pass
    assert top.context.path == ("session/s", "envelope/s/top", f"run/{top.id}")
    assert middle.context.path == (
        "session/s",
        f"run/{top.id}",
        "envelope/s/middle",
        f"run/{middle.id}",
    )
    assert leaf.context.path == ("session/s", f"run/{top.id}", f"run/{middle.id}")


def test_two_runs_of_one_role_share_its_envelope_also_where_a_later_one_names_none() -> None:
    tracker = made()
    with tracker.session("s"):
        with tracker.agent("worker", envelope="0.06"):
            spend(tracker)
        with tracker.agent("worker"):
            spend(tracker)
    with tracker.session("s"):
        with tracker.agent("other"), tracker.agent("worker"):
            spend(tracker)
        with pytest.raises(EnvelopeExhaustedError) as error, tracker.agent("worker"):
            pass
    assert balance(tracker, "envelope/s/worker") == Balance(3 * TWO, 3 * TWO)
    assert (error.value.kind, error.value.name, error.value.cap) == (
        "envelope",
        "worker",
        Decimal("0.06"),
    )


def test_an_envelope_opened_by_another_process_binds_here_too(tmp_path: Path) -> None:
    here, there = made(f"sqlite:///{tmp_path}/s.db"), made(f"sqlite:///{tmp_path}/s.db")
    with here.session("s"):
        with there.session("s").open().agent("worker", envelope="0.02"):
            spend(there)
        with pytest.raises(EnvelopeExhaustedError), here.agent("worker"):
            pass
    here.close()
    there.close()


def test_a_parents_own_envelope_is_no_cap_on_what_it_spawns() -> None:
    tracker = made()
    with tracker.session(), tracker.agent("top", envelope="0.5") as top:
        with tracker.agent("below") as below, tracker.call("nobody-knows") as call:
            call.record(SPENT)
        with pytest.raises(UnknownPriceError), tracker.call("nobody-knows", **TWO_CENTS):
            pass
        with pytest.raises(ConfigurationError, match="upper bound"), tracker.call("m"):
            pass
    assert (top.capped, below.capped) == (True, False)
    with tracker.session(), tracker.agent("top", max_cost="0.5"), tracker.agent("x") as capped:
        assert capped.capped


def test_nothing_starts_that_cannot_pay_for_a_call() -> None:
    tracker = made()
    with pytest.raises(BudgetExceededError), tracker.session("none", ceiling=0):
        pass
    with tracker.session("s", ceiling="0.02"):
        spend(tracker)
        with pytest.raises(BudgetExceededError) as error, tracker.agent("late", envelope="1"):
            pass
        assert type(error.value) is BudgetExceededError
    with tracker.session("t"):
        with pytest.raises(EnvelopeExhaustedError), tracker.agent("poor", max_cost=0):
            pass
        assert current() is not None

    ends = {e.context.session: e.status for e in events(tracker, Kind.SESSION_CLOSED)}
    assert ends == {"none": "budget_exceeded", "s": "succeeded", "t": "succeeded"}
    assert events(tracker, Kind.RUN_OPENED) == []
    denied = events(tracker, Kind.DENIED)
    assert [(e.context.agent, e.status, (e.data or {})["kind"]) for e in denied] == [
        ("", "exhausted", "session"),
        ("late", "exhausted", "session"),
        ("poor", "exhausted", "run"),
    ]
    assert tracker.store.balance("envelope/s/late") is None


def test_modes_that_only_book_let_everything_start() -> None:
    for mode in ("record", "warn"):
        tracker = made(mode=mode)
        with tracker.session("s", ceiling=0), tracker.agent("poor", max_cost=0):
            spend(tracker)
        assert balance(tracker, "session/s") == Balance(0, TWO)


# What a session knows while it runs.


def test_a_session_tells_its_breakdown_and_its_tree_while_it_runs() -> None:
    tracker = made()
    with tracker.session("s") as session, tracker.agent("coordinator"):
        spend(tracker)
        with tracker.agent("researcher"):
            spend(tracker)
            spend(tracker)
        assert session.breakdown() == {
            "researcher": Decimal("0.04"),
            "coordinator": Decimal("0.02"),
        }
        (root,) = session.tree().roots
        assert (root.agent, root.own.cost, root.subtree.cost) == ("coordinator", TWO, 3 * TWO)
        assert [child.agent for child in root.children] == ["researcher"]


# Forks.


def in_child(work: Callable[[], Any]) -> Any:
    """Run `work` in a forked child and return what it returned, by way of JSON."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer: dict[str, Any] = {}
        try:
            answer = {"value": work()}
        except BaseException:
            answer = {"error": traceback.format_exc()}
        finally:
            os.write(writer, json.dumps(answer).encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        told: dict[str, Any] = json.loads(pipe.read())
    os.waitpid(pid, 0)
    assert "error" not in told, told["error"]
    return told["value"]


def test_a_forked_child_goes_on_with_the_session_and_leaves_its_parents_scopes_alone(
    tmp_path: Path,
) -> None:
    tracker = made(f"sqlite:///{tmp_path}/spend.db")
    session = tracker.session("s", ceiling="0.10").__enter__()
    worker = tracker.agent("worker").__enter__()
    call = tracker.call("m", **TWO_CENTS).__enter__()

    def child() -> str:
        spend(tracker)
        with tracker.agent("helper") as helper:
            spend(tracker)
        call.record(SPENT)
        call.__exit__(None, None, None)
        worker.__exit__(None, None, None)
        session.__exit__(None, None, None)
        assert current() is None
        tracker.close()
        return helper.id

    helper = in_child(child)

    assert current() is worker
    assert balance(tracker, "session/s") == Balance(5 * TWO, 2 * TWO, 0, TWO)
    assert [event.context.run for event in events(tracker, Kind.RUN_CLOSED)] == [helper]
    assert events(tracker, Kind.SESSION_CLOSED) == []
    call.record(SPENT)
    call.__exit__(None, None, None)
    worker.__exit__(None, None, None)
    session.__exit__(None, None, None)
    assert spenders(tracker) == ["worker", "helper", "worker"]
    (closed,) = events(tracker, Kind.SESSION_CLOSED)
    assert closed.cost == 3 * TWO
    assert_books_balance(tracker)
    tracker.close()


def test_ids_do_not_repeat_in_forked_children(tmp_path: Path) -> None:
    tracker = made(f"sqlite:///{tmp_path}/spend.db")

    def child() -> list[str]:
        with (
            tracker.session() as session,
            tracker.agent("a") as run,
            tracker.call("m", **TWO_CENTS) as call,
        ):
            call.record(SPENT)
        return [session.id, run.id, call.id]

    found = [*itertools.chain.from_iterable(in_child(child) for _ in range(3)), *child()]
    assert len(set(found)) == 12
    tracker.close()
