"""The SQLite file: opening it, what may be wrong with it, many writers, forks, the WAL's size."""

import multiprocessing
import os
import re
import select
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from spendtree.account import Balance, Grant, envelope_account, session_account
from spendtree.errors import LedgerConflictError, StoreError, StoreUnavailableError
from spendtree.event import Context, Event, Kind, Request
from spendtree.ids import new_id
from spendtree.store import Store, database, open_store, place
from spendtree.store.protocol import START
from spendtree.store.sqlite import SqliteStore

TIMEOUT = 60
"""Seconds after which a test fails instead of hanging; nothing here needs more than a few."""

SESSION = session_account("s")
ENVELOPE = envelope_account("s", "writer")
WHO = Context("s", agent="writer", level=1, path=(SESSION.id, ENVELOPE.id))
WHAT = Request("openai", "gpt-4o")
HELD, COST = 10, 7

fork = multiprocessing.get_context("fork")
spawn = multiprocessing.get_context("spawn")

# Python 3.12 and later warn where a process with threads forks; that is what is tested here.
forks_on_purpose = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(opened(path)) as store:
        yield store


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


def opened(path: Path) -> Store:
    """Open a store with a session to spend from."""
    store = open_store(url_of(path))
    accounts = [(SESSION, 10**15), (ENVELOPE, 10**15)]
    store.open(accounts, Event(0, Kind.SESSION_OPENED, 1, b"s" * 16, WHO))
    return store


def hold(store: Store, id: bytes, amount: int = HELD) -> None:
    answer = store.hold(id, WHO.path, amount, context=WHO, request=WHAT, at=1)
    assert isinstance(answer, Grant)


def settle(store: Store, id: bytes) -> None:
    ended = Event(0, Kind.CALL, 2, id, WHO, WHAT, COST, HELD, status="ok", started=1)
    store.settle(id, COST, ended)


def call(store: Store) -> bytes:
    id = new_id()
    hold(store, id)
    settle(store, id)
    return id


def calls(store: Store, count: int) -> None:
    for _ in range(count):
        call(store)


def assert_exact(path: Path, count: int) -> None:
    """Ask a new connection: every call is there once, and accounts are the sums over them."""
    with closing(open_store(url_of(path))) as store:
        ids = [event.id for event in store.events(kinds=[Kind.CALL])]
        assert len(ids) == count
        assert len(set(ids)) == count
        for account in WHO.path:
            assert store.balance(account) == Balance(10**15, COST * count)
        assert store.open_holds() == 0
    assert sql(path, "PRAGMA integrity_check") == [("ok",)]


def sql(path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        return connection.execute(statement).fetchall()


def database_of(store: Store) -> database.Database:
    assert isinstance(store, SqliteStore)
    return store._database


def writer_of(store: Store) -> sqlite3.Connection:
    connection = database_of(store)._writer
    assert connection is not None
    return connection


# URLs


def test_a_relative_url_names_a_file_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with closing(open_store("sqlite:///spend.db")) as store:
        assert store.url == "sqlite:///spend.db"
    assert (tmp_path / "spend.db").exists()


@pytest.mark.parametrize(
    ("place", "name"),
    [("a%20b.db", "a b.db"), ("100%25.db", "100%.db"), ("what%3F.db", "what?.db"), ("ü", "ü")],
)
def test_the_url_of_a_store_opens_it_again(tmp_path: Path, place: str, name: str) -> None:
    with closing(open_store(f"sqlite:///{tmp_path}/{place}?synchronous=full")) as store:
        assert (tmp_path / name).exists()
        with closing(open_store(store.url)) as again:
            assert again.id == store.id
            assert again.url == store.url


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("sqlite:///", "name a file"),
        ("sqlite:///?synchronous=full", "name a file"),
        ("sqlite:///a%00b", "name a file"),
        ("sqlite:///:memory:", "`memory:`"),
        ("sqlite:///a.db?synchronous=off", "only option"),
        ("sqlite:///a.db?mode=ro", "only option"),
        ("sqlite:///a.db?synchronous", "only option"),
        ("sqlite://a.db", "the URL is"),
        ("sqlite:a.db", "the URL is"),
        ("postgres://host/db", "the URL is"),
        ("a.db", "the URL is"),
        ("", "the URL is"),
        ("memory:x", "the URL is"),
    ],
)
def test_a_url_that_names_no_store_says_what_is_meant(
    url: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=re.escape(problem)):
        open_store(url)
    assert list(tmp_path.iterdir()) == []


def test_without_create_a_missing_file_is_an_error(path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        open_store(url_of(path), create=False)
    assert not path.exists()
    opened(path).close()
    open_store(url_of(path), create=False).close()


# The file


def test_the_file_is_for_its_user_alone(store: Store, path: Path) -> None:
    call(store)
    for file in (path, path.with_name("spend.db-wal"), path.with_name("spend.db-shm")):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_file_is_set_up_as_the_design_says(store: Store, path: Path) -> None:
    assert sql(path, "PRAGMA page_size") == [(database.PAGE_SIZE,)]
    assert sql(path, "PRAGMA auto_vacuum") == [(2,)], "2 is incremental"
    assert sql(path, "PRAGMA journal_mode") == [("wal",)]
    assert sql(path, "PRAGMA application_id") == [(database.APPLICATION_ID,)]
    assert sql(path, "PRAGMA user_version") == [(len(database.schema_steps()),)]
    tables = sql(path, "SELECT name, strict FROM pragma_table_list WHERE name NOT LIKE 'sqlite_%'")
    assert {"account", "context", "event", "hold", "meta"} <= {name for name, _ in tables}
    assert all(strict for _, strict in tables)


def test_a_strict_table_refuses_a_sum_that_became_a_float(store: Store, path: Path) -> None:
    with pytest.raises(sqlite3.IntegrityError, match="REAL"):
        sql(path, "UPDATE account SET spent = spent + 9223372036854775807 + 1")


@pytest.mark.parametrize(("query", "level"), [("", 1), ("?synchronous=full", 2)])
def test_synchronous_full_is_passed_to_every_connection(path: Path, query: str, level: int) -> None:
    with closing(open_store(url_of(path) + query)) as store:
        assert writer_of(store).execute("PRAGMA synchronous").fetchone() == (level,)


def test_a_link_to_the_file_is_the_file(store: Store, path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(path)
    with closing(open_store(url_of(link))) as same:
        call(same)
        assert same.id == store.id
        assert database_of(same).path == str(path), "else nobody would find and empty the WAL"
    assert_exact(path, 1)


# What may be wrong with it


def test_a_store_of_a_newer_version_asks_for_an_upgrade(path: Path) -> None:
    opened(path).close()
    sql(path, "PRAGMA user_version=999")
    with pytest.raises(StoreError, match=r"999.*upgrade"):
        open_store(url_of(path))
    assert sql(path, "SELECT count(*) FROM event") == [(1,)]


@pytest.mark.parametrize("content", [b"hello", b"not a database\n" * 1_000])
def test_a_file_that_is_no_database_is_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match="no SQLite database") as caught:
        open_store(url_of(path))
    assert not isinstance(caught.value, StoreUnavailableError), "it will not get better by itself"
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "theirs",
    ["CREATE TABLE theirs (x)", "PRAGMA application_id=5", "PRAGMA user_version=5"],
)
def test_another_programs_database_is_left_alone(path: Path, theirs: str) -> None:
    sql(path, theirs)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        open_store(url_of(path))
    assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(path: Path) -> None:
    path.touch()
    with closing(opened(path)) as store:
        call(store)
    assert_exact(path, 1)


def test_a_damaged_file_is_told_from_a_busy_one(path: Path) -> None:
    with closing(opened(path)) as store:
        calls(store, 50)
    with path.open("r+b") as file:
        file.seek(database.PAGE_SIZE)
        file.write(b"\xff" * (path.stat().st_size - database.PAGE_SIZE))
    with pytest.raises(StoreError, match="damaged") as caught, closing(opened(path)):
        pass
    assert not isinstance(caught.value, StoreUnavailableError)


def test_a_missing_directory_and_a_directory_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no directory"):
        open_store(url_of(tmp_path / "missing" / "spend.db"))
    with pytest.raises(StoreError, match="is a directory"):
        open_store(url_of(tmp_path))


def test_a_file_that_vanished_is_not_replaced_by_an_empty_one(store: Store, path: Path) -> None:
    """A fork opens anew: SQLite would make a new ledger in which nothing is spent."""
    store.close()
    path.unlink()
    with pytest.raises(StoreError, match="gone"):
        call(store)
    with pytest.raises(StoreError, match="gone"):
        store.open_holds()
    assert not path.exists()


def test_an_old_sqlite_says_which_one_is_needed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 36, 9))
    with pytest.raises(StoreError, match=r"3\.37"):
        open_store(url_of(path))


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    mounts = path.with_name("mounts")
    mounts.write_text(
        f"/dev/sda / ext4 rw 0 0\nserver:/x {path.parent} {kind} rw 0 0\ntmpfs /tmpfs tmpfs rw 0 0"
    )
    real_open = open

    def open_mounts(name: str, *args: Any, **kwargs: Any) -> Any:
        return real_open(mounts if name == "/proc/self/mounts" else name, *args, **kwargs)

    monkeypatch.setattr(place, "open", open_mounts, raising=False)
    with pytest.raises(StoreError, match=f"{kind} is a network file system"):
        open_store(url_of(path))
    mounts.write_text(f"server:/x {path.parent}/other {kind} rw 0 0\n/dev/sda / ext4 rw 0 0\n")
    open_store(url_of(path)).close()


def test_a_directory_that_cannot_be_written_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        said = _as_nobody(lambda: open_store(f"sqlite:///{folder}/spend.db"))
        os.chmod(folder, 0o755)
        assert "StoreError" in said
        assert folder in said
        assert "writable" in said


def test_a_file_in_a_read_only_directory_cannot_be_used_and_loses_nothing() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "spend.db")
        with closing(opened(path)) as store:
            calls(store, 3)
        os.chmod(path, 0o444)
        os.chmod(folder, 0o555)
        said = _as_nobody(lambda: open_store(url_of(path)))
        os.chmod(folder, 0o755)
        os.chmod(path, 0o600)
        assert "StoreUnavailableError" in said
        assert "writable" in said
        assert_exact(path, 3)


def _as_nobody(body: Callable[[], object]) -> str:
    """Return the kind and text of what `body` raises for a user without rights."""
    steps = database.schema_steps()

    def child(pipe: Any) -> None:
        database.schema_steps = lambda: steps  # the package itself may be out of nobody's reach
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            body()
            pipe.send("nothing was raised")
        except Exception as error:
            pipe.send(f"{type(error).__name__}: {error}")

    return str(_from_child(child))


def _from_child(target: Callable[[Any], None]) -> object:
    """Run `target(pipe)` in a forked child and return what it sends."""
    ours, theirs = fork.Pipe(duplex=False)
    process = fork.Process(target=target, args=(theirs,))
    process.start()
    theirs.close()
    try:
        assert ours.poll(TIMEOUT), "the child said nothing"
        said: object = ours.recv()
    finally:
        _join(process)
    return said


def _join(process: Any) -> None:
    process.join(TIMEOUT)
    if process.is_alive():
        process.kill()
        process.join()
        pytest.fail("a child process hung")
    assert process.exitcode == 0


# Full disks, locks, numbers that are too large


def test_a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_space(
    store: Store, path: Path
) -> None:
    calls(store, 20)
    pages = writer_of(store).execute("PRAGMA page_count").fetchone()[0]
    writer_of(store).execute(f"PRAGMA max_page_count={pages + 4}")
    tried: list[bytes] = []

    def spend() -> None:
        while True:
            tried.append(new_id())
            hold(store, tried[-1])
            settle(store, tried[-1])

    with pytest.raises(StoreUnavailableError, match="disk is full"):
        spend()
    assert len(tried) > 1
    assert all(store.find(id, Kind.CALL) for id in tried[:-1])
    writer_of(store).execute("PRAGMA max_page_count=1000000")
    hold(store, tried[-1])  # it may be the hold that failed, or its end
    settle(store, tried[-1])
    calls(store, 5)
    store.close()
    assert_exact(path, 20 + len(tried) + 5)


def test_a_disk_that_takes_no_more_bytes_loses_nothing(path: Path) -> None:
    """A real limit of the system: the WAL itself cannot grow."""
    opened(path).close()

    def child(pipe: Any) -> None:
        import resource  # noqa: PLC0415  (not on every system)

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        store, made = open_store(url_of(path)), 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))
        try:
            while made < 10_000:
                call(store)
                made += 1
        except StoreUnavailableError as error:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
            open_holds = store.open_holds()
            for hold_id in [row[0] for row in sql(path, "SELECT id FROM hold")]:
                settle(store, hold_id)
            calls(store, 5)
            pipe.send((made + open_holds + 5, str(error)))

    said = _from_child(child)
    assert isinstance(said, tuple)
    count, error = said
    assert "disk" in error
    assert count > 10
    assert_exact(path, count)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep the file locked for writing, by another process."""
    program = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
        "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", program, path], stdin=pipe, stdout=pipe) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"locked\n"
        yield
        assert other.stdin is not None
        other.stdin.close()
        other.wait(TIMEOUT)


def test_a_lock_that_does_not_go_away_makes_the_store_unavailable(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.1)
    id = new_id()
    with locked(path):
        with pytest.raises(StoreUnavailableError, match="locked"):
            hold(store, id)
        assert store.open_holds() == 0, "reading goes on"
    hold(store, id)
    with locked(path), pytest.raises(StoreUnavailableError, match="locked"):
        settle(store, id)
    settle(store, id)
    assert_exact(path, 1)


def test_a_lock_that_goes_away_is_waited_for(store: Store, path: Path) -> None:
    waiting = threading.Thread(target=calls, args=(store, 3))
    with locked(path):
        waiting.start()
    _ends(waiting)
    assert_exact(path, 3)


def test_an_amount_beyond_an_account_is_refused_and_changes_nothing(store: Store) -> None:
    huge = Context(path=("session/huge",))
    store.open([(session_account("huge"), None)], Event(0, Kind.RUN_OPENED, 1, b"h" * 16, huge))

    def hold_huge(id: bytes, amount: int) -> object:
        return store.hold(id, huge.path, amount, context=huge, request=WHAT, at=1)

    assert hold_huge(b"1" * 16, 2**62) == Grant(2**62)
    for amount in (2**62, 2**63, 2**200):
        with pytest.raises(StoreError, match=r"9\.2 million"):
            hold_huge(b"2" * 16, amount)
    assert store.balance("session/huge") == Balance(None, held=2**62)
    assert store.open_holds() == 1


def test_an_id_that_an_import_has_taken_is_a_conflict(store: Store) -> None:
    hold(store, b"1" * 16)
    store.load([], [Event(0, Kind.CALL, 2, b"1" * 16, WHO, WHAT, 1)])
    with pytest.raises(LedgerConflictError, match="taken"):
        settle(store, b"1" * 16)
    assert store.balance(SESSION.id) == Balance(10**15, 1, held=HELD)


def test_a_hold_of_another_process_is_not_repeated(store: Store, path: Path) -> None:
    hold(store, b"1" * 16)

    def child(pipe: Any) -> None:
        try:
            hold(store, b"1" * 16)
        except LedgerConflictError as error:
            pipe.send(str(error))

    assert "another process" in str(_from_child(child))


def test_text_that_is_no_unicode_does_not_keep_a_call_from_being_recorded(store: Store) -> None:
    """Such text comes from truncated output, and from traces of other languages."""
    who = WHO._replace(agent="\ud800", task_id="t\udfff")
    for _ in range(2):
        store.hold(b"1" * 16, who.path, 1, context=who, request=WHAT, at=1)
    ended = Event(0, Kind.CALL, 2, b"1" * 16, who, WHAT, 1, 1, data={"error": "\ud83d"})
    store.settle(b"1" * 16, 1, ended)
    found = store.find(b"1" * 16, Kind.CALL)
    assert found is not None
    assert (found.context.agent, found.context.task_id) == ("?", "t?")
    denied = Event(0, Kind.DENIED, 2, b"2" * 16, who, data={"error": "\ud83d"})
    assert [store.append(denied), store.append(denied)] == [True, False]


# Sequence numbers, names


def test_a_follower_never_sees_a_number_twice(store: Store, path: Path) -> None:
    calls(store, 3)
    page = store.read(START)
    last = page.events[-1].seq
    sql(path, f"DELETE FROM event WHERE seq > {last - 2}")
    assert store.read(page.cursor).events == []
    new = call(store)
    followed = store.read(page.cursor).events
    assert [event.id for event in followed] == [new]
    assert followed[0].seq > last


def test_loading_again_in_another_process_leaves_the_file_as_it_was(path: Path) -> None:
    events = [Event(0, Kind.CALL, 1, bytes([n] * 16), WHO, WHAT, 1) for n in range(5)]
    with closing(open_store(url_of(path))) as store:
        store.load([SESSION, ENVELOPE], events)
    tables = ("account", "context", "request", "event")
    before = [sql(path, f"SELECT * FROM {table}") for table in tables]
    with closing(open_store(url_of(path))) as store:
        store.load([SESSION, ENVELOPE], events)
    assert [sql(path, f"SELECT * FROM {table}") for table in tables] == before


def test_more_names_than_are_remembered_are_still_told_apart(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("spendtree.store.names.KEPT", 3)
    made = [
        Event(0, Kind.CALL, 1, n.to_bytes(16, "big"), WHO._replace(cycle=n), Request("p", str(n)))
        for n in range(20)
    ]
    assert store.load([], made) == 20
    assert [e._replace(seq=0) for e in store.events(kinds=[Kind.CALL])] == made


def test_a_process_that_lives_keeps_its_holds_and_one_that_died_loses_them(path: Path) -> None:
    def child(pipe: Any) -> None:
        store = open_store(url_of(path))
        hold(store, b"1" * 16)
        pipe.send("held")

    opened(path).close()
    assert _from_child(child) == "held"
    with closing(opened(path)) as store:
        hold(store, b"2" * 16)
        assert store.lapse_abandoned(now=50, idle=10**18) == 1
        assert store.lapse_abandoned(now=50, idle=10**18) == 0
        lapsed = store.find(b"1" * 16, Kind.LAPSE)
        assert lapsed is not None
        assert (lapsed.at, lapsed.started, lapsed.held, lapsed.status) == (50, 1, HELD, "lapsed")
        assert lapsed.request == WHAT
        assert store.balance(SESSION.id) == Balance(10**15, presumed=HELD, held=HELD)
        settle(store, b"2" * 16)


def test_a_dead_process_loses_its_holds_whatever_its_clock_said(path: Path) -> None:
    def child(pipe: Any) -> None:
        store = open_store(url_of(path))
        store.hold(b"1" * 16, WHO.path, 1, context=WHO, request=WHAT, at=10**18)
        pipe.send("held")

    opened(path).close()
    assert _from_child(child) == "held"
    with closing(opened(path)) as store:
        assert store.lapse_abandoned(now=50, idle=10**18) == 1


def test_holds_of_a_process_that_nobody_can_judge_lapse_only_when_idle(
    store: Store, path: Path
) -> None:
    hold(store, b"1" * 16)
    sql(path, "UPDATE owner SET host = 'elsewhere', lock = ''")
    assert store.lapse_abandoned(now=100, idle=99) == 0
    assert store.lapse_abandoned(now=101, idle=99) == 1
    settle(store, b"1" * 16)
    assert store.balance(SESSION.id) == Balance(10**15, COST), "the late truth of a living call"


# Many at once


def _create(path: Path, start: Barrier) -> None:
    start.wait(TIMEOUT)
    calls(opened(path), 1)


@forks_on_purpose
def test_two_processes_may_create_the_same_file_at_once(tmp_path: Path) -> None:
    for number in range(25):
        path, start = tmp_path / f"{number}.db", fork.Barrier(2)
        both = [fork.Process(target=_create, args=(path, start)) for _ in range(2)]
        for process in both:
            process.start()
        for process in both:
            _join(process)
        assert_exact(path, 2)


def test_two_threads_may_create_the_same_file_at_once(tmp_path: Path) -> None:
    for number in range(25):
        path, ids = tmp_path / f"{number}.db", set()
        start = threading.Barrier(2)

        def create(path: Path = path, start: threading.Barrier = start) -> None:
            start.wait(TIMEOUT)
            with closing(opened(path)) as store:
                call(store)
                ids.add(store.id)  # noqa: B023  (the threads end in this turn)

        _run([create, create])
        assert_exact(path, 2)
        assert len(ids) == 1


def _ends(thread: threading.Thread) -> None:
    thread.join(TIMEOUT)
    assert not thread.is_alive(), "a thread hung"


def _run(bodies: list[Callable[[], None]]) -> None:
    """Run all at once; an error of one is an error of the test."""
    failed: list[BaseException] = []

    def guarded(body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, args=(body,), daemon=True) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        _ends(thread)
    if failed:
        raise failed[0]


def test_many_threads_may_use_one_store(store: Store, path: Path) -> None:
    def follow() -> None:
        cursor, seen = START, 0
        while seen < 1 + 800:  # the session's opening, and the calls
            page = store.read(cursor, 50)
            numbers = [event.seq for event in page.events]
            assert numbers == list(range(seen + 1, seen + 1 + len(numbers)))
            cursor, seen = page.cursor, seen + len(numbers)
            store.balance(SESSION.id)

    _run([*[lambda: calls(store, 100)] * 8, follow])
    assert_exact(path, 800)


def test_concurrent_holds_never_grant_more_than_the_cap(path: Path) -> None:
    account = session_account("tight")
    who = Context("tight", path=(account.id,))
    with closing(open_store(url_of(path))) as store:
        store.open([(account, 5 * HELD)], Event(0, Kind.RUN_OPENED, 1, b"t" * 16, who))
        granted: list[bool] = []

        def race() -> None:
            for _ in range(5):
                answer = store.hold(new_id(), who.path, HELD, context=who, request=WHAT, at=1)
                granted.append(isinstance(answer, Grant))

        _run([race] * 4)
        assert granted.count(True) == 5
        assert len(granted) == 20
        assert store.balance(account.id) == Balance(50, held=50)


def _work(path: Path, start: Barrier) -> None:
    store = open_store(url_of(path))
    start.wait(TIMEOUT)
    _run([lambda: calls(store, 40)] * 4)
    store.close()


def test_many_processes_with_threads_may_write_one_file(path: Path) -> None:
    opened(path).close()
    start = spawn.Barrier(4)
    processes = [spawn.Process(target=_work, args=(path, start)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        _join(process)
    assert_exact(path, 640)


# Forks


def test_a_forked_child_and_its_parent_both_go_on(store: Store, path: Path) -> None:
    calls(store, 5)

    def child(pipe: Any) -> None:
        calls(store, 50)
        pipe.send(os.getpid())

    pid = _from_child(child)
    calls(store, 5)
    assert_exact(path, 60)
    owners = sql(path, "SELECT pid FROM owner ORDER BY no")
    assert owners == [(os.getpid(),), (pid,)]


def test_a_child_settles_a_hold_of_its_own_beside_its_parents(store: Store, path: Path) -> None:
    ours = new_id()
    hold(store, ours)

    def child(pipe: Any) -> None:
        calls(store, 3)
        assert store.lapse_abandoned(now=10**18, idle=0) == 0, "the parent lives"
        pipe.send("done")

    assert _from_child(child) == "done"
    settle(store, ours)
    assert_exact(path, 4)


def test_ids_of_a_child_do_not_repeat_its_parents(store: Store) -> None:
    def child(pipe: Any) -> None:
        pipe.send([new_id(0) for _ in range(200)])

    theirs = _from_child(child)
    assert isinstance(theirs, list)
    ours = [new_id(0) for _ in range(200)]
    assert len({*theirs, *ours}) == 400


def test_a_child_of_a_child_writes_too(store: Store, path: Path) -> None:
    calls(store, 2)

    def grandchild(pipe: Any) -> None:
        calls(store, 20)
        pipe.send("done")

    def child(pipe: Any) -> None:
        calls(store, 3)
        said = _from_child(grandchild)
        calls(store, 3)
        pipe.send(said)

    assert _from_child(child) == "done"
    assert_exact(path, 28)


def test_a_bare_fork_may_leave_without_closing(store: Store, path: Path) -> None:
    calls(store, 3)
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            calls(store, 7)
            os.write(writing, b"done")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(0)
    os.close(writing)
    readable, _, _ = select.select([reading], [], [], TIMEOUT)
    said = os.read(reading, 10) if readable else b"hung"
    os.close(reading)
    if not readable:
        os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert said == b"done"
    calls(store, 3)
    assert_exact(path, 13)


PARENT_LEAVES_FIRST = """
import os, sys
sys.path[:] = {path!r}
from tests.sdk.test_store_sqlite import calls, open_store
store = open_store(sys.argv[1])
calls(store, 30)
gone, here = os.pipe()
used, using = os.pipe()
if os.fork():
    os.read(used, 1)
    store.close()  # the last connection of a file deletes its WAL: but it is not the last
    os._exit(0)
os.close(here)
calls(store, 30)
os.write(using, b"1")
assert os.read(gone, 1) == b""  # the parent has ended
calls(store, 200)
print("done", flush=True)
os.kill(os.getpid(), 9)  # nothing is closed: what others find is what was committed
"""


def test_a_child_goes_on_writing_after_its_parent_closed_and_ended(path: Path) -> None:
    """Shared locks would let the parent delete the WAL into which its child writes."""
    opened(path).close()
    program = PARENT_LEAVES_FIRST.format(path=sys.path)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, url_of(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=TIMEOUT,
        check=True,
    )
    assert done.stdout == b"done\n", done.stderr
    assert_exact(path, 260)


@forks_on_purpose
def test_forking_while_threads_are_inside_verbs_neither_hangs_nor_loses(
    store: Store, path: Path
) -> None:
    stop = threading.Event()
    made: list[int] = []

    def work() -> None:
        count = 0
        while not stop.is_set():
            call(store)
            store.read(START, 20)
            count += 1
        made.append(count)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()

    def child(pipe: Any) -> None:
        calls(store, 5)
        store.read(START, 20)
        pipe.send("done")

    try:
        for _ in range(20):
            assert _from_child(child) == "done"
    finally:
        stop.set()
    for thread in threads:
        _ends(thread)
    assert sum(made) > 0
    assert_exact(path, 20 * 5 + sum(made))


@forks_on_purpose
def test_two_threads_may_fork_at_once(store: Store, path: Path) -> None:
    def child(pipe: Any) -> None:
        calls(store, 2)
        pipe.send("done")

    def forks() -> None:
        for _ in range(8):
            assert _from_child(child) == "done"
            call(store)

    _run([forks, forks])
    assert_exact(path, 48)


@forks_on_purpose
def test_a_child_forked_while_a_verb_was_stuck_says_so_and_its_parent_goes_on(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It inherits locks that it does not have: writing could lose what is written."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    call(store)
    stuck, free = threading.Event(), threading.Event()

    def verb() -> None:
        with database_of(store).lock:
            stuck.set()
            free.wait(TIMEOUT)

    thread = threading.Thread(target=verb, daemon=True)
    thread.start()
    stuck.wait(TIMEOUT)

    def child(pipe: Any) -> None:
        said = []
        for body in (lambda: call(store), lambda: store.open_holds()):
            try:
                body()
            except StoreUnavailableError as error:
                said.append("was forked" in str(error))
        pipe.send(said)

    said = _from_child(child)
    free.set()
    _ends(thread)
    assert said == [True, True]
    call(store)
    assert_exact(path, 2)


def test_a_daemon_that_changes_its_directory_keeps_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with closing(opened(Path("spend.db"))) as store:
        monkeypatch.chdir(tmp_path / "other")

        def child(pipe: Any) -> None:
            calls(store, 5)
            pipe.send("done")

        assert _from_child(child) == "done"
        call(store)
    assert list((tmp_path / "other").iterdir()) == []
    assert_exact(tmp_path / "spend.db", 6)


# The WAL


@pytest.fixture
def small_wal(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(database, "WAL_LIMIT", 200_000)
    monkeypatch.setattr(database, "WAL_CHECK_EVERY", 4)
    return 200_000


WAL_PEAK = 8 * 200_000
"""Room for the turns in which a reader is in the way; it is waited for at four times the limit."""


def test_the_wal_stays_small_while_a_reader_pages_beside_writers(
    store: Store, path: Path, small_wal: int
) -> None:
    wal = path.with_name("spend.db-wal")
    sizes: list[int] = []
    done = threading.Event()

    def write() -> None:
        for _ in range(300):
            call(store)
            sizes.append(wal.stat().st_size)
        done.set()

    def page() -> None:
        while not done.is_set():
            for _ in store.events():
                pass

    _run([write, write, page])
    assert max(sizes) > small_wal / 2, "else this shows nothing"
    assert max(sizes) < WAL_PEAK
    assert_exact(path, 600)


def test_without_care_the_wal_would_grow(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of the test before is not what anyway happens."""
    monkeypatch.setattr(database, "WAL_LIMIT", 10**12)
    calls(store, 600)
    assert path.with_name("spend.db-wal").stat().st_size > 2 * WAL_PEAK


def test_a_large_load_is_noticed_at_once(store: Store, path: Path, small_wal: int) -> None:
    events = [Event(0, Kind.CALL, 1, new_id(), WHO, WHAT, 1) for _ in range(4_000)]
    store.load([], events)
    assert path.with_name("spend.db-wal").stat().st_size == 0


def test_a_reader_that_stays_makes_the_wal_wait_but_no_writer_fail(
    store: Store, path: Path, small_wal: int
) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM event").fetchone() == (1,)
        calls(store, 40)
        assert path.with_name("spend.db-wal").stat().st_size > small_wal
        assert reader.execute("SELECT count(*) FROM event").fetchone() == (1,)
        reader.execute("COMMIT")
    calls(store, 4)
    assert path.with_name("spend.db-wal").stat().st_size < small_wal
    assert_exact(path, 44)
