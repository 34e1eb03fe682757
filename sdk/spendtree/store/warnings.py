"""The event of a warning, the same from every engine."""

from decimal import Decimal

from spendtree.account import Crossing, kind_of
from spendtree.event import Event, Kind, derived_id


def warned(crossing: Crossing, cause: Event) -> Event:
    """Return the event that says that `cause` made an account reach a warning mark."""
    account, mark, cap, used = crossing
    return Event(
        0,
        Kind.WARNED,
        cause.at,
        derived_id("warned", account, str(mark), cause.id.hex(), str(int(cause.kind))),
        cause.context,
        cost=cap,
        held=used,
        data={"account": account, "kind": kind_of(account), "mark": str(Decimal(mark) / 1_000_000)},
    )
