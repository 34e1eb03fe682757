"""The budgets of a session's customer and team: an account for each UTC period, as it comes.

Every account of a present period that stands in the store is charged, whoever opened it: a process
whose configuration does not name a budget spends under it all the same. Of two configurations that
name different amounts the newer one's holds; a change is recorded.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

from spendtree.account import Account, payer_account
from spendtree.config import PERIODS
from spendtree.config.version import is_newer
from spendtree.event import Context, Event, Kind
from spendtree.ids import new_id
from spendtree.money import format_usd, to_pico
from spendtree.period import DAY_US, period
from spendtree.store.protocol import Standing

if TYPE_CHECKING:
    from spendtree.config import Config
    from spendtree.tracker import Spendtree

log = logging.getLogger("spendtree")

NEVER = 2**63 - 1

LOOK_US = 500_000
"""How often a session looks whether others have opened budgets, and how old an answer may be that
all sessions of a process share: together a second, after which nobody spends past them."""

Payer = tuple[Literal["customer", "team"], str]
Capped = tuple[Account, int | None]
Marks = tuple[int, ...]


class Budgets:
    """The accounts of a session's payers, good from `begin` up to `end`: then it looks again."""

    def __init__(self, tracker: "Spendtree", payers: Sequence[Payer]) -> None:
        self._tracker = tracker
        self._payers = [(kind, name) for kind, name in payers if name]
        self.accounts: list[Capped] = []
        self.begin, self.end = 0, NEVER
        self._seen: tuple[Config, int, int] | None = None
        """Under which configuration, on which day and up to which account it looked."""

    def due(self, at: int) -> tuple[list[Capped], int]:
        """Return the accounts that are configured for the periods of `at`, and the first end."""
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
        """Open or find the accounts of the periods of `at`; all stays as it was if that fails."""
        if not self._payers:
            return
        # Periods begin and end with a day.
        seen = self._tracker.config, at // DAY_US, self._tracker.newest_budget(at)
        if seen != self._seen:
            self.accounts = self._found(at, context, marks_of)
            self._seen = seen
        # Not from the day's begin: of a clock that goes back it would not look for that long.
        self.begin = max(at - LOOK_US, seen[1] * DAY_US)
        self.end = min(at + LOOK_US, (seen[1] + 1) * DAY_US)

    def _found(
        self, at: int, context: Context, marks_of: Callable[[Account], Marks]
    ) -> list[Capped]:
        """Return the accounts that stand, once those that are configured do."""
        store = self._tracker.store
        configured, _ = self.due(at)
        if configured:
            marks = {account.id: marks_of(account) for account, _ in configured}
            store.open_accounts(configured, marks, version=self._tracker.config.order)
        possible = [
            payer_account(kind, name, period(each, at).name)
            for kind, name in self._payers
            for each in PERIODS
        ]
        standing = store.standing([account.id for account in possible])
        for account, cap in configured:
            if cap is not None and self._settle_cap(account, cap, standing, at, context):
                standing[account.id] = Standing(cap, None)
        return [(a, standing[a.id].cap) for a in possible if a.id in standing]

    def _settle_cap(
        self,
        account: Account,
        cap: int,
        standing: Mapping[str, Standing],
        at: int,
        context: Context,
    ) -> bool:
        """Give an account the configured cap if this configuration is the newer one."""
        config, known = self._tracker.config, standing[account.id]
        if config.order is not None and is_newer(config.order, known.version):
            id = new_id(at * 1000)
            data = {"account": account.id, "kind": account.kind, "reason": "configuration"}
            event = Event(0, Kind.CAP_CHANGED, at, id, context, cost=cap, data=data | _who(config))
            return self._tracker.store.set_budget(account.id, cap, config.order, event)
        if cap != known.cap and account.id not in self._tracker.outvoted:
            self._tracker.outvoted.add(account.id)
            log.warning("%s", _outvoted(account, cap, known, config))
        return False


def _who(config: "Config") -> dict[str, str]:
    """Return what an event says of the configuration that changed a budget."""
    known = config.version or config.dated
    return {} if known is None else {"configuration": known.text}


def _outvoted(account: Account, cap: int, known: Standing, config: "Config") -> str:
    """Return the sentence that says why a configured amount does not hold."""
    amount = "no limit" if known.cap is None else format_usd(known.cap)
    text = (
        f"the budget of {account.kind} {account.customer or account.team!r} for {account.period} "
        f"is {amount}, not the {format_usd(cap)} of this configuration, "
    )
    if config.order is None:
        return text + (
            "which cannot be ordered among others: give it a `version` (a number or a date) to "
            "change what another one has set"
        )
    told = config.version or config.dated
    assert told is not None
    same = config.order == known.version
    return text + (
        f"which is {'of the same version as' if same else 'older than'} the one that set it "
        f"({told.text}): raise its `version` to change the budget"
    )
