"""The budgets that imported calls are charged to: those that stand for the time of each call."""

from collections.abc import Sequence

from spendtree.account import payer_account
from spendtree.config import PERIODS
from spendtree.event import Context, Event
from spendtree.period import period
from spendtree.store import Store
from spendtree.store.changes import charge_of


def charged_to_budgets(store: Store, events: Sequence[Event]) -> list[Event]:
    """Return events whose calls are charged to their customer's and team's budgets, too.

    A call belongs to the periods of its start. Budgets that nobody has opened are not opened here,
    and history counts in none.
    """
    paths: dict[tuple[str, str, int], tuple[str, ...]] = {}
    found = []
    for event in events:
        context = event.context
        if any(charge_of(event)) and context.origin != "history":
            day = (event.started or event.at) // 86_400_000_000
            who = context.customer, context.team, day
            if who not in paths:
                paths[who] = _standing(store, context, day * 86_400_000_000)
            if paths[who]:
                path = (*paths[who], *context.path)
                event = event._replace(context=context._replace(path=path))
        found.append(event)
    return found


def _standing(store: Store, context: Context, at: int) -> tuple[str, ...]:
    payers = (("customer", context.customer), ("team", context.team))
    try:
        periods = [period(each, at).name for each in PERIODS]
    except (OverflowError, ValueError, OSError):  # a time that no calendar has
        return ()
    names = [
        payer_account(kind, name, each).id for kind, name in payers if name for each in periods
    ]
    known = store.standing(names) if names else {}
    return tuple(name for name in names if name in known)
