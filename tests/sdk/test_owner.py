"""Whether the process that holds money still lives, asked of real processes."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from spendtree.store import owner
from spendtree.store.owner import Owner, current

WAIT = [sys.executable, "-S", "-c", "import sys; sys.stdin.read()"]

needs_proc = pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="needs /proc, which tells when processes started"
)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until its stdin is closed."""
    with subprocess.Popen(WAIT, stdin=subprocess.PIPE) as child:
        yield child


def _owner(pid: int) -> Owner:
    return current()._replace(pid=pid, start=owner._start_of(pid))


def _end(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    process.stdin.close()


def test_this_process_is_not_dead() -> None:
    here = current()
    assert here.pid == os.getpid()
    assert here.is_dead(here) is not True


@needs_proc
def test_a_running_process_is_not_dead_and_one_that_ended_is(
    process: subprocess.Popen[bytes],
) -> None:
    other = _owner(process.pid)
    assert other.is_dead(current()) is False
    _end(process)
    process.wait(timeout=30)
    assert other.is_dead(current()) is True


@needs_proc
def test_a_zombie_is_dead(process: subprocess.Popen[bytes]) -> None:
    other = _owner(process.pid)
    _end(process)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet buried
    assert other.is_dead(current()) is True


@needs_proc
def test_a_pid_that_was_used_again_is_another_process() -> None:
    here = current()
    assert here._replace(start=here.start - 1).is_dead(here) is True


def test_a_process_of_another_host_cannot_be_known() -> None:
    here = current()
    assert here._replace(host="elsewhere").is_dead(here) is None
    assert here._replace(host="elsewhere", boot="before").is_dead(here) is None


def test_a_process_from_before_the_last_boot_is_dead() -> None:
    here = current()
    assert here._replace(boot="before").is_dead(here) is True


def test_where_start_times_are_not_told_a_living_pid_stays_uncertain(
    monkeypatch: pytest.MonkeyPatch, process: subprocess.Popen[bytes]
) -> None:
    """It may be the owner or a process that got its pid: only being idle tells."""
    known = _owner(process.pid)
    monkeypatch.setattr(owner, "_start_of", owner._alive_without_proc)
    here = current()
    assert here._replace(pid=process.pid).is_dead(here) is None
    assert known.is_dead(here) is None
    _end(process)
    process.wait(timeout=30)
    assert known.is_dead(here) is True


def test_a_process_of_another_user_lives_although_it_cannot_be_signalled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", refuse)
    assert owner._alive_without_proc(1) == owner.UNTOLD


def test_an_owner_is_read_back_from_its_text() -> None:
    here = current()
    assert Owner.parse(str(here)) == here
    with pytest.raises(ValueError, match="unpack"):
        Owner.parse("no owner")
