"""What a call tries when there is not money enough for it, in the order of its role's policy.

Each step either gets the call its hold, or leaves the refusal to the next. What a step did is noted
on the call. The steps' names and settings are those of `spendtree.config.steps`.
"""

import random
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from spendtree.account import Denial
from spendtree.config import Step
from spendtree.errors import SkippedError
from spendtree.store.event_loop import AWAITING
from spendtree.store.locks import StoreBusyError
from spendtree.waiting import Ring, Turn

if TYPE_CHECKING:
    from spendtree.call import Call

BUSY_STORE_SECONDS = 10.0
"""How long the steps of a task wait for a store that another process keeps busy."""

Result = TypeVar("Result")

Waits = Generator[float, None, "Denial | None"]
"""Yields seconds to wait; returns None when the hold is made, else the refusal that stands."""

NOT_IN_LOOP = (
    "a sync `with` inside a running event loop cannot wait for open holds to settle, since it "
    "would block what it waits for: use `async with`"
)
BUSY_ADVICE = (
    "open holds did not settle in time: hold less (a smaller max_output_tokens), or wait longer "
    "(busy_timeout_seconds)"
)
NOT_WAITED = "it would fit once open holds settle: call again then, or let its policy `wait`"
OWN_HOLD = (
    "the call around this one holds that money, and would only settle after it: end it first, or "
    "hold less there"
)


def degrade(
    call: "Call", denial: Denial, ring: Callable[[], None], *, can_wait: bool
) -> Generator[float, None, None]:
    """Walk the policy; yields seconds to wait, returns with the hold made, raises without it."""
    advice = ""
    if denial.reason == "exhausted" and denial.balance.terms.reserved:
        # A dead process' run may still reserve money.
        yield from _patiently(call, call.tracker.lapse_abandoned)
        still = yield from _patiently(call, call.ask)
        if still is None:
            return
        denial = still
    for step in call.policy:
        if step.name == "wait":
            if denial.reason != "busy":
                continue
            again: Denial | None = denial
            if call.waits_for_itself(denial):
                advice = OWN_HOLD
            elif can_wait:
                again = yield from _wait(call, denial, ring, step)
                own = again is not None and call.waits_for_itself(again)
                advice = OWN_HOLD if own else BUSY_ADVICE
            else:
                again = yield from _patiently(call, partial(call.look_again, denial))
                advice = NOT_IN_LOOP
        elif step.name in ENDS:
            raise ENDS[step.name](call, denial, _advice_for(denial, advice))
        else:
            again = yield from STEPS[step.name](call, denial, step)
        if again is None:
            return
        denial = again
    raise call.denied(denial, _advice_for(denial, advice))


def _patiently(call: "Call", verb: Callable[[], Result]) -> Generator[float, None, Result]:
    """Run a verb; while another process has the store, wait where the call's driver can."""
    until, pause = time.monotonic() + BUSY_STORE_SECONDS, 0.002
    while call._is_patient and time.monotonic() < until:
        try:
            with AWAITING:
                return verb()
        except StoreBusyError:
            yield random.uniform(pause / 2, pause)
            pause = min(1.5 * pause, 0.05)
    call._is_patient = False  # from here on a store that is busy is one that is out of reach
    return verb()


def _advice_for(denial: Denial, waiting: str) -> str:
    """Return what to say of waiting: nothing where the money is gone, whatever was tried before."""
    return "" if denial.reason == "exhausted" else waiting or NOT_WAITED


def _wait(call: "Call", denial: Denial, ring: Callable[[], None], step: Step) -> Waits:
    """Stand in line until the hold is made, the money is gone, or the time is up."""
    tracker = call.tracker
    lines, started = tracker.lines, time.monotonic()
    seconds = tracker.config.busy_timeout_seconds if step.seconds is None else step.seconds
    turn = Turn()
    waiter = lines.join(denial.account, Ring(ring, turn), ahead=_is_inside(call, denial))
    try:
        while True:
            if lines.is_first(waiter):
                yield from _patiently(call, tracker.lapse_abandoned)
                yield from _patiently(call, call.renew)
                again = yield from _patiently(call, call.ask_again)
                if again is None or again.reason == "exhausted":
                    call.waited(denial, time.monotonic() - started)
                    return again
                denial = again
                if call.waits_for_itself(denial):
                    call.waited(denial, time.monotonic() - started)
                    return denial
                lines.move(waiter, denial.account, ahead=_is_inside(call, denial))
            left = started + seconds - time.monotonic()
            if left <= 0:
                call.waited(denial, time.monotonic() - started)
                return denial
            yield min(left, lines.pause(waiter))
    finally:
        lines.leave(waiter)


def _is_inside(call: "Call", denial: Denial) -> bool:
    """Tell whether a call around this one holds money at the account that refuses."""
    return call.held_around(denial.account) > 0


def _clamp(call: "Call", denial: Denial, step: Step) -> Waits:
    """Take less output, but at least the floor."""
    return (yield from _patiently(call, partial(call.ask_clamped, step.floor or 1)))


def _fall_back(call: "Call", denial: Denial, step: Step) -> Waits:
    """Ask another model, if its price is known."""
    if not call.switch(step.model, step.provider):
        return denial
    return (yield from _patiently(call, call.ask))


def _reallocate(call: "Call", denial: Denial, step: Step) -> Waits:
    """Take over what finished agents left unused; a clamp that was tried before is, then, again."""
    if (yield from _patiently(call, partial(call.tracker.reallocate, call, denial))):
        return (yield from _patiently(call, call.ask))
    return (yield from _patiently(call, call.ask_again)) if call.floor_tokens else denial


def _skip(call: "Call", denial: Denial, advice: str) -> Exception:
    """Leave optional work out; other work is refused."""
    if not call.optional:
        return call.denied(denial, advice)
    call.decide("skipped")
    return call.denied(denial, "it is optional and was skipped", SkippedError)


def _refuse(call: "Call", denial: Denial, advice: str) -> Exception:
    return call.denied(denial, advice)


STEPS: dict[str, Callable[["Call", Denial, Step], Waits]] = {
    "clamp": _clamp,
    "fallback": _fall_back,
    "reallocate": _reallocate,
}
ENDS: dict[str, Callable[["Call", Denial, str], Exception]] = {"skip": _skip, "refuse": _refuse}
