"""The call: entered with `with` or `async with`, and settled when it is left.

Sync and async differ only in how they wait for money. After the provider may have seen the
request, nothing here raises over a response that was paid for.
"""

import logging
import os
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from spendtree.account import Denial
from spendtree.call.answer import Answer, read
from spendtree.call.asking import ASKED, ENDED, ENTERED, INNERMOST, Asking
from spendtree.call_site import call_site
from spendtree.charge import Terms, charge_of_usage, price
from spendtree.ending import not_billed
from spendtree.errors import ScopeError, SpendtreeError
from spendtree.event import Event, Kind
from spendtree.exit_guard import Interrupted, guarded
from spendtree.money import to_usd
from spendtree.period import CALENDAR_END
from spendtree.policy import degrade
from spendtree.store.event_loop import AWAITING
from spendtree.store.locks import StoreBusyError
from spendtree.usage import Usage
from spendtree.waiting import DONE, Bell, Pauses, TaskBell, in_event_loop

if TYPE_CHECKING:
    from spendtree.explanation import Explanation

log = logging.getLogger("spendtree")

_new = tuple.__new__
"""Makes a NamedTuple in half the time of its constructor: for what every call makes."""


class Call(Asking):
    """A call under budget; use it with `with` or `async with`, and `record` what came back.

    Entering raises BudgetExceededError, EnvelopeExhaustedError, UnknownPriceError or
    StoreUnavailableError before anything is sent. Leaving without usage presumes the worst case
    spent, unless the error says that surely nothing was billed.
    """

    # Class attributes, not set for each call: what most calls never change.
    _usage: Usage | None = None
    _answer: Answer | None = None
    _partial: Answer | None = None
    """The last response that did not state all of its usage."""
    _void = ""
    _lapse = ""
    _guard: Any = None
    _event: Event | None = None
    """How it ends, once that is known."""

    @property
    def id(self) -> str:
        """Return the call's id, as 32 hexadecimal digits; the same for its hold and its span."""
        return self._id.hex() if self._open or self._held >= 0 else ""

    @property
    def held(self) -> Any:
        """Return the dollars reserved for this call, as `Decimal`."""
        return to_usd(max(self._held, 0))

    def record(self, response: Any) -> None:
        """Note what was used: a `Usage`, or whatever states it.

        That is a provider's response (a parsed body, a client's object, text or bytes, the events
        of a stream), a line of a batch, a usage object, or a result of LangChain, LlamaIndex,
        LiteLLM, pydantic-ai, the OpenAI Agents SDK or the Claude Agent SDK.

        A later record replaces an earlier one (streams repeat their usage, cumulatively). A
        response is priced by the model that it names, or by the cost that it states itself. One
        that states no usage, or nothing but zeros, is logged, and the call settles as unmetered at
        its hold; what it states in part is the least that it costs. `Usage(0, 0)` is your own
        word that nothing was used, and is believed.
        """
        if isinstance(response, Usage):
            self._usage, self._answer = response, None
            return
        answer = read(response, self._request.model)
        if answer.usage is not None:
            self._usage, self._answer = answer.usage, answer
        else:
            self._partial = answer
            log.warning(
                "a %s response for %s %s; its worst case is presumed spent",
                type(response).__name__,
                self._request.model,
                answer.problem,
            )

    def explain(self) -> "Explanation":
        """Return how its cost came about, line by line; once the call has ended.

        `str()` of its parts and `to_dict()` are for people and programs; see
        `spendtree.explanation.Explanation`. Raises ScopeError while the call has not ended.
        """
        from spendtree.explanation import explain  # noqa: PLC0415 - only who asks pays for it

        if self._event is None:
            raise ScopeError("the call has not ended: explain it after its `with` block")
        return explain(self._event, self.tracker.prices)

    def void(self, reason: str) -> None:
        """Say that surely nothing was billed: the hold is given back when the call ends."""
        self._void = reason or "not billed"

    def lapse(self, reason: str) -> None:
        """Say that how it ended is not known: without usage its hold is presumed spent."""
        self._lapse = reason or "ended unclearly"

    # Entering.

    def __enter__(self) -> Self:
        try:
            denial = self._begin()
            if denial is not None:
                bell = Bell()
                for seconds in degrade(self, denial, bell.ring, can_wait=not in_event_loop()):
                    bell.wait(seconds)
            self._token = INNERMOST.set(self)
        except BaseException as error:
            self._not_entered(error)
            raise
        self._stage = ENTERED
        return self

    async def __aenter__(self) -> Self:
        try:
            denial = await self._begin_patiently()
            if denial is not None:
                bell = TaskBell()
                waits = degrade(self, denial, bell.ring, can_wait=True)
                try:
                    for seconds in waits:
                        await bell.wait(seconds)
                finally:
                    waits.close()  # a cancelled task leaves the line at once
            self._token = INNERMOST.set(self)
        except BaseException as error:
            self._not_entered(error)
            raise
        self._stage = ENTERED
        return self

    async def _begin_patiently(self) -> Denial | None:
        """Begin, and wait for a store that another process keeps busy without keeping the loop."""
        self._is_patient = True
        pauses = Pauses()
        while True:
            try:
                with AWAITING:
                    return self._begin()
            except StoreBusyError:
                self._is_patient = await pauses.again()
                if not self._is_patient:
                    return self._begin()

    def _not_entered(self, error: BaseException) -> None:
        """Give back a hold that was made, or may have been: surely nothing was sent."""
        refused = isinstance(error, SpendtreeError) and not self._open
        if self._stage == ASKED and not refused:
            if os.getpid() == self._pid:
                reason = f"ended by {type(error).__name__} before it was sent"
                self.tracker.give_back(self._not_sent(reason))
            self._open = False
            self._stage = ENDED
        self._guard = None

    # Leaving.

    @guarded
    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._leave(error)
        except BaseException:
            self._was_left()
            raise
        self._guard = None

    @guarded
    def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> Awaitable[None]:
        # No coroutine: what it has to do is done before anything is awaited.
        try:
            self._leave(error)
        except BaseException:
            self._was_left()
            raise
        self._guard = None
        tracker = self.tracker
        return tracker.settled() if tracker.unsettled or tracker.delayed else DONE

    def _leave(self, error: BaseException | None) -> None:
        if INNERMOST.get() is self:
            INNERMOST.set(self._outer)
        self._token = None
        if self._open:
            self._open = False
            if os.getpid() == self._pid:  # a forked child settles nothing of its parent
                self._finish(self._ending(error))
        self._stage = ENDED

    def _was_left(self, guard: object = None) -> None:
        """End it after an exception that came while it was entered or left."""
        interrupted = Interrupted()
        if self._stage == ASKED:
            self._not_entered(interrupted)
        elif self._stage == ENTERED and self._held >= 0 and os.getpid() == self._pid:
            self._open = False
            if self._run is not None:
                self._run.handed_out()  # whether its sums have this call is not known
            self.tracker.finish_again(self._event or self._ending(interrupted))
        self._stage = ENDED
        if INNERMOST.get() is self:
            INNERMOST.set(self._outer)
        self._guard = None

    def _ending(self, error: BaseException | None) -> Event:
        """Return the event of how it ended."""
        usage = self._usage
        if usage is not None:
            return self._known(usage, error)
        return self._partly_known(error) or self._unknown(error)

    def _partly_known(self, error: BaseException | None) -> Event | None:
        """Return the event of a call whose response states more than its hold, but not all.

        Where what was understood costs no more than the hold, that is presumed instead.
        """
        partial = self._partial
        if partial is None or partial.floor is None or self._void:
            return None
        if error is not None and not_billed(error):
            return None
        self._answer = partial._replace(unread={**partial.unread, "usage": partial.problem})
        event = self._known(partial.floor, error)
        return event if event.cost is not None and event.cost > max(self._held, 0) else None

    def _known(self, usage: Usage, error: BaseException | None) -> Event:
        """Return the event of a call whose usage was stated, however it ended."""
        at = self.tracker.clock() // 1000
        if not self._started <= at < CALENDAR_END:
            at = self._end_time()
        sheet, answer = self._sheet, self._answer
        data = self._data
        if answer is None and not usage.units and not self.served:
            cost = None if sheet is None else sheet.cost(usage, self._started)
        else:
            terms = Terms(self._request, sheet, self.tracker.prices, self._started, self.served)
            least = max(self._held, 0) if self._capped else 0
            if answer is None:
                cost, said = charge_of_usage(usage, terms, least)
            else:
                cost, said = price(answer, usage, terms, least)
                if answer.served is not None:
                    self.tracker.served_as(self._request, self.served, answer.served)
            if said:
                data = {**(data or {}), **said}
        if error is not None:
            data = {**(data or {}), "error": type(error).__name__}
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
            "ok" if error is None else "failed",
            self._started,
            data,
        )
        return _new(Event, fields)

    def _unknown(self, error: BaseException | None) -> Event:
        """Return the event of a call that gave no usage: void, unmetered or lapsed."""
        void = self._void or (not_billed(error) if error is not None else "")
        if void:
            kind, status, reason = Kind.CALL, "failed", void
        elif error is not None:
            kind, status, reason = Kind.LAPSE, "lapsed", f"ended by {type(error).__name__}"
        elif self._lapse:
            kind, status, reason = Kind.LAPSE, "lapsed", self._lapse
        else:
            kind, status, reason = Kind.LAPSE, "unmetered", self._why_unmetered()
        return Event(
            0,
            kind,
            self._end_time(),
            self._id,
            self._context,
            self._request,
            0,
            self._held,
            status=status,
            started=self._started,
            data=self._with(reason=reason),
        )

    def _left_unrecorded(self) -> str:
        """Log, once for each place, that nothing was recorded; return the reason to record."""
        place = call_site()
        self._data = self._with(place=place)
        if self.tracker.places.is_new("unrecorded", place):
            log.warning(
                "at %s a call of %s was left without call.record(response) and without an error: "
                "its worst case, $%s, is presumed spent; record what came back, or say "
                "call.void(reason) where nothing was sent (logged once for each place)",
                *(place or "an unknown line", self._request.model, f"{self.held:f}"),
            )
        return "nothing was recorded"

    def _end_time(self) -> int:
        """Return when it ends, in microseconds: by a clock that went back, when it began.

        What such a clock said is noted. The call keeps the period that it was held in, and no
        duration is below 0.
        """
        at = self.tracker.clock() // 1000
        if self._started <= at < CALENDAR_END:
            return at
        self._data = {**(self._data or {}), "clock_us": at}
        return self._started

    def _not_sent(self, reason: str) -> Event:
        """Return the event of a call that was given up between its hold and its request."""
        kind = Kind.CALL if self._request.model else Kind.TOOL
        return Event(
            0,
            kind,
            self._end_time(),
            self._id,
            self._context,
            self._request,
            0,
            max(self._held, 0),
            status="failed",
            started=self._started,
            data=self._with(reason=reason),
        )

    def _why_unmetered(self) -> str:
        if self._partial is None:
            return self._left_unrecorded()
        problem = self._partial.problem
        stated = "stated no usage" if problem == "states no usage" else problem
        return f"the response {stated}"

    def _finish(self, event: Event) -> None:
        self._event = event
        event = self.tracker.finish(event, self._scope)
        if self._reads and event.input_tokens:
            inbox = self._inbox()
            for message in self._reads:
                inbox.pop(message, None)
        run = self._run
        if run is not None:
            run.add(event)
            if self._asking is not None and self._usage is not None:
                run.learn(self._request.model, self._asking, self._usage)
