"""Sessions and their routing cycles."""

from collections.abc import Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from spendtree import account as rules
from spendtree import starting
from spendtree.account import Account, kind_of
from spendtree.errors import (
    BudgetExceededError,
    LedgerConflictError,
    ScopeError,
    StoreUnavailableError,
)
from spendtree.event import LOST_THREAD, Context, Event, Kind, derived_id
from spendtree.ids import new_id
from spendtree.money import Money, to_usd
from spendtree.scope.base import Scope
from spendtree.scope.budgets import NEVER, Budgets
from spendtree.scope.current import current_of
from spendtree.scope.options import OnWarning, SessionOptions, text
from spendtree.scope.status import reason, session_status
from spendtree.scope.telling import Telling
from spendtree.store.locks import Lock, ProcessLock
from spendtree.store.owner import Owner

if TYPE_CHECKING:
    from spendtree.scope.agent import Agent
    from spendtree.tracker import Spendtree
    from spendtree.tree import SessionTree


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
        warn_at: Sequence[Money] | None = None,
        on_warning: OnWarning | None = None,
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
            "warn_at": warn_at,
            "on_warning": on_warning,
        }
        settings = tracker.config.session
        self._given_id = id
        self.id = text("session id", id) if id is not None else new_id().hex()
        self._customer = None if customer is None else text("customer", customer)
        self._team = None if team is None else text("team", team)
        self._ceiling = tracker.amount(ceiling, "ceiling", default=settings.ceiling_usd)
        self._expected = tracker.amount(expected_usd, "expected_usd")
        self._auto = cycles == "auto"
        self._marks = None if warn_at is None else tracker.marks(warn_at)
        self.telling = Telling(self, on_warning)
        self._budgets = Budgets(tracker, ())
        self._charged: tuple[str, ...] = ()
        """Its own account, once that is open."""
        self._locks = ProcessLock()
        self._opening: Event | None = None
        self._ending: Event | None = None
        self._cycle = 1
        self._cycles_opened = 0
        self._run_failed = False
        self._end_id = new_id()
        """Of the event of its end, where the session had ended before and was continued here."""
        self._end_times: set[int] = set()
        self._shared = False
        self._continues = False
        self._envelopes: set[str] = set()
        self.lost = False
        """Whether it is that of an agent in a thread that lost the session it was meant for."""
        self.can_be_lost = True
        """Whether what other threads do outside any session may have been meant for it."""
        self.ceiling_stands = False
        self.is_capped = False
        """Whether its ceiling, or a budget of its customer or team, stands."""
        self.period_begin = 0
        self.period_end = NEVER
        """From and up to which microsecond its budget periods are the ones that stand open: of a
        clock that went back, an earlier period's accounts are charged again."""
        self.era = 0
        self.inbox: dict[bytes, int] = {}
        """By message, the tokens of what was delivered here and no call has read yet."""

    @property
    def _lock(self) -> Lock:
        return self._locks.here

    def _again(self) -> "Session":
        return Session(self._tracker, self._given_id, **self._options)

    def _open(self) -> None:
        tracker, at = self._tracker, self._tracker.now()
        self._session = self
        self._follows = self if self._auto else None
        self.context = Context(self.id, self._customer or "", self._team or "")
        # The same one where it opens again, after the store was busy: what is known is its own.
        known = self._opening
        self._opening = known or Event(
            0,
            Kind.SESSION_OPENED,
            at,
            derived_id("session", self.id),
            self.context._replace(path=(f"session/{self.id}",)),
            data=self._opening_data(),
        )
        self._is_again = known is not None
        self._budgets = self._budgets_of(self.context)
        try:
            self._open_accounts(at)
        except StoreUnavailableError as error:
            if self._is_waited_for(error) or self._would_enforce(at):
                raise
            self.period_end = 0  # the next call tries again
            tracker.goes_on_without(error)
        tracker.session_opened(self)
        try:
            self._check_start()
        except BudgetExceededError as error:
            self._shared = self._shared or self._continues
            self._close(error)  # what was opened just now must not stay open in the log
            raise

    def _check_start(self) -> None:
        """Raise the budget's error if there is not enough left to start with."""
        least = self._tracker.config.session.min_cost_usd
        amount = self._tracker.amount(None, "min_cost", default=least)
        starting.check_money_left(self._tracker, self, least=amount or 0)

    def _open_accounts(self, at: int) -> None:
        """Open the session and its budgets in the store, or what of it is not open yet."""
        if not self._charged:
            self._open_own()
        self._budgets.roll(at, self.context, self.marks_of)
        self.is_capped = self.ceiling_stands or bool(self._budgets.accounts)
        self.period_end = self._budgets.end
        self.period_begin = self._budgets.begin
        self.era += 1
        self.context = self.charged_now(self.context)

    def _open_own(self) -> None:
        """Open the session's account, or go on with it as it stands."""
        store = self._tracker.store
        account = rules.session_account(self.id, self._customer or "", self._team or "")
        marks = {account.id: self.marks_of(account)}
        opening = self._opening
        assert opening is not None
        opened = store.open([(account, self._ceiling)], opening, marks=marks)
        fresh = opened.fresh or (self._is_again and _is_same(opened.event, opening))
        if not fresh:
            self._continue(opened.event)
        balance = store.balance(account.id)
        self.ceiling_stands = balance is not None and balance.cap is not None
        self._continues = not fresh
        known = opened.event.context
        self.context = known._replace(cycle=self._cycle)
        self._budgets = self._budgets_of(known)
        self._charged = (account.id,)

    def _budgets_of(self, context: Context) -> Budgets:
        return Budgets(self._tracker, (("customer", context.customer), ("team", context.team)))

    def _would_enforce(self, at: int) -> bool:
        """Tell whether a cap of this session would be enforced if the store were in reach."""
        accounts, _ = self._budgets.due(at)
        own = [] if self._ceiling is None else [f"session/{self.id}"]
        names = [*own, *(account.id for account, _ in accounts)]
        return any(self._tracker.mode_of(name, self.context) == "enforce" for name in names)

    def _opening_data(self) -> dict[str, object]:
        data = {
            "ceiling": self._ceiling,
            "expected": self._expected,
            "auto": self._auto or None,
            "opener": str(self._tracker.store.owner()),
            "unattributed": LOST_THREAD if self.lost else None,
        }
        return {key: value for key, value in data.items() if value is not None}

    def _continue(self, event: Event) -> None:
        self._shared = not self._is_left(event)
        self._check_payers(event.context)
        self._count_cycles()

    def _count_cycles(self) -> None:
        """Go on with the routing cycle that the session had last."""
        cycles = [row.context.cycle for row in self._tracker.store.totals(self.id)]
        self._cycles_opened = max(cycles, default=0)
        self._cycle = max(self._cycles_opened, 1)

    def _check_payers(self, known: Context) -> None:
        """Raise ScopeError if the session that is known belongs to somebody else."""
        for what, given, stored in (
            ("customer", self._customer, known.customer),
            ("team", self._team, known.team),
        ):
            if given is not None and given != stored:
                raise ScopeError(
                    f"session {self.id!r} belongs to {what} {stored!r}, not {given!r}; "
                    "a session keeps the customer and team it was opened with"
                )

    def _is_left(self, event: Event) -> bool:
        """Tell whether nobody else is inside who will say how the session ended."""
        if self._tracker.store.find(event.id, Kind.SESSION_CLOSED) is not None:
            return True
        opener = (event.data or {}).get("opener")
        return opener is None or bool(self._tracker.store.is_dead(Owner.parse(opener)))

    def _close(self, error: BaseException | None) -> None:
        self.telling.look()
        self._tracker.session_closed(self)
        if self._shared:
            return
        # Leaving a scope never raises (rule 13).
        failed = f"the end of session {self.id} could not be recorded: %s"
        self._tracker.do_now_or_later(lambda: self._record_end(error), failed)

    def _undo_open(self, error: BaseException) -> None:
        self._tracker.session_closed(self)

        def undo() -> None:
            opening = self._opening
            known = opening and self._tracker.store.find(opening.id, Kind.SESSION_OPENED)
            if opening and known and _is_same(known, opening):
                self._record_end(error)

        failed = f"session {self.id} was interrupted and could not be closed: %s"
        self._tracker.do_now_or_later(undo, failed)

    def _record_end(self, error: BaseException | None) -> None:
        store = self._tracker.store
        if not self._charged:
            self._open_accounts(self._tracker.moment())
        self._tracker.settle_again()
        known = self._ending and store.find(self._ending.id, Kind.SESSION_CLOSED)
        if self._ending and known and _is_same(known, self._ending):
            return  # it was recorded before an exception came
        rows = store.totals(self.id)
        self._ending = event = Event(
            0,
            Kind.SESSION_CLOSED,
            self._tracker.moment(self._opening.at if self._opening else 0),
            derived_id("session", self.id),
            self.context,
            cost=sum(row.cost for row in rows),
            input_tokens=sum(row.input_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            cache_read_tokens=sum(row.cache_read_tokens for row in rows),
            cache_write_tokens=sum(row.cache_write_tokens for row in rows),
            status=session_status(error, self._failure),
            data=reason(error, self._failure),
        )
        self._end_times.add(event.at)
        if store.find(event.id, event.kind) is None:
            with suppress(LedgerConflictError):  # somebody else ended it just now
                if store.append(event):
                    return
        first = store.find(event.id, event.kind)
        if first is not None and first.at in self._end_times:
            return  # another thread, which tried again what this one does, was quicker
        data = {**(event.data or {}), "continued": True}
        self._ending = event._replace(id=self._end_id, data=data)
        with suppress(LedgerConflictError):  # the same, with another time
            store.append(self._ending)

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
        if account in self._envelopes:
            return True
        # Asked of the store too: another process of this session may have opened it.
        with suppress(StoreUnavailableError):  # opening the run finds out whether that matters
            return self._tracker.store.balance(account) is not None
        return False

    def envelope_opened(self, account: str) -> None:
        """Remember a role's envelope for later runs of the role."""
        self._envelopes.add(account)

    # Money.

    def roll(self, at: int) -> None:
        """Charge the budget periods that `at` is in, if they are others than those of before."""
        with self._lock:
            if not self.period_begin <= at < self.period_end:
                self._open_accounts(at)

    def reconfigured(self) -> None:
        """Look at the budgets again at the next call: the configuration has changed."""
        self.period_end = 0

    def charged_now(self, context: Context) -> Context:
        """Return a context of this session charged to the budget periods of now."""
        payers = tuple(account.id for account, _ in self._budgets.accounts)
        rest = tuple(a for a in context.path if kind_of(a) in ("envelope", "run"))
        _, customer, team, *_ = self.context
        return context._replace(customer=customer, team=team, path=payers + self._charged + rest)

    def marks_of(self, account: Account) -> tuple[int, ...]:
        """Return the warning marks of an account of this session."""
        if self._marks is not None and account.kind not in ("customer", "team"):
            return self._marks
        name = account.agent or (account.customer if account.kind == "customer" else account.team)
        return self._tracker.configured_marks(account.kind, name)

    def set_ceiling(self, ceiling: Money | None) -> None:
        """Raise or lower the session's ceiling (dollars; None: no ceiling) while it runs.

        Below what is spent already, the session is exhausted. Raises StoreError.
        """
        if not self._opened:
            raise ScopeError("a ceiling is set on an open session: enter it first")
        cap = self._tracker.amount(ceiling, "ceiling")
        at = self._tracker.now()
        account, id = f"session/{self.id}", new_id()
        data = {"account": account, "kind": "session", "reason": "set_ceiling"}
        event = Event(0, Kind.CAP_CHANGED, at, id, self.context_now(at), cost=cap, data=data)
        self._tracker.store.set_cap(id, account, cap, event)
        self.ceiling_stands = cap is not None
        self.is_capped = self.ceiling_stands or bool(self._budgets.accounts)
        self._tracker.money_moved((account,), self)

    def finds_ceiling(self) -> bool:
        """Tell whether a ceiling stands, also one that another holder of the session has set."""
        if not self.ceiling_stands:
            with suppress(StoreUnavailableError):  # the hold finds out whether that matters
                balance = self._tracker.store.balance(f"session/{self.id}")
                if balance is not None and balance.cap is not None:
                    self.ceiling_stands = self.is_capped = True
        return self.ceiling_stands

    def transfer(
        self, source: "str | Agent", target: "str | Agent", amount: Money, reason: str = ""
    ) -> None:
        """Move unused money between envelopes (by role) and runs with a max_cost of this session.

        Raises TransferError, saying why, when the source has not that much free.
        """
        self._tracker.transfer(self, source, target, amount, reason)

    # Leaving.

    async def _told(self) -> None:
        await self.telling.told()

    # Figures.

    def tree(self) -> "SessionTree":
        """Return the cost tree as the store knows it now."""
        return self._tracker.tree(self.id)

    def breakdown(self) -> dict[str, Decimal]:
        """Return the dollars that each agent itself has spent so far; "" is outside any agent."""
        return self._tracker.breakdown(self.id)

    def remaining(self) -> Decimal | None:
        """Return the dollars of the ceiling that are free now, None without a ceiling."""
        balance = self._tracker.store.balance(f"session/{self.id}")
        free = None if balance is None else balance.free
        return None if free is None else to_usd(free)


class Cycle(Scope):
    """One attempt of the coordinator's routing; the outermost open cycle counts."""

    fixes_cycle = True

    def _again(self) -> "Cycle":
        return Cycle(self._tracker, self.parent)

    def _open(self) -> None:
        here = current_of(self._tracker)
        if here is not None and self.parent in (None, here.session):
            self.parent = here  # session.cycle() inside an agent: that agent's attempt
        if self.parent is None:
            raise ScopeError("a routing cycle belongs to a session: open one first")
        self._session, self._run = self.parent.session, self.parent.run
        self._era = self.parent._era
        self._has_caps, self._passes_caps = self.parent._has_caps, self.parent._passes_caps
        before = self.parent.context
        inner = in_cycle(self.parent)
        number = before.cycle if inner else self._session.next_cycle()
        self.context = before._replace(cycle=number)

    def _close(self, error: BaseException | None) -> None:
        """Nothing is recorded: the spend of a cycle is that of its calls."""


def _is_same(known: Event, own: Event) -> bool:
    """Tell whether an event that the store knows is this one, by its time and what it says."""
    return (known.at, known.status, known.data) == (own.at, own.status, own.data)


def in_cycle(scope: Scope | None) -> bool:
    """Tell whether an explicit cycle around a scope fixes the cycle of what opens below."""
    while scope is not None and not isinstance(scope, Session):
        if scope.fixes_cycle:
            return True
        scope = scope.parent
    return False
