"""Budgets: which accounts are live, and the gauges of their money. Pure.

Which accounts there are follows from the log; how they stand is read from the store by whoever
runs the fold, and handed in.
"""

from collections.abc import Iterable

from spendtree.account import Account, Balance
from spendtree.event import Context
from spendtree.metrics.groups import BUDGET_FAMILIES, Budget
from spendtree.metrics.names import OTHER, Names, label_text
from spendtree.metrics.series import Tables
from spendtree.metrics.sessions import Sessions
from spendtree.period import end_of

_OF_SESSIONS = ("session/", "envelope/", "run/")
"""What ids of accounts begin with that are not a customer's or team's period."""

_IN_SESSION = frozenset(("session", "envelope"))
_WIDTH = len(BUDGET_FAMILIES)
_GAUGES = _WIDTH - 1


class Budgets:
    """The accounts whose gauges are shown."""

    def __init__(self, tables: Tables, names: Names, sessions: Sessions) -> None:
        self.session_series = 0
        self.clock = 0
        self.periods: dict[str, int | None] = {}
        """Accounts of customers and teams that calls were charged to, with the period's end."""
        self._tables = tables
        self._names = names
        self._sessions = sessions

    def meet(self, context: Context, at: int) -> None:
        """Take note of the customers' and teams' accounts that a context is charged to."""
        for account in context.path:
            if account in self.periods or account.startswith(_OF_SESSIONS):
                continue
            kind, _, rest = account.partition("/")
            if (
                kind in ("customer", "team")
                and self._names.shown(kind, rest.partition("/")[2]) == OTHER
            ):
                continue  # whose spend stands under _other has no gauges either
            self._advance(at)
            if self._tables.room(_WIDTH):
                self._tables.standing += _WIDTH
                self.periods[account] = period_end(account)

    def take_up(self, periods: dict[str, int | None]) -> None:
        """Take over the accounts of periods that another one knew."""
        self.periods = periods
        self._tables.standing += _WIDTH * len(periods)

    def _advance(self, at: int) -> None:
        """Give the places of periods back that are over by the log's clock."""
        self.clock = max(self.clock, at)
        for account, end in list(self.periods.items()):
            if end is not None and end <= self.clock:
                del self.periods[account]
                self._tables.standing -= _WIDTH

    def live(self, now: int) -> list[str]:
        """Return the ids of all accounts that are live at `now` (microseconds)."""
        found = [account for session in self._sessions if session.shown and session.accounts
                 for account in session.accounts]  # fmt: skip
        found += [account for account, end in self.periods.items() if end is None or end > now]
        return found

    def set(self, accounts: Iterable[tuple[Account, Balance]]) -> bool:
        """Show accounts as they stand, and no others; tell if anything changed."""
        before, shown = self._tables.budgets, {}
        changed, of_sessions = False, 0
        for account, balance in accounts:
            labels = self._labels(account)
            if balance.cap is None or labels is None or labels in shown:
                continue
            budget = before.get(labels)
            if not isinstance(budget, Budget):
                budget = Budget(labels, balance, period_end(account.id) if account.period else None)
                changed = True
            elif budget.balance != balance:
                budget.balance = balance
                budget.fresh = False
                changed = True
            shown[labels] = budget
            of_sessions += _GAUGES if account.kind in _IN_SESSION else 0
        changed = changed or len(shown) != len(before)
        before.clear()
        before.update(shown)
        self.session_series = of_sessions
        return changed

    def _labels(self, account: Account) -> tuple[str, ...] | None:
        """Return an account's labels; None if its names have none of their own."""
        shown = self._names.shown
        names = (
            shown("agent", account.agent),
            shown("customer", account.customer),
            shown("team", account.team),
        )
        if account.kind not in _IN_SESSION and OTHER in names:
            return None
        return (account.kind, label_text(account.period), label_text(account.session), *names)


def period_end(account: str) -> int | None:
    """Return when the period ends that an account's id names (microseconds), None for others."""
    parts = account.split("/", 2)
    try:
        return end_of(parts[1]) if len(parts) == 3 else None
    except ValueError:
        return None
