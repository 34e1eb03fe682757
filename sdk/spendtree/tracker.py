"""A Spendtree: one store, one configuration, one price book, and the doors to them.

The module-level functions of `spendtree` delegate to a default one; tests and servers make their
own. What must survive a store that fails for a while is kept here.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Unpack

from spendtree.account import Account, Balance
from spendtree.call import Call, CallOptions, account_kind, budget_error
from spendtree.config import Config, load_config
from spendtree.errors import StoreError, StoreUnavailableError
from spendtree.event import NO_CONTEXT, Context, Event, Kind, Request
from spendtree.ids import new_id
from spendtree.money import Money, to_pico
from spendtree.policy import Lines
from spendtree.pricing import PriceBook
from spendtree.scope import Agent, AgentOptions, Cycle, Scope, Session, SessionOptions, current
from spendtree.store import DEFAULT_URL, open_store
from spendtree.store.protocol import Store

if TYPE_CHECKING:
    from spendtree.tree import SessionTree

log = logging.getLogger("spendtree")

SESSION_IDLE_SECONDS = 3600
"""After which the holds of an unreachable host's process count as abandoned."""

SWEEP_SECONDS = 1.0
"""Between two looks for holds of dead processes, while somebody waits."""

NOTHING: Mapping[str, int | None] = {}

_purpose: ContextVar[str] = ContextVar("spendtree_purpose", default="work")


class Spendtree:
    """Records and limits what is spent, in one store.

    `store` is a URL (`sqlite:///spend.db`, `memory:`) or an open store; without it SPENDTREE_STORE,
    else `sqlite:///spendtree.db`. `config` is a path or a mapping; without it SPENDTREE_CONFIG,
    else defaults. `clock` returns nanoseconds since 1970 UTC. Raises StoreError and
    ConfigurationError.
    """

    def __init__(
        self,
        store: str | Store | None = None,
        config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        if config is None:
            config = os.environ.get("SPENDTREE_CONFIG") or None
        self.config: Config = load_config(config)
        self.prices = PriceBook(self.config.prices)
        if store is None:
            store = os.environ.get("SPENDTREE_STORE") or DEFAULT_URL
        self.store: Store = open_store(store) if isinstance(store, str) else store
        self.clock = clock
        self.lines = Lines()
        self.unsettled: list[Event] = []
        self.unrecorded_calls = 0
        self._lock = threading.Lock()
        self._open_sessions = 0
        self._swept = 0.0
        if hasattr(os, "register_at_fork"):
            child = weakref.WeakMethod(self._after_fork_in_child)
            os.register_at_fork(after_in_child=lambda: (child() or _nothing)())

    # Doors.

    def session(self, id: str | None = None, **options: Unpack[SessionOptions]) -> Session:
        """Return a session to enter: one user request's run.

        A known `id` continues that session, its accounts as they stand. `ceiling` caps it in
        dollars, `expected_usd` is what it should cost; `cycles="auto"` opens the next routing
        cycle when an agent is spawned after a run failed. Entering raises BudgetExceededError when
        nothing is left, ScopeError when a known session belongs to another customer or team.
        """
        return Session(self, id, **options)

    def agent(self, name: str, **options: Unpack[AgentOptions]) -> Agent:
        """Return a run of an agent, to enter below the current scope.

        `envelope` caps what this role itself spends in the session, `max_cost` this run and all it
        spawns (dollars); `max_output_tokens` is the output limit of its calls that name none.
        Outside a session the run is a session of its own. Entering raises BudgetExceededError or
        EnvelopeExhaustedError when nothing is left to pay a call with.
        """
        return Agent(self, None, name, **options)

    def cycle(self) -> Cycle:
        """Return the current session's next routing cycle, to enter."""
        return Cycle(self, None)

    def call(self, model: str, **options: Unpack[CallOptions]) -> Call:
        """Return a call to enter, charged to the current scope.

        `input_tokens` and `max_output_tokens` bound what it can cost; instead of the first give
        `input`, the text or messages themselves. Without either the model's limits are the bound.
        `provider` helps to find the price, `purpose` says why the call is made. Outside any scope
        it is recorded as unattributed.
        """
        return self.call_in(current(), model, **options)

    def call_in(
        self,
        scope: Scope | None,
        model: str,
        *,
        provider: str = "",
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        input: Any = None,
        purpose: str | None = None,
    ) -> Call:
        """Return a call charged to a scope, None for none; the options are those of `call`."""
        request = Request(provider, model, purpose or _purpose.get())
        if scope is None:
            data = {"unattributed": self._why_unattributed()}
            return Call(
                self,
                NO_CONTEXT,
                request,
                input_tokens=input_tokens,
                max_output_tokens=max_output_tokens,
                input=input,
                data=data,
            )
        run = scope.run
        if max_output_tokens is None and run is not None:
            max_output_tokens = run.max_output_tokens
        return Call(
            self,
            scope.context_now(),
            request,
            run=run,
            capped=scope.capped,
            input_tokens=input_tokens,
            max_output_tokens=max_output_tokens,
            input=input,
        )

    @staticmethod
    @contextmanager
    def purpose(purpose: str) -> Generator[None, None, None]:
        """Set the purpose of the calls inside: plan, evaluate, synthesize, route, work."""
        token = _purpose.set(purpose)
        try:
            yield
        finally:
            with suppress(ValueError):  # an abandoned generator is closed in another context
                _purpose.reset(token)

    @staticmethod
    async def gather(*branches: Awaitable[Any]) -> list[Any]:
        """Run branches side by side; return each one's result, or the exception it ended with.

        A branch that runs out of money (or fails) does not cancel its siblings. Cancelling the
        caller cancels all branches.
        """
        import asyncio  # noqa: PLC0415 - 40 ms that a program without a loop need not pay

        return await asyncio.gather(*branches, return_exceptions=True)

    def tree(self, session: str) -> "SessionTree":
        """Return a session's cost tree as the store knows it now."""
        from spendtree.tree import build  # noqa: PLC0415 - only who looks at trees pays for it

        return build(self.store.events(session=session))

    def breakdown(self, session: str) -> dict[str, Decimal]:
        """Return the dollars that each agent itself spent in a session; "" is outside any."""
        from spendtree.tree import breakdown  # noqa: PLC0415 - only who looks at trees pays

        return breakdown(self.store.events(session=session))

    def close(self) -> None:
        """Settle what could not be settled yet, and give the store's files back."""
        self.retry_unsettled()
        self.store.close()

    # What scopes and calls ask for.

    @staticmethod
    def amount(value: Money | None, what: str, default: Money | None = None) -> int | None:
        """Return an amount given in code, else the configured one, in pico-dollars."""
        chosen = default if value is None else value
        return None if chosen is None else to_pico(chosen, what=what)

    def lenient(self, context: Context) -> Sequence[str]:
        """Return the accounts that book but do not refuse: none when caps are enforced."""
        return () if self.config.mode == "enforce" else context.path

    def session_opened(self, session: Session) -> None:
        """Count an open session of this process."""
        with self._lock:
            self._open_sessions += 1

    def session_closed(self, session: Session) -> None:
        """Count an open session of this process off."""
        with self._lock:
            self._open_sessions -= 1

    def open_run(
        self,
        run: Agent,
        accounts: Sequence[tuple[Account, int | None]],
        at: int,
        data: dict[str, Any] | None,
    ) -> None:
        """Record a run's start and open its accounts, unless nothing is left to start it with."""
        self.check_money_left(run, {account.id: cap for account, cap in accounts})
        event = Event(
            0, Kind.RUN_OPENED, at, bytes.fromhex(run.id), run.context, started=at, data=data
        )
        self.store.open(accounts, event)

    def check_money_left(self, scope: Scope, caps: Mapping[str, int | None] = NOTHING) -> None:
        """Raise the budget's error if an account of the scope has nothing left to spend.

        `caps` are those that accounts not open yet will be opened with.
        """
        if not scope.capped or self.config.mode != "enforce":
            return
        for account in scope.context.path:
            balance = self.store.balance(account) or Balance(caps.get(account))
            if _is_empty(balance):
                at = self.clock() // 1000
                data = {"account": account, "kind": account_kind(account), "spawn": True}
                self.record(
                    Event(
                        0,
                        Kind.DENIED,
                        at,
                        new_id(),
                        scope.context,
                        status="exhausted",
                        started=at,
                        data=data,
                    )
                )
                raise budget_error(
                    account,
                    "exhausted",
                    0,
                    balance,
                    name=scope.context.agent or scope.context.session,
                    advice="nothing is left to start with",
                )

    def finish(self, event: Event) -> None:
        """End a hold by its event. Never raises: a response that was paid for comes first."""
        try:
            if event.kind == Kind.LAPSE:
                self.store.lapse(event.id, event)
            else:
                self.store.settle(event.id, event.cost, event)
        except StoreUnavailableError as error:
            with self._lock:
                self.unsettled.append(event)
            log.warning("a call could not be settled and will be again, its hold stays: %s", error)
        except Exception:
            log.exception("a call could not be settled, its hold stays")
        if self.lines:
            self.lines.wake(event.context.path)

    def retry_unsettled(self) -> None:
        """Settle with the same ids what could not be settled before."""
        with self._lock:
            pending, self.unsettled = self.unsettled, []
        for done, event in enumerate(pending, 1):
            self.finish(event)
            if self.unsettled:  # the store still fails: do not have the caller wait for each
                with self._lock:
                    self.unsettled += pending[done:]
                return

    def record(self, event: Event) -> None:
        """Record an event that moves no money; a store that fails is logged, not raised."""
        try:
            self.store.append(event)
        except StoreError as error:
            log.warning("an event could not be recorded: %s", error)

    def would_deny(self, event: Event) -> None:
        """Record what enforcing would have refused, in mode warn."""
        if self.config.mode == "warn":
            self.record(event._replace(data={**(event.data or {}), "would": True}))

    def unrecorded(self, error: StoreError) -> None:
        """Count a call that goes on without its record; say so the first time."""
        self.unrecorded_calls += 1
        if self.unrecorded_calls == 1:
            log.error("calls go on unrecorded, since no cap is enforced on them: %s", error)

    def lapse_abandoned(self) -> int:
        """Lapse the holds of dead processes, at most once a second; return how many."""
        now = time.monotonic()
        if now - self._swept < SWEEP_SECONDS:
            return 0
        self._swept = now
        idle = SESSION_IDLE_SECONDS * 1_000_000
        return self.store.lapse_abandoned(now=self.clock() // 1000, idle=idle)

    def _why_unattributed(self) -> str:
        main = threading.current_thread() is threading.main_thread()
        return "lost_thread" if self._open_sessions and not main else "no_scope"

    def _after_fork_in_child(self) -> None:
        """Leave the parent's waiters and settlements to the parent."""
        self.lines = Lines()
        self.unsettled = []
        self._lock = threading.Lock()
        self._open_sessions = 0


def _is_empty(balance: Balance) -> bool:
    return balance.cap is not None and balance.cap - balance.spent - balance.presumed <= 0


def _nothing() -> None:
    """Stand in for a Spendtree that is gone."""
