"""Processes that no pid can judge: their lock of life tells whether they hold money still."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from spendtree import Spendtree
from spendtree.event import Kind
from spendtree.store import liveness, owner
from spendtree.store.health import examine
from spendtree.store.liveness import LifeLock, is_locked
from spendtree.store.owner import current
from tests.processes import rest_of
from tests.sdk.namespaces import ALONE, SHELL, WITHOUT_PROC, needs_namespaces

HOUR = 3_600 * 1_000_000
PRICES = {"prices": {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}}
CENT = 10_000_000_000

needs_locks = pytest.mark.skipif(
    sys.platform != "linux", reason="the lock of life is an OFD lock, which is Linux's"
)
namespaces = needs_namespaces()

HOLDER = """
import sys
from spendtree import Spendtree, Usage
tracker = Spendtree(sys.argv[1], {"prices": {"m": {
    "input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}})
with tracker.session("s", ceiling="0.05"):
    with tracker.agent("coordinator", envelope="0.02", reserved=True):
        with tracker.call("m", input_tokens=500, max_output_tokens=500) as call:
            print("holds", flush=True)
            sys.stdin.readline()
            call.record(Usage(500, 500))
        with tracker.call("m", input_tokens=500, max_output_tokens=500) as call:
            call.record(Usage(500, 500))
print("done", flush=True)
"""

FORKER = """
import os, sys
from spendtree import Spendtree
tracker = Spendtree(sys.argv[1], {"prices": {"m": {
    "input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}})
session = tracker.session("s", ceiling="0.05").__enter__()
tracker.call("m", input_tokens=500, max_output_tokens=500).__enter__()
if os.fork() == 0:
    sys.stdin.readline()
    os._exit(0)
print("holds", flush=True)
os._exit(9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@contextmanager
def running(path: Path, *before: str, program: str = HOLDER) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds a cent, and a reserved envelope, until it reads a line."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", program, f"sqlite:///{path}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "holds\n"
            yield process
        finally:
            process.kill()


def go_on(process: subprocess.Popen[str]) -> str:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return rest_of(process)[0]


def tracker_of(path: Path) -> Spendtree:
    return Spendtree(f"sqlite:///{path}", PRICES)


def lapse(tracker: Spendtree, idle: int = HOUR) -> int:
    return tracker.store.lapse_abandoned(now=tracker.clock() // 1000, idle=idle)


def reserved(tracker: Spendtree) -> int:
    balance = tracker.store.balance("session/s")
    assert balance is not None
    return balance.terms.reserved


# Namespaces, as containers have them.


@namespaces
@pytest.mark.parametrize(
    "before", [ALONE, (*ALONE, *SHELL), (*WITHOUT_PROC, *SHELL), (*ALONE, "unshare", "--uts")]
)
def test_what_a_living_process_of_another_namespace_holds_and_reserves_stays(
    path: Path, before: tuple[str, ...]
) -> None:
    with running(path, *before) as process, closing(tracker_of(path)) as tracker:
        assert lapse(tracker, idle=0) == 0
        assert reserved(tracker) == CENT, "its envelope less the hold"
        (held,) = examine(str(path)).held
        assert held.dead is False
        assert "of another PID namespace" in held.process
        assert go_on(process) == "done\n", "the reserved money was there"
        assert list(tracker.store.events(kinds=[Kind.LAPSE])) == []


@namespaces
def test_two_namespaces_judge_each_other_right_also_where_their_pids_are_the_same(
    path: Path,
) -> None:
    look = (
        "import sys; from spendtree.store import open_store; s = open_store(sys.argv[1]);"
        "print(s.lapse_abandoned(now=2**60, idle=0), s.open_holds())"
    )
    with running(path, *ALONE):
        command = [*ALONE, sys.executable, "-c", look, f"sqlite:///{path}"]
        seen = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert seen.stdout == "0 1\n"


@namespaces
def test_a_process_of_another_namespace_that_was_killed_loses_its_holds_at_once(
    path: Path,
) -> None:
    with running(path, *ALONE) as process, closing(tracker_of(path)) as tracker:
        process.kill()  # and with it, by --kill-child, all that is in the namespace
        rest_of(process)
        assert lapse(tracker) == 1
        assert reserved(tracker) == 0
        (lapsed,) = tracker.store.events(kinds=[Kind.LAPSE])
        assert lapsed.data == {"reason": "its process ended before the call did"}


@namespaces
def test_a_session_of_a_living_process_of_another_namespace_is_not_taken_for_left(
    path: Path,
) -> None:
    with running(path, *ALONE) as process, closing(tracker_of(path)) as tracker:
        with tracker.session("s"):
            pass
        assert list(tracker.store.events(kinds=[Kind.SESSION_CLOSED])) == []
        assert go_on(process) == "done\n"
        assert len(list(tracker.store.events(kinds=[Kind.SESSION_CLOSED]))) == 1


@namespaces
def test_one_exporter_writes_also_where_two_are_in_different_namespaces(path: Path) -> None:
    tracker_of(path).close()
    program = (
        "import sys; from spendtree_exporter.lock import WriterLock; "
        "print(bool(WriterLock(sys.argv[1]).acquire()))"
    )
    command = [*ALONE, sys.executable, "-c", program, f"sqlite:///{path}"]
    from spendtree_exporter.lock import WriterLock  # noqa: PLC0415 - the SDK's tests run without

    lock = WriterLock(f"sqlite:///{path}")
    assert lock.acquire() == ""
    taken = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    lock.release()
    free = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert (taken.stdout, free.stdout) == ("True\n", "False\n")


# The lock itself, without namespaces: the owner's row is made one that no pid can judge.


def unseen(path: Path, **changes: str) -> None:
    """Make all owners processes of another kernel, or whatever else is given."""
    changes = changes or {"boot": "another"}
    columns = ", ".join(f"{name} = ?" for name in changes)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"UPDATE owner SET {columns}", tuple(changes.values()))


@needs_locks
@pytest.mark.parametrize("change", ["boot", "host", "namespace"])
def test_a_living_process_that_no_pid_can_judge_keeps_its_holds_however_old(
    path: Path, change: str
) -> None:
    with running(path) as process, closing(tracker_of(path)) as tracker:
        unseen(path, **{change: "another"})
        assert lapse(tracker, idle=-HOUR) == 0
        process.kill()
        rest_of(process)
        assert lapse(tracker) == 1, "and loses them when it has ended, as by a reboot"
        assert reserved(tracker) == 0


@needs_locks
def test_a_copy_or_a_backup_of_the_files_does_not_drop_the_lock(path: Path, tmp_path: Path) -> None:
    """POSIX locks go when a process closes any descriptor of the file; these must not."""
    tracker, other = tracker_of(path), tracker_of(path)
    with tracker.session("s"), tracker.call("m", input_tokens=1, max_output_tokens=1):
        shutil.copy(f"{path}{liveness.SUFFIX}", tmp_path / "copy")
        unseen(path)
        assert lapse(other, idle=-HOUR) == 0
        assert other.store.open_holds() == 1
    tracker.close()
    other.close()


@needs_locks
def test_a_process_whose_lock_file_was_deleted_or_replaced_is_judged_by_time_alone(
    path: Path, tmp_path: Path
) -> None:
    with running(path), closing(tracker_of(path)) as tracker:
        unseen(path)
        lock = Path(f"{path}{liveness.SUFFIX}")
        kept = tmp_path / "kept"
        lock.rename(kept)
        assert lapse(tracker) == 0, "there is none"
        lock.write_bytes(b"")
        assert lapse(tracker) == 0, "there is another one"
        assert lapse(tracker, idle=-HOUR) == 1
        (lapsed,) = tracker.store.events(kinds=[Kind.LAPSE])
        assert "cannot be seen from here" in (lapsed.data or {})["reason"]


def test_rows_of_older_versions_are_judged_by_time_alone(path: Path) -> None:
    with running(path) as process, closing(tracker_of(path)) as tracker:
        unseen(path, namespace="", lock="")
        assert lapse(tracker) == 0
        process.kill()
        rest_of(process)
        assert lapse(tracker) == 0, "it might be another container's process of that pid"
        assert lapse(tracker, idle=-HOUR) == 1


@needs_locks
def test_a_forked_child_does_not_keep_its_parents_lock(path: Path) -> None:
    with running(path, program=FORKER) as process, closing(tracker_of(path)) as tracker:
        assert process.wait(60) == 9
        unseen(path)
        assert lapse(tracker) == 1
        assert process.stdin is not None
        process.stdin.close()


@needs_locks
def test_who_closes_the_store_keeps_the_lock_as_long_as_it_holds_money(path: Path) -> None:
    with closing(tracker_of(path)) as tracker, closing(tracker_of(path)) as other:
        with tracker.call("m", input_tokens=1, max_output_tokens=1) as call:
            unseen(path)
            tracker.close()
            assert lapse(other, idle=-HOUR) == 0
            call.void("nothing was sent")
        lock = tracker.store.owner().lock
        assert is_locked(str(path), lock)
        tracker.close()
        assert is_locked(str(path), lock) is False
        assert tracker.store.owner().lock == lock, "it is the same process"
        assert is_locked(str(path), lock)


@needs_locks
def test_a_store_that_is_forgotten_gives_its_lock_up(path: Path) -> None:
    path.touch()
    lock = LifeLock(str(path))
    name = lock.take()
    assert lock.take() == name
    again = LifeLock(str(path))
    assert again.take() == name, "one process has one lock"
    del lock
    assert is_locked(str(path), name)
    del again
    assert is_locked(str(path), name) is False


@needs_locks
def test_the_lock_file_may_be_read_by_whoever_may_read_the_store(path: Path) -> None:
    path.touch()
    path.chmod(0o660)
    assert LifeLock(str(path)).take()
    assert Path(f"{path}{liveness.SUFFIX}").stat().st_mode & 0o777 == 0o660


def test_where_there_are_no_such_locks_nobody_is_judged_by_them(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no locks")

    monkeypatch.setattr(liveness, "_lock", refuse)
    with closing(tracker_of(path)) as tracker:
        assert tracker.store.owner().lock == ""
        with tracker.call("m", input_tokens=1, max_output_tokens=1):
            unseen(path)
            assert lapse(tracker) == 0
            assert tracker.store.is_dead(current()._replace(boot="another")) is None


def test_a_lock_that_is_not_one_tells_nothing(tmp_path: Path) -> None:
    for text in ("", "1", "1:", "1:x", ":", "1:1"):
        assert is_locked(str(tmp_path / "missing.db"), text) is None


def test_looking_makes_no_file(path: Path) -> None:
    assert is_locked(str(path), "1:1") is None
    assert not os.path.exists(f"{path}{liveness.SUFFIX}")
    assert owner.current().lock == ""
