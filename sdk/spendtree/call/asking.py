"""How a call asks for its money: who pays, how much at most, and what a policy may change.

Nothing here knows how a call ends.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any

from spendtree.account import Denial, kind_of
from spendtree.bound import Conversation, Learned, learn
from spendtree.bound import input_tokens as bound_input_tokens
from spendtree.call import limits, options, refusing
from spendtree.call.options import PURPOSE
from spendtree.charge import is_region
from spendtree.clock import CLOCK_END, clock_error
from spendtree.config import Step
from spendtree.errors import (
    BudgetExceededError,
    ConfigurationError,
    ScopeError,
    StoreUnavailableError,
    UsageError,
)
from spendtree.event import LOST_THREAD, NO_CONTEXT, Context, Request
from spendtree.ids import new_id
from spendtree.money import PICO_MAX
from spendtree.pricing import Sheet
from spendtree.store.locks import StoreBusyError
from spendtree.usage import NO_UNITS, TOKENS_MAX, Usage
from spendtree.waiting import RETRY_SECONDS

if TYPE_CHECKING:
    from spendtree.pricing.limits import OutputLimit
    from spendtree.scope import Agent, Scope
    from spendtree.tracker import Spendtree

NO_USAGE = Usage(0, 0)

NEW, ASKED, ENTERED, ENDED = range(4)
"""The stages of a call. ASKED: the store may hold money for it, and nothing was sent yet."""

INNERMOST: "ContextVar[Asking | None]" = ContextVar("spendtree_call", default=None)
"""The call that was entered last here; one that has ended meanwhile is passed over."""

_new = tuple.__new__
"""Makes a NamedTuple in half the time of its constructor: for what every call makes."""


class Asking:
    """A call until it is let through: its bound, its hold, and the doors of a policy."""

    # Class attributes, not set for each call: what most calls never change.
    _context: Context = NO_CONTEXT
    _capped = False
    _held = -1
    _lenient: Sequence[str] = ()
    _open = False
    _stage = NEW
    _is_patient = False
    """Whether it leaves a busy store to its task, to wait for it without its loop."""
    _run: "Agent | None" = None
    _data: dict[str, Any] | None = None
    _asking: Learned | None = None
    _reads: tuple[bytes, ...] = ()
    """The messages that were there when it was made; what is delivered later, a later one reads."""
    takes_defaults = True
    """The output limit of its agent or session holds where it names none."""
    choices = 1
    """How many answers it asks for, each of which may have the whole output limit."""
    output_limit: "OutputLimit | None" = None
    """The limit of each answer that it assumes, None where it was given one."""
    served: tuple[str, ...] = ()
    """What the request asks to be served as, beside the everyday way: a tier, a speed, a region."""
    may_be_everyday = False
    """What it asks to be served as is a wish: the everyday way must be payable, too."""
    _units: Mapping[str, int] = NO_UNITS
    """The most that it may use of what is billed beside tokens."""
    _modalities: tuple[str, ...] = ()
    floor_tokens = 0
    """The least output that a clamp was content with, once one was tried."""
    _one_prompt = True
    """All of its input is one prompt, so the model's context window bounds it."""
    _token: "Token[Asking | None] | None" = None
    """Of its entering, while it is open: a token keeps the call that was innermost before."""

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
        served: Sequence[str] = (),
        units: Mapping[str, int] = NO_UNITS,
        modalities: Sequence[str] = (),
    ) -> None:
        self.tracker = tracker
        self._scope = scope
        self._request = _new(Request, (provider, model, purpose or PURPOSE.get()))
        self._asked = input_tokens, max_output_tokens
        self.input_tokens = input_tokens
        self.max_output_tokens = max_output_tokens
        self.optional = optional
        self._input = input
        if served or units or modalities:
            self.served = options.served(served)
            self._units = Usage(0, 0, units=units).units
            self._modalities = options.modalities(modalities)

    @property
    def model(self) -> str:
        """Return the model to ask: another one than asked for where the policy fell back."""
        return self._request.model

    @property
    def provider(self) -> str:
        """Return the provider to ask, "" where none was named."""
        return self._request.provider

    def _begin(self) -> Denial | None:
        """Price and hold; the Denial that is returned is the policy's to deal with."""
        if self._open or self._held >= 0:
            raise ScopeError("a call is made once; make a new one for each attempt")
        tracker, scope, request = self.tracker, self._scope, self._request
        ns = tracker.clock()
        if not 0 <= ns < CLOCK_END:
            raise clock_error(ns)
        self._started = started = ns // 1000
        self._id = new_id(ns)
        self._pid = os.getpid()
        outer: Asking | None = INNERMOST.get()
        while outer is not None and not outer._open:  # ended in another task or thread
            outer = outer._outer
        if outer is not None:
            while outer._outer is not None and not outer._outer._open:
                outer._outer = outer._outer._outer  # calls that overlap must not become a chain
        self._outer: Asking | None = outer
        # A tool charge names no model.
        self._sheet = (
            tracker.prices.sheet(request.model, request.provider) if request.model else None
        )
        unseen: StoreUnavailableError | None = None
        if scope is None:
            reason = tracker.unattributed(self._described(), "no ceiling stops it")
            self._data = {"unattributed": reason}
        else:
            if not scope._opened:
                raise ScopeError(
                    "a call of a scope that was never entered has nobody to pay for it: enter the "
                    "session or agent first, with `with` or `async with`"
                )
            try:
                self._context = context = scope.context_now(started)
            except StoreUnavailableError as error:
                if self._is_patient and isinstance(error, StoreBusyError):
                    raise
                self._context, unseen = (context := scope.context), error
            if scope.capped:
                self._capped = True
            session = scope._session
            if session is not None and session.lost:
                self._data = {"unattributed": LOST_THREAD}
            if not tracker.enforces_all:
                self._lenient = tracker.lenient(context)
            self._run = run = scope._run
            if run is not None:
                if request.model:
                    run.last_request = request
                if run.optional:
                    self.optional = True
            inbox = self._inbox()
            if inbox:
                self._reads = tuple(inbox)
        if self._input is not None and self._run is not None:
            # Now, not at the end: the caller adds what comes next to the same list.
            self._input = Conversation(self._input)
            self._asking = learn(self._input, NO_USAGE)
        self._amount = self._worst_case()
        if unseen is not None:
            self._without_store(unseen)
            return None
        if tracker.unsettled or tracker.delayed:
            tracker.retry_unsettled(RETRY_SECONDS)
        if tracker.lines.by_account and self._amount:
            account = tracker.lines.busy(self._queues())
            if account:
                return refusing.behind(self, account)
        return self.ask()

    def _described(self) -> str:
        return f"a call of {self.model!r}"

    def _queues(self) -> list[str]:
        """Return the accounts of the path at which it waits its turn.

        Not where a call around it holds money: who waits there may be waiting for that call, which
        ends only after this one.
        """
        enforced = [name for name in self._context.path if name not in self._lenient]
        return [name for name in enforced if not self.held_around(name)]

    def _inbox(self) -> dict[bytes, int]:
        """Return what was delivered to whom this call belongs to; read only."""
        scope = self._scope
        reader = self._run or (None if scope is None else scope._session)
        return {} if reader is None else reader.inbox

    def ask(self, floor: int | None = None) -> Denial | None:
        """Try to hold once, at least `floor` pico-dollars; None if that is done."""
        amount = self._amount
        self._stage = ASKED
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
            if self._is_patient and isinstance(error, StoreBusyError):
                raise
            self._without_store(error)
            return None
        if isinstance(answer, Denial):
            return answer
        self._held = answer.amount
        self._open = True
        if answer.over:
            refusing.would_deny(self, answer.over, amount)
        return None

    # What the steps of a policy do (see `spendtree.policy`).

    @property
    def policy(self) -> tuple[Step, ...]:
        """Return the steps that this call's role tries when there is not money enough."""
        return self.tracker.config.policy_for(self._context.agent)

    @property
    def worst_case(self) -> int:
        """Return the most that it can cost, in pico-dollars: what it asks for."""
        return self._amount

    @property
    def context(self) -> Context:
        """Return who this call is charged to."""
        return self._context

    def renew(self) -> None:
        """Belong to the budget periods of now: one may have ended while the call waited.

        Then it starts now, too: bills and budgets put it into one period.
        """
        scope = self._scope
        if scope is None:
            return
        now, before = self.tracker.now(), self._context.path
        self._context = scope.context_now(now)
        if self._context.path != before:
            self._started = now
        self._lenient = self.tracker.lenient(self._context)

    def ask_clamped(self, floor_tokens: int) -> Denial | None:
        """Try to hold for less output, but at least so many tokens."""
        self.floor_tokens = floor_tokens
        sheet, inputs, outputs = self._sheet, self.input_tokens, self.max_output_tokens
        if sheet is None or inputs is None or outputs is None:
            return self.ask()  # nothing is known to clamp
        sheet = self._bounds(sheet, inputs, outputs)
        fees = sheet.worst_units(self._units, self._started) if self._units else 0
        least = fees + sheet.worst(inputs, min(floor_tokens, outputs), self._started)
        denial = self.ask(floor=least)
        if denial is None and 0 <= self._held < self._amount:
            fits = sheet.affordable_output_tokens(self._held - fees, inputs, self._started)
            self.max_output_tokens = min(outputs, fits)
            self.decide(f"clamped output from {outputs} to {self.max_output_tokens} tokens")
        return denial

    def ask_again(self) -> Denial | None:
        """Ask for what it asked for last: less output, where a clamp was tried."""
        return self.ask_clamped(self.floor_tokens) if self.floor_tokens else self.ask()

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
        return self.ask_again() if self.tracker.lapse_abandoned() else denial

    def waits_for_itself(self, denial: Denial) -> bool:
        """Tell whether it could only be granted once calls around it have ended.

        Around it in the same task or thread: a task that was started inside a call may outlive it.
        """
        own = self.held_around(denial.account)
        return own > 0 and any(
            denial.requested > free + balance.held - own
            for name, balance, free in refusing.rooms_of(self)
            if name == denial.account
        )

    def held_around(self, account: str) -> int:
        """Return what calls around this one hold at an account, in pico-dollars."""
        own, outer = 0, self._outer
        while outer is not None:
            shared = outer._open and account in outer._context.path
            if shared and outer.tracker.store.id == self.tracker.store.id and outer._is_around():
                own += outer._held
            outer = outer._outer
        return own

    def _is_around(self) -> bool:
        """Tell whether this call was entered in the very context that runs now.

        A token is good only in the context that made it: trying it is the test.
        """
        here = INNERMOST.get()
        if self._token is None:
            return False
        try:
            INNERMOST.reset(self._token)
        except ValueError:
            return False
        self._token = INNERMOST.set(here)
        return True

    @property
    def decisions(self) -> tuple[str, ...]:
        """Return what the policy did to make this call possible, in order."""
        return tuple((self._data or {}).get("decisions", ()))

    def waited(self, denial: Denial, seconds: float) -> None:
        """Note how long it stood in line, and at which kind of account."""
        more = {"waited_us": int(seconds * 1e6), "waited_at": kind_of(denial.account)}
        self._data = {**(self._data or {}), **more}

    def decide(self, decision: str) -> None:
        """Note what the policy did."""
        self._data = {**(self._data or {}), "decisions": [*self.decisions, decision]}

    def _worst_case(self) -> int:
        sheet, capped = self._sheet, self._capped
        if sheet is not None and not sheet.by_tokens:
            return self._by_units(sheet)
        if sheet is None:
            if capped or self._is_capped_elsewhere():
                refusing.without_price(self)
            return 0
        inputs, outputs = self._asked
        window = sheet.context_window if self._one_prompt else None
        if inputs is None and self._input is not None:
            run = self._run
            learned = run.learned.get(self._request.model) if run is not None else None
            inputs = bound_input_tokens(
                self._input, tokenizer=self.tracker.tokenizer, learned=learned, window=window
            )
        if inputs is None or (window is not None and inputs > window):
            inputs = window
        if outputs is None:
            self.output_limit = limit = limits.assume(self, sheet)
            outputs = None if limit is None else limit.tokens * self.choices
        if inputs is None or outputs is None:
            if (capped or self._is_capped_elsewhere()) and self._is_enforced():
                raise ConfigurationError(refusing.unbounded(self._request.model, inputs))
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
        amount = self._bounds(sheet, inputs, outputs).worst(inputs, outputs, self._started)
        if self._units:
            amount += sheet.worst_units(self._units, self._started)
        return amount if amount <= PICO_MAX else PICO_MAX

    def _bounds(self, sheet: Sheet, inputs: int, outputs: int) -> Sheet:
        """Return the sheet that bounds this call: as it may be served, and for what it reads.

        What it is served as may have no price: then the everyday price is the bound, and what it
        really was is marked when it ends.
        """
        lately = self.tracker.served_lately
        recent = lately.get(self._request[:2], ()) if lately else ()
        if self.served or recent:
            sheets = map(sheet.under, self._ways(recent))
            sheet = max(sheets, key=lambda each: each.worst(inputs, outputs, self._started))
        return sheet.reading(self._modalities) if self._modalities else sheet

    def _ways(self, recent: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        """Yield how it may be served: as it asks, in the everyday way, as calls were lately."""
        regions = tuple(name for name in self.served if is_region(name))
        yield self.served
        if self.served != regions:
            if self.may_be_everyday:
                yield regions
        elif recent:
            yield recent + regions

    def _by_units(self, sheet: Sheet) -> int:
        """Bound a model that is billed by the second, page or search: tokens bound nothing."""
        if self._units:
            return min(sheet.worst_units(self._units, self._started), PICO_MAX)
        if (self._capped or self._is_capped_elsewhere()) and self._is_enforced():
            raise ConfigurationError(refusing.by_units(self._request.model, sheet))
        return 0

    def _is_capped_elsewhere(self) -> bool:
        """Tell whether somebody else has given the session a ceiling since it was opened here.

        Asked only where nothing bounds what a call costs: every other hold meets the ceiling.
        """
        session = None if self._scope is None else self._scope._session
        if session is not None and session.finds_ceiling():
            self._capped = True
        return self._capped

    def _is_enforced(self) -> bool:
        """Tell whether a cap on the path refuses, as far as this process knows."""
        return self._capped and self._scope is not None and self._scope.enforces(self._context)

    def _without_store(self, error: StoreUnavailableError) -> None:
        """Rule 11: never spend unseen under a cap; without one go on, and count it."""
        if self._is_enforced():
            raise error
        self.tracker.unrecorded(error)

    def denied(
        self, denial: Denial, advice: str = "", make: type[BudgetExceededError] | None = None
    ) -> BudgetExceededError:
        """Record the refusal, once per abandoned call, and return the error to raise."""
        return refusing.error(self, denial, advice, make)

    def _with(self, **more: str) -> dict[str, Any]:
        return {**(self._data or {}), **more}
