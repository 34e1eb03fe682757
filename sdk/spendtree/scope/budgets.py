"""The budgets of a session's customer and team: an account for each UTC period, as it comes.

Opened with the configured cap; a cap that is configured otherwise by now is set, and recorded.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from spendtree.account import Account, payer_account
from spendtree.event import Context, Event, Kind
from spendtree.ids import new_id
from spendtree.money import to_pico
from spendtree.period import period

if TYPE_CHECKING:
    from spendtree.tracker import Spendtree

NEVER = 2**63 - 1

Payer = tuple[Literal["customer", "team"], str]
Capped = tuple[Account, int | None]
Marks = tuple[int, ...]


class Budgets:
    """The accounts of a session's payers; `end` is when the first of their periods is over."""

    def __init__(self, tracker: "Spendtree", payers: Sequence[Payer]) -> None:
        self._tracker = tracker
        self._payers = payers
        self.accounts: list[Capped] = []
        self.end = NEVER

    def due(self, at: int) -> tuple[list[Capped], int]:
        """Return the accounts of the periods that `at` (microseconds) is in, and the first end."""
        accounts: list[Capped] = []
        end = NEVER
        config = self._tracker.config
        for kind, name in self._payers:
            for period_kind, usd in config.budgets(kind, name).items():
                found = period(period_kind, at)
                cap = to_pico(usd, what=f"budget of {kind} {name!r}")
                accounts.append((payer_account(kind, name, found.name), cap))
                end = min(end, found.end)
        return accounts, end

    def roll(self, at: int, context: Context, marks_of: Callable[[Account], Marks]) -> None:
        """Open the accounts of the periods that `at` is in; all stays as it was if that fails."""
        accounts, end = self.due(at)
        if accounts:
            marks = {account.id: marks_of(account) for account, _ in accounts}
            self._tracker.store.open_accounts(accounts, marks)
            self._set_caps(accounts, at, context)
        self.accounts, self.end = accounts, end

    def _set_caps(self, accounts: Sequence[Capped], at: int, context: Context) -> None:
        """Give accounts that were opened with another cap the configured one."""
        store = self._tracker.store
        for account, cap in accounts:
            balance = store.balance(account.id)
            if balance is not None and balance.cap != cap:
                id = new_id(at * 1000)
                data = {"account": account.id, "kind": account.kind, "reason": "configuration"}
                event = Event(0, Kind.CAP_CHANGED, at, id, context, cost=cap, data=data)
                store.set_cap(id, account.id, cap, event)
