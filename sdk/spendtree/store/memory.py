"""The memory engine: the pure rules of `account` over dictionaries, for tests and short scripts.

It lives in one process: a forked child would spend the parent's money unseen, so it refuses.
"""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from spendtree import account as rules
from spendtree.account import Account, Balance, Crossing, Denial, Grant
from spendtree.errors import LedgerConflictError, StoreError
from spendtree.event import SETTLED, Context, Event, Kind, Request
from spendtree.money import PICO_MAX
from spendtree.store.changes import (
    Charging,
    charge_of,
    charged,
    charging,
    is_cost,
    lapsing,
    recapped,
    recapping,
    transferred,
    transferring,
)
from spendtree.store.locks import unowned
from spendtree.store.memory_reading import ENDINGS, Hold, MemoryReading
from spendtree.store.owner import Owner, current
from spendtree.store.protocol import (
    NO_MARKS,
    Marks,
    Opened,
    Pruned,
    Reservation,
    Settlement,
)
from spendtree.store.warnings import warned

_new = tuple.__new__
"""Makes a NamedTuple in half the time of its constructor: for what every call makes."""


class MemoryStore(MemoryReading):
    """The store of `memory:`; the same verbs as every engine, gone with the process."""

    url = "memory:"

    def open(
        self,
        accounts: Sequence[tuple[Account, int | None]],
        event: Event,
        *,
        marks: Mapping[str, Marks] = NO_MARKS,
        reserve: Reservation | None = None,
    ) -> Opened:
        """Open accounts and record the event, or answer the event first recorded."""
        self._check_process()
        with unowned(self._lock):
            known = self.find(event.id, event.kind)
            fresh = list(dict.fromkeys(a.id for a, _ in accounts if a.id not in self._accounts))
            for account, cap in accounts:
                self._open(account, cap, marks.get(account.id, ()))
            if known is not None:
                return Opened(known, False)
            denial = None
            try:
                if reserve is not None:
                    denial = self._reserve(reserve, event.id)
            except StoreError:
                self._forget(fresh)
                raise
            if denial is not None:
                self._forget(fresh)
                return Opened(event, False, denial)
            self._record(event)
            return Opened(event, True)

    def open_accounts(
        self,
        accounts: Sequence[tuple[Account, int | None]],
        marks: Mapping[str, Marks] = NO_MARKS,
        *,
        version: int | None = None,
    ) -> None:
        """Open accounts that no event opens."""
        self._check_process()
        with unowned(self._lock):
            for account, cap in accounts:
                if account.id not in self._accounts:
                    self._versions[account.id] = version
                self._open(account, cap, marks.get(account.id, ()))

    def release(self, reservation: Reservation, event: Event) -> bool:
        """Record the end of a run and give back what it reserved."""
        self._check_process()
        with unowned(self._lock):
            fresh = not self._is_replay(event)
            if self._reservations.pop(event.id, None) is not None:
                session, envelope = self._path(reservation)
                after = rules.release(session, envelope)
                self._balances.update(zip(reservation, after, strict=True))
            if fresh:
                self._record(event)
            return fresh

    def hold(
        self,
        id: bytes,
        path: Sequence[str],
        amount: int,
        floor: int | None = None,
        *,
        context: Context,
        request: Request,
        at: int,
        lenient: Collection[str] = (),
    ) -> Grant | Denial:
        """Reserve money at every account of the path, or nowhere."""
        if os.getpid() != self._pid:
            self._check_process()
        with unowned(self._lock):
            if id in self._holds or id in self._ended:
                return self._replayed_hold(id, context, request, amount, floor)
            if path is not context.path and tuple(path) != context.path:
                raise StoreError(f"hold {id.hex()}: its path is not that of its context")
            balances = self._balances
            try:
                before = [(name, balances[name]) for name in path]
            except KeyError as missing:
                raise self._not_open(missing) from None
            answer = rules.admit(before, amount, floor, lenient)
            if isinstance(answer, Grant):
                granted = answer.amount
                standing = 0
                for name, balance in before:
                    if granted > PICO_MAX - balance[3]:
                        balances.update(before)
                        raise self._full(name)
                    balances[name] = rules.hold(balance, granted)
                    standing += balance[4][1]
                if standing:
                    self._conclude(before)
                self._holds[id] = _new(Hold, (context, request, granted, at))
            return answer

    def settle(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """End a hold with its true cost, or adjust one that lapsed."""
        if os.getpid() != self._pid:
            self._check_process()
        with unowned(self._lock):
            hold = self._holds.pop(id, None)
            if hold is None:
                return self._settled_before(id, cost, event)
            path, balances, held, reached = hold.context.path, self._balances, hold.amount, False
            kind = Kind.TOOL if event.kind == Kind.TOOL else Kind.CALL
            ended = event.ended(kind, cost, held)
            after, plain, most = [], True, cost or 0
            for name in path:
                settled = rules.settle(balances[name], held, cost or 0)
                after.append(settled)
                plain = plain and rules.is_plain(settled)
                if settled[1] > most:
                    most = settled[1]
            if most > PICO_MAX:
                ended, plain = charging(self._path(path), ended), False
                cost = ended.cost
                after = [rules.settle(balances[name], held, cost or 0) for name in path]
            self._ended[id] = len(self._log)
            self._log.append(ended)
            if plain:
                balances.update(zip(path, after, strict=True))
            else:
                reached = self._write(self._path(path), after, ended)
            return _new(Settlement, (kind, cost, held, reached))

    def void(self, id: bytes, event: Event) -> Settlement:
        """End a hold as surely not billed."""
        return self.settle(id, 0, event)

    def lapse(self, id: bytes, event: Event) -> Settlement:
        """End a hold as unknown: its money is presumed spent."""
        self._check_process()
        with unowned(self._lock):
            hold = self._holds.pop(id, None)
            if hold is None:
                known = self.find(id, Kind.LAPSE)
                if known is None:
                    raise LedgerConflictError(f"hold {id.hex()} did not lapse: it ended otherwise")
                return Settlement(Kind.LAPSE, 0, known.held)
            path = self._path(hold.context.path)
            ended = charging(path, event.ended(Kind.LAPSE, 0, hold.amount))
            self._record(ended)
            after = [lapsing(balance, hold.amount, ended.held) for _, balance in path]
            reached = self._write(path, after, ended)
            return Settlement(Kind.LAPSE, 0, ended.held, reached)

    def adjust(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """Book the late truth of a lapsed hold."""
        self._check_process()
        with unowned(self._lock):
            return self._settled_before(id, cost, event)

    def transfer(self, id: bytes, source: str, target: str, amount: int, event: Event) -> str:
        """Move free money between the caps of two accounts."""
        self._check_process()
        with unowned(self._lock):
            if self._is_replay(event):
                return ""
            path = self._path(transferring(source, target, event))
            moved = transferred(path, source, target, amount)
            if isinstance(moved, str):
                return moved
            self._write(path, moved, event)
            self._record(event)
            return ""

    def set_cap(self, id: bytes, account: str, cap: int | None, event: Event) -> Balance:
        """Change an account's cap."""
        self._check_process()
        with unowned(self._lock):
            path = self._path(recapping(account, event))
            if not self._is_replay(event):
                self._write(path, recapped(path, account, cap), event)
                self._record(event)
            return self._balance(account)

    def set_budget(self, account: str, cap: int, version: int, event: Event) -> bool:
        """Change a budget's cap to that of a newer configuration."""
        self._check_process()
        with unowned(self._lock):
            path = self._path((account,))
            before = self._versions.get(account)
            if before is not None and version <= before:
                return False
            self._versions[account] = version
            if path[0][1].cap == cap:
                return False
            self._write(path, recapped(path, account, cap), event)
            self._record(event)
            return True

    def take_warnings(self, session: str, accounts: Collection[str]) -> list[Crossing]:
        """Answer the warnings that nobody took before."""
        self._check_process()
        with unowned(self._lock):
            taken = [w for w in self._warnings if w[0] == session or w[1].account in accounts]
            self._warnings = [w for w in self._warnings if w not in taken]
            return [crossing for _, crossing in taken]

    def append(self, event: Event) -> bool:
        """Record an event that moves no money; False if it was known."""
        self._check_process()
        with unowned(self._lock):
            if self._is_replay(event):
                return False
            self._record(event)
            return True

    def load(self, accounts: Sequence[Account], events: Sequence[Event]) -> int:
        """Book finished calls without holds; answer how many events were new."""
        self._check_process()
        with unowned(self._lock):
            new = {account.id for account in accounts}
            for event in events:
                for name in event.context.path if any(charge_of(event)) else ():
                    if name not in new:
                        self._balance(name)  # before anything is booked: all or nothing
            for account in accounts:
                self._open(account, None)
            fresh, charges = [], Charging(self._path)
            for each in events:
                if self.find(each.id, each.kind) is None:
                    fresh.append(charges.fit(each))
                    self._record(fresh[-1])
            for path, (cost, presumed, cause) in charged(fresh).items():
                booked = partial(rules.book, cost=cost, presumed=presumed)
                self._change(path, booked, cause)
            return len(fresh)

    def lapse_abandoned(self, *, now: int, idle: int) -> int:
        """Answer 0: the owner of every hold is this process, and it lives."""
        return 0

    def owner(self) -> Owner:
        """Return this process."""
        return current()

    def is_dead(self, owner: Owner) -> bool | None:
        """Tell whether a process has ended; None if that cannot be known from here."""
        return owner.is_dead(current())

    def prune(self, before: int, *, dry_run: bool = False) -> Pruned:
        """Do nothing: this store is gone with its process, before anything in it is old."""
        return Pruned()

    def pruned_before(self) -> int:
        """Answer 0: nothing is ever pruned."""
        return 0

    def close(self) -> None:
        """Do nothing: there is nothing to give back."""

    def _open(self, account: Account, cap: int | None, marks: Marks = ()) -> None:
        if account.id not in self._accounts:
            self._accounts[account.id] = account
            self._balances[account.id] = Balance(cap, terms=rules.warning(cap, marks))

    def _forget(self, accounts: Sequence[str]) -> None:
        """Undo the opening of accounts."""
        for id in accounts:
            del self._accounts[id], self._balances[id]

    def _reserve(self, asked: Reservation, run: bytes) -> Denial | None:
        session, envelope = self._path(asked)
        answer = rules.reserve(session, envelope)
        if isinstance(answer, Denial):
            return answer
        self._balances.update(zip(asked, answer, strict=True))
        self._reservations[run] = asked
        return None

    def _path(self, names: Sequence[str]) -> list[tuple[str, Balance]]:
        return [(name, self._balance(name)) for name in names]

    def _change(
        self, names: Sequence[str], change: Callable[[Balance], Balance], cause: Event
    ) -> bool:
        before = self._path(names)
        return self._write(before, [change(balance) for _, balance in before], cause)

    def _conclude(self, before: rules.Path, cause: Event | None = None) -> bool:
        """Bring terms up to date after a path's balances were changed one by one."""
        return self._write(before, [self._balances[name] for name, _ in before], cause)

    def _write(
        self,
        before: rules.Path,
        after: Sequence[Balance],
        cause: Event | None,
    ) -> bool:
        """Write changed balances and what follows; True if one reached a warning mark."""
        balances, crossings = rules.conclude(before, after)
        self._balances.update(zip([name for name, _ in before], balances, strict=True))
        for crossing in crossings:
            assert cause is not None, "only what an event tells of can reach a mark"
            self._record(warned(crossing, cause))
            self._warnings.append((cause.context.session, crossing))
        return bool(crossings)

    def _is_replay(self, event: Event) -> bool:
        known = self.find(event.id, event.kind)
        if known is not None and known.payload != event.payload:
            raise LedgerConflictError(f"event {event.id.hex()} was recorded with another payload")
        return known is not None

    def _balance(self, account: str) -> Balance:
        try:
            return self._balances[account]
        except KeyError as missing:
            raise self._not_open(missing) from None

    def _not_open(self, missing: KeyError) -> StoreError:
        return StoreError(f"account {missing} is not open in {self.url}")

    def _full(self, account: str) -> StoreError:
        return StoreError(
            f"store {self.url}: {account!r} cannot hold that much; an account holds at most "
            "$9.2 million (2**63 pico-dollars); nothing was changed"
        )

    def _record(self, event: Event) -> None:
        if event.kind in ENDINGS and event.id not in self._ended:
            self._ended[event.id] = len(self._log)
        else:
            self._known[event.id, event.kind] = len(self._log)
        self._log.append(event)

    def _replayed_hold(
        self, id: bytes, context: Context, request: Request, amount: int, floor: int | None
    ) -> Grant:
        held = self._holds.get(id)
        if held is not None:
            first, granted = held[:2], held.amount
        else:
            ended = self._log[self._ended[id]]
            first, granted = (ended.context, ended.request), ended.held
        least = amount if floor is None else min(floor, amount)
        if first != (context, request) or not least <= granted <= amount:
            raise LedgerConflictError(f"hold {id.hex()} was made before with another payload")
        return Grant(granted)

    def _settled_before(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        for kind in (*SETTLED, Kind.ADJUSTMENT):
            known = self.find(id, kind)
            if known is not None:
                if not is_cost(known, cost):
                    raise LedgerConflictError(f"call {id.hex()} was settled with another cost")
                return Settlement(kind, known.cost, known.held)
        lapsed = self.find(id, Kind.LAPSE)
        if lapsed is None:
            raise LedgerConflictError(f"no hold {id.hex()} is known")
        path = self._path(lapsed.context.path)
        ended = charging(path, event.ended(Kind.ADJUSTMENT, cost, lapsed.held))
        self._record(ended)
        adjusted = partial(rules.adjust, presumed=lapsed.held, cost=ended.cost or 0)
        reached = self._write(path, [adjusted(balance) for _, balance in path], ended)
        return Settlement(Kind.ADJUSTMENT, ended.cost, lapsed.held, reached)
