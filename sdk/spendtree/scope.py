"""Who is spending right now: sessions, routing cycles and agent runs, over contextvars.

A scope is current in the context that entered it and in what is started from there (tasks,
`to_thread`). It never leaks: closing marks the scope itself, so that every lookup, in any task or
thread, skips it; leaving in another context, out of order or twice does nothing (rule 13).
"""

import functools
import inspect
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypedDict, TypeVar, Unpack, cast

from spendtree import account as rules
from spendtree.account import Account
from spendtree.errors import BudgetExceededError, LedgerConflictError, ScopeError, StoreError
from spendtree.event import NO_CONTEXT, Context, Event, Kind, derived_id
from spendtree.ids import new_id
from spendtree.money import Money
from spendtree.store import owner
from spendtree.store.text import storable

if TYPE_CHECKING:
    from decimal import Decimal

    from spendtree.call import Call, CallOptions
    from spendtree.tracker import Spendtree
    from spendtree.tree import SessionTree

P = ParamSpec("P")
R = TypeVar("R")

log = logging.getLogger("spendtree")

_current: "ContextVar[Scope | None]" = ContextVar("spendtree_scope", default=None)

MAX_TEXT = 200
"""Characters of a session id, agent, customer, team or task id; more is a mistake, or an attack."""


def current() -> "Scope | None":
    """Return the innermost scope that is open here, None outside any."""
    scope = _current.get()
    while scope is not None and not scope.alive:
        scope = scope._outer
    return scope


class SessionOptions(TypedDict, total=False):
    """What a session may be opened with; see `Spendtree.session`."""

    customer: str | None
    team: str | None
    ceiling: Money | None
    expected_usd: Money | None
    cycles: str


class AgentOptions(TypedDict, total=False):
    """What an agent run may be opened with; see `Spendtree.agent`."""

    task_id: str
    task: str
    envelope: Money | None
    max_cost: Money | None
    max_output_tokens: int | None


class Scope:
    """A session, a routing cycle or an agent run; enter it once, with `with` or `async with`."""

    def __init__(self, tracker: "Spendtree", parent: "Scope | None") -> None:
        self._tracker = tracker
        self.parent = parent
        self.context: Context = NO_CONTEXT
        self.capped = False
        """Whether an account of its path has a cap."""
        self._passes_caps = False
        """Whether one of those that reach down to sub-agents has."""
        self.closed = False
        self._opened = False
        self._outer: Scope | None = None
        self._follows: Session | None = None
        self._pid = 0
        self._failure = ""

    # State.

    @property
    def tracker(self) -> "Spendtree":
        """Return the Spendtree that this scope records in."""
        return self._tracker

    @property
    def alive(self) -> bool:
        """Tell whether this scope and all around it are open."""
        scope: Scope | None = self
        while scope is not None:
            if scope.closed:
                return False
            scope = scope.parent
        return True

    @property
    def session(self) -> "Session":
        """Return the session that this scope belongs to."""
        scope: Scope | None = self
        while scope is not None:
            if isinstance(scope, Session):
                return scope
            scope = scope.parent
        raise ScopeError("this scope belongs to no session yet: enter it first")

    @property
    def run(self) -> "Agent | None":
        """Return the agent run that is spending in this scope, None outside any."""
        scope: Scope | None = self
        while scope is not None and not isinstance(scope, Agent):
            scope = scope.parent
        return scope

    def context_now(self) -> Context:
        """Return who a call made now belongs to: a coordinator follows cycles="auto"."""
        follows = self._follows
        if follows is not None and follows._cycle != self.context.cycle:
            self.context = self.context._replace(cycle=follows.cycle_number)
        return self.context

    # Doors.

    def agent(self, name: str, **options: Unpack[AgentOptions]) -> "Agent":
        """Return a run of an agent below this scope; see `Spendtree.agent` for the options."""
        return Agent(self._tracker, self, name, **options)

    def cycle(self) -> "Cycle":
        """Return the session's next routing cycle, below this scope."""
        return Cycle(self._tracker, self)

    def call(self, model: str, **options: "Unpack[CallOptions]") -> "Call":
        """Return a call charged to this scope; see `Spendtree.call` for the options."""
        return self._tracker.call_in(self, model, **options)

    def bind(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function so that it runs inside this scope, in whatever thread calls it."""
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
                with _Inside(self):
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", coroutine)

        @functools.wraps(function)
        def bound(*args: P.args, **kwargs: P.kwargs) -> R:
            with _Inside(self):
                return function(*args, **kwargs)

        return bound

    def fail(self, reason: str) -> None:
        """Mark this scope as failed although it ends without an exception."""
        self._failure = reason or "failed"

    # Life.

    def open(self) -> Self:
        """Open the scope without making it current; `close` ends it."""
        if self._opened:
            raise ScopeError("a scope is opened once; make a new one for each run")
        if self.parent is not None and not self.parent.alive:
            raise ScopeError("the scope around this one is closed; open a session that lives")
        self._pid = os.getpid()
        self._open()
        self._opened = True
        return self

    def close(self, error: BaseException | None = None) -> None:
        """End the scope, as failed with an error; closing twice does nothing."""
        if self.closed or not self._opened:
            return
        self.closed = True
        if os.getpid() == self._pid:  # a forked child leaves its parent's scopes alone
            self._close(error)

    def __enter__(self) -> Self:
        outer = current()
        self.open()
        self._outer = outer  # not before: a scope that is entered twice must not be its own outer
        _current.set(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        try:
            self.close(error)
        finally:
            # What was entered after this scope and is still open stays current.
            _current.set(current())
        return None

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, coroutine function or generator: each call opens a new scope."""
        return _decorated(self._again, function)

    def _again(self) -> "Scope":
        raise NotImplementedError

    def _open(self) -> None:
        raise NotImplementedError

    def _close(self, error: BaseException | None) -> None:
        raise NotImplementedError


class Session(Scope):
    """One user request's run: has an id, a customer, a team and a ceiling."""

    def __init__(
        self,
        tracker: "Spendtree",
        id: str | None = None,
        *,
        customer: str | None = None,
        team: str | None = None,
        ceiling: Money | None = None,
        expected_usd: Money | None = None,
        cycles: str = "manual",
    ) -> None:
        super().__init__(tracker, None)
        if cycles not in ("manual", "auto"):
            raise ScopeError(f'cycles={cycles!r}: give "manual" or "auto"')
        self._options: SessionOptions = {
            "customer": customer,
            "team": team,
            "ceiling": ceiling,
            "expected_usd": expected_usd,
            "cycles": cycles,
        }
        self._given_id = id
        self.id = _text("session id", id) if id is not None else new_id().hex()
        self._customer = None if customer is None else _text("customer", customer)
        self._team = None if team is None else _text("team", team)
        self._ceiling = tracker.amount(
            ceiling, "ceiling", default=tracker.config.session.ceiling_usd
        )
        self._expected = tracker.amount(expected_usd, "expected_usd")
        self._auto = cycles == "auto"
        self._lock = threading.Lock()
        self._cycle = 1
        self._cycles_opened = 0
        self._run_failed = False
        self._shared = False
        self._envelopes: set[str] = set()

    def _again(self) -> "Session":
        return Session(self._tracker, self._given_id, **self._options)

    def _open(self) -> None:
        account = rules.session_account(self.id, self._customer or "", self._team or "")
        context = Context(self.id, account.customer, account.team, path=(account.id,))
        ns = self._tracker.clock()
        data = {
            "ceiling": self._ceiling,
            "expected": self._expected,
            "auto": self._auto or None,
            "opener": str(owner.current()),
        }
        opened = self._tracker.store.open(
            [(account, self._ceiling)],
            Event(
                0,
                Kind.SESSION_OPENED,
                ns // 1000,
                derived_id("session", self.id),
                context,
                data={key: value for key, value in data.items() if value is not None} or None,
            ),
        )
        if not opened.fresh:
            self._continue(opened.event)
        self.context = opened.event.context._replace(cycle=self._cycle)
        self._follows = self if self._auto else None
        balance = self._tracker.store.balance(account.id)
        self.capped = self._passes_caps = balance is not None and balance.cap is not None
        self._tracker.session_opened(self)
        try:
            self._tracker.check_money_left(self)
        except BudgetExceededError as error:
            self._shared = self._shared or not opened.fresh
            self._close(error)  # what was opened just now must not stay open in the log
            raise

    def _continue(self, event: Event) -> None:
        self._shared = not self._is_left(event)
        known = event.context
        for what, given, stored in (
            ("customer", self._customer, known.customer),
            ("team", self._team, known.team),
        ):
            if given is not None and given != stored:
                raise ScopeError(
                    f"session {self.id!r} belongs to {what} {stored!r}, not {given!r}; "
                    "a session keeps the customer and team it was opened with"
                )
        cycles = [row.context.cycle for row in self._tracker.store.totals(self.id)]
        self._cycles_opened = max(cycles, default=0)
        self._cycle = max(self._cycles_opened, 1)

    def _is_left(self, event: Event) -> bool:
        """Tell whether nobody else is inside who will say how the session ended."""
        if self._tracker.store.find(event.id, Kind.SESSION_CLOSED) is not None:
            return True
        opener = (event.data or {}).get("opener")
        return opener is None or bool(owner.Owner.parse(opener).is_dead(owner.current()))

    def _close(self, error: BaseException | None) -> None:
        self._tracker.session_closed(self)
        if self._shared:
            return
        try:
            self._record_end(error)
        except StoreError as failure:  # leaving a scope never raises (rule 13)
            log.warning("the end of session %s could not be recorded: %s", self.id, failure)

    def _record_end(self, error: BaseException | None) -> None:
        store = self._tracker.store
        if self._tracker.unsettled:
            self._tracker.retry_unsettled()
        rows = store.totals(self.id)
        event = Event(
            0,
            Kind.SESSION_CLOSED,
            self._tracker.clock() // 1000,
            derived_id("session", self.id),
            self.context,
            cost=sum(row.cost for row in rows),
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cache_read_tokens=sum(row.cache_read_tokens for row in rows),
            cache_write_tokens=sum(row.cache_write_tokens for row in rows),
            status=_session_status(error, self._failure),
            data=_reason(error, self._failure),
        )
        if store.find(event.id, event.kind) is None:
            with suppress(LedgerConflictError):  # somebody else ended it just now
                if store.append(event):
                    return
        data = {**(event.data or {}), "continued": True}
        store.append(event._replace(id=new_id(), data=data))

    # Routing cycles.

    @property
    def cycle_number(self) -> int:
        """Return the routing cycle that spend outside an explicit cycle belongs to."""
        return self._cycle

    def next_cycle(self) -> int:
        """Count an explicitly opened cycle."""
        with self._lock:
            self._cycles_opened += 1
            self._cycle = self._cycles_opened
            return self._cycle

    @property
    def auto_cycles(self) -> bool:
        """Tell whether cycles open by themselves."""
        return self._auto

    def agent_spawned(self) -> int:
        """Return a new agent's cycle, with "auto": the next if a run failed since the last."""
        with self._lock:
            if self._run_failed:
                self._cycle += 1
                self._cycles_opened = self._cycle
                self._run_failed = False
            return self._cycle

    def run_failed(self) -> None:
        """Note that a run of this session failed."""
        self._run_failed = True

    def has_envelope(self, account: str) -> bool:
        """Tell whether a role's envelope stands already, also if this run names none."""
        # Asked of the store too: another process of this session may have opened it.
        return account in self._envelopes or self._tracker.store.balance(account) is not None

    def envelope_opened(self, account: str) -> None:
        """Remember a role's envelope for later runs of the role."""
        self._envelopes.add(account)

    # Figures.

    def tree(self) -> "SessionTree":
        """Return the cost tree as the store knows it now."""
        return self._tracker.tree(self.id)

    def breakdown(self) -> "dict[str, Decimal]":
        """Return the dollars that each agent itself has spent so far; "" is outside any agent."""
        return self._tracker.breakdown(self.id)


class Cycle(Scope):
    """One attempt of the coordinator's routing; the outermost open cycle counts."""

    def _again(self) -> "Cycle":
        return Cycle(self._tracker, self.parent)

    def _open(self) -> None:
        here = current()
        if here is not None and self.parent in (None, here.session):
            self.parent = here  # session.cycle() inside an agent: that agent's attempt
        if self.parent is None:
            raise ScopeError("a routing cycle belongs to a session: open one first")
        self.capped, self._passes_caps = self.parent.capped, self.parent._passes_caps
        around = self.parent
        while not isinstance(around, Session):
            if isinstance(around, Cycle):
                self.context = self.parent.context
                return
            assert around.parent is not None
            around = around.parent
        self.context = self.parent.context._replace(cycle=around.next_cycle())

    def _close(self, error: BaseException | None) -> None:
        """Nothing is recorded: the spend of a cycle is that of its calls."""


class Agent(Scope):
    """One run of an agent: spends under its role's envelope and its own max_cost."""

    def __init__(
        self,
        tracker: "Spendtree",
        parent: Scope | None,
        name: str,
        *,
        task_id: str = "",
        task: str = "",
        envelope: Money | None = None,
        max_cost: Money | None = None,
        max_output_tokens: int | None = None,
    ) -> None:
        super().__init__(tracker, parent)
        self._options: AgentOptions = {
            "task_id": task_id,
            "task": task,
            "envelope": envelope,
            "max_cost": max_cost,
            "max_output_tokens": max_output_tokens,
        }
        settings = tracker.config.agent(name)
        self.name = _text("agent", name)
        if not name:
            raise ScopeError('an agent needs a name, like "researcher"')
        self.task_id = _text("task_id", task_id)
        self.task = task
        self.max_output_tokens = max_output_tokens or settings.max_output_tokens
        self._envelope = tracker.amount(envelope, "envelope", default=settings.envelope_usd)
        self._max_cost = tracker.amount(max_cost, "max_cost", default=settings.max_cost_usd)
        self._id = b""
        self._implicit: Session | None = None
        self._sums = [0, 0, 0, 0, 0]
        self._lock = threading.Lock()

    def _again(self) -> "Agent":
        return Agent(self._tracker, self.parent, self.name, **self._options)

    @property
    def id(self) -> str:
        """Return the run's id, as 32 hexadecimal digits; "" before it is opened."""
        return self._id.hex()

    def _open(self) -> None:
        if self.parent is None:
            self.parent = current()
        if self.parent is None:
            # Nothing is lost when somebody forgets the session: this run is one of its own.
            self._implicit = self._tracker.session().open()
            self.parent = self._implicit
        try:
            self._open_below(self.parent)
        except BaseException as error:
            if self._implicit is not None:
                self._implicit.close(error)
            raise

    def _open_below(self, parent: Scope) -> None:
        session, around, before = parent.session, parent.run, parent.context
        ns = self._tracker.clock()
        self._id = new_id(ns)
        cycle = before.cycle
        if session.auto_cycles and before.level < 2 and not _in_cycle(parent):
            cycle = session.agent_spawned()
            if not before.level:
                self._follows = session
        accounts = self._accounts(parent)
        self.context = before._replace(
            agent=self.name,
            run=self.id,
            parent=around.id if around else "",
            level=before.level + 1,
            cycle=cycle,
            task_id=self.task_id or before.task_id,
            path=(*_inherited(parent), *(account.id for account, _ in accounts)),
        )
        self.capped = parent._passes_caps or bool(accounts)
        self._passes_caps = parent._passes_caps or self._max_cost is not None
        self._tracker.open_run(self, accounts, ns // 1000, self._opening_data())

    def _accounts(self, parent: Scope) -> list[tuple[Account, int | None]]:
        """Return the accounts that this run adds to its path: envelope, then its own."""
        who = parent.context
        accounts: list[tuple[Account, int | None]] = []
        envelope = rules.envelope_account(who.session, self.name, who.customer, who.team)
        if self._envelope is not None or parent.session.has_envelope(envelope.id):
            accounts.append((envelope, self._envelope))
            parent.session.envelope_opened(envelope.id)
        if self._max_cost is not None:
            own = rules.run_account(who.session, self.name, self.id, who.customer, who.team)
            accounts.append((own, self._max_cost))
        return accounts

    def _opening_data(self) -> dict[str, Any] | None:
        data = {"task": self.task, "envelope": self._envelope, "max_cost": self._max_cost}
        return {key: value for key, value in data.items() if value not in ("", None)} or None

    def _close(self, error: BaseException | None) -> None:
        status = _run_status(error, self._failure)
        if status != "succeeded":
            self.session.run_failed()
        cost, inputs, outputs, reads, writes = self._sums
        self._tracker.record(
            Event(
                0,
                Kind.RUN_CLOSED,
                self._tracker.clock() // 1000,
                self._id,
                self.context,
                cost=cost,
                input_tokens=inputs,
                output_tokens=outputs,
                cache_read_tokens=reads,
                cache_write_tokens=writes,
                status=status,
                data=_reason(error, self._failure),
            )
        )
        if self._implicit is not None:
            self._implicit._failure = self._failure
            self._implicit.close(error)

    def add(self, event: Event) -> None:
        """Add a call to the sums that the run's end states."""
        with self._lock:
            sums = self._sums
            sums[0] += event.cost or 0
            sums[1] += event.input_tokens
            sums[2] += event.output_tokens
            sums[3] += event.cache_read_tokens
            sums[4] += event.cache_write_tokens + event.cache_write_1h_tokens


def _in_cycle(scope: Scope | None) -> bool:
    """Tell whether an explicit cycle around it fixes the cycle of what opens below."""
    while scope is not None and not isinstance(scope, Session):
        if isinstance(scope, Cycle):
            return True
        scope = scope.parent
    return False


def _inherited(parent: Scope) -> tuple[str, ...]:
    """Return the accounts that reach down to sub-agents: not an agent's own envelope."""
    return tuple(name for name in parent.context.path if not name.startswith("envelope/"))


class _Inside:
    """Makes a scope current for as long as something of it runs, and not a step longer.

    A generator shares its consumer's context: left current, its scope would be charged with what
    the consumer does between two items. What the generator itself entered is current again at its
    next step.
    """

    __slots__ = ("_inside", "_outside", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self._inside: Scope | None = scope
        self._outside: Scope | None = None

    @classmethod
    def opened(cls, scope: Scope) -> Self:
        outer = current()
        scope.open()
        scope._outer = outer
        return cls(scope)

    def __enter__(self) -> None:
        self._outside = _current.get()
        _current.set(self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = _current.get()
        _current.set(self._outside)


def _decorated(make: Callable[[], Scope], function: Callable[P, R]) -> Callable[P, R]:
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            async with make():
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", coroutine)
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def async_generator(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
            inside = _Inside.opened(make())
            steps, step, value = function(*args, **kwargs), "asend", None
            try:
                while True:
                    try:
                        with inside:
                            item = await getattr(steps, step)(value)
                    except StopAsyncIteration:
                        break
                    try:
                        step, value = "asend", (yield item)
                    except GeneratorExit:
                        with inside:
                            await steps.aclose()
                        raise
                    except BaseException as thrown:
                        step, value = "athrow", thrown
            except BaseException as error:
                inside.scope.close(error)
                raise
            inside.scope.close()

        return cast("Callable[P, R]", async_generator)
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
            inside = _Inside.opened(make())
            steps, step, value = function(*args, **kwargs), "send", None
            try:
                while True:
                    try:
                        with inside:
                            item = getattr(steps, step)(value)
                    except StopIteration as end:
                        result = end.value
                        break
                    try:
                        step, value = "send", (yield item)
                    except GeneratorExit:
                        with inside:
                            steps.close()
                        raise
                    except BaseException as thrown:
                        step, value = "throw", thrown
            except BaseException as error:
                inside.scope.close(error)
                raise
            inside.scope.close()
            return result

        return cast("Callable[P, R]", generator)

    @functools.wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> R:
        with make():
            return function(*args, **kwargs)

    return plain


def _text(what: str, value: str) -> str:
    if not isinstance(value, str):
        raise ScopeError(f"{what}: {value!r} is no text; give a str")
    if not value and what == "session id":
        raise ScopeError("session id: it is empty; give a text, or leave it out for a new session")
    if len(value) > MAX_TEXT:
        raise ScopeError(f"{what}: {len(value)} characters are more than {MAX_TEXT}")
    return storable(value)


def _budget_error(error: BaseException | None) -> BudgetExceededError | None:
    """Return the budget error that an exception is, or that a group of them consists of."""
    if isinstance(error, BudgetExceededError):
        return error
    if isinstance(error, BaseExceptionGroup):
        found = [_budget_error(each) for each in error.exceptions]
        return found[0] if all(found) else None
    return None


def _session_status(error: BaseException | None, failure: str) -> str:
    if _budget_error(error) is not None:
        return "budget_exceeded"
    return "failed" if failure or _is_failure(error) else "succeeded"


def _run_status(error: BaseException | None, failure: str) -> str:
    if _budget_error(error) is not None:
        return "exhausted"
    return "failed" if failure or _is_failure(error) else "succeeded"


def _is_failure(error: BaseException | None) -> bool:
    # A generator that its consumer has left did nothing wrong.
    return error is not None and not isinstance(error, GeneratorExit)


def _reason(error: BaseException | None, failure: str) -> dict[str, Any] | None:
    if failure:
        return {"reason": failure}
    return {"reason": type(error).__name__} if error is not None and _is_failure(error) else None
