"""Hearing: a tracker's store, telling what this process books through it. It decides nothing.

Every verb goes to the store as it is; what that has booked is then told to the listeners. A tracker
that nobody listens to has its bare store, so hearing costs nothing there.
"""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

from spendtree.account import Account, Balance, Crossing, Denial, Grant
from spendtree.event import Event, Kind
from spendtree.store.protocol import Opened, Reservation, Settlement, Store
from spendtree.store.warnings import warned

if TYPE_CHECKING:
    from spendtree.collector.collecting import Collector
    from spendtree.tracker import Spendtree


class HeardStore:
    """A store of one tracker that tells `listeners` each event it has booked for it.

    Not told are imports (`load`) and the lapses of dead processes' holds: they are not this
    process' spend. `holds` are its own open holds by id, with when they were made. `pid` is the
    process that listens; in a forked child nobody does.
    """

    def __init__(self, store: Store) -> None:
        self.bare = store
        self.pid = os.getpid()
        self.listeners: tuple[Collector, ...] = ()
        self.holds: dict[bytes, int] = {}
        self.closed = False

    def __getattr__(self, name: str) -> Any:
        """Return what the store itself has of that name."""
        return getattr(self.bare, name)

    def open(
        self, accounts: Sequence[tuple[Account, int | None]], event: Event, **more: Any
    ) -> Opened:
        """Open accounts."""
        opened = self.bare.open(accounts, event, **more)
        if opened.fresh:
            self._tell(event)
        elif opened.denial is None and event.kind == Kind.SESSION_OPENED:
            for each in self.listeners:
                each.joined(opened.event._replace(at=event.at))
        return opened

    def release(self, reservation: Reservation, event: Event) -> bool:
        """Record the end of a run."""
        fresh = self.bare.release(reservation, event)
        if fresh:
            self._tell(event)
        return fresh

    def hold(
        self,
        id: bytes,
        path: Sequence[str],
        amount: int,
        floor: int | None = None,
        *,
        at: int,
        **more: Any,
    ) -> Grant | Denial:
        """Reserve money."""
        answer = self.bare.hold(id, path, amount, floor, at=at, **more)
        if isinstance(answer, Grant):
            self.holds[id] = at
        return answer

    def settle(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """End a hold with its true cost."""
        return self._ended(id, event, self.bare.settle(id, cost, event))

    def void(self, id: bytes, event: Event) -> Settlement:
        """End a hold as surely not billed."""
        return self._ended(id, event, self.bare.void(id, event))

    def lapse(self, id: bytes, event: Event) -> Settlement:
        """End a hold as unknown."""
        return self._ended(id, event, self.bare.lapse(id, event))

    def adjust(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """Book late truth."""
        return self._ended(id, event, self.bare.adjust(id, cost, event))

    def transfer(self, id: bytes, source: str, target: str, amount: int, event: Event) -> str:
        """Move money."""
        refused = self.bare.transfer(id, source, target, amount, event)
        if not refused:
            self._tell(event)
            self._tell_warnings((f"session/{event.context.session}", source, target), event)
        return refused

    def set_cap(self, id: bytes, account: str, cap: int | None, event: Event) -> Balance:
        """Change a cap."""
        balance = self.bare.set_cap(id, account, cap, event)
        self._tell(event)
        self._tell_warnings((account,), event)
        return balance

    def set_budget(self, account: str, cap: int, version: int, event: Event) -> bool:
        """Change a budget."""
        changed = self.bare.set_budget(account, cap, version, event)
        if changed:
            self._tell(event)
            self._tell_warnings((account,), event)
        return changed

    def append(self, event: Event) -> bool:
        """Record an event that moves no money."""
        fresh = self.bare.append(event)
        if fresh:
            self._tell(event)
        return fresh

    def close(self) -> None:
        """Close the store."""
        self.closed = True
        self.bare.close()

    def _tell(self, event: Event) -> None:
        for each in self.listeners:
            each.heard(event)

    def _ended(self, id: bytes, event: Event, settlement: Settlement) -> Settlement:
        self.holds.pop(id, None)
        kind, cost, held, reached = settlement
        ended = event.ended(kind, cost, held)
        self._tell(ended)
        if reached:
            self._tell_warnings(ended.context.path, ended)
        return settlement

    def _tell_warnings(self, accounts: Sequence[str], cause: Event) -> None:
        """Tell the warnings that an event has caused; the store wrote them down by itself."""
        for account in dict.fromkeys(accounts):
            balance = self.bare.balance(account)
            for mark in balance.terms.marks if balance is not None else ():
                id = warned(Crossing(account, mark, 0, 0), cause).id
                found = self.bare.find(id, Kind.WARNED)
                if found is not None:
                    self._tell(found)


def hear(tracker: "Spendtree") -> HeardStore:
    """Return the store of a tracker, made to tell what it books."""
    known = hearing(tracker)
    if known is not None:
        return known
    made = HeardStore(tracker.store)
    tracker.store = cast("Store", made)  # it has all that a store has, by __getattr__
    return made


def hearing(tracker: "Spendtree") -> HeardStore | None:
    """Return the store of a tracker if somebody listens to it."""
    store: object = tracker.store
    return store if isinstance(store, HeardStore) else None
