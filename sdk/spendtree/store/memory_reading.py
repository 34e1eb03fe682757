"""The reading side of the memory engine, and what it keeps. Nothing here changes anything."""

import os
import threading
from collections.abc import Collection, Iterator
from typing import NamedTuple

from spendtree.account import Account, Balance, Crossing
from spendtree.errors import StoreError
from spendtree.event import SETTLED, Context, Event, Kind, Request
from spendtree.store import sums
from spendtree.store.locks import Lock, unowned
from spendtree.store.protocol import START, Cursor, Page, Reservation, Standing, Totals

ENDINGS = (*SETTLED, Kind.LAPSE)


class Hold(NamedTuple):
    """An open hold: who made it, for what, how much, and when (microseconds)."""

    context: Context
    request: Request
    amount: int
    at: int


class MemoryReading:
    """What a memory store keeps, and how it is asked."""

    def __init__(self) -> None:
        self.id = os.urandom(4).hex()
        self._pid = os.getpid()
        self._lock: Lock = threading.RLock()
        self._accounts: dict[str, Account] = {}
        self._balances: dict[str, Balance] = {}
        self._holds: dict[bytes, Hold] = {}
        self._log: list[Event] = []
        self._ended: dict[bytes, int] = {}
        """Where the log says how each hold ended: the place of its CALL or LAPSE."""
        self._known: dict[tuple[bytes, int], int] = {}
        """The places of all other events."""
        self._reservations: dict[bytes, Reservation] = {}
        self._versions: dict[str, int | None] = {}
        """By account of a customer or team, the order of the configuration that set its cap."""
        self._warnings: list[tuple[str, Crossing]] = []
        """Those that nobody took yet, by the session that caused them."""

    def balance(self, account: str) -> Balance | None:
        """Return an account's money, None if it is not known."""
        return self._balances.get(account)

    def accounts(self, kind: str | None = None) -> Iterator[tuple[Account, Balance]]:
        """Iterate over the accounts, as they stand now."""
        self._check_process()
        with unowned(self._lock):
            found = [a for a in self._accounts.values() if kind is None or a.kind == kind]
            return iter([(account, self._balances[account.id]) for account in found])

    def accounts_named(self, ids: Collection[str]) -> list[tuple[Account, Balance]]:
        """Return the accounts of these ids."""
        self._check_process()
        with unowned(self._lock):
            known = [id for id in ids if id in self._accounts]
            return [(self._accounts[id], self._balances[id]) for id in known]

    def standing(self, ids: Collection[str]) -> dict[str, Standing]:
        """Return those of some accounts that are open."""
        self._check_process()
        with unowned(self._lock):
            known = [id for id in ids if id in self._accounts]
            return {id: Standing(self._balances[id].cap, self._versions.get(id)) for id in known}

    def newest_budget(self) -> int:
        """Return how many accounts customers and teams have."""
        return len(self._versions)

    def open_holds(self) -> int:
        """Count the holds that have not ended."""
        return len(self._holds)

    def oldest_hold(self) -> int | None:
        """Return when the oldest open hold was made."""
        with unowned(self._lock):
            return min((hold.at for hold in self._holds.values()), default=None)

    def read(self, cursor: Cursor = START, limit: int = 10_000) -> Page:
        """Return events after the cursor."""
        self._check_process()
        first = int(cursor or 0)
        with unowned(self._lock):
            rows = self._log[first : first + limit]
            more = len(self._log) > first + len(rows)
        events = [Event(seq, *row[1:]) for seq, row in enumerate(rows, first + 1)]
        return Page(events, Cursor(str(first + len(rows))), more)

    def events(
        self, *, session: str | None = None, kinds: Collection[int] | None = None
    ) -> Iterator[Event]:
        """Iterate over events in log order, of one session or some kinds."""
        cursor, more = START, True
        while more:
            found, cursor, more = self.read(cursor)
            for event in found:
                if session is not None and event.context.session != session:
                    continue
                if kinds is None or event.kind in kinds:
                    yield event

    def find(self, id: bytes, kind: int) -> Event | None:
        """Return the event of that id and kind."""
        place = self._ended.get(id) if kind in ENDINGS else None
        if place is None or self._log[place].kind != kind:
            place = self._known.get((id, kind))
        return None if place is None else Event(place + 1, *self._log[place][1:])

    def totals(self, session: str | None = None) -> list[Totals]:
        """Return the sums of calls by context."""
        return sums.totals(self.events(session=session))

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise StoreError(
                "a memory: store does not reach across fork, the child would spend its parent's "
                "money unseen; use sqlite:///FILE where processes share a budget"
            )
