"""An exception may come between any two lines: nothing is lost, held for good, or taken for good.

Signal handlers (Ctrl-C, time limits) and `PyThreadState_SetAsyncExc` raise between instructions of
the interpreter. Here one is raised at each line of ours in turn, one run a line, and afterwards the
store must work for others, no money be held, and what was paid be recorded.
"""

import ast
import dis
import gc
import inspect
import linecache
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pytest

import spendtree
from spendtree import Spendtree, Usage, current
from spendtree.event import Event, Kind
from spendtree.store.protocol import START
from spendtree.testing import assert_books_balance

SOURCES = str(Path(spendtree.__file__).parent)
PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
TWO_CENTS: Any = {"input_tokens": 1000, "max_output_tokens": 1000}
SPENT = Usage(1000, 1000)
DEADLINE = 20.0
PAID = (Kind.CALL, Kind.TOOL, Kind.LAPSE, Kind.ADJUSTMENT)


@cache
def headers(source: str) -> frozenset[int]:
    """Return the lines of a source in which `with` statements begin."""
    tree = ast.parse(Path(source).read_text("utf-8"))
    return frozenset(
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.With | ast.AsyncWith)
        for line in range(node.lineno, node.body[0].lineno)
    )


@cache
def first_offsets(code: CodeType) -> dict[int, int]:
    first: dict[int, int] = {}
    for offset, line in dis.findlinestarts(code):
        if line is not None:
            first[line] = min(offset, first.get(line, offset))
    return first


def is_impossible(frame: FrameType, kind: str) -> bool:
    """Tell whether an exception that is raised here is one that Python itself would never raise.

    It looks for one when a function begins, after calls, and when a loop begins again. So none
    comes between a block's last instruction and the call of its exit (a call looks after it, in
    the block: a lock of C is given back for sure), at a `try:` (which is in no block's range), in
    a generator that is closed, or between the mark that a call is entered and the return.
    """
    code, line = frame.f_code, frame.f_lineno
    if kind == "call":
        return bool(code.co_flags & inspect.CO_GENERATOR)
    if code.co_code[frame.f_lasti] == dis.opmap["NOP"]:
        return True
    if frame.f_lasti != first_offsets(code).get(line) and line in headers(code.co_filename):
        return True
    text = linecache.getline(code.co_filename, line).strip()
    return code.co_name in ("__enter__", "__aenter__") and text == "return self"


class Late(BaseException):
    """What a handler raises."""


class Sent:
    """What the scenario's provider was asked: each id is paid from then on."""

    def __init__(self) -> None:
        self.ids: list[bytes] = []

    def ask(self, call: Any) -> None:
        self.ids.append(call._id)
        call.record("0.01" if isinstance(call, spendtree.Tool) else SPENT)


Scenario = Callable[[Spendtree, Sent], None]


def a_call(tracker: Spendtree, sent: Sent) -> None:
    with tracker.call("m", **TWO_CENTS) as call:
        sent.ask(call)


def a_call_in_a_run(tracker: Spendtree, sent: Sent) -> None:
    options: Any = {"envelope": "0.5", "reserved": True, "max_cost": "0.4"}
    with tracker.session(ceiling="1", customer="acme") as session, session.agent("a", **options):
        a_call(tracker, sent)


def a_tool(tracker: Spendtree, sent: Sent) -> None:
    with tracker.session(ceiling="1"), tracker.tool("search", cost="0.02") as tool:
        sent.ask(tool)


def a_failure(tracker: Spendtree, sent: Sent) -> None:
    with (
        tracker.session(ceiling="1") as session,
        suppress(TimeoutError),
        session.call("m", **TWO_CENTS) as call,
    ):
        sent.ids.append(call._id)
        raise TimeoutError


def a_refusal(tracker: Spendtree, sent: Sent) -> None:
    with tracker.session(ceiling="0.01") as session:
        with suppress(spendtree.BudgetExceededError):
            a_call(tracker, sent)
        assert session.id


def a_decorated_function(tracker: Spendtree, sent: Sent) -> None:
    @tracker.session(ceiling="1")
    @tracker.agent("worker", envelope="0.5")
    def work() -> None:
        a_call(tracker, sent)

    work()


def a_run_of_its_own(tracker: Spendtree, sent: Sent) -> None:
    with tracker.agent("alone", max_cost="0.1"):
        a_call(tracker, sent)


def an_async_call(tracker: Spendtree, sent: Sent) -> None:
    async def work() -> None:
        async with (
            tracker.session(ceiling="1") as session,
            session.agent("a", envelope="0.5"),
            tracker.call("m", **TWO_CENTS) as call,
        ):
            sent.ask(call)

    drive(work())


def drive(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine that waits for nothing; a loop has handlers of its own."""
    with closing(work), pytest.raises(StopIteration):
        work.send(None)


SCENARIOS: tuple[Scenario, ...] = (
    a_call,
    a_call_in_a_run,
    a_tool,
    a_failure,
    a_refusal,
    a_decorated_function,
    a_run_of_its_own,
    an_async_call,
)


class Handler:
    """Raises Late once, at the first line of ours that is not among those `done`."""

    def __init__(self, done: set[object]) -> None:
        self._done = done
        self.where = ""

    def __call__(self, frame: FrameType, kind: str, _: object) -> "Handler | None":
        code = frame.f_code
        if not code.co_filename.startswith(SOURCES):
            return None
        place = code, frame.f_lineno, kind
        if self.where or kind not in ("call", "line") or place in self._done:
            return self
        self._done.add(place)
        if not is_impossible(frame, kind):
            self.where = f"{code.co_filename}:{frame.f_lineno} ({kind})"
            raise Late
        return self


def interrupted(scenario: Scenario, tracker: Spendtree, sent: Sent, done: set[object]) -> str:
    """Run a scenario with an exception at one more line; return which, "" after the last one."""
    handler = Handler(done)
    before = sys.gettrace()
    try:
        sys.settrace(handler)
        scenario(tracker, sent)
    except Late:
        pass
    else:
        sys.settrace(before)
        assert not handler.where, f"{handler.where}: the exception was kept quiet"
    finally:
        sys.settrace(before)
    return handler.where


def in_another_thread(work: Callable[[], None]) -> bool:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    return not thread.is_alive()


@pytest.fixture
def tracker(tmp_path: Path) -> Iterator[Spendtree]:
    config = {"prices": PRICES, "customers": {"acme": {"budgets_usd": {"month": "100"}}}}
    made = Spendtree(f"sqlite:///{tmp_path}/spend.db", config)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def no_collection_meanwhile() -> Iterator[None]:
    """Whatever a finalizer raises is kept quiet by Python; here none of another run's runs."""
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_an_exception_at_any_line_loses_nothing(scenario: Scenario, tracker: Spendtree) -> None:
    scenario(tracker, Sent())  # what is loaded and opened once
    done: set[object] = set()
    lines, cursor, more = 0, START, True
    while more:
        _, cursor, more = tracker.store.read(cursor)
    while True:
        sent = Sent()
        gc.collect()
        where = interrupted(scenario, tracker, sent, done)
        if not where:
            break
        lines += 1
        assert current() is None, where
        assert in_another_thread(lambda: a_call(tracker, Sent())), f"{where}: others hang"
        tracker.retry_unsettled()
        assert tracker.store.open_holds() == 0, where
        assert not tracker.unsettled, where
        assert not tracker.delayed, where
        events, cursor, _ = tracker.store.read(cursor)
        check(events, sent, where)
    assert lines > 100, "else this shows nothing"
    assert_books_balance(tracker)


def check(events: list[Event], sent: Sent, where: str) -> None:
    """All that was paid is recorded, once, and nothing that was not; what began has ended."""
    ends = {event.id: event for event in events if event.kind in PAID}
    assert set(sent.ids) <= set(ends), f"{where}: a paid call is lost"
    other = [event for event in ends.values() if event.context.session and event.id not in sent.ids]
    assert [event for event in other if event.cost or event.kind == Kind.LAPSE] == [], where
    for begun, ended in (
        (Kind.SESSION_OPENED, Kind.SESSION_CLOSED),
        (Kind.RUN_OPENED, Kind.RUN_CLOSED),
    ):
        opened = sorted(event.id for event in events if event.kind == begun)
        closed = sorted(event.id for event in events if event.kind == ended)
        assert opened == closed, f"{where}: {begun.name} without its end, or the other way"


def test_a_transaction_that_was_left_open_is_undone_by_the_next_verb(tracker: Spendtree) -> None:
    """As a second exception leaves it, that comes while the first one's is being undone."""
    database: Any = getattr(tracker.store, "_database")  # noqa: B009 - of this engine only
    with database.lock:
        database.begin()("DELETE FROM meta")
    assert in_another_thread(lambda: a_call(tracker, Sent()))
    assert tracker.store.open_holds() == 0
    assert database.query("SELECT count(*) FROM meta") != [(0,)]
    assert_books_balance(tracker)
