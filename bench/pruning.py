"""Pruning a large file while another process spends: how long its calls wait at most, and what
comes back. Runs make twelve calls of one model; with fewer to a run, less of the file goes.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.figure import Figure
from spendtree.account import run_account, session_account
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.ids import new_id
from spendtree.store import Store, open_store
from spendtree.store.protocol import Pruned

EVENTS = 300_000
RUNS, CALLS = 5, 12
"""Runs of a session, and calls of a run."""

REQUEST = Request("openai", "gpt-4o")
LIVE = session_account("live")
WHO = Context("live", path=(LIVE.id,))

WRITER = """
import select, sys, time
from bench.pruning import spend
from spendtree.store import open_store
store, longest = open_store(sys.argv[1]), 0.0
spend(store)
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    longest = max(longest, spend(store))
    time.sleep(0.002)
print(longest, flush=True)
"""


def figures(quick: bool = False) -> list[Figure]:
    """Return the figures; `quick` takes a tenth of the events."""
    events = EVENTS // 10 if quick else EVENTS
    with TemporaryDirectory(prefix="spendtree-bench-") as directory:
        path = Path(directory) / "spend.db"
        url = f"sqlite:///{path}"
        with closing(open_store(url)) as store:
            old = fill(store, events)
            store.open([(LIVE, None)], Event(0, Kind.SESSION_OPENED, now(), new_id(), WHO))
        full = path.stat().st_size
        idle = longest_call(url, lambda: time.sleep(3.0))
        done: list[Pruned] = []
        with closing(open_store(url)) as store:
            started = time.perf_counter()
            longest = longest_call(url, lambda: done.append(store.prune(old)))
            took = time.perf_counter() - started
        (pruned,) = done
        what = f"pruning a file of {events:,} events"
        return [
            Figure(f"{what}, longest verb beside it", longest * 1e3, "ms", 100),
            Figure("  the longest without it", idle * 1e3, "ms"),
            Figure("  its longest transaction", pruned.longest_stall_us / 1e3, "ms", 100),
            Figure("  events rolled up", pruned.events / took, "events/s"),
            Figure("  of the file left", 1 - pruned.freed_bytes / full, "of before"),
        ]


def longest_call(url: str, work: Callable[[], object]) -> float:
    """Return the longest verb, in seconds, of a process that spends while `work` is done."""
    command = [sys.executable, "-c", WRITER, url]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdin is not None
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        work()
        writer.stdin.close()
        return float(writer.stdout.readline())


def spend(store: Store) -> float:
    """Make a call; return the longer of the two verbs, in seconds."""
    id, started = new_id(), time.perf_counter()
    store.hold(id, WHO.path, 1000, context=WHO, request=REQUEST, at=now())
    held = time.perf_counter()
    store.settle(id, 900, Event(0, Kind.CALL, now(), id, WHO, REQUEST, 900, 1000, status="ok"))
    return max(held - started, time.perf_counter() - held)


def fill(store: Store, events: int) -> int:
    """Write closed sessions of a hundred days ago; return the time that all of them are before."""
    at = now() - 100 * 24 * 3600 * 1_000_000
    sessions = events // (2 + RUNS * (2 + CALLS))
    for number in range(sessions):
        name = f"session-{number}"
        at += 1_000_000
        accounts = [session_account(name)]
        made = [_event(Kind.SESSION_OPENED, at, Context(name, path=(accounts[0].id,)), "session")]
        for run in range(RUNS):
            id = new_id().hex()
            accounts.append(run_account(name, f"agent-{run}", id))
            path = (accounts[0].id, accounts[-1].id)
            who = Context(name, "acme", "search", f"agent-{run}", id, level=1, path=path)
            made.append(_event(Kind.RUN_OPENED, at, who))
            for _ in range(CALLS):
                call = _event(Kind.CALL, at, who)
                made.append(call._replace(request=REQUEST, cost=10**6, held=2 * 10**6, status="ok"))
            made.append(_event(Kind.RUN_CLOSED, at, who)._replace(status="succeeded"))
        made.append(made[0]._replace(kind=Kind.SESSION_CLOSED, status="succeeded"))
        store.load(accounts, made)
    return at + 1


def _event(kind: Kind, at: int, who: Context, what: str = "") -> Event:
    id = derived_id(what, who.session) if what else new_id()
    if kind in (Kind.RUN_OPENED, Kind.RUN_CLOSED):
        id = bytes.fromhex(who.run)
    return Event(0, kind, at, id, who, input_tokens=1200, output_tokens=300, started=at)


def now() -> int:
    """Return the time, in microseconds."""
    return time.time_ns() // 1000
