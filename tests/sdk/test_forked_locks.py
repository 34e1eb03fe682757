"""Whatever lock a thread of the parent had at a fork: nobody in the child waits for it."""

import ast
import os
import signal
import threading
from pathlib import Path

import pytest

import spendtree
from spendtree import default
from spendtree.store.locks import EnteredError, ProcessLock, unowned

ROOT = Path(__file__).resolve().parents[2]

forks_on_purpose = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")

KEPT = {
    "sdk/spendtree/store/locks.py": "ProcessLock: one for each process",
    "sdk/spendtree/store/database.py": "held across a fork, and made anew in the child",
    "sdk/spendtree/store/anchor.py": "the table of descriptors is made anew in the child",
    "sdk/spendtree/store/memory_reading.py": "a store in memory refuses to go on in a child",
    "sdk/spendtree/waiting.py": "the lines are made anew in the child",
    "sdk/spendtree/collector/collecting.py": "a collector shows and counts nothing in a child",
    "sdk/spendtree/testing/provider.py": "a fake for tests",
    "sdk/spendtree/testing/loopback.py": "a server for tests: its threads are not in a child",
}
"""Sources that make a lock of `threading`, and why a forked child does not hang in it."""


def makes_a_lock(source: Path) -> bool:
    names = {"Lock", "RLock", "Condition", "Semaphore", "BoundedSemaphore"}
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == "threading"
        for node in ast.walk(ast.parse(source.read_text("utf-8")))
    )


def test_each_lock_is_one_that_a_forked_child_does_not_hang_in() -> None:
    sources = (ROOT / "sdk").rglob("*.py")
    found = {str(source.relative_to(ROOT)) for source in sources if makes_a_lock(source)}
    assert found - set(KEPT) == set(), "use ProcessLock, or say here why no child hangs in it"
    assert set(KEPT) - found == set(), "these make none any more"


def test_the_exporter_never_forks_so_that_its_locks_stay_in_one_process() -> None:
    sources = (ROOT / "exporter").rglob("*.py")
    words = ("os.fork(", "multiprocessing", "ProcessPoolExecutor")
    found = [s.name for s in sources if any(word in s.read_text("utf-8") for word in words)]
    assert found == [], "then its locks must be those of one process"


def test_no_source_uses_the_lock_of_strptime_where_a_child_may_come() -> None:
    sources = [*(ROOT / "sdk").rglob("*.py"), *(ROOT / "exporter").rglob("*.py")]
    found = [source.name for source in sources if ".strptime(" in source.read_text("utf-8")]
    assert found == ["chatdev.py"], "an import of another tool's log is no part of a call"


def ends(child: int) -> bool:
    """Tell whether a child ended well; one that hangs ends itself, by its alarm."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@forks_on_purpose
def test_a_child_configures_although_a_thread_of_its_parent_was_just_doing_so(
    tmp_path: Path,
) -> None:
    with default._locks.here:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            spendtree.configure(f"sqlite:///{tmp_path}/spend.db")
            os._exit(0)
    assert ends(child)


@forks_on_purpose
def test_a_process_lock_is_another_one_in_a_child() -> None:
    lock = ProcessLock()
    with lock.here:
        child = os.fork()
        if child == 0:
            os._exit(0 if lock.here.acquire(blocking=False) else 1)
        assert lock.here.locked()
    assert ends(child)


def test_a_thread_that_has_a_lock_is_not_let_in_again() -> None:
    lock = threading.RLock()
    with unowned(lock), pytest.raises(EnteredError):
        unowned(lock)
    with unowned(lock):
        pass
