"""One attempt of one provider request: hold the worst case, let it be made, settle the truth.

Sync and async differ only in how they wait for money. After the provider may have seen the
request, nothing here raises over a response that was paid for.
"""

import logging
import os
from collections.abc import Sequence
from contextvars import ContextVar
from itertools import repeat
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict

from spendtree.account import Balance, Denial, kind_of, rooms
from spendtree.bound import Learned, learn
from spendtree.bound import input_tokens as bound_input_tokens
from spendtree.config import Step
from spendtree.denial import budget_error
from spendtree.ending import not_billed
from spendtree.errors import (
    BudgetExceededError,
    ConfigurationError,
    ScopeError,
    StoreUnavailableError,
    UnknownPriceError,
    UsageError,
)
from spendtree.event import NO_CONTEXT, Context, Event, Kind, Request
from spendtree.ids import new_id
from spendtree.money import PICO_MAX, to_usd
from spendtree.policy import degrade
from spendtree.response import usage_of
from spendtree.usage import TOKENS_MAX, Usage
from spendtree.waiting import Bell, TaskBell, in_event_loop

if TYPE_CHECKING:
    from spendtree.scope import Agent, Scope
    from spendtree.tracker import Spendtree

log = logging.getLogger("spendtree")

NO_USAGE = Usage(0, 0)

_new = tuple.__new__
"""Makes a NamedTuple in half the time of its constructor: for what every call makes."""

PURPOSE: ContextVar[str] = ContextVar("spendtree_purpose", default="work")
"""Why the calls made here are made, where they do not say it themselves."""

_innermost: "ContextVar[Call | None]" = ContextVar("spendtree_call", default=None)


class CallOptions(TypedDict, total=False):
    """What a call may be made with; see `Spendtree.call`."""

    provider: str
    input_tokens: int | None
    max_output_tokens: int | None
    input: Any
    purpose: str | None
    optional: bool


class Call:
    """A call under budget; use it with `with` or `async with`, and `record` what came back.

    Entering raises BudgetExceededError, EnvelopeExhaustedError, UnknownPriceError or
    StoreUnavailableError before anything is sent. Leaving without usage presumes the worst case
    spent, unless the error says that surely nothing was billed.
    """

    # Class attributes, not set for each call: what most calls never change.
    _context: Context = NO_CONTEXT
    _capped = False
    _held = -1
    _lenient: Sequence[str] = ()
    _open = False
    _run: "Agent | None" = None
    _usage: Usage | None = None
    _void = ""
    _data: dict[str, Any] | None = None
    _asking: Learned | None = None

    def __init__(
        self,
        tracker: "Spendtree",
        scope: "Scope | None",
        model: str,
        *,
        provider: str = "",
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        input: Any = None,
        purpose: str | None = None,
        optional: bool = False,
    ) -> None:
        self.tracker = tracker
        self._scope = scope
        self._request = _new(Request, (provider, model, purpose or PURPOSE.get()))
        self._asked = input_tokens, max_output_tokens
        self.input_tokens = input_tokens
        self.max_output_tokens = max_output_tokens
        self.optional = optional
        self._input = input

    @property
    def id(self) -> str:
        """Return the call's id, as 32 hexadecimal digits; the same for its hold and its span."""
        return self._id.hex() if self._open or self._held >= 0 else ""

    @property
    def held(self) -> Any:
        """Return the dollars reserved for this call, as `Decimal`."""
        return to_usd(max(self._held, 0))

    @property
    def model(self) -> str:
        """Return the model to ask: another one than asked for where the policy fell back."""
        return self._request.model

    @property
    def provider(self) -> str:
        """Return the provider to ask, "" where none was named."""
        return self._request.provider

    @property
    def decisions(self) -> tuple[str, ...]:
        """Return what the policy did to make this call possible, in order."""
        return tuple((self._data or {}).get("decisions", ()))

    def record(self, response: Any) -> None:
        """Note what was used: a `Usage`, or a provider's response that states it.

        A later record replaces an earlier one (streams repeat their usage, cumulatively). A
        response that states none is logged, and the call settles as unmetered at its hold.
        """
        usage, problem = None, "states no usage"
        try:
            usage = response if isinstance(response, Usage) else usage_of(response)
        except UsageError as error:  # the response was paid for: it must reach the caller
            problem = f"contradicts itself ({error})"
        if usage is not None:
            self._usage = usage
        else:
            log.warning(
                "a %s response for %s %s; its worst case is presumed spent",
                type(response).__name__,
                self._request.model,
                problem,
            )

    def void(self, reason: str) -> None:
        """Say that surely nothing was billed: the hold is given back when the call ends."""
        self._void = reason or "not billed"

    # Entering.

    def __enter__(self) -> Self:
        denial = self._begin()
        if denial is not None:
            bell = Bell()
            for seconds in degrade(self, denial, bell.ring, can_wait=not in_event_loop()):
                bell.wait(seconds)
        self._token = _innermost.set(self)
        return self

    async def __aenter__(self) -> Self:
        denial = self._begin()
        if denial is not None:
            bell = TaskBell()
            waits = degrade(self, denial, bell.ring, can_wait=True)
            try:
                for seconds in waits:
                    await bell.wait(seconds)
            finally:
                waits.close()  # a cancelled task leaves the line at once
        self._token = _innermost.set(self)
        return self

    def _begin(self) -> Denial | None:
        """Price and hold; the Denial that is returned is the policy's to deal with."""
        if self._open or self._held >= 0:
            raise ScopeError("a call is made once; make a new one for each attempt")
        tracker, scope, request = self.tracker, self._scope, self._request
        ns = tracker.clock()
        self._started = started = ns // 1000
        self._id = new_id(ns)
        self._pid = os.getpid()
        outer: Call | None = _innermost.get()
        while outer is not None and not outer._open:  # ended in another task or thread
            outer = outer._outer
        self._outer: Call | None = outer
        self._sheet = tracker.prices.sheet(request.model, request.provider)
        unseen: StoreUnavailableError | None = None
        if scope is None:
            self._data = {"unattributed": tracker.why_unattributed()}
        else:
            try:
                self._context = context = scope.context_now(started)
            except StoreUnavailableError as error:
                self._context, unseen = (context := scope.context), error
            if scope.capped:
                self._capped = True
            if not tracker.enforces_all:
                self._lenient = tracker.lenient(context)
            self._run = run = scope._run
            if run is not None:
                run.last_request = request
                if run.optional:
                    self.optional = True
        self._amount = self._worst_case()
        if self._input is not None and self._run is not None:
            # Now, not at the end: the caller adds what comes next to the same list.
            self._asking = learn(self._input, NO_USAGE)
        if unseen is not None:
            self._without_store(unseen)
            return None
        if tracker.unsettled:
            tracker.retry_unsettled()
        if tracker.lines.by_account:
            account = tracker.lines.busy(self._enforced())
            if account:
                return self._behind(account)
        return self.ask()

    def _behind(self, account: str) -> Denial:
        """Queue up behind those who wait at an account, unless no wait can help."""
        for name, balance, free in self._rooms():
            if self._amount > free + balance.held:
                return Denial(name, "exhausted", self._amount, balance)
        balance = self.tracker.store.balance(account) or Balance()
        return Denial(account, "busy", self._amount, balance)

    def _enforced(self) -> list[str]:
        """Return the accounts of the path that may refuse."""
        return [name for name in self._context.path if name not in self._lenient]

    def _rooms(self) -> list[tuple[str, Balance, int]]:
        """Return the accounts that can refuse and what is free there, outermost first."""
        found = [(name, self.tracker.store.balance(name)) for name in self._context.path]
        path = [(name, balance) for name, balance in found if balance is not None]
        return [room for room in rooms(path) if room[0] not in self._lenient]

    def ask(self, floor: int | None = None) -> Denial | None:
        """Try to hold once, at least `floor` pico-dollars; None if that is done."""
        amount = self._amount
        try:
            answer = self.tracker.store.hold(
                self._id,
                self._context.path,
                amount,
                floor,
                context=self._context,
                request=self._request,
                at=self._started,
                lenient=self._lenient,
            )
        except StoreUnavailableError as error:
            self._without_store(error)
            return None
        if isinstance(answer, Denial):
            return answer
        self._held = answer.amount
        self._open = True
        if answer.over:
            self._would_deny(answer.over, amount)
        return None

    # What the steps of a policy do (see `spendtree.policy`).

    @property
    def policy(self) -> tuple[Step, ...]:
        """Return the steps that this call's role tries when there is not money enough."""
        return self.tracker.config.policy_for(self._context.agent)

    @property
    def context(self) -> Context:
        """Return who this call is charged to."""
        return self._context

    def renew(self) -> None:
        """Belong to the budget periods of now: one may have ended while the call waited."""
        scope = self._scope
        if scope is not None:
            self._context = scope.context_now(self.tracker.clock() // 1000)
            self._lenient = self.tracker.lenient(self._context)

    def ask_clamped(self, floor_tokens: int) -> Denial | None:
        """Try to hold for less output, but at least so many tokens."""
        sheet, inputs, outputs = self._sheet, self.input_tokens, self.max_output_tokens
        if sheet is None or inputs is None or outputs is None:
            return self.ask()  # nothing is known to clamp
        least = sheet.worst(inputs, min(floor_tokens, outputs), self._started)
        denial = self.ask(floor=least)
        if denial is None and 0 <= self._held < self._amount:
            fits = sheet.affordable_output_tokens(self._held, inputs, self._started)
            self.max_output_tokens = min(outputs, fits)
            self.decide(f"clamped output from {outputs} to {self.max_output_tokens} tokens")
        return denial

    def switch(self, model: str, provider: str) -> bool:
        """Ask another model from here on; False if its price is not known."""
        before, sheet_before = self._request, self._sheet
        request = before._replace(model=model, provider=provider or before.provider)
        sheet = self.tracker.prices.sheet(request.model, request.provider)
        if sheet is None or request == before:
            return False
        self._request, self._sheet = request, sheet
        try:
            self._amount = self._worst_case()
        except ConfigurationError:  # nothing bounds what it would cost
            self._request, self._sheet = before, sheet_before
            return False
        if self._run is not None:
            self._run.last_request = request
        self.decide(f"fell back from {before.model} to {model}")
        return True

    def look_again(self, denial: Denial) -> Denial | None:
        """Ask again if holds of dead processes stood in the way (rule 3)."""
        return self.ask() if self.tracker.lapse_abandoned() else denial

    def waits_for_itself(self, denial: Denial) -> bool:
        """Tell whether it could only be granted once calls around it have ended.

        Around it in the same task or thread: a task that was started inside a call may outlive it.
        """
        own, outer = 0, self._outer
        while outer is not None:
            shared = outer._open and denial.account in outer._context.path
            if shared and outer.tracker.store.id == self.tracker.store.id and outer._is_around():
                own += outer._held
            outer = outer._outer
        return own > 0 and any(
            denial.requested > free + balance.held - own
            for name, balance, free in self._rooms()
            if name == denial.account
        )

    def _is_around(self) -> bool:
        """Tell whether this call was entered in the very context that runs now.

        A token is good only in the context that made it: trying it is the test.
        """
        here = _innermost.get()
        try:
            _innermost.reset(self._token)
        except ValueError:
            return False
        self._token = _innermost.set(here)
        return True

    def waited(self, denial: Denial, seconds: float) -> None:
        """Note how long it stood in line, and at which kind of account."""
        more = {"waited_us": int(seconds * 1e6), "waited_at": kind_of(denial.account)}
        self._data = {**(self._data or {}), **more}

    def decide(self, decision: str) -> None:
        """Note what the policy did."""
        self._data = {**(self._data or {}), "decisions": [*self.decisions, decision]}

    def _worst_case(self) -> int:
        sheet, capped, run = self._sheet, self._capped, self._run
        if sheet is None:
            if capped:
                self._without_price()
            return 0
        inputs, outputs = self._asked
        if outputs is None and run is not None:
            outputs = run.max_output_tokens
        window = sheet.context_window
        if inputs is None and self._input is not None:
            learned = run.learned.get(self._request.model) if run is not None else None
            inputs = bound_input_tokens(
                self._input, tokenizer=self.tracker.tokenizer, learned=learned, window=window
            )
        if inputs is None or (window is not None and inputs > window):
            inputs = window
        if outputs is None:
            outputs = sheet.max_output_tokens or window
        if inputs is None or outputs is None:
            if capped and self._is_enforced():
                raise ConfigurationError(_unbounded(self._request.model, inputs))
            return 0
        if not (
            type(inputs) is int
            and type(outputs) is int
            and 0 <= inputs <= TOKENS_MAX
            and 0 <= outputs <= TOKENS_MAX
        ):
            # A negative bound would be a negative hold: money out of nothing.
            raise UsageError(
                f"input_tokens {inputs!r} and max_output_tokens {outputs!r} must be whole "
                f"numbers from 0 to {TOKENS_MAX}"
            )
        self.input_tokens, self.max_output_tokens = inputs, outputs
        amount = sheet.worst(inputs, outputs, self._started)
        return amount if amount <= PICO_MAX else PICO_MAX

    def _is_enforced(self) -> bool:
        """Tell whether a cap on the path refuses, as far as this process knows."""
        return self._capped and self._scope is not None and self._scope.enforces(self._context)

    def _without_price(self) -> None:
        """Rule 10: refuse under an enforced cap; elsewhere tell what enforcing would refuse."""
        event = self._denied_event("unknown_price", "", 0)
        if self._is_enforced():
            self.tracker.record(event)
            raise UnknownPriceError(model=self._request.model, provider=self._request.provider)
        if "warn" in map(self.tracker.mode_of, self._lenient, repeat(self._context)):
            self._record_would(event)

    def _without_store(self, error: StoreUnavailableError) -> None:
        """Rule 11: never spend unseen under a cap; without one go on, and count it."""
        if self._is_enforced():
            raise error
        self.tracker.unrecorded(error)

    def denied(
        self,
        denial: Denial,
        advice: str = "",
        make: type[BudgetExceededError] | None = None,
    ) -> BudgetExceededError:
        """Record the refusal, once per abandoned call, and return the error to raise."""
        balance, free = denial.balance, None
        for name, now, room in self._rooms():
            if name == denial.account:
                balance, free = now, room
        self.tracker.record(self._denied_event(denial.reason, denial.account, denial.requested))
        return budget_error(
            denial.account,
            denial.reason,
            denial.requested,
            balance,
            name=self.tracker.name_of(denial.account, self._context),
            free=free,
            affordable=self._affordable(denial.reason),
            advice=advice,
            make=make,
        )

    def _would_deny(self, over: tuple[str, ...], amount: int) -> None:
        """Record what enforcing would have refused, where the mode is warn."""
        warned = [name for name in over if self.tracker.mode_of(name, self._context) == "warn"]
        gone = [name for name in warned if amount > _unspent(self.tracker.store.balance(name))]
        if warned:
            status, account = ("exhausted", gone[0]) if gone else ("busy", warned[0])
            self._record_would(self._denied_event(status, account, amount))

    def _record_would(self, event: Event) -> None:
        self.tracker.record(event._replace(data={**(event.data or {}), "would": True}))

    def _affordable(self, reason: str) -> int | None:
        """Return the output that every account of the path could pay."""
        if self._sheet is None or self.input_tokens is None:
            return None
        fits = [
            free + (0 if reason == "busy" else balance.held) for _, balance, free in self._rooms()
        ]
        room = min(fits, default=0)
        return self._sheet.affordable_output_tokens(max(room, 0), self.input_tokens, self._started)

    def _denied_event(self, status: str, account: str, amount: int) -> Event:
        return Event(
            0,
            Kind.DENIED,
            self.tracker.clock() // 1000,
            self._id,
            self._context,
            self._request,
            held=amount,
            status=status,
            started=self._started,
            data=self._with(account=account, kind=kind_of(account)) if account else self._data,
        )

    # Leaving.

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if _innermost.get() is self:
            _innermost.set(self._outer)
        if self._open and os.getpid() == self._pid:  # a forked child settles nothing of its parent
            self._open = False
            self._end(error)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def _end(self, error: BaseException | None) -> None:
        usage = self._usage
        if usage is not None:
            at = self.tracker.clock() // 1000
            sheet = self._sheet
            cost = None if sheet is None else sheet.cost(usage, self._started)
            status = "ok" if error is None else "failed"
            data = self._data if error is None else self._with(error=type(error).__name__)
            fields = (
                0,
                Kind.CALL,
                at,
                self._id,
                self._context,
                self._request,
                cost,
                self._held,
                usage.input_tokens,
                usage.output_tokens,
                usage.cache_read_tokens,
                usage.cache_write_tokens,
                usage.cache_write_1h_tokens,
                usage.reasoning_tokens,
                status,
                self._started,
                data,
            )
            self._finish(_new(Event, fields))
            return
        void = self._void or (not_billed(error) if error is not None else "")
        if void:
            kind, status, reason = Kind.CALL, "failed", void
        elif error is None:
            kind, status, reason = Kind.LAPSE, "unmetered", "the response stated no usage"
        else:
            kind, status, reason = Kind.LAPSE, "lapsed", f"ended by {type(error).__name__}"
        self._finish(
            Event(
                0,
                kind,
                self.tracker.clock() // 1000,
                self._id,
                self._context,
                self._request,
                0,
                self._held,
                status=status,
                started=self._started,
                data=self._with(reason=reason),
            )
        )

    def _with(self, **more: str) -> dict[str, Any]:
        return {**(self._data or {}), **more}

    def _finish(self, event: Event) -> None:
        self.tracker.finish(event, self._scope)
        scope, run = self._scope, self._run
        reader = run or (scope._session if scope is not None else None)
        if reader is not None and reader.inbox and event.input_tokens:
            reader.inbox.clear()  # what was delivered has been read
        if run is not None:
            run.add(event)
            if self._asking is not None and self._usage is not None:
                run.learn(self._request.model, self._asking, self._usage)


def _unspent(balance: Balance | None) -> int:
    """Return what would be free if all open holds turned out to cost nothing."""
    return (balance.free or 0) + balance.held if balance is not None else 0


def _unbounded(model: str, inputs: int | None) -> str:
    what = "input_tokens (or input=…)" if inputs is None else "max_output_tokens"
    return (
        f"a call of {model!r} under a cap needs an upper bound: give {what}, or state "
        f"context_window under `prices:` in spendtree.yaml"
    )
