"""What one call costs: hold + settle + event, through the public API, scopes entered once.

Alone, on a large file, beside other threads and processes; and what it leaves on disk.
"""

import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier
from pathlib import Path

import spendtree
from bench.figure import Figure
from spendtree import account
from spendtree.event import Context, Event, Kind, Request
from spendtree.ids import new_id
from spendtree.store import open_store
from spendtree.store.protocol import START

CONFIG = {"prices": {"bench-model": {"input_usd_per_mtok": "3", "output_usd_per_mtok": "15"}}}
USAGE = spendtree.Usage(1200, 300)
CAP = "9000000"


def figures(quick: bool = False) -> list[Figure]:
    calls = 3_000 if quick else 20_000
    with tempfile.TemporaryDirectory(prefix="spendtree-bench-") as directory:
        place = Path(directory)
        return [
            *_alone(place, calls),
            *_large_file(place, calls, 100_000 if quick else 2_000_000),
            *_threads(place, calls // 4),
            *_processes(place, calls // 2),
            *_wal(place, 3.0 if quick else 60.0),
        ]


def _alone(place: Path, calls: int) -> list[Figure]:
    memory = _latencies("memory:", calls)
    file = place / "alone.db"
    sqlite = _latencies(f"sqlite:///{file}", calls)
    deep = _deep_latencies(f"sqlite:///{place / 'deep.db'}", calls)
    return [
        Figure("call, memory store, p50", _p(memory, 50), "us", 12),
        Figure("call, SQLite file, path of 3 accounts, p50", _p(sqlite, 50), "us", 60),
        Figure("call, SQLite file, path of 3 accounts, p99", _p(sqlite, 99), "us", 1000),
        Figure("call, SQLite file, path of 5 accounts, p50", _p(deep, 50), "us", 80),
        Figure("a call on disk, indexes included", file.stat().st_size / calls, "bytes", 250),
    ]


def _large_file(place: Path, calls: int, events: int) -> list[Figure]:
    """Compare a full file with an empty one, in turn, so that both see the same machine."""
    full = f"sqlite:///{place / 'full.db'}"
    _fill(full, events)
    pairs = []
    for turn in range(5):
        empty = _latencies(f"sqlite:///{place / f'empty-{turn}.db'}", calls // 4)
        pairs.append((_p(_latencies(full, calls // 4), 50), _p(empty, 50)))
    ratio = statistics.median(one / other for one, other in pairs)
    return [
        Figure(
            f"call, SQLite file of {events:,} events, p50",
            statistics.median(one for one, _ in pairs),
            "us",
        ),
        Figure("  the same as a share of an empty file's", ratio, "of empty", 1.10),
    ]


def _fill(url: str, events: int) -> None:
    store = open_store(url)
    request = Request("openai", "gpt-4o")
    at = time.time_ns() // 1000
    for batch in range(events // 1000):
        session = account.session_account(f"session-{batch}")
        context = Context(session.session, agent="worker", level=1, path=(session.id,))
        store.load(
            [session],
            [
                Event(
                    0, Kind.CALL, at, new_id(), context, request, 10**9, 0, 1200, 300,
                    status="ok", started=at - 1_000_000,
                )
                for _ in range(1000)
            ],
        )  # fmt: skip
    store.close()


def _threads(place: Path, calls: int) -> list[Figure]:
    tracker = spendtree.Spendtree(f"sqlite:///{place / 'threads.db'}", CONFIG)
    taken: list[list[float]] = []
    start = threading.Barrier(8)

    def work() -> None:
        with tracker.session(ceiling=CAP) as session, session.agent("a", envelope=CAP) as agent:
            start.wait()
            taken.append(_measure(agent, calls))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    tracker.close()
    together = sorted(each for one in taken for each in one)
    return [
        Figure("8 threads on one file, p50", _p(together, 50), "us"),
        Figure("8 threads on one file, p99", _p(together, 99) / 1e3, "ms", 30),
        Figure("8 threads, slowest thread's mean / all's mean", _slowest(taken), "of mean", 2),
    ]


def _processes(place: Path, calls: int) -> list[Figure]:
    url = f"sqlite:///{place / 'processes.db'}"
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(4)
    with context.Pool(4, initializer=_remember, initargs=(start,)) as pool:
        taken = pool.starmap(_process, [(url, calls)] * 4, chunksize=1)
    together = sorted(each for one in taken for each in one)
    return [
        Figure("4 processes on one file, p50", _p(together, 50), "us", 250),
        Figure("4 processes on one file, p99", _p(together, 99) / 1e3, "ms", 10),
        Figure("4 processes, slowest one's mean / all's mean", _slowest(taken), "of mean", 2),
    ]


_start: list[Barrier] = []


def _remember(start: Barrier) -> None:
    _start.append(start)


def _process(url: str, calls: int) -> list[float]:
    tracker = spendtree.Spendtree(url, CONFIG)
    with tracker.session(ceiling=CAP) as session, session.agent("a", envelope=CAP) as agent:
        _measure(agent, 50)
        _start[0].wait()
        return _measure(agent, calls)


def _wal(place: Path, seconds: float) -> list[Figure]:
    """Let 4 processes write without a pause and one reader page beside them."""
    path = place / "wal.db"
    url = f"sqlite:///{path}"
    open_store(url).close()
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_saturate, args=(url, seconds)) for _ in range(4)]
    for writer in writers:
        writer.start()
    reader = open_store(url)
    peak, cursor, read = 0, START, 0
    while any(writer.is_alive() for writer in writers):
        page = reader.read(cursor)
        cursor, read = page.cursor, read + len(page.events)
        peak = max(peak, _size(path.with_name("wal.db-wal")))
    for writer in writers:
        writer.join()
    reader.close()
    return [
        Figure(f"WAL, 4 writers for {seconds:.0f} s and a reader, peak", peak / 2**20, "MB", 200),
        Figure("  events read beside them", read / seconds, "1/s"),
    ]


def _saturate(url: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    with _agent(url) as agent:
        while time.monotonic() < end:
            _measure(agent, 100)


def _latencies(url: str, calls: int) -> list[float]:
    with _agent(url) as agent:
        _measure(agent, 200)
        return _measure(agent, calls)


def _deep_latencies(url: str, calls: int) -> list[float]:
    """Charge five accounts: the customer's month, session, ancestor's run, envelope, own run."""
    tracker = spendtree.Spendtree(url, {**CONFIG, "periods": {"month": {"customer_usd": CAP}}})
    with (
        tracker.session(customer="acme", ceiling=CAP) as session,
        session.agent("lead", max_cost=CAP) as lead,
        lead.agent("worker", envelope=CAP, max_cost=CAP) as agent,
    ):
        assert len(agent.context.path) == 5, agent.context.path
        _measure(agent, 200)
        taken = _measure(agent, calls)
    tracker.close()
    return taken


@contextmanager
def _agent(url: str) -> Iterator[spendtree.Agent]:
    """Yield a run whose calls are charged to three accounts: session, envelope and the run."""
    tracker = spendtree.Spendtree(url, CONFIG)
    with (
        tracker.session(ceiling=CAP) as session,
        session.agent("worker", envelope=CAP, max_cost=CAP) as agent,
    ):
        yield agent
    tracker.close()


def _measure(agent: spendtree.Agent, calls: int) -> list[float]:
    """Return the microseconds of each call: held, made by nobody, settled."""
    call: Callable[..., spendtree.Call] = agent.call
    taken = []
    for _ in range(calls):
        start = time.perf_counter()
        with call("bench-model", input_tokens=1200, max_output_tokens=400) as made:
            made.record(USAGE)
        taken.append((time.perf_counter() - start) * 1e6)
    return sorted(taken)


def _p(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]


def _slowest(taken: Sequence[Sequence[float]]) -> float:
    means = [statistics.fmean(one) for one in taken]
    return max(means) / statistics.fmean(means)


def _size(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
