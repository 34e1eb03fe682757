"""Which accounts a rarer verb looks at and what it makes of them, the same for every engine."""

import logging
from collections.abc import Callable, Iterable, Sequence

from spendtree import account as rules
from spendtree.account import Balance, kind_of
from spendtree.event import Event, Kind
from spendtree.money import PICO_MAX, format_usd, to_usd

log = logging.getLogger("spendtree")

UNCAPPED = "uncapped_usd"
"""The key, in an event's data, of the true amount where it is more than what was recorded."""

Charge = tuple[int, int, Event]
"""What is added to `spent` and to `presumed`, and the event to blame for what follows."""


def charge_of(event: Event) -> tuple[int, int]:
    """Return what a call without a hold adds to `spent` and to `presumed`."""
    if event.kind == Kind.LAPSE:
        return 0, event.held
    return (event.cost or 0, 0) if event.kind in (Kind.CALL, Kind.TOOL) else (0, 0)


def charging(path: Sequence[tuple[str, Balance]], event: Event) -> Event:
    """Return an event that charges a path as it can be recorded: capped at what accounts hold.

    An account, like the event's own field, holds an int64. What was beyond is kept as text in
    data["uncapped_usd"], and the capped amount is what every sum and account is made of: so they
    agree.
    """
    if event.kind == Kind.LAPSE:
        held = rules.presumable(path, min(event.held, PICO_MAX))
        return event if held == event.held else _capped(event, event.held)._replace(held=held)
    if event.cost is None:
        return event
    cost = rules.spendable(path, min(event.cost, PICO_MAX))
    return event if cost == event.cost else _capped(event, event.cost)._replace(cost=cost)


class Charging:
    """Fits the calls of one load to the accounts that they are charged to, one after the other."""

    def __init__(self, path_of: Callable[[Sequence[str]], Sequence[tuple[str, Balance]]]) -> None:
        self._path_of = path_of
        self._balances: dict[str, Balance] = {}

    def fit(self, event: Event) -> Event:
        """Return the event as it can be recorded after those before."""
        if not any(charge_of(event)):
            return charging((), event)  # of a summary nothing is charged
        unknown = [name for name in event.context.path if name not in self._balances]
        self._balances.update(self._path_of(unknown))
        path = [(name, self._balances[name]) for name in event.context.path]
        event = charging(path, event)
        cost, presumed = charge_of(event)
        self._balances.update({name: rules.book(each, cost, presumed) for name, each in path})
        return event


def lapsing(balance: Balance, held: int, presumed: int) -> Balance:
    """Return an account after a hold lapsed of which so much could be presumed."""
    return rules.settle(rules.lapse(balance, presumed), held - presumed, 0)


def is_cost(event: Event, cost: int | None) -> bool:
    """Tell whether an event was recorded for a call of this cost, which may have been capped."""
    if event.cost == cost:
        return True
    data = event.data or {}
    return cost is not None and data.get(UNCAPPED) == f"{to_usd(cost):f}"


def _capped(event: Event, amount: int) -> Event:
    log.warning(
        "%s %s of %s comes to $%s, more than an account holds ($9.2 million) with what it has "
        "already: it is recorded capped, and its true amount in its data; look at the price",
        "the hold of call" if event.kind == Kind.LAPSE else "call",
        event.id.hex(),
        event.request.model or (event.data or {}).get("name", "a summary"),
        f"{to_usd(amount):f}",
    )
    return event._replace(data={**(event.data or {}), UNCAPPED: f"{to_usd(amount):f}"})


def charged(events: Iterable[Event]) -> dict[tuple[str, ...], Charge]:
    """Return what calls without holds add to their paths, the last event of each to blame."""
    charges: dict[tuple[str, ...], Charge] = {}
    for event in events:
        cost, presumed = charge_of(event)
        if cost or presumed:
            sums = charges.get(event.context.path, (0, 0, event))
            charges[event.context.path] = (sums[0] + cost, sums[1] + presumed, event)
    return charges


def transferring(source: str, target: str, event: Event) -> list[str]:
    """Return the accounts of a transfer: the session first, for its reservations."""
    return [*_session_of((source, target), event), *dict.fromkeys((source, target))]


def transferred(
    path: Sequence[tuple[str, Balance]], source: str, target: str, amount: int
) -> list[Balance] | str:
    """Return the accounts of `transferring` after the transfer, or why it is refused.

    Also where a reserved envelope would get money that its session has not free to reserve: it
    would be taken from what other envelopes have reserved.
    """
    if source == target:
        return "the source and the target are one account"
    balances = dict(path)
    moved = rules.transfer(balances[source], balances[target], amount)
    if isinstance(moved, str):
        return moved
    balances[source], balances[target] = moved
    after = list(balances.values())
    for (name, old), new in zip(path, rules.conclude(path, after)[0], strict=True):
        if kind_of(name) == "session" and (new.free or 0) < min(old.free or 0, 0):
            free = format_usd(max(old.free or 0, 0))
            return f"only {free} of the session is free to reserve"
    return after


def recapping(account: str, event: Event) -> list[str]:
    """Return the accounts that a new cap concerns: the session first, for its reservations."""
    return [*_session_of((account,), event), account]


def recapped(path: Sequence[tuple[str, Balance]], account: str, cap: int | None) -> list[Balance]:
    """Return the accounts of `recapping` with the new cap."""
    return [b._replace(cap=cap) if name == account else b for name, b in path]


def _session_of(accounts: Sequence[str], event: Event) -> list[str]:
    """Return the session above an envelope among the accounts, unless it is one of them."""
    session = f"session/{event.context.session}"
    envelopes = any(kind_of(account) == "envelope" for account in accounts)
    return [session] if envelopes and session not in accounts else []
