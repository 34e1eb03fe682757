"""What a call tells and records when there is no money, no price or no store for it."""

from itertools import repeat
from typing import TYPE_CHECKING

from spendtree.account import Balance, Denial, kind_of, rooms
from spendtree.call import limits
from spendtree.denial import budget_error
from spendtree.errors import BudgetExceededError, UnknownPriceError
from spendtree.event import Event, Kind
from spendtree.pricing import Sheet
from spendtree.usage import UNITS

if TYPE_CHECKING:
    from spendtree.call.asking import Asking


def rooms_of(call: "Asking") -> list[tuple[str, Balance, int]]:
    """Return the accounts that can refuse and what is free there, outermost first."""
    found = [(name, call.tracker.store.balance(name)) for name in call.context.path]
    path = [(name, balance) for name, balance in found if balance is not None]
    return [room for room in rooms(path) if room[0] not in call._lenient]


def behind(call: "Asking", account: str) -> Denial:
    """Queue up behind those who wait at an account, unless no wait can help."""
    for name, balance, free in rooms_of(call):
        if call._amount > free + balance.held:
            return Denial(name, "exhausted", call._amount, balance)
    balance = call.tracker.store.balance(account) or Balance()
    return Denial(account, "busy", call._amount, balance)


def without_price(call: "Asking") -> None:
    """Rule 10: refuse under an enforced cap; elsewhere tell what enforcing would refuse."""
    event = _event(call, "unknown_price", "", 0)
    if call._is_enforced():
        call.tracker.record(event)
        raise UnknownPriceError(model=call.model, provider=call.provider)
    if "warn" in map(call.tracker.mode_of, call._lenient, repeat(call.context)):
        _record_would(call, event)


def error(
    call: "Asking",
    denial: Denial,
    advice: str = "",
    make: type[BudgetExceededError] | None = None,
) -> BudgetExceededError:
    """Record the refusal, once per abandoned call, and return the error to raise."""
    balance, free = denial.balance, None
    for name, now, room in rooms_of(call):
        if name == denial.account:
            balance, free = now, room
    call.tracker.record(_event(call, denial.reason, denial.account, denial.requested))
    affordable = _affordable(call, denial.reason)
    if affordable and call.output_limit is not None:
        advice = "; ".join(filter(None, (limits.ways(call.model), advice)))
    return budget_error(
        denial.account,
        denial.reason,
        denial.requested,
        balance,
        name=call.tracker.name_of(denial.account, call.context),
        free=free,
        affordable=affordable,
        limit=limits.told(call),
        advice=advice,
        make=make,
    )


def would_deny(call: "Asking", over: tuple[str, ...], amount: int) -> None:
    """Record what enforcing would have refused, where the mode is warn."""
    tracker = call.tracker
    warned = [name for name in over if tracker.mode_of(name, call.context) == "warn"]
    gone = [name for name in warned if amount > _unspent(tracker.store.balance(name))]
    if warned:
        status, account = ("exhausted", gone[0]) if gone else ("busy", warned[0])
        _record_would(call, _event(call, status, account, amount))


def unbounded(model: str, inputs: int | None) -> str:
    """Return what to say of a call under a cap that nothing bounds."""
    way_out = "give input_tokens (or input=…)" if inputs is None else limits.ways(model)
    return (
        f"a call of {model!r} under a cap needs an upper bound: {way_out}, or state "
        f"context_window under `prices.{model}` in spendtree.yaml"
    )


def by_units(model: str, sheet: Sheet) -> str:
    """Return what to say of a call under a cap of a model that is not billed by tokens."""
    names = sorted({name for each in sheet.listings for tier in each.tiers for name in tier.units})
    # Tools that any model of the provider may use are not what this one is billed by.
    names = [name for name in names if UNITS[name].modality or UNITS[name].direction] or names
    example = next((name for name in names if UNITS[name].family == "fee"), "request")
    return (
        f"{model!r} is billed by {' and '.join(names) or 'units'}, not by tokens: under a cap say "
        f"how many at most, as in call(..., units={{{example!r}: 60}})"
    )


def _record_would(call: "Asking", event: Event) -> None:
    call.tracker.record(event._replace(data={**(event.data or {}), "would": True}))


def _affordable(call: "Asking", reason: str) -> int | None:
    """Return the output that every account of the path could pay."""
    if call._sheet is None or call.input_tokens is None:
        return None
    fits = [free + (0 if reason == "busy" else balance.held) for _, balance, free in rooms_of(call)]
    room = min(fits, default=0)
    return call._sheet.affordable_output_tokens(max(room, 0), call.input_tokens, call._started)


def _event(call: "Asking", status: str, account: str, amount: int) -> Event:
    return Event(
        0,
        Kind.DENIED,
        call.tracker.moment(call._started),
        call._id,
        call.context,
        call._request,
        held=amount,
        status=status,
        started=call._started,
        data=call._with(account=account, kind=kind_of(account)) if account else call._data,
    )


def _unspent(balance: Balance | None) -> int:
    """Return what would be free if all open holds turned out to cost nothing."""
    return (balance.free or 0) + balance.held if balance is not None else 0
