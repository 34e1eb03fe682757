"""One SQLite file: schema steps, connections, locks, forks, retries, the WAL's size.

Nothing here knows what a hold is. Errors of sqlite3 leave this module as StoreError.
"""

import os
import random
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, NoReturn, TypeVar

from spendtree.errors import LedgerConflictError, StoreError, StoreUnavailableError
from spendtree.store import anchor, owner
from spendtree.store.anchor import Anchor
from spendtree.store.circuit import PROBE_EVERY_SECONDS, Circuit
from spendtree.store.event_loop import can_await, in_event_loop
from spendtree.store.identity import IdentityError, Seen
from spendtree.store.liveness import LifeLock
from spendtree.store.locks import Lock, StoreBusyError, unowned
from spendtree.store.owner import Owner
from spendtree.store.place import check_file, check_place
from spendtree.store.reader import Reader, connect, is_writable
from spendtree.store.space import WAL_LIMIT, free_bytes, wal_limit

APPLICATION_ID = 0x53504E44  # "SPND": tells our files from other people's databases
SQLITE_NEEDED = (3, 37)
PAGE_SIZE = 1024
"""Bytes; a quarter of SQLite's default. A commit's time goes into writing pages to the WAL, and a
call touches eight of them (its statements, measured: 36 us, 41 at 2,048 and 49 at 4,096)."""
BUSY_SECONDS = 10.0
"""How long a thread waits for a busy file."""
LOOP_SECONDS = 0.003
"""How long an event loop may stand still for one whose tasks go on waiting with `await`."""
SYNC_SECONDS = 2.5
"""The same where nothing can be awaited: a sync `with` in a loop. Other processes are at it for
some milliseconds now and then, and a call that is refused, or goes unrecorded, is worse."""
WAL_CHECK_EVERY = 64
"""Commits between two looks at the WAL's size: at 30 kB a call that is 2 MB of imprecision."""
WAL_CHECK_OFTEN = 8
"""The same on a volume that is too small for that."""
FULL_SECONDS = 0.05
"""How long after a try to make room on a full volume there is no other."""
SCHEMA = os.path.join(os.path.dirname(__file__), "schema")

_ADVICE = {
    sqlite3.SQLITE_FULL: "the disk is full: free some space, nothing recorded is lost",
    sqlite3.SQLITE_IOERR: "the disk gives I/O errors: check space, quota and the device",
    sqlite3.SQLITE_BUSY: f"another process kept it locked for {BUSY_SECONDS:.0f} s",
    sqlite3.SQLITE_READONLY: "file or directory is read-only: make both writable for this user",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened: check that the directory exists and is writable",
    sqlite3.SQLITE_PERM: "access is denied: check owner and mode of the file",
    sqlite3.SQLITE_NOTADB: "the file is no SQLite database: name another file, or move it away",
    sqlite3.SQLITE_CORRUPT: "the file is damaged: restore a copy, or `sqlite3 FILE .recover` it",
}
_SPACE = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)
_FINAL = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})
_CUT_OFF = (
    "the file or its log is shorter than it was: one of them was deleted or cut off while it was "
    "in use; end every process that uses the store, then start again"
)
_TOO_LARGE = "an account holds at most $9.2 million (2**63 pico-dollars); nothing was changed"

FOREIGN = (sqlite3.Error, OverflowError)
"""What sqlite3 raises, also for numbers beyond 64 bits."""

Result = TypeVar("Result")
_open_databases: "weakref.WeakSet[Database]" = weakref.WeakSet()
_leaked: list[sqlite3.Connection] = []
_forking = threading.RLock()
"""Held from before a fork until after it: one fork at a time, and no database added meanwhile."""
_prepared: list["Database"] = []
_fork_hooks_set = False


class Database:
    """A SQLite file with one connection to write and one to read, for all threads of a process.

    One connection behind a lock beats a connection per thread: SQLite lets one writer in anyway,
    and a lock wakes the next thread at once where SQLite would have it sleep and try again.
    """

    def __init__(
        self, path: str, *, synchronous: str, create: bool, read_only: bool = False
    ) -> None:
        # The real path: SQLite puts the WAL beside the target of a link, and a daemon changes its
        # directory before it forks and everything is opened anew.
        self.path = os.path.realpath(path)
        self._synchronous = synchronous
        self.circuit = Circuit()
        self._new_locks()
        self._writer: sqlite3.Connection | None = None
        # One cursor for all statements: they are read to their end before the next one.
        self._execute: Callable[..., sqlite3.Cursor] | None = None
        self._reader: sqlite3.Connection | None = None
        self._anchor: Anchor | None = None
        self._born: Seen | None = None
        self._cut_off = False
        self._is_small = False
        self._full_until = 0.0
        self.unlooked = 0
        """Rows written, or commits, since the last look at the WAL's size."""
        self.generation = 0
        """Grows in a forked child: what was cached about this process is then another's."""
        self._life = LifeLock(self.path)
        self._here: Owner | None = None
        check_place(self.path, create)
        self._only: Reader | None = None
        if read_only and self._is_readable():
            self._only = Reader(self.path, BUSY_SECONDS)
        else:
            self.write(lambda _: None)
        _watch_forks(self)

    def _new_locks(self) -> None:
        # Of C, which no exception can split, and such that their thread is known (see `locks`).
        self.lock: Lock = threading.RLock()
        self._read_lock: Lock = threading.RLock()
        self._trim_lock: Lock = threading.RLock()

    # Writing: `with unowned(database.lock):`, then `begin()` … `commit()`, and around it what calls
    # `failed`. No `try` inside of the lock: it would be one more place between two steps.

    def write(
        self,
        body: Callable[[Callable[..., sqlite3.Cursor]], Result],
        committed: Callable[[], object] = lambda: None,
    ) -> Result:
        """Run a body in one write transaction, commit it, and call `committed` in the lock."""
        until = 0.0
        while True:
            try:
                with unowned(self.lock):
                    answer = body(self.begin())
                    self.commit()
                    committed()
                break
            except BaseException as error:
                until = self.failed(error, until)
        self.look_at_wal()
        return answer

    @contextmanager
    def transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """Run the block, once, in a write transaction; yields `execute`."""
        until, begun = 0.0, False
        while not begun:
            try:
                with unowned(self.lock):
                    execute = self.begin()
                    begun = True
                    yield execute
                    self.commit()
            except BaseException as error:
                if begun:
                    self.undo()
                    if isinstance(error, FOREIGN):
                        raise self.translate(error) from error
                    raise
                until = self.failed(error, until)
        self.look_at_wal()

    def begin(self, *, ending: bool = False) -> Callable[..., sqlite3.Cursor]:
        """Start a write transaction and return `execute`; the caller has `lock`.

        `ending` says that it ends a hold: if that was made just now, the file was looked at then.

        Whoever finds the file busy leaves the lock before it waits: others need it meanwhile, and
        an event loop must not stand still behind a thread that waits.
        """
        execute = self._execute or self._connect()
        anchor = self._anchor
        assert anchor is not None
        if self.circuit.since is not None:
            self._begin_carefully(execute, anchor)
        else:
            anchor.turn.take()
            execute("BEGIN IMMEDIATE")
        if time.monotonic() >= (anchor.good_until if ending else anchor.near_until):
            anchor.check(execute, alone=True)
        return execute

    def _begin_carefully(self, execute: Callable[..., sqlite3.Cursor], anchor: Anchor) -> None:
        if not self.circuit.admits(time.monotonic()):
            self._refuse()
        anchor.turn.take()
        execute("BEGIN IMMEDIATE")
        self.circuit.found_free()

    def failed(self, error: BaseException, until: float, *, ending: bool = False) -> float:
        """Undo what an exception has ended, and wait as `wait` does, or raise; without the lock."""
        undone = self.undo()
        if isinstance(error, FOREIGN):
            if undone and "within a transaction" in str(error):
                return until  # another verb had left its transaction open
            return self.wait(error, until, ending=ending)
        raise error

    def undo(self) -> bool:
        """Undo a transaction that an exception has left open, in whatever thread; True if so.

        No verb leaves the lock with one, nor with a turn: one that is had there is nobody's.
        """
        if self.lock._is_owned():  # the verb that this thread is inside of goes on
            return False
        with self.lock:
            was_open = self._writer is not None and self._writer.in_transaction
            self.rollback()
            return was_open

    def wait(self, error: Exception, until: float, *, ending: bool = False) -> float:
        """Wait a moment after an error of a busy file, outside all locks; return until when.

        0 is passed the first time; `ending` says that the end of a hold waits, which may come
        later. Other errors, and this one when the time is up, are raised as
        StoreError. Tried again after 10-150 us at random: SQLite's own busy handler starves some
        writers.
        """
        if not _is_busy(error):
            self._make_room(error)
            raise self.translate(error) from error
        now = time.monotonic()
        circuit, in_loop = self.circuit, in_event_loop()
        circuit.found_busy(now, in_loop=in_loop)
        if not until:
            # A loop's tasks share what it may stand still for: it is counted from the first.
            limit = PROBE_EVERY_SECONDS if circuit.is_open else BUSY_SECONDS
            stall = LOOP_SECONDS if ending or can_await() or circuit.is_open else SYNC_SECONDS
            until = now - circuit.busy_seconds(now) + stall if in_loop else now + limit
        if now >= until:
            if not in_loop:
                circuit.gave_up()
            self._refuse(error)
        time.sleep(random.uniform(10e-6, 150e-6) if in_loop else self._pause(now))
        return until

    def _pause(self, now: float) -> float:
        pause = random.uniform(10e-6, 150e-6)
        return pause if self.circuit.busy_seconds(now) < 0.1 else 10 * pause

    def _refuse(self, error: Exception | None = None) -> NoReturn:
        """Raise the error of a file that is busy."""
        locked = f"store {self.path}: database is locked; another process keeps it so"
        if self.circuit.is_open:
            seconds = self.circuit.busy_seconds(time.monotonic())
            raise StoreUnavailableError(
                f"{locked}, for {seconds:.1f} s now: nothing waits any longer, and one call in "
                f"{PROBE_EVERY_SECONDS * 1000:.0f} ms tries whether it has let go. Look for a "
                "process that was stopped in the middle of a transaction"
            ) from error
        raise StoreBusyError(
            f"{locked}, and a running event loop does not stand still for that: use `async with`, "
            "which lets other tasks run meanwhile, or a thread"
        ) from error

    def commit(self) -> None:
        """Commit; the caller has `lock`, and calls `look_at_wal` without it."""
        assert self._execute is not None
        assert self._anchor is not None
        self._execute("COMMIT")
        self._anchor.turn.end()
        self.unlooked += 1

    def rollback(self) -> None:
        """Undo the open transaction, if there is one, and end the turn; the caller holds `lock`."""
        if self._writer is not None and self._writer.in_transaction:
            with suppress(sqlite3.Error):  # a full disk has rolled back by itself
                self._writer.execute("ROLLBACK")
        if self._anchor is not None:
            self._anchor.turn.end()

    # Reading.

    def query(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a short read: a read that stays open would keep the WAL growing."""
        return self.reading(lambda execute: execute(sql, parameters).fetchall())

    def reading(self, body: Callable[[Callable[..., sqlite3.Cursor]], Result]) -> Result:
        """Run a short body of reads with the reading connection."""
        until = 0.0
        while True:
            try:
                if self._writer is None and self._only is None:
                    with unowned(self.lock):  # it sets the file up, and anchors it
                        if self._writer is None:
                            self._connect()
                with unowned(self._read_lock):
                    return body(self._reading_execute())
            except FOREIGN as error:
                until = self.wait(error, until)

    def _reading_execute(self) -> Callable[..., sqlite3.Cursor]:
        if self._only is not None:
            return self._only.execute
        reader = self._reader or self._connect_reader()
        execute = reader.execute
        if reader.in_transaction:  # an exception came between its beginning and its end
            execute("ROLLBACK")
        anchor = self._anchor
        if anchor is not None and time.monotonic() >= anchor.good_until:
            anchor.check(execute, alone=False)
        return execute

    def close(self, forget: Callable[[], object] = lambda: None) -> None:
        """Close both connections, and forget what is of the file; they open again on use."""
        with unowned(self.lock), unowned(self._read_lock):
            self._close()
            self._born = None
            forget()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn errors of sqlite3 into StoreError with a way out."""
        try:
            yield
        except FOREIGN as error:
            raise self.translate(error) from error

    def translate(self, error: Exception) -> StoreError:
        """Return the StoreError for one of the FOREIGN errors."""
        kind, advice = translation(error)
        return kind(f"store {self.path}: {error}; {advice}")

    def _is_readable(self) -> bool:
        """Tell whether the file can be read as it is; StoreError if it cannot be upgraded."""
        path = self.path
        with self.translated(), closing(connect(path, BUSY_SECONDS)) as connection:
            version, known = store_version(connection, path), len(schema_steps())
        if version == known:
            return True
        if version > known:
            raise StoreError(_too_new(path, version, known))
        if is_writable(path):
            return False
        raise StoreError(
            f"store {path}: its schema is version {version}, this Spendtree reads {known} and "
            "upgrades it where it can be written: copy it to such a place"
        )

    # Who this is.

    def here(self) -> Owner:
        """Return this process as others see it in the store; it has a lock of life from now on."""
        here = self._here
        if here is None:
            here = self._here = owner.current()._replace(lock=self._life.take())
        return here

    def give_up_life(self) -> None:
        """Give the lock of life up: nothing is held, and the store is closed."""
        self._here = None
        self._life.release()

    # Connections.

    def _connect(self) -> Callable[..., sqlite3.Cursor]:
        if self._only is not None:
            raise StoreUnavailableError(f"store {self.path}: it was opened to be read, not written")
        check_file(self.path)
        connection = self._new_connection()
        anchor = Anchor(self.path)
        try:
            # Two processes that turn a new file to WAL at once get BUSY without any waiting.
            _prepare(connection, self.path)
            self._born = anchor.drop(self._born)
        except BaseException:
            connection.close()
            anchor.release()
            raise
        self._finalizer = weakref.finalize(self, anchor.weigh)
        self._anchor = anchor
        # In this order: who is interrupted in between must not find a cursor without its writer.
        self._writer = connection
        self._execute = execute = connection.cursor().execute
        return execute

    def _connect_reader(self) -> sqlite3.Connection:
        reader = self._new_connection()
        reader.execute("PRAGMA query_only=1")
        self._reader = reader
        return reader

    def _new_connection(self) -> sqlite3.Connection:
        if self._cut_off:
            raise StoreUnavailableError(
                f"store {self.path}: this process was forked while a verb of its parent had been "
                f"waiting for {BUSY_SECONDS:.0f} s, and inherited its locks; start it again"
            )
        if not os.path.exists(self.path):  # SQLite would make a new, empty one
            raise IdentityError(f"store {self.path}: the file is gone; put it back, or restart")
        connection = sqlite3.connect(
            self.path,
            timeout=0,  # nobody waits inside of SQLite: whoever finds it busy leaves the lock
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        try:
            connection.execute(f"PRAGMA synchronous={self._synchronous}")
            connection.execute("PRAGMA wal_autocheckpoint=0")
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        """Close both connections; see `anchor` for the order."""
        if self._only is not None:
            self._only.close()
        anchor, self._anchor = self._anchor, None
        connections = [each for each in (self._writer, self._reader) if each is not None]
        self._writer = self._reader = self._execute = None
        if anchor is None:
            for connection in connections:
                connection.close()
            return
        self._finalizer.detach()
        anchor.close(connections)

    # The WAL.

    def look_at_wal(self) -> None:
        """Empty the WAL now and then, if it is too large; the caller is outside all locks."""
        if self.unlooked < (WAL_CHECK_OFTEN if self._is_small else WAL_CHECK_EVERY):
            return
        self.unlooked = 0
        size = self._wal_size()
        limit = wal_limit(free_bytes(self.path), size, WAL_LIMIT)
        self._is_small = limit < WAL_LIMIT
        if size >= limit:
            self._start_trimming(5 if size < 4 * limit else 200)

    def _make_room(self, error: Exception) -> None:
        """Give the WAL's space back to a volume that is full; the caller is outside all locks."""
        now = time.monotonic()
        if _code(error) & 0xFF in _SPACE and now >= self._full_until:
            self._full_until = now + FULL_SECONDS
            self._start_trimming(5)

    def _start_trimming(self, wait_ms: int) -> None:
        if in_event_loop():
            with suppress(RuntimeError):  # no thread to be had: somebody else will look
                name = "spendtree-wal"
                threading.Thread(
                    target=self._trim_wal, args=(wait_ms,), name=name, daemon=True
                ).start()
        else:
            self._trim_wal(wait_ms)

    def _wal_size(self) -> int:
        try:
            return os.stat(self.path + "-wal").st_size
        except FileNotFoundError:
            return 0

    def write_back(self) -> None:
        """Copy what the WAL holds into the file, as far as that keeps nobody waiting."""
        with unowned(self.lock), suppress(sqlite3.Error), self._trim_lock:
            execute = self._execute or self._connect()
            assert self._anchor is not None
            with self._anchor.writing_back.within(0):
                execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def _trim_wal(self, wait_ms: int) -> None:
        """Empty the WAL; waits for readers, longer the larger it is.

        With a connection of its own: to the others this is one more process that writes for some
        milliseconds, and they wait for it as they wait for one. Most is copied before that, while
        they may write.
        """
        with (
            suppress(sqlite3.Error, StoreError),  # the next look at the WAL tries again
            self._trim_lock,
        ):
            anchor = self._anchor
            if anchor is None or not anchor.is_sound():
                return
            with (
                closing(self._new_connection()) as connection,
                anchor.writing_back.within(wait_ms / 1000),
            ):
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
                connection.execute(f"PRAGMA busy_timeout={wait_ms}")
                with anchor.trimming.within(wait_ms / 1000):
                    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    # Forks. SQLite keeps the locks of a file per process; a child that inherits an open connection
    # believes to hold locks which only its parent has, and its parent may then delete the WAL under
    # it. So nothing is open while a process forks; both sides open anew.

    def before_fork(self) -> bool:
        """Wait for running verbs and close; False if a verb did not end in time."""
        locks = self.lock, self._read_lock, self._trim_lock
        if any(lock._is_owned() for lock in locks):  # a fork in the middle of a verb
            return False
        for lock in locks:
            if not lock.acquire(timeout=BUSY_SECONDS):
                self.after_fork_in_parent()
                return False
        self._close()
        return True

    def after_fork_in_parent(self) -> None:
        """Let verbs run again."""
        for lock in (self._trim_lock, self._read_lock, self.lock):
            if lock._is_owned():
                lock.release()

    def after_fork_in_child(self, prepared: bool) -> None:
        """Let verbs run again, with locks and connections of the child's own."""
        if not prepared:
            # SQLite in this process believes in locks that only the parent has, for every new
            # connection too: going on could lose what is written. Keep the old ones, unused.
            _leaked.extend(c for c in (self._writer, self._reader) if c is not None)
            self._writer = self._reader = self._execute = self._anchor = None
            self._cut_off = True
        self._new_locks()
        self.circuit = Circuit()
        self._here = None
        self._life.after_fork_in_child()
        self.generation += 1


def _watch_forks(database: Database) -> None:
    global _fork_hooks_set
    with _forking:
        _open_databases.add(database)
        if not _fork_hooks_set and hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=_before_fork,
                after_in_parent=_after_fork_in_parent,
                after_in_child=_after_fork_in_child,
            )
            _fork_hooks_set = True


def _before_fork() -> None:
    _forking.acquire()
    for database in list(_open_databases):
        if database.before_fork():
            _prepared.append(database)


def _after_fork_in_parent() -> None:
    for database in _prepared:
        database.after_fork_in_parent()
    _prepared.clear()
    _forking.release()


def _after_fork_in_child() -> None:
    anchor.forget_parent()
    for database in list(_open_databases):
        database.after_fork_in_child(database in _prepared)
    _prepared.clear()
    _forking.release()


def _code(error: Exception) -> int:
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code


def _is_busy(error: Exception) -> bool:
    return _code(error) & 0xFF == sqlite3.SQLITE_BUSY


def translation(error: Exception) -> tuple[type[StoreError], str]:
    """Return the kind of StoreError for a foreign error, and what to do about it."""
    if isinstance(error, OverflowError):
        return StoreError, _TOO_LARGE
    code = _code(error)
    if code == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
        return LedgerConflictError, "this id is taken by another event; nothing was changed"
    if code == sqlite3.SQLITE_IOERR_SHORT_READ:
        return StoreUnavailableError, _CUT_OFF
    code &= 0xFF
    if code == sqlite3.SQLITE_CONSTRAINT:  # STRICT tables refuse a sum that overflowed into REAL
        return StoreError, _TOO_LARGE
    kind = StoreUnavailableError if code in _ADVICE and code not in _FINAL else StoreError
    return kind, _ADVICE.get(code, "unexpected: please report")


def _prepare(connection: sqlite3.Connection, path: str) -> None:
    """Set the file up, or bring it to the newest schema; several processes may do so at once."""
    if sqlite3.sqlite_version_info < SQLITE_NEEDED:
        raise StoreError(
            f"store {path}: this Python has SQLite {sqlite3.sqlite_version}, and STRICT tables "
            f"need {'.'.join(map(str, SQLITE_NEEDED))} or newer; use a newer Python"
        )
    version = store_version(connection, path)
    steps = schema_steps()
    if version > len(steps):
        raise StoreError(_too_new(path, version, len(steps)))
    if version < len(steps):
        if version == 0:
            connection.execute(f"PRAGMA page_size={PAGE_SIZE}")
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        _use_wal(connection, path)
        connection.execute("BEGIN IMMEDIATE")
        for number in range(store_version(connection, path) + 1, len(steps) + 1):
            for statement in _statements(steps[number - 1]):
                connection.execute(statement)
            if number == 1:
                connection.execute(
                    "INSERT INTO meta VALUES ('store_id', ?)", (os.urandom(4).hex(),)
                )
            connection.execute(f"PRAGMA user_version={number}")
        connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
        connection.execute("COMMIT")
    else:
        _use_wal(connection, path)


def _too_new(path: str, version: int, known: int) -> str:
    return (
        f"store {path}: its schema is version {version}, this Spendtree knows {known}; a newer "
        "Spendtree wrote it: upgrade this one"
    )


def _use_wal(connection: sqlite3.Connection, path: str) -> None:
    mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise StoreError(f"store {path}: SQLite cannot use a write-ahead log here (mode {mode})")


def store_version(connection: sqlite3.Connection, path: str) -> int:
    """Return the version of a file's schema, 0 for none; StoreError for another program's."""
    # In one transaction, else another process may make the tables between the first two reads.
    snapshot = not connection.in_transaction
    if snapshot:
        connection.execute("BEGIN")
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    finally:
        if snapshot:
            connection.execute("COMMIT")
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreError(
            f"store {path}: that is another program's database; name a file of its own"
        )
    return version


def schema_steps() -> list[str]:
    """Return the texts of the schema's steps; step n brings a store to version n."""
    names = sorted(name for name in os.listdir(SCHEMA) if name.endswith(".sql"))
    texts = []
    for name in names:
        with open(os.path.join(SCHEMA, name), encoding="utf-8") as file:
            texts.append(file.read())
    return texts


def _statements(script: str) -> Iterator[str]:
    """Split a script: `executescript` would commit the transaction it runs in."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if line.rstrip().endswith(";") and sqlite3.complete_statement(statement):
            yield statement
            statement = ""
