"""Assertions on spend; each fails with both numbers."""

from collections import defaultdict
from collections.abc import Iterator

from spendtree.account import Balance
from spendtree.event import Event, Kind
from spendtree.money import Money, to_pico, to_usd
from spendtree.store.protocol import Store
from spendtree.tracker import Spendtree

__all__ = ["assert_books_balance", "assert_calls", "assert_spent"]


def assert_spent(
    where: Spendtree | Store, usd: Money, *, session: str | None = None, agent: str | None = None
) -> None:
    """Assert that exactly `usd` dollars were spent, by one session or agent or altogether."""
    rows = _store(where).totals(session)
    pico = sum(row.cost for row in rows if agent is None or row.context.agent == agent)
    expected = to_pico(usd)
    assert pico == expected, f"spent ${to_usd(pico)}, expected ${to_usd(expected)}"


def assert_calls(
    where: Spendtree | Store, count: int, *, session: str | None = None, agent: str | None = None
) -> None:
    """Assert that exactly `count` calls ended, by one session or agent or altogether."""
    rows = _store(where).totals(session)
    calls = sum(row.calls for row in rows if agent is None or row.context.agent == agent)
    assert calls == count, f"{calls} calls ended, expected {count}"


def assert_books_balance(where: Spendtree | Store) -> None:
    """Assert that every account equals the sum of what was charged to it, nothing being held.

    Call it when all calls have ended: an open hold counts as a difference.
    """
    store = _store(where)
    charged: defaultdict[str, Balance] = defaultdict(Balance)
    for event in store.events():
        for name, change in _charges(event):
            before = charged[name]
            charged[name] = Balance(
                None, before.spent + change.spent, before.presumed + change.presumed
            )
    for account, balance in store.accounts():
        expected = charged.pop(account.id, Balance())
        found = Balance(None, *balance[1:4])
        assert found == expected, f"{account.id} is {found}, its events add up to {expected}"
    assert not charged, f"charged but not open: {sorted(charged)}"


def _charges(event: Event) -> Iterator[tuple[str, Balance]]:
    change = {
        Kind.CALL: Balance(None, event.cost or 0),
        Kind.TOOL: Balance(None, event.cost or 0),
        Kind.LAPSE: Balance(None, 0, event.held),
        Kind.ADJUSTMENT: Balance(None, event.cost or 0, -event.held),
    }.get(Kind(event.kind))
    if change is not None:
        for account in event.context.path:
            yield account, change


def _store(where: Spendtree | Store) -> Store:
    return where.store if isinstance(where, Spendtree) else where
