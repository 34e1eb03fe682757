"""The budgets of a session's customer and team: an account for each UTC period, as it comes.

Opened with the configured cap; a cap that is configured otherwise by now is set, and recorded.
"""

from collections.abc import Sequence
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


class Budgets:
    """The accounts of a session's payers; `end` is when the first of their periods is over."""

    def __init__(self, tracker: "Spendtree", payers: Sequence[Payer]) -> None:
        self._tracker = tracker
        self._payers = payers
        self.accounts: list[tuple[Account, int | None]] = []
        self.end = NEVER

    def roll(self, at: int) -> None:
        """Find the accounts of the periods that `at` (microseconds since 1970) is in."""
        self.accounts, self.end = [], NEVER
        config = self._tracker.config
        for kind, name in self._payers:
            for period_kind, usd in config.budgets(kind, name).items():
                found = period(period_kind, at)
                cap = to_pico(usd, what=f"budget of {kind} {name!r}")
                self.accounts.append((payer_account(kind, name, found.name), cap))
                self.end = min(self.end, found.end)

    def set_caps(self, at: int, context: Context) -> None:
        """Give accounts that were opened with another cap the configured one."""
        store = self._tracker.store
        for account, cap in self.accounts:
            balance = store.balance(account.id)
            if balance is not None and balance.cap != cap:
                id = new_id(at * 1000)
                data = {"account": account.id, "kind": account.kind, "reason": "configuration"}
                event = Event(0, Kind.CAP_CHANGED, at, id, context, cost=cap, data=data)
                store.set_cap(id, account.id, cap, event)
