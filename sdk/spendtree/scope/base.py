"""What sessions, routing cycles and agent runs have in common: life, doors, current or not.

A scope is current in the context that entered it and in what is started from there (tasks,
`to_thread`). It never leaks: closing marks the scope itself, so that every lookup, in any task or
thread, skips it; leaving in another context, out of order or twice does nothing (rule 13).
"""

import os
from collections.abc import Callable, Coroutine
from contextvars import Token
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, Unpack

from spendtree.account import kind_of
from spendtree.call import Call, CallOptions, Tool
from spendtree.errors import ScopeError, SpendtreeError, StoreUnavailableError
from spendtree.event import NO_CONTEXT, Context
from spendtree.exit_guard import Interrupted, guarded
from spendtree.money import Money
from spendtree.scope.current import CURRENT, current
from spendtree.scope.inside import Inside, bound, decorated
from spendtree.scope.options import AgentOptions
from spendtree.store.event_loop import AWAITING
from spendtree.store.locks import StoreBusyError
from spendtree.waiting import Pauses

if TYPE_CHECKING:
    from spendtree.scope.agent import Agent
    from spendtree.scope.session import Cycle, Session
    from spendtree.tracker import Spendtree

P = ParamSpec("P")
R = TypeVar("R")

__all__ = ["Inside", "Scope"]

NEW, OPENING, LEFT = range(3)
"""The stages of a scope's life; an open one is between the last two."""


class Scope:
    """A session, a routing cycle or an agent run; enter it once, with `with` or `async with`."""

    fixes_cycle = False
    """Whether what opens below belongs to its routing cycle."""
    _is_patient = False
    """Whether it leaves a busy store to its task, to wait for it without its loop."""

    def __init__(self, tracker: "Spendtree", parent: "Scope | None") -> None:
        self._tracker = tracker
        self.parent = parent
        self.context: Context = NO_CONTEXT
        self.closed = False
        self._session: Session | None = None
        self._run: Agent | None = None
        self._has_caps = False
        """Whether an account of its own path has a cap, whatever the session has."""
        self._passes_caps = False
        """Whether one of those that reach down to sub-agents has."""
        self._follows: Session | None = None
        self._era = 0
        """The session's budget periods that the context's path names."""
        self._opened = False
        self._outer: Scope | None = None
        self._pid = 0
        self._failure = ""
        self._bare: Token[Scope | None] | None = None
        self._stage = NEW
        self._guard: Any = None

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
            if scope._session is not None:
                return scope._session
            scope = scope.parent
        raise ScopeError("this scope belongs to no session yet: enter it first")

    @property
    def run(self) -> "Agent | None":
        """Return the agent run that is spending in this scope, None outside any."""
        return self._run

    @property
    def capped(self) -> bool:
        """Tell whether an account that its calls are charged to has a cap."""
        return self._has_caps or (self._session is not None and self._session.is_capped)

    def context_now(self, at: int) -> Context:
        """Return who a call made at `at` (microseconds) belongs to, and its accounts.

        Budget periods follow the clock, and a coordinator follows cycles="auto".
        """
        session = self._session
        if session is not None and (
            not session.period_begin <= at < session.period_end or session.era != self._era
        ):
            session.roll(at)
            self._era = session.era
            self.context = session.charged_now(self.context)
        follows = self._follows
        if follows is not None and follows.cycle_number != self.context.cycle:
            self.context = self.context._replace(cycle=follows.cycle_number)
        return self.context

    def context_or_last(self, at: int) -> Context:
        """Return `context_now`, or what it was where the store is out of reach (rule 11).

        Raises StoreUnavailableError only where a cap is enforced.
        """
        try:
            return self.context_now(at)
        except StoreUnavailableError as error:
            if self._is_waited_for(error) or self.enforces(self.context):
                raise
            return self.context

    def _is_waited_for(self, error: StoreUnavailableError) -> bool:
        """Tell whether its task waits for what the store cannot do now."""
        return self._is_patient and isinstance(error, StoreBusyError)

    def enforces(self, context: Context) -> bool:
        """Tell whether a context of this scope is charged to an enforced cap, without the store."""
        ceiling = self._session is not None and self._session.ceiling_stands
        capped = (name for name in context.path if ceiling or kind_of(name) != "session")
        return any(self._tracker.mode_of(name, context) == "enforce" for name in capped)

    # Doors.

    def agent(self, name: str, **options: Unpack[AgentOptions]) -> "Agent":
        """Return a run of an agent below this scope; see `Spendtree.agent` for the options."""
        return self._tracker.agent_in(self, name, **options)

    def cycle(self) -> "Cycle":
        """Return the session's next routing cycle, below this scope."""
        return self._tracker.cycle_in(self)

    def call(self, model: str, **options: Unpack[CallOptions]) -> Call:
        """Return a call charged to this scope; see `Spendtree.call` for the options."""
        return Call(self._tracker, self, model, **options)

    def tool(self, name: str, *, cost: Money, optional: bool = False) -> Tool:
        """Return a tool charge to this scope; see `Spendtree.tool`."""
        return Tool(self._tracker, self, name, cost=cost, optional=optional)

    def bind(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function so that it runs inside this scope, in whatever thread calls it."""
        return bound(self, function)

    def fail(self, reason: str) -> None:
        """Mark this scope as failed although it ends without an exception."""
        self._failure = reason or "failed"

    # What sub-agents have handed up.

    @property
    def pending_input_tokens(self) -> int:
        """Return the tokens that were delivered here and no call has read yet."""
        reader = self._run or self._session
        return sum(reader.inbox.values()) if reader is not None else 0

    def synthesis_cost(
        self, model: str, *, max_output_tokens: int, provider: str = "", input_tokens: int = 0
    ) -> Decimal:
        """Return the most dollars that a call reading all that was delivered would cost.

        `input_tokens` are what its prompt adds. Raises UnknownPriceError without a price.
        """
        inputs = self.pending_input_tokens + input_tokens
        return self._tracker.worst_case(model, provider, inputs, max_output_tokens)

    # Life.

    def open(self) -> Self:
        """Open the scope without making it current; `close` ends it."""
        self._check_opening()
        try:
            self._open()
            self._opened = True
        except SpendtreeError:  # nothing was opened
            self._stage = LEFT
            raise
        except BaseException as error:
            self._not_opened(error)
            raise
        return self

    def _check_opening(self) -> None:
        if self._opened:
            raise ScopeError("a scope is opened once; make a new one for each run")
        if self.parent is not None and not self.parent.alive:
            raise ScopeError("the scope around this one is closed; open a session that lives")
        self._pid = os.getpid()
        self._stage = OPENING

    async def _open_patiently(self) -> None:
        """Open it, and wait for a store that another process keeps busy without keeping the loop.

        What was opened before the store was busy stays so, and is gone on with.
        """
        pauses = Pauses()
        self._is_patient = True
        while True:
            try:
                with AWAITING:
                    self.open()
                return
            except StoreBusyError:
                self._is_patient = await pauses.again()
                if not self._is_patient:
                    self.open()
                    return

    def _not_opened(self, error: BaseException) -> None:
        """Close what was opened in the store before an exception came that is none of ours."""
        if self._opened:
            self.close(error)
        elif os.getpid() == self._pid:
            self._undo_open(error)
        self._stage = LEFT

    def close(self, error: BaseException | None = None) -> None:
        """End the scope, as failed with an error; closing twice does nothing."""
        if self.closed or not self._opened:
            return
        self.closed = True
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if os.getpid() == self._pid:  # a forked child leaves its parent's scopes alone
            try:
                if self._tracker.delayed:  # what is inside of this ends before it
                    self._tracker.retry_unsettled()
                self._close(error)
            except BaseException:
                self._tracker.delayed.append(lambda: self._close(error))
                raise
        self._stage = LEFT
        self._guard = None

    def __enter__(self) -> Self:
        outer = current()
        self.open()
        return self._entered(outer)

    def _entered(self, outer: "Scope | None") -> Self:
        self._outer = outer  # not before: a scope that is entered twice must not be its own outer
        token = CURRENT.set(self)
        if token.old_value is Token.MISSING and self._leaves_bare():
            self._bare = token
        return self

    @guarded
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
            self._restore_current()
        self._guard = None
        return self._swallows(error)

    async def __aenter__(self) -> Self:
        outer = current()
        await self._open_patiently()
        return self._entered(outer)

    @guarded
    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Coroutine[Any, Any, bool | None]:
        # What must not be lost is done before anything is awaited.
        try:
            with AWAITING:
                self.close(error)
        finally:
            self._restore_current()
        self._guard = None
        return self._left(self._swallows(error))

    async def _left(self, swallows: bool) -> bool:
        tracker = self._tracker
        if tracker.unsettled or tracker.delayed:
            await tracker.settled()
        await self._told()
        return swallows

    def _was_left(self, guard: object = None) -> None:
        """End it after an exception that came while it was entered or left."""
        if self._stage == LEFT:
            return
        interrupted = Interrupted()
        if self._opened:
            self.closed = True
            self._end(interrupted)
        elif self._stage == OPENING:
            self._not_opened(interrupted)
        self._restore_current()
        self._guard = None

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate a function, coroutine function or generator: each call opens a new scope."""
        return decorated(self._again, function)

    def _leaves_bare(self) -> bool:
        """Tell whether a context that had no scope is left as if it never had one."""
        return False

    def _restore_current(self) -> None:
        left = current()
        if left is not None or not self._restores_bareness():
            CURRENT.set(left)

    def _restores_bareness(self) -> bool:
        token, self._bare = self._bare, None
        if token is None:
            return False
        try:
            CURRENT.reset(token)
        except ValueError:  # left in another context than it was entered in
            return False
        return True

    def _swallows(self, error: BaseException | None) -> bool:
        """Tell whether an exception ends here quietly."""
        return False

    async def _told(self) -> None:
        """Wait for what the end of the scope has set going."""

    def _again(self) -> "Scope":
        raise NotImplementedError

    def _open(self) -> None:
        raise NotImplementedError

    def _undo_open(self, error: BaseException) -> None:
        """Close in the store what `_open` may have opened there before it was interrupted."""

    def _close(self, error: BaseException | None) -> None:
        raise NotImplementedError
