"""A store's path leads to one file: what is deleted, replaced, linked or cut off is refused.

And nothing that a process does with its own files gives them to another one to tidy away.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spendtree import Spendtree, StoreUnavailableError, Usage
from spendtree.account import session_account
from spendtree.errors import StoreError
from spendtree.event import Context, Event, Kind, Request
from spendtree.ids import new_id
from spendtree.store import Store, anchor, identity, open_store, place
from spendtree.store.identity import IdentityError, Seen, Trio
from spendtree.store.sqlite import SqliteStore
from tests.sdk.test_store_sqlite import _from_child, forks_on_purpose

DEADLINE_SECONDS = 60
CEILING = "1.00"
CONFIG = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}
"""500 tokens in and 500 out cost a cent."""

SESSION = session_account("s")
WHO = Context("s", path=(SESSION.id,))
WHAT = Request("fake", "m")

needs_ofd = pytest.mark.skipif(anchor.OFD_SETLK is None, reason="needs locks of open files (Linux)")


@pytest.fixture(autouse=True)
def look_at_all_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anchor, "GOOD_SECONDS", 0.0)
    monkeypatch.setattr(anchor, "NEAR_SECONDS", 0.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    with closing(opened(path)) as store:
        yield store


def opened(path: Path) -> Store:
    store = open_store(f"sqlite:///{path}")
    store.open([(SESSION, 10**15)], Event(0, Kind.SESSION_OPENED, 1, b"s" * 16, WHO))
    return store


def call(store: Store) -> None:
    id = new_id()
    store.hold(id, WHO.path, 10, context=WHO, request=WHAT, at=1)
    store.settle(id, 7, Event(0, Kind.CALL, 2, id, WHO, WHAT, 7, 10, status="ok", started=1))


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


SPENDER = """
import sys
from spendtree import Spendtree, Usage, BudgetExceededError
tracker = Spendtree("sqlite:///" + sys.argv[1], {"prices": {"m": {
    "input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}})
made = 0
try:
    with tracker.session("s", ceiling="1.00"):
        while made < int(sys.argv[2]):
            with tracker.call("m", input_tokens=500, max_output_tokens=500) as call:
                call.record(Usage(500, 500))
            made += 1
except BudgetExceededError:
    pass
finally:
    print(made)
    tracker.close()
"""


def elsewhere(path: Path, calls: int) -> int:
    """Return how many calls of a cent another process made."""
    done = subprocess.run(
        [sys.executable, "-c", SPENDER, str(path), str(calls)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return int(done.stdout.split()[0])


def spend(tracker: Spendtree) -> None:
    with tracker.call("m", input_tokens=500, max_output_tokens=500) as made:
        made.record(Usage(500, 500))


def sound(path: Path) -> tuple[str, int]:
    """Return what SQLite says of the file, and the calls in it."""
    with closing(sqlite3.connect(path)) as connection:
        (checked,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        (calls,) = connection.execute("SELECT count(*) FROM event WHERE kind=5").fetchone()
    return checked, calls


# Copies


@needs_ofd
@pytest.mark.parametrize("copied", [("",), ("-wal",), ("-shm",), ("", "-wal", "-shm")])
def test_a_copy_made_by_the_process_itself_loses_nothing(
    path: Path, copied: tuple[str, ...]
) -> None:
    tracker = Spendtree(f"sqlite:///{path}", CONFIG)
    with tracker.session("s", ceiling=CEILING):
        made = 0
        for _ in range(4):
            spend(tracker)
            for suffix in copied:
                shutil.copy(beside(path, suffix), path.with_name(f"copy{suffix}"))
            made += 1 + elsewhere(path, 10)
        spend(tracker)
    tracker.close()

    assert made == 44
    assert sound(path) == ("ok", 45)


@needs_ofd
def test_another_opener_that_is_no_store_of_ours_does_not_tidy_up_either(
    store: Store, path: Path
) -> None:
    call(store)
    path.open("rb").close()
    code = "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); c.execute('select 1 from event')"
    subprocess.run([sys.executable, "-c", code, str(path)], timeout=DEADLINE_SECONDS, check=True)

    call(store)

    assert sound(path) == ("ok", 2)


WRITER = """
import sys, time
from tests.sdk.test_store_identity import call, opened
from pathlib import Path
store = opened(Path(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    call(store)
store.close()
"""


def test_a_thread_that_copies_the_index_all_the_time_lets_no_two_write_at_once(path: Path) -> None:
    """Closing it gives up the lock of the transaction that is under way."""
    calls = 250
    with closing(opened(path)) as store:
        command = [sys.executable, "-c", WRITER, str(path), str(calls)]
        others = [subprocess.Popen(command) for _ in range(2)]
        stop = threading.Event()

        def copy() -> None:
            while not stop.is_set():
                shutil.copy(beside(path, "-shm"), path.with_name("copy"))

        copying = threading.Thread(target=copy)
        copying.start()
        try:
            for _ in range(calls):
                call(store)
            codes = [other.wait(DEADLINE_SECONDS) for other in others]
        finally:
            stop.set()
            copying.join()
            for other in others:
                other.kill()
                other.wait()

    assert codes == [0, 0]
    assert sound(path) == ("ok", 3 * calls)


def test_a_turn_that_was_left_behind_keeps_nobody_from_writing(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(anchor, "TURN_SECONDS", 0.1)
    assert isinstance(store, SqliteStore)
    left = store._database._anchor
    assert left is not None
    left.turn.take()

    with closing(open_store(f"sqlite:///{path}")) as other:
        call(other)

    assert sound(path) == ("ok", 1)


@needs_ofd
def test_one_of_two_stores_on_a_file_may_close(store: Store, path: Path) -> None:
    call(store)
    with closing(open_store(f"sqlite:///{path}")) as other:
        call(other)
    path.open("rb").close()
    assert elsewhere(path, 1) == 1

    call(store)

    assert sound(path) == ("ok", 4)


@needs_ofd
@forks_on_purpose
def test_a_fork_takes_the_anchor_up_again_on_both_sides(store: Store, path: Path) -> None:
    call(store)

    def child(pipe: object) -> None:
        path.open("rb").close()
        call(store)
        assert elsewhere(path, 1) == 1
        call(store)
        pipe.send("done")  # type: ignore[attr-defined]

    assert _from_child(child) == "done"
    path.open("rb").close()
    assert elsewhere(path, 1) == 1
    call(store)
    assert sound(path) == ("ok", 6)


def test_the_last_one_to_close_tidies_up(path: Path) -> None:
    with closing(opened(path)) as store:
        call(store)

    assert sorted(path.parent.glob("spend.db*")) in ([path], [path, beside(path, "-owners")])


def test_a_program_that_ends_without_closing_leaves_no_log_behind(path: Path) -> None:
    code = WRITER.replace("store.close()", "")
    command = [sys.executable, "-c", code, str(path), "3"]
    subprocess.run(command, timeout=DEADLINE_SECONDS, check=True)

    assert sorted(path.parent.glob("spend.db*")) in ([path], [path, beside(path, "-owners")])


# What becomes of a file that is open


def delete(path: Path) -> None:
    path.unlink()


def delete_all(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        beside(path, suffix).unlink()


def delete_log(path: Path) -> None:
    beside(path, "-wal").unlink()


def delete_index(path: Path) -> None:
    beside(path, "-shm").unlink()


def replace_log(path: Path) -> None:
    shutil.copy(beside(path, "-wal"), path.with_name("copy"))
    os.replace(path.with_name("copy"), beside(path, "-wal"))


def rename(path: Path) -> None:
    path.rename(path.with_name("moved.db"))


def replace(path: Path) -> None:
    shutil.copy(path, path.with_name("copy"))
    os.replace(path.with_name("copy"), path)


def link(path: Path) -> None:
    os.link(path, path.with_name("second.db"))


def rename_parent(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.mkdir()


def empty(path: Path) -> None:
    os.truncate(path, 0)


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_log(path: Path) -> None:
    os.truncate(beside(path, "-wal"), 32)


FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (delete, "is gone"),
    (delete_all, "is gone"),
    (delete_log, "spend.db-wal is gone"),
    (delete_index, "spend.db-shm is gone"),
    (replace_log, "spend.db-wal was replaced"),
    (rename, "is gone"),
    (replace, "was replaced"),
    (link, "has 2 names"),
    (rename_parent, "is gone"),
    (empty, "was cut off"),
    (halve, "was cut off"),
    (cut_log, "its log was cut off"),
]


@pytest.mark.parametrize(("harm", "reason"), FAULTS, ids=lambda each: getattr(each, "__name__", ""))
def test_a_call_under_a_ceiling_is_refused_and_one_without_goes_on_unrecorded(
    tmp_path: Path, harm: Callable[[Path], None], reason: str
) -> None:
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "spend.db"
    tracker = Spendtree(f"sqlite:///{path}", CONFIG)
    with tracker.session("free") as free, tracker.session("s", ceiling=CEILING):
        spend(tracker)
        held = tracker.call("m", input_tokens=500, max_output_tokens=500)
        with held:
            harm(path)
            held.record(Usage(500, 500))
        assert len(tracker.unsettled) == 1, "what was paid for is kept"

        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match=reason):
                spend(tracker)

        with free.call("m", input_tokens=500, max_output_tokens=500) as call:
            call.record(Usage(500, 500))
        assert tracker.unrecorded_calls == 1


@pytest.mark.parametrize("harm", [delete, rename, replace, link, rename_parent, empty])
def test_a_hold_looks_at_the_database_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(anchor, "GOOD_SECONDS", 1e9)
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "spend.db"
    with closing(opened(path)) as store:
        call(store)
        harm(path)
        with pytest.raises(IdentityError):
            call(store)


@pytest.mark.parametrize("suffixes", [("",), ("-wal",), ("", "-wal", "-shm")])
def test_files_that_are_put_back_are_gone_on_with(path: Path, suffixes: tuple[str, ...]) -> None:
    tracker = Spendtree(f"sqlite:///{path}", CONFIG)
    with tracker.session("s", ceiling=CEILING) as session:
        held = tracker.call("m", input_tokens=500, max_output_tokens=500)
        with held:
            for suffix in suffixes:
                beside(path, suffix).rename(path.with_name(f"away{suffix}"))
            held.record(Usage(500, 500))
        for suffix in suffixes:
            path.with_name(f"away{suffix}").rename(beside(path, suffix))

        spend(tracker)

        assert str(session.remaining()) == "0.98"
    assert not tracker.unsettled
    tracker.close()
    assert sound(path) == ("ok", 2)


def test_a_second_name_that_is_removed_is_forgiven(store: Store, path: Path) -> None:
    link(path)
    with pytest.raises(IdentityError):
        call(store)
    path.with_name("second.db").unlink()

    call(store)


def test_a_file_that_was_cut_off_stays_refused_when_it_has_grown_again(
    store: Store, path: Path
) -> None:
    before = path.read_bytes()
    empty(path)
    with pytest.raises(IdentityError):
        call(store)
    path.write_bytes(bytes(2 * len(before)))

    with pytest.raises(IdentityError, match="cut off"):
        call(store)


@pytest.mark.parametrize("share", [0, 1 / 3, 1 / 2, 0.95])
def test_pages_that_neither_the_file_nor_the_log_has_are_missed(
    store: Store, path: Path, share: float
) -> None:
    store.load([], [Event(0, Kind.CALL, 1, new_id(), Context(""), WHAT, 1) for _ in range(2_000)])
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    call(store)  # it sees the file grown
    os.truncate(path, int(path.stat().st_size * share) // 1024 * 1024)

    with pytest.raises(IdentityError, match="cut off"):
        call(store)


def test_a_process_that_closes_leaves_the_log_of_the_store_that_came_after(path: Path) -> None:
    """SQLite deletes a log by its name."""
    store = opened(path)
    call(store)
    delete_all(path)
    with closing(opened(path)) as other:
        call(other)
        store.close()
        assert beside(path, "-wal").exists()
        call(other)
        assert elsewhere(path, 0) == 0
        call(other)

    assert sound(path) == ("ok", 3)


@forks_on_purpose
def test_a_child_does_not_go_on_with_another_file(store: Store, path: Path) -> None:
    delete_all(path)
    with closing(opened(path)):

        def child(pipe: object) -> None:
            try:
                call(store)
            except IdentityError as error:
                pipe.send(str(error))  # type: ignore[attr-defined]

        assert "was replaced" in str(_from_child(child))


def test_a_read_notices_too(store: Store, path: Path) -> None:
    replace(path)
    with pytest.raises(IdentityError, match="was replaced"):
        store.balance(SESSION.id)


def test_a_store_that_is_pruned_by_another_process_may_become_shorter(
    store: Store, path: Path
) -> None:
    store.load([], [Event(0, Kind.CALL, 1, new_id(), Context(""), WHAT, 1) for _ in range(3_000)])
    with closing(open_store(f"sqlite:///{path}")) as other:
        assert isinstance(other, SqliteStore)
        other._database.query("PRAGMA wal_checkpoint(TRUNCATE)")
        call(store)
        before = path.stat().st_size
        assert other.prune(2**62).freed_bytes > 0
        other._database.query("PRAGMA wal_checkpoint(TRUNCATE)")
        assert path.stat().st_size < before
        for _ in range(400):  # its last pages are in the log alone
            call(other)

    call(store)

    assert sound(path)[0] == "ok"


# Opening


def test_a_file_with_two_names_is_not_opened_by_either(path: Path) -> None:
    opened(path).close()
    link(path)
    for name in (path, path.with_name("second.db")):
        with pytest.raises(StoreError, match="2 names"):
            open_store(f"sqlite:///{name}")


@pytest.mark.parametrize("harm", [empty, delete])
def test_a_log_without_its_file_is_not_thrown_away(
    store: Store, path: Path, harm: Callable[[Path], None]
) -> None:
    call(store)
    harm(path)
    size = beside(path, "-wal").stat().st_size

    with pytest.raises(StoreError, match=f"{size:,} bytes"):
        open_store(f"sqlite:///{path}")

    assert beside(path, "-wal").stat().st_size == size
    assert path.exists() == (harm is empty)


def test_a_file_that_is_a_mount_point_is_refused(tmp_path: Path, path: Path) -> None:
    """One file mounted into a container has another log there."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root, to mount a file; CI has it")
    opened(path).close()
    (tmp_path / "other").mkdir()
    target = tmp_path / "other" / "spend 2.db"
    target.touch()
    done = subprocess.run(["mount", "--bind", path, target], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.decode()}")
    try:
        with pytest.raises(StoreError, match="mount the directory"):
            open_store(f"sqlite:///{target}")
        assert str(target) in place.mount_points()
        open_store(f"sqlite:///{path}").close()
    finally:
        subprocess.run(["umount", target], check=True)


# The rules, as functions of what was seen

FILE, LOG, INDEX = Seen(1, 10, 1, 1000), Seen(1, 11, 1, 0), Seen(1, 12, 1, 32768)
ALL = Trio(FILE, LOG, INDEX)


def test_the_same_files_are_no_fault_whatever_their_size() -> None:
    assert identity.fault("/x/s.db", ALL, ALL._replace(wal=LOG._replace(size=5))) == ""


@pytest.mark.parametrize(
    ("now", "reason"),
    [
        (ALL._replace(file=None), "gone"),
        (ALL._replace(file=FILE._replace(inode=9)), "replaced"),
        (ALL._replace(file=FILE._replace(device=2)), "replaced"),
        (ALL._replace(file=FILE._replace(links=3)), "3 names"),
        (ALL._replace(wal=None), "s.db-wal is gone"),
        (ALL._replace(wal=LOG._replace(inode=9)), "s.db-wal was replaced"),
        (ALL._replace(shm=None), "s.db-shm is gone"),
    ],
)
def test_each_fault_has_its_reason(now: Trio, reason: str) -> None:
    assert reason in identity.fault("/x/s.db", ALL, now)


@pytest.mark.parametrize(
    ("now", "mounts", "reason"),
    [
        (ALL, [], ""),
        (ALL, ["/", "/x"], ""),
        (ALL, ["/x/s.db"], "mount the directory"),
        (ALL._replace(file=FILE._replace(links=2)), [], "2 names"),
        (ALL._replace(file=FILE._replace(size=0)), [], ""),
        (Trio(FILE._replace(size=0), LOG._replace(size=9), None), [], "cut off"),
        (Trio(None, LOG._replace(size=9), None), [], "no file"),
        (Trio(None, LOG, None), [], ""),
        (Trio(None, None, None), [], ""),
    ],
)
def test_what_may_be_opened(now: Trio, mounts: list[str], reason: str) -> None:
    found = identity.fault_at_opening("/x/s.db", now, frozenset(mounts))
    assert reason in found
    assert bool(reason) == bool(found)
