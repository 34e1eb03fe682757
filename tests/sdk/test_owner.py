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


def test_a_process_of_another_boot_is_not_judged_by_its_pid() -> None:
    """It may run on another kernel of the same host name; its lock tells (`test_liveness`)."""
    here = current()
    assert here._replace(boot="before").is_dead(here) is None


HERE = Owner("host", "boot", os.getpid(), 0, "space")


@pytest.mark.parametrize(
    ("there", "here", "certain"),
    [
        pytest.param(HERE, HERE, True, id="one namespace of one kernel"),
        pytest.param(HERE._replace(namespace="other"), HERE, False, id="another namespace"),
        pytest.param(HERE._replace(namespace=""), HERE, False, id="an older version's"),
        pytest.param(HERE, HERE._replace(namespace=""), False, id="no /proc here"),
        pytest.param(
            HERE._replace(namespace=""), HERE._replace(namespace=""), False, id="no /proc at all"
        ),
        pytest.param(HERE._replace(boot="other"), HERE, False, id="another kernel"),
        pytest.param(HERE._replace(host="other"), HERE, False, id="another host"),
        pytest.param(
            HERE._replace(boot=""), HERE._replace(boot=""), False, id="two unknown kernels"
        ),
        pytest.param(
            HERE._replace(boot="", namespace=owner.NO_NAMESPACES),
            HERE._replace(boot="", namespace=owner.NO_NAMESPACES),
            True,
            id="a system without namespaces",
        ),
    ],
)
def test_a_pid_tells_only_where_it_certainly_means_the_same_process(
    there: Owner, here: Owner, certain: bool
) -> None:
    assert there.shares_pids(here) is certain
    gone = there._replace(pid=2**22 + 1)  # above every pid that a kernel gives
    assert gone.is_dead(here) is (True if certain else None)


def test_a_proc_of_another_namespace_makes_this_one_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its numbers are other processes: as after `unshare --pid` without a /proc of its own."""
    monkeypatch.setattr(os, "readlink", lambda path: "1")
    assert current().namespace == ""


@needs_proc
def test_the_namespace_is_that_of_pids_and_of_times() -> None:
    kinds = [kind for kind in ("pid", "time") if os.path.exists(f"/proc/self/ns/{kind}")]
    numbers = [os.readlink(f"/proc/self/ns/{kind}").strip("pidtme:[]") for kind in kinds]
    assert current().namespace == ".".join(numbers)


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
    here = current()._replace(lock="12:34")
    for each in (here, here._replace(namespace="", lock=""), here._replace(boot="")):
        assert Owner.parse(str(each)) == each
    assert Owner.parse("host boot 12 34") == Owner("host", "boot", 12, 34), "an older version's"
    with pytest.raises(ValueError, match="unpack"):
        Owner.parse("no owner")
