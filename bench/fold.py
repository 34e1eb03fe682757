"""Measures folding events and rendering series, beside prometheus_client on the same series.

Run it as a script, or take `figures()` into the table of all benchmarks.
"""

import gc
import sys
import time
import tracemalloc
from collections.abc import Callable
from statistics import median

from prometheus_client import CollectorRegistry, Counter, generate_latest

from bench.figure import Figure
from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics import PREFIX, Fold, Limits
from spendtree_exporter.follow import PAGE
from spendtree_exporter.render import TEXT, render

EVENTS = 200_000
SERIES = 100_000
REPEATS = 5
MODELS = tuple(Request("openai", model) for model in ("gpt-4o", "gpt-4o-mini", "o3"))


def events(count: int, calls: int = 4) -> list[Event]:
    """Return a log of sessions with five agents that make so many calls each, a few of them odd."""
    log: list[Event] = []
    session = 0
    while len(log) < count:
        session += 1
        log += _session(session, calls)
    return log[:count]


def _session(number: int, calls: int) -> list[Event]:
    at = number * 1_000_000
    base = Context(f"s-{number:08d}", f"customer-{number % 50}", f"team-{number % 5}")
    opened = {"ceiling": 10**12, "expected": 10**9}
    found = [Event(0, Kind.SESSION_OPENED, at, b"", base, data=opened)]
    for index in range(5):
        run = base._replace(
            agent=f"agent-{index}",
            run=f"{number:016x}{index:016x}",
            level=1 + bool(index),
            cycle=1 + number % 3,
            path=(f"session/{base.session}", f"envelope/{base.session}/agent-{index}"),
        )
        found.append(Event(0, Kind.RUN_OPENED, at, b"", run, data={"envelope": 10**11}))
        request = MODELS[(number + index) % 3]
        found += [_call(run, request, at, 4 * number + index + call) for call in range(calls)]
        found.append(Event(0, Kind.RUN_CLOSED, at, b"", run, cost=4, status="succeeded"))
    if number % 4 == 0:
        found += _odd(base, run, at)
    return [*found, Event(0, Kind.SESSION_CLOSED, at, b"", base, cost=20, status="succeeded")]


def _odd(base: Context, run: Context, at: int) -> list[Event]:
    """Return what happens in a session now and then."""
    account = {"account": run.path[1], "kind": "envelope"}
    moved = {"source_agent": "agent-1", "target_agent": "agent-2"}
    return [
        Event(0, Kind.DENIED, at, b"", run, status="exhausted", data=account),
        Event(0, Kind.WARNED, at, b"", base, data={"kind": "session", "mark": "0.8"}),
        Event(0, Kind.TRANSFER, at, b"", base, cost=5, data=moved),
        Event(0, Kind.MESSAGE, at, b"", run, cost=7, data={"target": "agent-0"}),
    ]


def _call(run: Context, request: Request, at: int, seed: int) -> Event:
    tokens = 100 + seed % 900
    if seed % 97 == 0:
        return Event(0, Kind.LAPSE, at, b"", run, request, held=tokens, status="lapsed")
    status = "failed" if seed % 41 == 0 else "ok"
    return Event(
        0, Kind.CALL, at, b"", run, request, tokens * 2_500_000, 10**10, tokens, 50, status=status
    )


def filled(series: int) -> tuple[Fold, list[Event]]:
    """Return a fold with that many series of one family, and an event for each of them."""
    fold = Fold("bench", limits=Limits(series=2 * series, session_series=series * 3))
    calls = [
        Event(
            0,
            Kind.CALL,
            1,
            b"",
            Context(f"session-{number:032d}", "customer-7", agent="researcher"),
            MODELS[0],
            123_456_789,
            10**10,
            1_000,
            100,
            status="ok",
        )
        for number in range(series // 3)
    ]
    fold.apply(calls)
    return fold, calls


def standing(series: int) -> list[Event]:
    """Return calls that make some more standing series than asked for, and none of a session."""
    return [
        Event(
            0,
            Kind.CALL,
            1,
            b"",
            Context("", f"customer-{n % 400:03d}", "team", f"agent-{n // 400 % 12}", level=1),
            Request("openai", f"model-{n // 4800}"),
            123_456_789 + n,
            10**10,
            1_000 + n,
            100,
            status="ok",
        )
        for n in range(series // 6)
    ]


def bytes_per_series(log: list[Event], limits: Limits) -> float:
    """Return the memory of a fold of these events and of what was rendered, per series."""
    gc.collect()
    tracemalloc.start()
    try:
        fold = Fold("bench", limits=limits)
        for first in range(0, len(log), PAGE):
            fold.apply(log[first : first + PAGE])
        render(fold, TEXT)
        gc.collect()
        size = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return size / (fold.session_series + fold.standing_series)


def figures() -> list[Figure]:
    """Return the figures, each the median of the repeats."""
    fold, calls = filled(SERIES)
    first = _timed(lambda: render(fold, TEXT))
    again = []
    for _ in range(REPEATS):
        fold.apply(calls[::10])
        again.append(_timed(lambda: render(fold, TEXT)))
    theirs = _prometheus_client(fold)
    generous = Limits(series=10 * SERIES, session_series=5 * SERIES, customers=10**4)
    return [
        Figure("fold", EVENTS / _fold_seconds(4), "events/s", 150_000),
        Figure("fold, a new session every 5 calls", EVENTS / _fold_seconds(1), "events/s", 150_000),
        Figure("render 100,000 series, first time", first * 1e3, "ms"),
        Figure("render 100,000 series, 10 % changed", median(again) * 1e3, "ms"),
        Figure("prometheus_client.generate_latest, the same series", theirs * 1e3, "ms"),
        Figure("render, times faster than prometheus_client", theirs / median(again), "x", 50),
        Figure("memory of a session's series", bytes_per_series(calls, generous), "bytes", 400),
        Figure(
            "memory of a standing series",
            bytes_per_series(standing(SERIES), generous),
            "bytes",
            400,
        ),
    ]


def _fold_seconds(calls: int) -> float:
    log = events(EVENTS, calls)
    # A reader has one page of the log at a time: the collector shall not walk 200,000 events.
    gc.collect()
    gc.freeze()
    try:
        return median(_timed(lambda: _fold(log)) for _ in range(REPEATS))
    finally:
        gc.unfreeze()


def _fold(log: list[Event]) -> None:
    fold = Fold("bench")
    for first in range(0, len(log), PAGE):
        fold.apply(log[first : first + PAGE])


def _prometheus_client(fold: Fold) -> float:
    """Return the median seconds that generate_latest takes for the same series."""
    registry = CollectorRegistry()
    for each, rows in fold:
        if rows:
            counter = Counter(
                PREFIX + each.name, each.help, ("store", *each.labels), registry=registry
            )
            for labels, series in rows.items():
                counter.labels(fold.store_id, *labels).inc(series.value / 10**each.decimals)
    return median(_timed(lambda: generate_latest(registry)) for _ in range(3))


def _timed(work: Callable[[], object]) -> float:
    """Return the seconds of the processor: it is one thread, and others may be busy beside it."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    for each in figures():
        sys.stdout.write(f"{each.name:<55} {each.value:>14,.1f} {each.unit}\n")
