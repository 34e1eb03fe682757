"""Measures folding events and rendering series, beside prometheus_client on the same series.

Run it as a script, or take `figures()` into the table of all benchmarks.
"""

import gc
import sys
import time
from collections.abc import Callable
from statistics import median

from prometheus_client import CollectorRegistry, Counter, generate_latest

from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics import PREFIX, Fold, Limits
from spendtree_exporter.follow import PAGE
from spendtree_exporter.render import TEXT, render

EVENTS = 200_000
SERIES = 100_000
REPEATS = 5
MODELS = tuple(Request("openai", model) for model in ("gpt-4o", "gpt-4o-mini", "o3"))


def events(count: int) -> list[Event]:
    """Return a log of sessions with five agents that make four calls each, a few of them odd."""
    log: list[Event] = []
    session = 0
    while len(log) < count:
        session += 1
        log += _session(session)
    return log[:count]


def _session(number: int) -> list[Event]:
    at = number * 1_000_000
    base = Context(f"s-{number:08d}", f"customer-{number % 50}", f"team-{number % 5}")
    found = [Event(0, Kind.SESSION_OPENED, at, b"", base)]
    for index in range(5):
        run = base._replace(
            agent=f"agent-{index}",
            run=f"{number:016x}{index:016x}",
            level=1 + bool(index),
            cycle=1 + number % 3,
            path=(f"session/{base.session}", f"envelope/{base.session}/agent-{index}"),
        )
        found.append(Event(0, Kind.RUN_OPENED, at, b"", run))
        request = MODELS[(number + index) % 3]
        found += [_call(run, request, at, 4 * number + index + call) for call in range(4)]
        found.append(Event(0, Kind.RUN_CLOSED, at, b"", run, cost=4, status="succeeded"))
    return [*found, Event(0, Kind.SESSION_CLOSED, at, b"", base, cost=20, status="succeeded")]


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


def figures() -> list[tuple[str, float, str]]:
    """Return (name, value, unit) per figure, each the median of the repeats."""
    fold, calls = filled(SERIES)
    first = _timed(lambda: render(fold, TEXT))
    again = []
    for _ in range(REPEATS):
        fold.apply(calls[::10])
        again.append(_timed(lambda: render(fold, TEXT)))
    theirs = _prometheus_client(fold)
    return [
        ("fold", EVENTS / _fold_seconds(), "events/s"),
        ("render 100,000 series, first time", first * 1e3, "ms"),
        ("render 100,000 series, 10 % changed", median(again) * 1e3, "ms"),
        ("prometheus_client.generate_latest, the same series", theirs * 1e3, "ms"),
        ("render, times faster than prometheus_client", theirs / median(again), "x"),
    ]


def _fold_seconds() -> float:
    log = events(EVENTS)
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
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    for name, value, unit in figures():
        sys.stdout.write(f"{name:<55} {value:>14,.1f} {unit}\n")
