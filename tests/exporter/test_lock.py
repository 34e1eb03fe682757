"""The lock beside a store: one has it, until its process ends."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from spendtree_exporter.lock import WriterLock, holder, lock_path

HOLDER = """
import sys
from spendtree_exporter.lock import WriterLock
lock = WriterLock(sys.argv[1])
print(lock.acquire() or "held", flush=True)
sys.stdin.readline()
"""


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///spend.db", "spend.db-exporter"),
        ("sqlite:////var/lib/spend.db", "/var/lib/spend.db-exporter"),
        ("sqlite:////tmp/a%3Fb%25.db?synchronous=full", "/tmp/a?b%.db-exporter"),
        ("memory:", ""),
    ],
)
def test_the_file_stands_beside_the_store(url: str, path: str) -> None:
    assert lock_path(url) == path


def test_a_store_reached_by_a_link_has_the_lock_of_its_file(
    sqlite_url: str, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "link.db"
    link.symlink_to(sqlite_url.removeprefix("sqlite:///"))
    first, second = WriterLock(sqlite_url), WriterLock(f"sqlite:///{link}")

    assert first.acquire() == ""
    assert f"process {os.getpid()} has" in second.acquire()
    assert holder(f"sqlite:///{link}") == f"process {os.getpid()}"
    first.release()


def test_only_one_has_it_also_in_one_process(sqlite_url: str) -> None:
    first, second = WriterLock(sqlite_url), WriterLock(sqlite_url)

    assert first.acquire() == ""
    assert f"process {os.getpid()} has" in second.acquire()
    assert (first.held, second.held) == (True, False)

    first.release()
    assert not first.held
    assert second.acquire() == ""
    assert stat.S_IMODE(Path(second.path).stat().st_mode) == 0o600
    second.release()


def test_the_kernel_releases_the_lock_of_a_process_that_is_killed(sqlite_url: str) -> None:
    lock = WriterLock(sqlite_url)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, sqlite_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert f"process {holder.pid} has" in lock.acquire()
        holder.kill()
        holder.wait()

    assert lock.acquire() == ""
    lock.release()


def test_a_store_in_memory_needs_no_lock() -> None:
    first, second = WriterLock("memory:"), WriterLock("memory:")

    assert first.acquire() == second.acquire() == ""
    assert first.held
    assert second.held


def test_a_lock_that_cannot_be_made_is_told_with_the_reason(tmp_path: Path) -> None:
    lock = WriterLock(f"sqlite:///{tmp_path}/missing/spend.db")

    assert "No such file or directory" in lock.acquire()
    assert not lock.held


def test_who_has_it_can_be_asked_without_taking_it(sqlite_url: str) -> None:
    lock = WriterLock(sqlite_url)
    assert holder(sqlite_url) is None
    assert not os.path.exists(lock.path)

    assert lock.acquire() == ""
    assert holder(sqlite_url) == f"process {os.getpid()}"
    lock.release()

    assert holder(sqlite_url) is None
    assert lock.acquire() == ""
    lock.release()
