"""The SQLite engine: the ledger's verbs as guarded statements, one transaction each.

A hold is one conditional UPDATE over the path whose row count says whether every account agreed;
read-decide-write in Python takes twice as long (measured: 87 against 44 us for hold and settle).
"""

import sqlite3
from collections.abc import Collection, Sequence
from functools import partial
from urllib.parse import parse_qsl, unquote

from spendtree import account as rules
from spendtree.account import Account, Denial, Grant
from spendtree.errors import LedgerConflictError, PrunedError, StoreError
from spendtree.event import SETTLED, Context, Event, Kind, Request
from spendtree.money import PICO_MAX
from spendtree.store import statements
from spendtree.store.changes import Charging, charged, charging, is_cost, lapsing
from spendtree.store.database import Database
from spendtree.store.liveness import judged
from spendtree.store.locks import unowned
from spendtree.store.names import Execute, Readings
from spendtree.store.owner import Owner, current
from spendtree.store.protocol import Pruned, Reservation, Settlement
from spendtree.store.pruning import Pruning
from spendtree.store.reading import pruned_before
from spendtree.store.rows import stored_context, stored_request
from spendtree.store.sqlite_accounts import AccountVerbs
from spendtree.store.text import minute, storable

SYNCHRONOUS = ("normal", "full")
OWNS = (
    "SELECT 1 FROM hold WHERE owner=?1 UNION ALL SELECT 1 FROM reservation WHERE owner=?1 LIMIT 1"
)
FOREVER = 2**63 - 1
ENDED = "its process ended before the call did"
UNSEEN = "its process cannot be seen from here, and the call is open for too long"


class SqliteStore(AccountVerbs):
    """A store in one SQLite file, for many threads and many processes of one host."""

    def __init__(
        self,
        path: str,
        *,
        synchronous: str = "normal",
        create: bool = True,
        read_only: bool = False,
    ) -> None:
        database = Database(path, synchronous=synchronous, create=create, read_only=read_only)
        super().__init__(database)
        place = path.replace("%", "%25").replace("?", "%3F")
        self.url = f"sqlite:///{place}" + ("?synchronous=full" if synchronous == "full" else "")
        self._granted: dict[bytes, tuple[int, tuple[int, ...]]] = {}
        self.id: str = self._database.query("SELECT value FROM meta WHERE key='store_id'")[0][0]

    # Verbs: the three that every call runs are written out, the others share `_verb`.

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
        database, names, until = self._database, self._names, 0.0
        while True:
            try:
                with unowned(database.lock):
                    if names.fresh:
                        names.rolled_back()
                    if path is not context.path and tuple(path) != context.path:
                        raise StoreError(f"hold {id.hex()}: its path is not that of its context")
                    execute = database.begin()
                    path = context.path
                    numbers = names.paths.get(path) or names.path(execute, path)
                    answer: Grant | Denial = Grant(amount)
                    count = len(numbers)
                    if count and (
                        execute(statements.hold(count), (amount, *numbers)).rowcount != count
                    ):
                        answer = self._decide(path, amount, floor, lenient)
                    if isinstance(answer, Denial):
                        database.rollback()
                        names.rolled_back()
                        if self.first_hold(id) is None:
                            return answer
                        return self._replay(id, context, request, amount, floor)
                    granted = answer.amount
                    row = (
                        id,
                        names.contexts.get(context) or names.context(execute, context),
                        names.requests.get(request) or names.request(execute, request),
                        granted,
                        names.owner(execute),
                        at,
                    )
                    if not execute(statements.INSERT_HOLD, row).rowcount:
                        database.rollback()
                        names.rolled_back()
                        return self._replay(id, context, request, amount, floor)
                    database.commit()
                    names.fresh.clear()
                    self._granted[id] = granted, numbers
                break
            except BaseException as error:
                until = database.failed(error, until)
        database.look_at_wal()
        return answer

    def settle(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """End a hold with its true cost, or adjust one that lapsed."""
        database, names, until = self._database, self._names, 0.0
        while True:
            try:
                with unowned(database.lock):
                    if names.fresh:
                        names.rolled_back()
                    execute = database.begin(ending=True)
                    held, numbers = self._granted.get(id) or self._hold_of(execute, id)
                    count = len(numbers)
                    plain = (
                        (not cost or cost <= PICO_MAX)
                        and execute(statements.DELETE_HOLD, (id,)).rowcount == 1
                        and (
                            not count
                            or execute(
                                statements.settle(count), (held, cost or 0, *numbers)
                            ).rowcount
                            == count
                        )
                    )
                    if plain:
                        kind = Kind.TOOL if event.kind == Kind.TOOL else Kind.CALL
                        self._insert(execute, event.ended(kind, cost, held))
                        database.commit()
                        names.fresh.clear()
                        self._granted.pop(id, None)
                    else:
                        database.rollback()
                        names.rolled_back()
                break
            except (OverflowError, sqlite3.IntegrityError):
                database.undo()
                plain = False  # more than an account holds: for the rules to cap
                break
            except BaseException as error:
                until = database.failed(error, until, ending=True)
        if not plain:
            return self._settle_by_rules(id, cost, event)
        database.look_at_wal()
        return Settlement(kind, cost, held)

    def void(self, id: bytes, event: Event) -> Settlement:
        """End a hold as surely not billed."""
        return self.settle(id, 0, event)

    def lapse(self, id: bytes, event: Event) -> Settlement:
        """End a hold as unknown: its money is presumed spent."""

        def verb(execute: Execute) -> Settlement:
            held, _ = self._granted.get(id) or self._hold_of(execute, id)
            if execute(statements.DELETE_HOLD, (id,)).rowcount != 1:
                known = self.find(id, Kind.LAPSE)
                if known is None:
                    raise LedgerConflictError(f"hold {id.hex()} did not lapse: it ended otherwise")
                return Settlement(Kind.LAPSE, 0, known.held)
            return self._lapse(execute, held, event)

        answer = self._verb(verb)
        self._granted.pop(id, None)
        return answer

    def adjust(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """Book the late truth of a lapsed hold."""
        return self._verb(lambda execute: self._settle_late(execute, id, cost, event))

    def load(self, accounts: Sequence[Account], events: Sequence[Event]) -> int:
        """Book finished calls without holds; answer how many events were new."""
        try:
            return self._verb(partial(self._load, accounts, events))
        except StoreError as error:
            if not isinstance(error.__cause__, OverflowError):
                raise
        # Some account would have more than it holds: once more, each call fitted to what is left.
        return self._verb(partial(self._load, accounts, events, fits=True))

    def _load(
        self,
        accounts: Sequence[Account],
        events: Sequence[Event],
        execute: Execute,
        *,
        fits: bool = False,
    ) -> int:
        for account in accounts:
            self._books.open(execute, account, None)
        fresh = []
        charges = Charging(partial(self._books.path, execute)) if fits else None
        before = pruned_before(execute)
        for event in events:
            # Asked before the row is made: that would write down the context again.
            if execute(statements.KNOWN_EVENT, (event.id, event.kind)).fetchone():
                continue
            if event.at < before:
                raise PrunedError(
                    f"an event of {minute(event.at)} comes too late: what is older than "
                    f"{minute(before)} was pruned, and it may have been here before"
                )
            if charges is not None:
                event = charges.fit(event)
            self._insert(execute, event)
            fresh.append(event)
        for path, (cost, presumed, cause) in charged(fresh).items():
            booked = partial(rules.book, cost=cost, presumed=presumed)
            self._books.change(execute, path, booked, cause)
        self._database.unlooked += len(fresh)
        return len(fresh)

    def lapse_abandoned(self, *, now: int, idle: int) -> int:
        """Lapse holds of dead processes, and of those that nobody can judge after `idle` us."""
        owned = self._database.query(
            "SELECT no, host, boot, pid, start, namespace, lock FROM owner WHERE no IN "
            "(SELECT owner FROM hold UNION SELECT owner FROM reservation)"
        )
        lapsed = 0
        for number, *fields in owned:
            owner = Owner(*fields)
            if self.is_dead(owner) is not False:
                lapsed += self._lapse_of(number, owner, now, idle)
        return lapsed

    def owner(self) -> Owner:
        """Return this process, as others judge it."""
        return self._database.here()

    def is_dead(self, owner: Owner) -> bool | None:
        """Tell whether a process has ended: by its pid, else by its lock of life."""
        return judged(owner, self._database.path, current())

    def prune(self, before: int, *, dry_run: bool = False) -> Pruned:
        """Roll up what is older than `before`, and give the space back."""
        pruning = Pruning(self._database, self._events, before, forget=self._names.forget)
        return pruning.count() if dry_run else pruning.run()

    def close(self) -> None:
        """Close the file; it opens again on use, also as another copy of the store."""
        holds = self._holds_money()

        def forget() -> None:
            # Under the locks: no other thread makes a hold between this and the next opening.
            if not holds and not self._granted:
                self._database.give_up_life()
            self._forget_all()

        self._database.close(forget)

    def _holds_money(self) -> bool:
        """Tell whether this process has something in the store that a dead one would lose."""
        number = self._names.known_owner()
        if number is None:
            return False
        try:
            return bool(self._database.query(OWNS, (number,)))
        except StoreError:
            return True

    def _forget_all(self) -> None:
        self._names.forget_all()
        self._readings = Readings()
        self._granted.clear()

    # Pieces of verbs; each runs inside a transaction.

    def _decide(
        self, path: Sequence[str], amount: int, floor: int | None, lenient: Collection[str]
    ) -> Grant | Denial:
        """Take the rules' way: partial grants, unenforced caps, reservations, and who denies."""
        self._database.rollback()
        self._names.rolled_back()
        execute = self._database.begin()
        before = self._books.path(execute, path)
        answer = rules.admit(before, amount, floor, lenient)
        if isinstance(answer, Grant):
            after = [rules.hold(balance, answer.amount) for _, balance in before]
            self._books.write(execute, before, after)
        return answer

    def _release_all(self, execute: Execute, owner: int) -> None:
        """Give back what a dead process' runs reserved: nothing of it was dispatched."""
        rows = execute("SELECT run, session, envelope FROM reservation WHERE owner=?", (owner,))
        for run, session, envelope in rows.fetchall():
            self._books.release(execute, Reservation(session, envelope), run)

    def _settle_by_rules(self, id: bytes, cost: int | None, event: Event) -> Settlement:
        """Settle where something follows: late truth, reservations, warnings."""

        def verb(execute: Execute) -> Settlement:
            held, _ = self._hold_of(execute, id)
            if execute(statements.DELETE_HOLD, (id,)).rowcount != 1:
                return self._settle_late(execute, id, cost, event)
            kind = Kind.TOOL if event.kind == Kind.TOOL else Kind.CALL
            path = self._books.path(execute, event.context.path)
            ended = charging(path, event.ended(kind, cost, held))
            self._insert(execute, ended)
            after = [rules.settle(balance, held, ended.cost or 0) for _, balance in path]
            warned = self._books.write(execute, path, after, ended)
            return Settlement(kind, ended.cost, held, warned)

        answer = self._verb(verb)
        self._granted.pop(id, None)
        return answer

    def _lapse(self, execute: Execute, held: int, event: Event) -> Settlement:
        """Book a lapse; its hold is gone already."""
        path = self._books.path(execute, event.context.path)
        ended = charging(path, event.ended(Kind.LAPSE, 0, held))
        self._insert(execute, ended)
        after = [lapsing(balance, held, ended.held) for _, balance in path]
        warned = self._books.write(execute, path, after, ended)
        return Settlement(Kind.LAPSE, 0, ended.held, warned)

    def _replay(
        self, id: bytes, context: Context, request: Request, amount: int, floor: int | None
    ) -> Grant:
        """Answer a hold that was made before."""
        first = self.first_hold(id)
        least = amount if floor is None else min(floor, amount)
        payload = stored_context(context), stored_request(request)
        if first is None or first[:2] != payload or not least <= first[2] <= amount:
            raise LedgerConflictError(f"hold {id.hex()} was made before with another payload")
        if first[3] not in (None, self._names.known_owner()):
            raise LedgerConflictError(f"hold {id.hex()} was made before by another process")
        return Grant(first[2])

    def _hold_of(self, execute: Execute, id: bytes) -> tuple[int, tuple[int, ...]]:
        """Return amount and accounts of a hold that this process does not remember."""
        row = execute("SELECT amount, context FROM hold WHERE id=?", (id,)).fetchone()
        if row is None:
            return 0, ()
        context = self.context(row[1])
        return row[0], tuple(self._names.numbers(execute, context.path))

    def _settle_late(
        self, execute: Execute, id: bytes, cost: int | None, event: Event
    ) -> Settlement:
        """Answer a settlement that was made before, or turn it into the adjustment of a lapse."""
        for kind in (*SETTLED, Kind.ADJUSTMENT):
            known = self.find(id, kind)
            if known is not None and known.times == 1:
                if not is_cost(known, cost):
                    raise LedgerConflictError(f"call {id.hex()} was settled with another cost")
                return Settlement(kind, known.cost, known.held)
        lapsed = self.find(id, Kind.LAPSE)
        before = self.pruned_before()
        if lapsed is None and not before:
            raise LedgerConflictError(f"no hold {id.hex()} is known")
        if lapsed is None or lapsed.times > 1 or self._is_pruned(execute, lapsed):
            raise PrunedError(
                f"no hold {id.hex()} is known by itself: calls of before {minute(before)} were "
                "pruned, and late truth about one of them cannot be booked any more"
            )
        path = self._books.path(execute, lapsed.context.path)
        ended = charging(path, event.ended(Kind.ADJUSTMENT, cost, lapsed.held))
        self._insert(execute, ended)
        paid = ended.cost or 0
        after = [rules.adjust(balance, lapsed.held, paid) for _, balance in path]
        warned = self._books.write(execute, path, after, ended)
        return Settlement(Kind.ADJUSTMENT, ended.cost, lapsed.held, warned)

    @staticmethod
    def _is_pruned(execute: Execute, event: Event) -> bool:
        """Tell whether an event is of a session that was pruned, and its runs' accounts with it."""
        names = (storable(event.context.session), event.seq)
        found = execute("SELECT 1 FROM pruned WHERE session=? AND seq>=?", names).fetchone()
        return found is not None

    def _lapse_of(self, number: int, owner: Owner, now: int, idle: int) -> int:
        def verb(execute: Execute) -> int:
            # Judged again in here, where nobody can make a hold: a process that had closed the
            # store may have opened it again just now.
            dead = self.is_dead(owner)
            if dead is False:
                return 0
            before, why = (FOREVER, ENDED) if dead else (now - idle, UNSEEN)
            rows = execute(
                "SELECT id, context, request, amount, at FROM hold WHERE owner=? AND at < ?",
                (number, before),
            ).fetchall()
            for id, context_number, request_number, amount, at in rows:
                context = self.context(context_number)
                request = self.request(request_number)
                execute(statements.DELETE_HOLD, (id,))
                ended = max(now, at)  # by a clock that went back, when it began
                event = Event(
                    0, Kind.LAPSE, ended, id, context, request, status="lapsed", started=at
                )
                self._lapse(execute, amount, event._replace(data={"reason": why}))
            if dead:
                self._release_all(execute, number)
            return len(rows)

        return self._verb(verb)


def open_sqlite(url: str, *, create: bool, read_only: bool = False) -> SqliteStore:
    """Open the store of a `sqlite:///` URL; StoreError says what is wrong with it."""
    path, synchronous = read_url(url)
    create = create and not read_only
    return SqliteStore(path, synchronous=synchronous, create=create, read_only=read_only)


def read_url(url: str) -> tuple[str, str]:
    """Return the path and the `synchronous` of a `sqlite:///` URL; StoreError if it has none."""
    place, _, query = url.removeprefix("sqlite:///").partition("?")
    path = unquote(place)
    if path == ":memory:":
        raise StoreError(f"store {url!r}: the URL of the store in memory is `memory:`")
    if not path or "\0" in path:
        raise StoreError(f"store {url!r}: name a file, like sqlite:///spend.db")
    options = dict(parse_qsl(query, keep_blank_values=True))
    synchronous = options.pop("synchronous", "normal").lower()
    if options or synchronous not in SYNCHRONOUS:
        raise StoreError(f"store {url!r}: the only option is ?synchronous=normal or =full")
    return path, synchronous
