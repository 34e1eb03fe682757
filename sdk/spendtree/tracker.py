"""A Spendtree: one store, one configuration, one price book, and the doors to them.

The module-level functions of `spendtree` delegate to a default one; tests and servers make their
own. What must survive a store that fails for a while is kept here.
"""

import logging
import math
import os
import sys
import time
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Unpack, cast

from spendtree import attribution, lifetime, transfers
from spendtree.account import Denial, kind_of
from spendtree.bound import Tokenizer
from spendtree.call import PURPOSE, Call, CallOptions, Tool
from spendtree.call_site import Places
from spendtree.charge import is_region
from spendtree.clock import CLOCK_END, clock_error, recordable
from spendtree.config import AccountKind, Config, Mode, load_config
from spendtree.config.version import Version, of_time
from spendtree.denial import account_name
from spendtree.errors import (
    ConfigurationError,
    LedgerConflictError,
    SpendtreeError,
    StoreError,
    StoreUnavailableError,
    UnknownPriceError,
)
from spendtree.event import Context, Event, Kind, Request
from spendtree.money import PICO_MAX, PICO_PER_USD, Money, to_pico, to_usd
from spendtree.pricing import PriceBook
from spendtree.propagation.inbound import Inbound
from spendtree.scope import Agent, AgentOptions, Cycle, Scope, Session, SessionOptions
from spendtree.scope.budgets import LOOK_US
from spendtree.scope.current import current_of
from spendtree.store import DEFAULT_URL, open_store
from spendtree.store.event_loop import AWAITING
from spendtree.store.locks import EnteredError, StoreBusyError
from spendtree.store.protocol import Store
from spendtree.usage import Usage
from spendtree.waiting import RETRY_SECONDS, Lines, Pauses

if TYPE_CHECKING:
    from spendtree.propagation.carrier import Headers
    from spendtree.tree import SessionTree

log = logging.getLogger("spendtree")

SESSION_IDLE_SECONDS = 3600
"""After which the holds of an unreachable host's process count as abandoned."""

SERVED_MAX = 1_000
"""Models of which is remembered how they were served otherwise than asked."""

SWEEP_SECONDS = 1.0
"""Between two looks for holds of dead processes, while somebody waits."""

EXIT_SECONDS = 2.0
"""What the end of the process gives to them."""

CLOSE_SECONDS = 0.2
"""What closing gives to them: a store that was busy is tried every 50 ms."""

INSIST_EVERY_SECONDS = 0.02

DELAYED_MAX = 10_000
"""Ends that are kept while a store does not work; more are dropped, and logged."""


class Spendtree:
    """Records and limits what is spent, in one store.

    `store` is a URL (`sqlite:///spend.db`, `memory:`) or an open store; without it SPENDTREE_STORE,
    else `sqlite:///spendtree.db`. `config` is a path or a mapping; without it SPENDTREE_CONFIG,
    else defaults. `clock` returns nanoseconds since 1970 UTC, `tokenizer` the tokens of a text
    (tighter bounds than bytes give). Raises StoreError and ConfigurationError.
    """

    def __init__(
        self,
        store: str | Store | None = None,
        config: str | os.PathLike[str] | Mapping[str, Any] | None = None,
        *,
        clock: Callable[[], int] = time.time_ns,
        tokenizer: Tokenizer | None = None,
    ) -> None:
        self._sessions: weakref.WeakSet[Session] = weakref.WeakSet()
        self._configure(load_config(_given_or_named(config)))
        if store is None:
            store = os.environ.get("SPENDTREE_STORE") or DEFAULT_URL
        self.store: Store = open_store(store) if isinstance(store, str) else store
        self.clock = clock
        self.tokenizer = tokenizer
        self.lines = Lines()
        self.unsettled: list[Event] = []
        self.delayed: deque[Callable[[], None]] = deque()
        """Ends of scopes, and other things to be done yet, that the store could not take."""
        self.outvoted: set[str] = set()
        """Budgets of which it was logged that another configuration's amount holds."""
        self._newest_budget = 0, -LOOK_US
        self.unrecorded_calls = 0
        self.places = Places()
        """Where warnings of what a program does were logged."""
        self._failure: StoreUnavailableError | None = None
        """Why the store did not take what waits in these two, the last time."""
        self.served_lately: dict[tuple[str, str], tuple[str, ...]] = {}
        """How calls that left it to the provider were served lately, by provider and model."""
        self._swept = 0.0
        lifetime.watch(self)

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
        `provider` helps to find the price, `purpose` says why the call is made, `optional` marks
        what a policy may skip. Outside any scope it is recorded as unattributed.

        Beside text: `served` is the service that the request asks for (`["priority"]`,
        `["fast", "region:us"]`), `modalities` what it may read or write (`audio`, `image`,
        `video`), `units` the most that it may use of what is billed beside tokens
        (`{"web_search": 5}`, `{"audio_second": 60}`; the names of `spendtree.usage.UNITS`).
        Raises UsageError for what cannot be meant.
        """
        return Call(self, current_of(self), model, **options)

    def tool(self, name: str, *, cost: Money, optional: bool = False) -> Tool:
        """Return a tool charge to enter, charged to the current scope: a search, a sandbox.

        `cost` is its price in dollars, or the most it can be (then `record` the true one inside).
        It is held and settled like a call, at every account of the path. Outside any scope it is
        recorded as unattributed.
        """
        return Tool(self, current_of(self), name, cost=cost, optional=optional)

    def tool_in(
        self, scope: Scope | None, name: str, *, cost: Money, optional: bool = False
    ) -> Tool:
        """Return a tool charge to a scope, None for none."""
        return Tool(self, scope, name, cost=cost, optional=optional)

    def call_in(self, scope: Scope | None, model: str, **options: Unpack[CallOptions]) -> Call:
        """Return a call charged to a scope, None for none."""
        return Call(self, scope, model, **options)

    def agent_in(self, scope: Scope | None, name: str, **options: Unpack[AgentOptions]) -> Agent:
        """Return a run below a scope, None for the current one."""
        return Agent(self, scope, name, **options)

    def cycle_in(self, scope: Scope | None) -> Cycle:
        """Return the next routing cycle below a scope, None for the current one."""
        return Cycle(self, scope)

    def inject(
        self, headers: MutableMapping[str, str] | None = None, *, environment: bool = False
    ) -> MutableMapping[str, str]:
        """Put the current scope's identifiers into headers for another process; return them.

        As W3C `baggage` and, unless a tracer has put its own there, `traceparent`; other members of
        a baggage stay. With `environment` the names are those of environment variables. Never
        limits; outside any scope nothing. Give them to services of your own only.
        """
        from spendtree.propagation.carrier import write  # noqa: PLC0415 - only who has others pays

        scope = current_of(self)
        carrier = {} if headers is None else headers
        return carrier if scope is None else write(scope, carrier, environment=environment)

    def extract(self, headers: "Headers") -> Inbound:
        """Return the scope that headers or environment variables name, to enter and go on in.

        `headers` are a mapping (`request.headers`, `os.environ`) or pairs. Nothing that came in
        counts before this is called: call it for callers that you trust to spend for their
        customer. What is missing or malformed is nothing to go on with, and never raises.
        """
        from spendtree.propagation.extracting import extract  # noqa: PLC0415 - as for inject

        return extract(self, headers)

    @staticmethod
    @contextmanager
    def purpose(purpose: str) -> Generator[None, None, None]:
        """Set the purpose of the calls inside: plan, evaluate, synthesize, route, work."""
        token = PURPOSE.set(purpose)
        try:
            yield
        finally:
            with suppress(ValueError):  # an abandoned generator is closed in another context
                PURPOSE.reset(token)

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
        self._insist(CLOSE_SECONDS)
        self.store.close()

    # What scopes and calls ask for.

    @staticmethod
    def amount(value: Money | None, what: str, default: Money | None = None) -> int | None:
        """Return an amount given in code, else the configured one, in pico-dollars."""
        chosen = default if value is None else value
        return None if chosen is None else to_pico(chosen, what=what)

    @staticmethod
    def marks(fractions: Sequence[Money]) -> tuple[int, ...]:
        """Return warning marks given as fractions of a cap, in millionths, ascending."""
        marks = sorted(to_pico(each, what="warn_at") for each in fractions)
        if any(not 0 < mark <= PICO_PER_USD or mark % 1_000_000 for mark in marks):
            raise ConfigurationError(
                f"warn_at={list(fractions)!r}: give fractions of the cap above 0, at most 1, of "
                "at most six decimals"
            )
        return tuple(dict.fromkeys(mark // 1_000_000 for mark in marks))

    def configured_marks(self, kind: str, name: str) -> tuple[int, ...]:
        """Return the warning marks that the configuration gives an account."""
        return self.marks(self.config.marks_for(_account_kind(kind), name))

    def lenient(self, context: Context) -> Sequence[str]:
        """Return the accounts that book but do not refuse: none when all caps are enforced."""
        if self.enforces_all:
            return ()
        return [name for name in context.path if self.mode_of(name, context) != "enforce"]

    def mode_of(self, account: str, context: Context) -> Mode:
        """Return the mode of an account in a call's path."""
        kind = _account_kind(kind_of(account))
        return self.config.mode_for(kind, context.customer, context.team)

    def reconfigure(self, config: str | os.PathLike[str] | Mapping[str, Any] | None = None) -> None:
        """Take another configuration; live sessions go on under it.

        Modes, policies, prices and the budgets of customers and teams apply from the next call;
        ceilings, envelopes and max_cost of what is open stay as they were opened. Without `config`
        SPENDTREE_CONFIG is read again. Raises ConfigurationError, and leaves all as it was.
        """
        found = load_config(_given_or_named(config))
        if found.order is None and self.config.has_budgets:
            found = replace(found, dated=self._dated(found))
        self._configure(found)
        for session in list(self._sessions):
            session.reconfigured()

    def _dated(self, config: Config) -> Version | None:
        """Return of which time a mapping is that replaces another configuration here.

        Where it changes what its customers and teams may spend it is of now: this process says so
        now. What it says at its start may be older than what others say.
        """
        before = self.config.version or self.config.dated
        if config.has_same_budgets(self.config):
            return self.config.dated
        now = of_time(self.clock(), "given in code at")
        least = before.order + 1 if before is not None and not before.is_stated else now.order
        return now._replace(order=max(now.order, least))

    def newest_budget(self, at: int) -> int:
        """Return `Store.newest_budget` as it was less than LOOK_US ago; `at` is now."""
        number, looked = self._newest_budget
        if not looked <= at < looked + LOOK_US:
            number = self.store.newest_budget()
            self._newest_budget = number, at
        return number

    def _configure(self, config: Config) -> None:
        self.config = config
        self.prices = PriceBook(config.prices)
        own = [*config.customers.values(), *config.teams.values()]
        self.enforces_all = (
            config.mode == "enforce"
            and not config.modes
            and all(payer.mode in (None, "enforce") for payer in own)
        )

    def session_opened(self, session: Session) -> None:
        """Remember an open session of this process."""
        self._sessions.add(session)

    def session_closed(self, session: Session) -> None:
        """Forget a session of this process."""
        self._sessions.discard(session)

    def name_of(self, account: str, context: Context) -> str:
        """Return what a person calls an account that a context of its session is charged to."""
        if kind_of(account) == "run" and account != f"run/{context.run}":
            for known, _ in self.store.accounts_named([account]):
                return known.agent
        return account_name(account, context)

    def finish(self, event: Event, scope: Scope | None = None) -> Event:
        """End a hold by its event, now or later; return it as it is recorded: a cost may be capped.

        Never raises over a store that fails: a response that was paid for comes first. What comes
        from elsewhere meanwhile (Ctrl-C, a time limit) is raised, and the end is made later.
        """
        try:
            finished = self._finished(event, scope)
            if finished is None:
                self.unsettled.append(event)
                return event
        except BaseException:
            self.unsettled.append(event)
            raise
        if self.unsettled or self.delayed:
            self.retry_unsettled(RETRY_SECONDS)
        return finished

    def _finished(self, event: Event, scope: Scope | None = None) -> Event | None:
        """End a hold by its event and return it as recorded; None if that must be tried again."""
        try:
            if event.kind == Kind.LAPSE:
                settlement = self.store.lapse(event.id, event)
            else:
                settlement = self.store.settle(event.id, event.cost, event)
        except StoreUnavailableError as error:
            self._failure = error
            is_brief = isinstance(error, EnteredError | StoreBusyError)
            if not is_brief and event not in self.unsettled:
                log.warning(
                    "a call could not be settled and will be again, its hold stays: %s", error
                )
            return None
        except Exception as error:
            if not _is_our_own(error):
                raise
            log.exception("a call could not be settled, its hold stays")
        else:
            session = None if scope is None else scope._session
            if session is not None and session.telling.active:
                session.telling.after(settlement.warned)
            if settlement.cost != event.cost:
                event = event._replace(cost=settlement.cost)
        if self.lines.by_account:
            self.lines.wake(event.context.path)
        return event

    def finish_again(self, event: Event) -> None:
        """End a hold whose end was interrupted: nobody knows how far it came."""
        self.unsettled.append(event)
        self.retry_unsettled()

    def give_back(self, event: Event) -> None:
        """End a hold as not billed, if it was made at all before its call was interrupted."""
        self.delayed.append(lambda: self._void(event))
        self.retry_unsettled()

    def _void(self, event: Event) -> None:
        try:
            self.store.void(event.id, event)
        except StoreUnavailableError as error:
            self.end_later(lambda: self._void(event), error)
        except LedgerConflictError:
            pass  # it was not made, or has ended
        except StoreError as error:
            log.warning("the hold of a call that was never made was not given back: %s", error)
        if self.lines.by_account:
            self.lines.wake(event.context.path)

    def served_as(self, request: Request, asked: tuple[str, ...], served: tuple[str, ...]) -> None:
        """Remember how a call was served that left it to the provider: the next may be, too."""
        if asked and not all(map(is_region, asked)):
            return
        tiers = tuple(name for name in served if not is_region(name))
        if tiers:
            if len(self.served_lately) >= SERVED_MAX:
                self.served_lately.clear()
            self.served_lately[request[:2]] = tiers
        else:
            self.served_lately.pop(request[:2], None)

    def money_moved(self, accounts: Sequence[str], session: Session) -> None:
        """Wake who waits for these accounts, and tell of marks that are reached now."""
        if self.lines:
            self.lines.wake(accounts)
        session.telling.after(True)

    def transfer(
        self,
        session: Session,
        source: str | Agent,
        target: str | Agent,
        amount: Money,
        reason: str,
    ) -> None:
        """Move unused money within a session; see `Session.transfer`."""
        transfers.transfer(self, session, source, target, amount, reason)

    def reallocate(self, call: Call, denial: Denial) -> bool:
        """Give the refusing account what finished agents of its session left."""
        return transfers.reallocate(self, call, denial)

    def worst_case(
        self, model: str, provider: str, input_tokens: int, max_output_tokens: int
    ) -> Decimal:
        """Return the most dollars that a call can cost; UnknownPriceError without a price."""
        sheet = self.prices.sheet(model, provider)
        if sheet is None:
            raise UnknownPriceError(model=model, provider=provider)
        return to_usd(sheet.worst(input_tokens, max_output_tokens, self.now()))

    def now(self) -> int:
        """Return the microseconds since 1970 UTC; ClockError for what cannot be recorded."""
        ns = self.clock()
        if not 0 <= ns < CLOCK_END:
            raise clock_error(ns)
        return ns // 1000

    def moment(self, earliest: int = 0) -> int:
        """Return the microseconds since 1970 UTC, for what is recorded whatever the clock says.

        Never before `earliest`, the beginning of what ends now.
        """
        return recordable(self.clock() // 1000, earliest)

    def input_cost(self, request: Request, tokens: int, at: int) -> int | None:
        """Return what a model charges to read so many tokens, None if that is not known."""
        sheet = self.prices.sheet(request.model, request.provider) if request.model else None
        return None if sheet is None else min(sheet.cost(Usage(tokens, 0), at), PICO_MAX)

    def count_tokens(self, text: str) -> int:
        """Return the tokens of a text: the tokenizer's count, else about a token each 4 bytes."""
        if self.tokenizer is not None:
            return self.tokenizer(text)
        return -(-len(text.encode("utf-8", "surrogatepass")) // 4)

    def retry_unsettled(self, seconds: float = math.inf) -> None:
        """Settle with the same ids what could not be settled before, and end what is to end.

        For so long at most: who makes a call should not wait for many others. Each stays in its
        list until it is done, since an exception may come at any moment; done twice is done once.
        """
        until, delayed = time.monotonic() + seconds, self.delayed
        if self.settle_again(until):
            for _ in range(len(delayed)):
                if time.monotonic() > until or not self._is_ended(delayed):
                    return

    def settle_again(self, until: float = math.inf) -> bool:
        """Settle what could not be settled before, until a time; tell whether the store works."""
        unsettled = self.unsettled
        while unsettled and time.monotonic() < until:
            event = unsettled[0]
            if self._finished(event) is None:
                return False  # do not wait for each
            with suppress(ValueError):  # another thread was quicker
                unsettled.remove(event)
        return True

    @staticmethod
    def _is_ended(delayed: deque[Callable[[], None]]) -> bool:
        """Do the first thing that waits to be ended; False if that must be tried again."""
        with suppress(IndexError, ValueError):  # another thread was quicker
            first, waiting = delayed[0], len(delayed)
            first()
            delayed.remove(first)
            return len(delayed) < waiting
        return True

    async def settled(self) -> None:
        """Wait, without its loop, until a busy store has taken what has ended here.

        Not for longer than that is worth waiting for; the next call tries again.
        """
        pauses = Pauses()
        while self.unsettled or self.delayed:
            if not isinstance(self._failure, StoreBusyError) or not await pauses.again():
                return
            with AWAITING:
                self.retry_unsettled(RETRY_SECONDS)

    def _insist(self, seconds: float) -> None:
        """Settle what could not be settled, trying as often as a store that was busy admits."""
        until = time.monotonic() + seconds
        self.retry_unsettled()
        while (self.unsettled or self.delayed) and time.monotonic() < until:
            time.sleep(INSIST_EVERY_SECONDS)
            self.retry_unsettled()

    def at_exit(self) -> None:
        """Try once more to settle what could not be settled."""
        sqlite: Any = sys.modules.get("spendtree.store.database")
        if sqlite is not None:  # no verb may keep the process from ending for longer
            sqlite.BUSY_SECONDS = min(sqlite.BUSY_SECONDS, EXIT_SECONDS)
        self._insist(EXIT_SECONDS)
        if self.unsettled:
            log.warning("%d calls are left unsettled: their holds lapse", len(self.unsettled))

    def record(self, event: Event) -> None:
        """Record an event that moves no money, now or later; a store that fails is logged."""
        self.do_now_or_later(lambda: self.store.append(event), "an event could not be recorded: %s")

    def do_now_or_later(self, end: Callable[[], object], failed: str) -> None:
        """Do what may be done twice; again later if the store fails or an exception comes."""

        def again() -> None:
            self.do_now_or_later(end, "")  # it has been said once

        try:
            end()
        except StoreUnavailableError as error:
            self.end_later(again, error)
            if failed and not isinstance(error, EnteredError | StoreBusyError):
                log.warning(failed, error)
        except StoreError as error:
            log.warning(failed or "what had to wait could not be recorded: %s", error)
        except BaseException as error:
            if not _is_our_own(error):
                self.delayed.append(again)
            raise

    def end_later(self, end: Callable[[], None], error: StoreUnavailableError) -> None:
        """Keep an end for when the store works again, unless too many wait for that."""
        self._failure = error
        if len(self.delayed) < DELAYED_MAX:
            self.delayed.append(end)

    def goes_on_without(self, error: StoreError) -> None:
        """Say that a session or a run goes on although its start could not be recorded."""
        log.warning("a scope goes on unrecorded, since no cap is enforced on it: %s", error)

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
        return self.store.lapse_abandoned(now=self.moment(), idle=idle)

    def unattributed(self, what: str, otherwise: str) -> str:
        """Return why `what` is done outside any session; see `attribution.unattributed`."""
        return attribution.unattributed(self, what, otherwise)

    def after_fork_in_child(self) -> None:
        """Leave the parent's waiters and settlements to the parent."""
        self.lines = Lines()
        self.unsettled = []
        self.delayed = deque()


def _account_kind(kind: str) -> AccountKind:
    return cast("AccountKind", kind)


def _given_or_named(
    config: str | os.PathLike[str] | Mapping[str, Any] | None,
) -> str | os.PathLike[str] | Mapping[str, Any] | None:
    return (os.environ.get("SPENDTREE_CONFIG") or None) if config is None else config


def _is_our_own(error: BaseException) -> bool:
    """Tell whether an error is ours: a mistake of this code, or what it says of the store.

    All else comes from a signal's handler or from another thread, and is not ours to keep quiet.
    """
    if isinstance(error, SpendtreeError):
        return True
    builtin = type(error).__module__ == "builtins" and isinstance(error, Exception)
    return builtin and not isinstance(error, TimeoutError | InterruptedError)
