"""Which accounts a rarer verb looks at and what it makes of them, the same for every engine."""

from collections.abc import Sequence

from spendtree import account as rules
from spendtree.account import Balance, kind_of
from spendtree.event import Event, Kind


def charge_of(event: Event) -> tuple[int, int]:
    """Return what a call without a hold adds to `spent` and to `presumed`."""
    if event.kind == Kind.LAPSE:
        return 0, event.held
    return (event.cost or 0, 0) if event.kind in (Kind.CALL, Kind.TOOL) else (0, 0)


def transferring(source: str, target: str, event: Event) -> list[str]:
    """Return the accounts of a transfer: the session first, for its reservations."""
    return [*_session_of((source, target), event), *dict.fromkeys((source, target))]


def transferred(
    path: Sequence[tuple[str, Balance]], source: str, target: str, amount: int
) -> list[Balance] | str:
    """Return the accounts of `transferring` after the transfer, or why it is refused."""
    if source == target:
        return "the source and the target are one account"
    balances = dict(path)
    moved = rules.transfer(balances[source], balances[target], amount)
    if isinstance(moved, str):
        return moved
    balances[source], balances[target] = moved
    return list(balances.values())


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
