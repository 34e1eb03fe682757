"""Which accounts a rarer verb looks at and what it makes of them, the same for every engine."""

from collections.abc import Iterable, Sequence

from spendtree import account as rules
from spendtree.account import Balance, kind_of
from spendtree.event import Event, Kind
from spendtree.money import format_usd

Charge = tuple[int, int, Event]
"""What is added to `spent` and to `presumed`, and the event to blame for what follows."""


def charge_of(event: Event) -> tuple[int, int]:
    """Return what a call without a hold adds to `spent` and to `presumed`."""
    if event.kind == Kind.LAPSE:
        return 0, event.held
    return (event.cost or 0, 0) if event.kind in (Kind.CALL, Kind.TOOL) else (0, 0)


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
