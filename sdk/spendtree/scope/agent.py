"""Agent runs: one spawn of a role, its envelope, its max_cost, and what it hands up."""

import logging
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from spendtree import account as rules
from spendtree import starting
from spendtree.account import Account, kind_of
from spendtree.bound import Learned
from spendtree.config import ContractSettings
from spendtree.contract import Contract, check
from spendtree.denial import own_accounts
from spendtree.errors import (
    ContractError,
    ScopeError,
    SkippedError,
    StoreError,
    StoreUnavailableError,
    UsageError,
)
from spendtree.event import LOST_THREAD, Context, Event, Kind, Request
from spendtree.ids import new_id
from spendtree.money import PICO_MAX, Money
from spendtree.scope.base import Scope
from spendtree.scope.current import current_of
from spendtree.scope.options import AgentOptions, text
from spendtree.scope.session import Session, in_cycle
from spendtree.scope.status import budget_errors, reason, run_status
from spendtree.store.locks import Lock, ProcessLock
from spendtree.store.protocol import Reservation
from spendtree.usage import Usage
from spendtree.waiting import in_worker

if TYPE_CHECKING:
    from spendtree.tracker import Spendtree

log = logging.getLogger("spendtree")

SUMMED_AT = 256
"""Ended calls that a run keeps before it adds them up."""

NO_SUMS = (0, 0, 0, 0, 0)


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
        reserved: bool | None = None,
        min_cost: Money | None = None,
        max_output_tokens: int | None = None,
        on_exhausted: str | None = None,
        optional: bool = False,
    ) -> None:
        super().__init__(tracker, parent)
        self._options: AgentOptions = {
            "task_id": task_id,
            "task": task,
            "envelope": envelope,
            "max_cost": max_cost,
            "reserved": reserved,
            "min_cost": min_cost,
            "max_output_tokens": max_output_tokens,
            "on_exhausted": on_exhausted,
            "optional": optional,
        }
        settings = tracker.config.agent(name)
        self.name = text("agent", name)
        if not name:
            raise ScopeError('an agent needs a name, like "researcher"')
        self.task_id = text("task_id", task_id)
        self.task = task
        if max_output_tokens is not None and max_output_tokens < 1:
            raise ScopeError(f"max_output_tokens={max_output_tokens}: give 1 or more, or None")
        self.max_output_tokens = max_output_tokens or settings.max_output_tokens
        self.on_exhausted = on_exhausted or settings.on_exhausted
        if self.on_exhausted not in ("raise", "skip"):
            raise ScopeError(f'on_exhausted={on_exhausted!r}: give "raise" or "skip"')
        self.optional = optional
        self.min_cost = tracker.amount(
            min_cost, "min_cost", default=tracker.config.min_cost_for(name)
        )
        self._envelope = tracker.amount(envelope, "envelope", default=settings.envelope_usd)
        self._max_cost = tracker.amount(max_cost, "max_cost", default=settings.max_cost_usd)
        self._reserves = settings.reserved if reserved is None else reserved
        self._contract = settings.contract
        self._id = b""
        self._began = 0
        self._implicit: Session | None = None
        self._reservation: Reservation | None = None
        self._wanted: Reservation | None = None
        """What it reserves, before that is granted."""
        self._closed: Event | None = None
        self._sums: tuple[Sequence[int], Event | None] = (NO_SUMS, None)
        """Those of the calls up to one, which may still be in the list of ended ones."""
        self._ended: list[Event] = []
        self._handed_out = False
        self._locks = ProcessLock()
        self.last_request: Request | None = None
        self.learned: dict[str, Learned] = {}
        self.inbox: dict[bytes, int] = {}
        """By message, the tokens of what was delivered here and no call has read yet."""

    @property
    def _lock(self) -> Lock:
        return self._locks.here

    def _again(self) -> "Agent":
        return Agent(self._tracker, self.parent, self.name, **self._options)

    @property
    def id(self) -> str:
        """Return the run's id, as 32 hexadecimal digits; "" before it is opened."""
        return self._id.hex()

    def _open(self) -> None:
        if self.parent is None:
            self.parent = current_of(self._tracker)
        if self.parent is None:
            # Nothing is lost when somebody forgets the session: this run is one of its own.
            implicit = self._own_session()
            implicit._is_patient = self._is_patient
            self._implicit = implicit  # before it opens: whatever comes in between closes it
            self.parent = implicit.open()
        try:
            self._open_below(self.parent)
        except BaseException as error:
            waits = isinstance(error, StoreUnavailableError) and self._is_waited_for(error)
            if self._implicit is not None and not waits:
                self._implicit.close(error)
            raise

    def _own_session(self) -> Session:
        """Return a session for a run outside any: under the configured limits, as every session.

        In a thread that lost another one its calls are recorded as lost: no ceiling but this one's
        stops them, and which session they were meant for nobody can say.
        """
        reason = self._tracker.unattributed(
            f"agent {self.name!r}",
            "it starts a session of its own, under the configured limits and not under the "
            "ceiling of the session that it was meant for",
        )
        session = self._tracker.session()
        session.lost = reason == LOST_THREAD
        session.can_be_lost = not in_worker()
        return session

    def _leaves_bare(self) -> bool:
        """Tell whether its thread is as if it had never had a scope: the next one is lost, too."""
        return self._implicit is not None

    def _undo_open(self, error: BaseException) -> None:
        if self._id:
            undone = self._closing(error)
            starting.undo_run(self._tracker, undone, self._wanted)
        if self._implicit is not None:
            self._implicit.close(error)

    def _open_below(self, parent: Scope) -> None:
        self._began = at = self._tracker.now()
        session, around, before = parent.session, parent.run, parent.context_or_last(at)
        self._id = new_id(at * 1000)
        self._session, self._run, self._era = session, self, session.era
        cycle = before.cycle
        if session.auto_cycles and before.level < 2 and not in_cycle(parent):
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
            path=(*_inherited(before), *(account.id for account, _ in accounts)),
        )
        self._has_caps = parent._passes_caps or bool(accounts)
        self._passes_caps = parent._passes_caps or self._max_cost is not None
        self._wanted = reservation = self._wanted_reservation()
        marks = {account.id: session.marks_of(account) for account, _ in accounts}
        data = self._opening_data()
        try:
            self._reservation = starting.open_run(
                self._tracker, self, accounts, at, data, marks, reservation
            )
        except StoreUnavailableError as error:
            if self._is_waited_for(error) or self.enforces(self.context):
                raise
            # Its accounts do not stand, so its calls must not name them.
            self.context = self.context._replace(path=_inherited(before))
            self._has_caps = self._passes_caps = parent._passes_caps
            self._tracker.goes_on_without(error)
        else:
            for account, _ in accounts:
                session.envelope_opened(account.id)

    def _wanted_reservation(self) -> Reservation | None:
        if not self._reserves:
            return None
        envelopes = [name for name in self.context.path if kind_of(name) == "envelope"]
        if not envelopes:
            raise ScopeError(f"agent {self.name!r}: reserved=True needs an envelope to reserve")
        return Reservation(f"session/{self.context.session}", envelopes[0])

    def _accounts(self, parent: Scope) -> list[tuple[Account, int | None]]:
        """Return the accounts that this run adds to its path: envelope, then its own."""
        who = parent.context
        accounts: list[tuple[Account, int | None]] = []
        envelope = rules.envelope_account(who.session, self.name, who.customer, who.team)
        if self._envelope is not None or parent.session.has_envelope(envelope.id):
            accounts.append((envelope, self._envelope))
        if self._max_cost is not None:
            own = rules.run_account(who.session, self.name, self.id, who.customer, who.team)
            accounts.append((own, self._max_cost))
        return accounts

    def _opening_data(self) -> dict[str, Any] | None:
        data = {
            "task": self.task,
            "envelope": self._envelope,
            "max_cost": self._max_cost,
            "reserved": self._reserves or None,
        }
        return {key: value for key, value in data.items() if value not in ("", None)} or None

    def _close(self, error: BaseException | None) -> None:
        if run_status(error, self._failure) != "succeeded":
            self.session.run_failed()
        if self._closed is None:  # else an exception has come: it is the same run that ends
            self._closed = self._closing(error)
        starting.close_run(self._tracker, self._closed, self._reservation)
        if self._implicit is not None:
            self._implicit._failure = self._failure
            self._implicit.close(error)

    def _closing(self, error: BaseException | None) -> Event:
        """Return the event of this run's end."""
        cost, inputs, outputs, reads, writes = self._final_sums()
        return Event(
            0,
            Kind.RUN_CLOSED,
            self._tracker.moment(self._began),
            self._id,
            self.context,
            cost=min(cost, PICO_MAX),
            input_tokens=inputs,
            output_tokens=outputs,
            cache_read_tokens=reads,
            cache_write_tokens=writes,
            status=run_status(error, self._failure),
            data=reason(error, self._failure),
        )

    def _swallows(self, error: BaseException | None) -> bool:
        """Let a run end quietly whose own money is gone, if on_exhausted is "skip".

        What an account above it refuses goes up to whose account it is.
        """
        if self.on_exhausted != "skip":
            return False
        errors = budget_errors(error)
        own = own_accounts(self.context)
        return bool(errors) and all(
            each.account in own or isinstance(each, SkippedError) for each in errors
        )

    def learn(self, model: str, asked: Learned, usage: Usage) -> None:
        """Remember what a model counted for what was asked: it bounds the conversation's next."""
        self.learned[model] = asked._replace(tokens=usage.total_tokens)

    # Handing up.

    def deliver(
        self,
        result: str | int,
        *,
        tokens: int | None = None,
        model: str = "",
        provider: str = "",
    ) -> str:
        """Hand this run's result, a text or its number of tokens, to the agent that spawned it.

        Records a message priced at the receiver's input price (of `model`, else of the receiver's
        last model), since what it reads is cost moved to it. `tokens` are the text's, if known;
        else they are counted (`Spendtree(tokenizer=…)`) or estimated. Returns the text to pass on,
        cut if the role's contract says truncate. Raises ContractError if it says refuse.
        """
        count = self._tracker.count_tokens
        content = result if isinstance(result, str) else None
        size = result if isinstance(result, int) else tokens
        if size is None:
            size = count(content or "")
        if not self._opened:
            raise ScopeError("a run delivers while it is open: enter it first")
        if size < 0:
            raise UsageError(f"a result of {size} tokens cannot be delivered; give 0 or more")
        verdict = check(_contract(self._contract), content, size, count)
        violation = {"kind": verdict.violation, "excess": verdict.excess_tokens}
        delivered = 0 if verdict.refused else verdict.tokens
        receiver = self.parent.run if self.parent is not None else None
        request = self._read_with(receiver, model, provider)
        target = receiver.name if receiver is not None else ""
        data = {"target": target, **({"violation": violation} if verdict.violation else {})}
        at, id = self._tracker.moment(self._began), new_id()
        self._tracker.record(
            Event(
                0,
                Kind.MESSAGE,
                at,
                id,
                self.context_or_last(at),
                request,
                self._tracker.input_cost(request, delivered, at),
                input_tokens=delivered,
                started=at,
                data=data,
            )
        )
        if verdict.refused:
            raise ContractError(
                f"the result of agent {self.name!r} has {size} tokens, {verdict.excess_tokens} "
                f"{'over the most' if verdict.violation == 'max' else 'under the least'} that its "
                "contract allows; nothing was delivered"
            )
        (receiver or self.session).inbox[id] = delivered
        return verdict.text or ""

    def _read_with(self, receiver: "Agent | None", model: str, provider: str) -> Request:
        if not model and receiver is not None and receiver.last_request is not None:
            return receiver.last_request._replace(purpose="message")
        return Request(provider, model, "message")

    def add(self, event: Event) -> None:
        """Add a call to the sums that the run's end states."""
        ended = self._ended
        ended.append(event)  # atomic, where adding to sums would need the lock each time
        # Not waited for: a garbage collection may have interrupted the summing in this thread.
        if len(ended) >= SUMMED_AT and self._lock.acquire(blocking=False):
            self._lock.release()
            self._sum_up()

    def handed_out(self) -> None:
        """Note that another process may go on with this run: its calls are not counted here."""
        self._handed_out = True

    def _final_sums(self) -> Sequence[int]:
        """Return what the run's end states, with what other processes have spent as this run."""
        if self._handed_out:
            self._tracker.settle_again()
            try:
                return self._sums_in_store()
            except StoreError as error:
                log.warning("what others spent as run %s is not known: %s", self.id, error)
        return self._sum_up()

    def _sums_in_store(self) -> list[int]:
        rows = self._tracker.store.totals(self.session.id)
        own = [row for row in rows if row.context.run == self.id]
        return [
            sum(row.cost for row in own),
            sum(row.input_tokens for row in own),
            sum(row.output_tokens for row in own),
            sum(row.cache_read_tokens for row in own),
            sum(row.cache_write_tokens for row in own),
        ]

    def _sum_up(self) -> Sequence[int]:
        if os.getpid() != self._pid:
            return self._sums[0]  # a forked child states no sums
        with self._lock:
            sums, last = self._sums
            events = self._ended[:]
            # Those that were added up before an exception came, which is why they are still here.
            done = next((n for n, event in enumerate(events, 1) if event is last), 0)
            for event in events[done:]:
                more = (event.cost or 0, *_tokens(event))
                sums = [a + b for a, b in zip(sums, more, strict=True)]
            if events:
                self._sums = sums, events[-1]  # at once
                del self._ended[: len(events)]
            return sums


def _tokens(event: Event) -> tuple[int, int, int, int]:
    writes = event.cache_write_tokens + event.cache_write_1h_tokens
    return event.input_tokens, event.output_tokens, event.cache_read_tokens, writes


def _inherited(context: Context) -> tuple[str, ...]:
    """Return the accounts that reach down to sub-agents: not an agent's own envelope."""
    return tuple(name for name in context.path if kind_of(name) != "envelope")


def _contract(settings: ContractSettings | None) -> Contract:
    if settings is None:
        return Contract()
    return Contract(
        min_tokens=settings.min_output_tokens,
        max_tokens=settings.max_output_tokens,
        mode=settings.mode,
    )
