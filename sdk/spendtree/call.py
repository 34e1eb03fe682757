"""One attempt of one provider request: hold the worst case, let it be made, settle the truth.

Sync and async differ only in how they wait for money. After the provider may have seen the
request, nothing here raises over a response that was paid for.
"""

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict

from spendtree.account import Balance, Denial, Grant
from spendtree.bound import input_tokens as bound_input_tokens
from spendtree.ending import not_billed
from spendtree.errors import (
    BudgetExceededError,
    ConfigurationError,
    EnvelopeExhaustedError,
    ScopeError,
    StoreUnavailableError,
    UnknownPriceError,
    UsageError,
)
from spendtree.event import Context, Event, Kind, Request
from spendtree.ids import new_id
from spendtree.money import PICO_MAX, to_usd
from spendtree.policy import Bell, TaskBell, in_event_loop
from spendtree.response import usage_of
from spendtree.usage import TOKENS_MAX, Usage

if TYPE_CHECKING:
    from spendtree.tracker import Spendtree

log = logging.getLogger("spendtree")

NOT_IN_LOOP = (
    "a sync `with` inside a running event loop cannot wait for open holds to settle, since it "
    "would block what it waits for: use `async with`"
)

BUSY_ADVICE = (
    "open holds did not settle in time: hold less (a smaller max_output_tokens), or wait longer "
    "(busy_timeout_seconds)"
)


class CallOptions(TypedDict, total=False):
    """What a call may be made with; see `Spendtree.call`."""

    provider: str
    input_tokens: int | None
    max_output_tokens: int | None
    input: Any
    purpose: str | None


class Call:
    """A call under budget; use it with `with` or `async with`, and `record` what came back.

    Entering raises BudgetExceededError, EnvelopeExhaustedError, UnknownPriceError or
    StoreUnavailableError before anything is sent. Leaving without usage presumes the worst case
    spent, unless the error says that surely nothing was billed.
    """

    __slots__ = (
        "_context",
        "_data",
        "_held",
        "_id",
        "_input",
        "_lenient",
        "_open",
        "_pid",
        "_request",
        "_run",
        "_sheet",
        "_started",
        "_tracker",
        "_usage",
        "_void",
        "capped",
        "input_tokens",
        "max_output_tokens",
    )

    def __init__(
        self,
        tracker: "Spendtree",
        context: Context,
        request: Request,
        *,
        run: Any = None,
        capped: bool = False,
        input_tokens: int | None = None,
        max_output_tokens: int | None = None,
        input: Any = None,
        data: dict[str, Any] | None = None,
    ) -> None:
        self._tracker = tracker
        self._context = context
        self._request = request
        self._run = run
        self.capped = capped
        self.input_tokens = input_tokens
        self.max_output_tokens = max_output_tokens
        self._input = input
        self._data = data
        self._held = -1
        self._open = False
        self._usage: Usage | None = None
        self._void = ""

    @property
    def id(self) -> str:
        """Return the call's id, as 32 hexadecimal digits; the same for its hold and its span."""
        return self._id.hex() if self._open or self._held >= 0 else ""

    @property
    def held(self) -> Any:
        """Return the dollars reserved for this call, as `Decimal`."""
        return to_usd(max(self._held, 0))

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
        answer = self._begin()
        if answer is not None:
            self._wait_blocking(answer)
        return self

    async def __aenter__(self) -> Self:
        answer = self._begin()
        if answer is not None:
            await self._wait_async(answer)
        return self

    def _begin(self) -> Denial | None:
        """Price and hold; a Denial that is returned says: busy, wait."""
        if self._open or self._held >= 0:
            raise ScopeError("a call is made once; make a new one for each attempt")
        ns = self._tracker.clock()
        tracker, request = self._tracker, self._request
        self._started = ns // 1000
        self._id = new_id(ns)
        self._pid = os.getpid()
        self._sheet = tracker.prices.sheet(request.model, request.provider)
        self._lenient = tracker.lenient(self._context) if self.capped else ()
        amount = self._worst_case()
        if tracker.unsettled:
            tracker.retry_unsettled()
        if tracker.lines and not self._lenient:
            account = tracker.lines.busy(self._context.path)
            if account:
                return self._behind(account, amount)
        return self._ask(amount)

    def _behind(self, account: str, amount: int) -> Denial:
        """Queue up behind those who wait at an account; raises when no wait can help."""
        for name, balance in self._capped_balances():
            if amount > _unspent(balance):
                raise self._denied(Denial(name, "exhausted", amount, balance))
        balance = self._tracker.store.balance(account) or Balance()
        return Denial(account, "busy", amount, balance)

    def _capped_balances(self) -> Iterator[tuple[str, Balance]]:
        """Iterate over the accounts of the path that can refuse, outermost first."""
        for name in self._context.path:
            balance = self._tracker.store.balance(name)
            if balance is not None and balance.cap is not None:
                yield name, balance

    def _ask(self, amount: int) -> Denial | None:
        """Try to hold once; raises when it is no use to try again."""
        try:
            answer = self._tracker.store.hold(
                self._id,
                self._context.path,
                amount,
                context=self._context,
                request=self._request,
                at=self._started,
                lenient=self._lenient,
            )
        except StoreUnavailableError as error:
            self._without_store(error)
            return None
        if isinstance(answer, Grant):
            self._held = amount
            self._open = True
            if answer.over:
                self._tracker.would_deny(self._denied_event("exhausted", answer.over[0], amount))
            return None
        if answer.reason == "busy":
            return answer
        raise self._denied(answer)

    def _worst_case(self) -> int:
        sheet, capped = self._sheet, self.capped
        if sheet is None:
            if capped and not self._lenient:
                request = self._request
                self._tracker.record(self._denied_event("unknown_price", "", 0))
                raise UnknownPriceError(model=request.model, provider=request.provider)
            return 0
        inputs, outputs = self.input_tokens, self.max_output_tokens
        if inputs is None and self._input is not None:
            inputs = bound_input_tokens(self._input)
        window = sheet.context_window
        if inputs is None or (window is not None and inputs > window):
            inputs = window
        if outputs is None:
            outputs = sheet.max_output_tokens or window
        if inputs is None or outputs is None:
            if capped and not self._lenient:
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

    def _without_store(self, error: StoreUnavailableError) -> None:
        """Rule 11: never spend unseen under a cap; without one go on, and count it."""
        if self.capped and not self._lenient:
            raise error
        self._tracker.unrecorded(error)

    # Waiting, first come first served, holding nothing.

    def _wait_blocking(self, denial: Denial) -> None:
        if in_event_loop():
            if self._tracker.lapse_abandoned():  # whoever meets busy does so (rule 3)
                again = self._ask(denial.requested)
                if again is None:
                    return
                denial = again
            raise self._denied(denial, advice=NOT_IN_LOOP)
        bell = Bell()
        for seconds in self._waits(denial, bell.ring):
            bell.wait(seconds)

    async def _wait_async(self, denial: Denial) -> None:
        bell = TaskBell()
        waits = self._waits(denial, bell.ring)
        try:
            for seconds in waits:
                await bell.wait(seconds)
        finally:
            waits.close()  # a cancelled task leaves the line at once

    def _waits(self, denial: Denial, ring: Callable[[], None]) -> Generator[float, None, None]:
        """Yield seconds to wait until the hold is made; raises when time or money is gone."""
        tracker = self._tracker
        lines, amount = tracker.lines, denial.requested
        deadline = time.monotonic() + tracker.config.busy_timeout_seconds
        waiter = lines.join(denial.account, ring)
        try:
            while True:
                if lines.is_first(waiter):
                    tracker.lapse_abandoned()
                    again = self._ask(amount)
                    if again is None:
                        return
                    denial = again
                    lines.move(waiter, denial.account)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise self._denied(denial, advice=BUSY_ADVICE)
                yield min(left, lines.pause(waiter))
        finally:
            lines.leave(waiter)

    def _denied(self, denial: Denial, advice: str = "") -> BudgetExceededError:
        """Record the refusal, once per abandoned call, and return the error to raise."""
        balance = self._tracker.store.balance(denial.account) or denial.balance
        event = self._denied_event(denial.reason, denial.account, denial.requested)
        self._tracker.record(event)
        return budget_error(
            denial.account,
            denial.reason,
            denial.requested,
            balance,
            name=_account_name(denial.account, self._context),
            affordable=self._affordable(denial.reason),
            advice=advice,
        )

    def _affordable(self, reason: str) -> int | None:
        """Return the output that every account of the path could pay."""
        if self._sheet is None or self.input_tokens is None:
            return None
        rooms = [
            _unspent(balance) - (balance.held if reason == "busy" else 0)
            for _, balance in self._capped_balances()
        ]
        room = min(rooms, default=0)
        return self._sheet.affordable_output_tokens(max(room, 0), self.input_tokens, self._started)

    def _denied_event(self, status: str, account: str, amount: int) -> Event:
        return Event(
            0,
            Kind.DENIED,
            self._tracker.clock() // 1000,
            self._id,
            self._context,
            self._request,
            held=amount,
            status=status,
            started=self._started,
            data={"account": account, "kind": account_kind(account)} if account else None,
        )

    # Leaving.

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
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
            at = self._tracker.clock() // 1000
            sheet = self._sheet
            cost = None if sheet is None else sheet.cost(usage, self._started)
            status = "ok" if error is None else "failed"
            data = self._data if error is None else self._with(error=type(error).__name__)
            self._finish(
                Event(
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
            )
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
                self._tracker.clock() // 1000,
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
        self._tracker.finish(event)
        if self._run is not None:
            self._run.add(event)


def budget_error(
    account: str,
    reason: str,
    requested: int,
    balance: Balance,
    *,
    name: str,
    affordable: int | None = None,
    advice: str = "",
) -> BudgetExceededError:
    """Return the error for a refusal: of the agent's own accounts, or of those above it."""
    kind = account_kind(account)
    make = EnvelopeExhaustedError if kind in ("envelope", "run") else BudgetExceededError
    return make(
        account=account,
        kind=kind,
        name=name,
        reason=reason,
        requested=to_usd(requested),
        free=to_usd(balance.free or 0),
        cap=to_usd(balance.cap or 0),
        spent=to_usd(balance.spent + balance.presumed),
        held=to_usd(balance.held),
        affordable_output_tokens=affordable,
        advice=advice,
    )


def account_kind(account: str) -> str:
    """Return what an account id names: session, envelope, run, customer or team."""
    return account.partition("/")[0]


def _account_name(account: str, context: Context) -> str:
    """Return the name that a person knows an account by."""
    rest = account.partition("/")[2]
    return context.agent if account_kind(account) in ("envelope", "run") else rest


def _unspent(balance: Balance) -> int:
    return (balance.cap or 0) - balance.spent - balance.presumed


def _unbounded(model: str, inputs: int | None) -> str:
    what = "input_tokens (or input=…)" if inputs is None else "max_output_tokens"
    return (
        f"a call of {model!r} under a cap needs an upper bound: give {what}, or state "
        f"context_window under `prices:` in spendtree.yaml"
    )
