"""Measures scraping over HTTP: time with gzip beside prometheus_client, how long the event loop is
kept waiting, how soon a call is seen under load, and what an idle exporter takes.

The client, the writer and the idle exporter are processes of their own: sharing an interpreter
would measure that.
"""

import asyncio
import os
import re
import resource
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from prometheus_client import CollectorRegistry, Counter, make_asgi_app
from starlette.applications import Starlette
from starlette.routing import Mount

from bench.figure import Figure
from bench.fold import filled
from spendtree.account import session_account
from spendtree.event import Context, Event, Kind, Request, derived_id
from spendtree.metrics import PREFIX, Fold
from spendtree.store import Store, open_store
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.serve import serving

SERIES = 100_000
SCRAPES = 7
CALLS_PER_SECOND = 2_000
LIVE_SESSIONS, AGENTS = 2_000, 5

CLIENT = """
import http.client, sys, time
host, path = sys.argv[1:]
connection = http.client.HTTPConnection(host)
for _ in sys.stdin:
    started = time.perf_counter()
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200 and body[:2] == b"\\x1f\\x8b", answer.status
    print(time.perf_counter() - started, flush=True)
"""

WRITER = """
import sys, time
from bench.scrape import load
from spendtree.store import open_store
store = open_store(sys.argv[1])
rate, seconds, start = int(sys.argv[2]), float(sys.argv[3]), time.monotonic()
number = 0
while time.monotonic() < start + seconds:
    batch = int((time.monotonic() - start) * rate) - number
    if batch > 0:
        load(store, number, batch)
        number += batch
        print(number, time.time(), flush=True)
    time.sleep(0.005)
"""


def figures(quick: bool = False) -> list[Figure]:
    """Return the figures; `quick` takes a tenth of the series and less time."""
    series = SERIES // 10 if quick else SERIES
    return [*_over_http(series), _freshness(2.0 if quick else 8.0), *_idle(5.0 if quick else 20.0)]


def _over_http(series: int) -> list[Figure]:
    old, calls = filled(series)
    now = time.time_ns() // 1000
    calls = [call._replace(at=now) for call in calls]  # else the follower lets them expire
    fold = Fold("bench", limits=old.limits)
    fold.apply(calls)
    app = create_app(MemoryStore(), fold=fold)
    lags: list[float] = []
    app.router.lifespan_context = _watched(app, lags)

    def change() -> None:
        with app.state.follower.lock:
            fold.apply(calls[::10])

    with serving(app) as url:
        changed = _scrapes(url, "/metrics", change)
        same = _scrapes(url, "/metrics", lambda: None)
    assert fold.session_series + fold.standing_series >= series * 0.99
    theirs = Starlette(routes=[Mount("/metrics", make_asgi_app(_registry(fold)))])
    with serving(theirs) as url:
        client = _scrapes(url, "/metrics/", lambda: None, count=3)
    what = f"scrape {series:,} series, gzip, over HTTP"
    return [
        Figure(f"{what}, 10 % changed", changed * 1e3, "ms"),
        Figure(f"{what}, nothing changed", same * 1e3, "ms"),
        Figure("prometheus_client.make_asgi_app, the same series", client * 1e3, "ms"),
        Figure("scrape, times faster than prometheus_client", client / changed, "x", 20),
        Figure("longest wait of the event loop meanwhile", max(lags) * 1e3, "ms", 20),
    ]


def _watched(app: Starlette, lags: list[float]) -> Callable[[Any], Any]:
    """Return the application's lifespan with a task that notes how late the loop wakes it."""
    inner = app.router.lifespan_context

    async def watch() -> None:
        while True:
            started = time.perf_counter()
            await asyncio.sleep(0.001)
            lags.append(time.perf_counter() - started - 0.001)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with inner(app):
            task = asyncio.create_task(watch())
            yield
            task.cancel()

    return lifespan


def _scrapes(url: str, path: str, change: Callable[[], None], count: int = SCRAPES) -> float:
    """Return the median seconds of some scrapes, each after a change; the first does not count."""
    command = [sys.executable, "-c", CLIENT, url.removeprefix("http://"), path]
    took: list[float] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for _ in range(count + 1):
            change()
            client.stdin.write("\n")
            client.stdin.flush()
            took.append(float(client.stdout.readline()))
        client.stdin.close()
    return median(took[1:])


def _registry(fold: Fold) -> CollectorRegistry:
    registry = CollectorRegistry()
    for each, rows in fold:
        if rows:
            counter = Counter(
                PREFIX + each.name, each.help, ("store", *each.labels), registry=registry
            )
            for labels, series in rows.items():
                counter.labels(fold.store_id, *labels).inc(series.value / 10**each.decimals)
    return registry


def load(store: Store, first: int, count: int) -> None:
    """Book calls `first … first + count - 1`, of 20 sessions with five agents each."""
    calls = [_call(number) for number in range(first, first + count)]
    names = sorted({event.context.session for event in calls})
    store.load([session_account(name) for name in names], calls)


def _call(number: int) -> Event:
    session = f"s-{number % 20}"
    context = Context(
        session,
        f"customer-{number % 10}",
        "team",
        f"agent-{number % AGENTS}",
        level=1,
        path=(session_account(session).id,),
    )
    return Event(
        0,
        Kind.CALL,
        time.time_ns() // 1000,
        derived_id("bench", str(number)),
        context,
        Request("openai", "gpt-4o"),
        1_000_000,
        2_000_000,
        100,
        10,
        status="ok",
    )


def _freshness(seconds: float) -> Figure:
    """Return the longest time from a call's commit until standing and session series show it."""
    with TemporaryDirectory() as directory:
        url = f"sqlite:///{directory}/spend.db"
        open_store(url).close()
        # Without the birth hold: a new series would show 0 for a minute, as it should.
        config = Path(directory) / "spendtree.yaml"
        config.write_text("metrics: {birth_hold_seconds: 0}\n")
        options = ("--config.file", str(config))
        with _exporter(url, *options) as (_, metrics), _writer(url, seconds) as committed:
            waits = list(_waits(metrics, committed))
    return Figure("call finished -> visible at /metrics, longest", max(waits), "s", 1)


def _waits(metrics: str, committed: Iterator[tuple[int, float]]) -> Iterator[float]:
    import httpx  # noqa: PLC0415 - a tool of developers

    latest: list[tuple[int, float]] = []
    reader = threading.Thread(target=lambda: latest.extend(committed), daemon=True)
    reader.start()
    seen = 0
    with httpx.Client(timeout=30) as client:
        while reader.is_alive() or seen < len(latest):
            body = client.get(metrics).text
            shown, now = (
                min(_sum(body, "calls_total"), _sum(body, "session_calls_total")),
                time.time(),
            )
            while seen < len(latest) and latest[seen][0] <= shown:
                yield now - latest[seen][1]
                seen += 1


def _sum(body: str, name: str) -> int:
    found = re.findall(rf"^{PREFIX}{name}{{.*}} (\d+)$", body, re.MULTILINE)
    return sum(map(int, found))


@contextmanager
def _writer(url: str, seconds: float) -> Iterator[Iterator[tuple[int, float]]]:
    command = [sys.executable, "-c", WRITER, url, str(CALLS_PER_SECOND), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        pairs = (line.split() for line in writer.stdout)
        yield ((int(number), float(at)) for number, at in pairs)


@contextmanager
def _exporter(url: str, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    program = "from spendtree_exporter.cli import main; main()"
    command = [sys.executable, "-c", program, "--store", url, "--web.listen-address", "127.0.0.1:0"]
    command += options
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            match = None
            while match is None:
                match = re.search(r"http://\S+", process.stderr.readline())
            yield process, match[0]
        finally:
            process.kill()


def _idle(seconds: float) -> list[Figure]:
    """Return what an exporter takes whose sessions are open and silent, scraped every 15 s."""
    import httpx  # noqa: PLC0415

    with TemporaryDirectory() as directory:
        path = Path(directory) / "spend.db"
        url = f"sqlite:///{path}"
        store = open_store(url)
        for number in range(LIVE_SESSIONS):
            open_session(store, number)
        store.close()
        with _exporter(url) as (process, metrics):
            httpx.get(metrics, timeout=30)
            before, started = _cpu_seconds(process.pid), time.monotonic()
            threading.Event().wait(seconds)
            httpx.get(metrics, timeout=30)
            used = _cpu_seconds(process.pid) - before
            share = used / (time.monotonic() - started)
            memory = _resident_bytes(process.pid)
    what = f"{LIVE_SESSIONS:,} live sessions x {AGENTS} agents, idle"
    return [
        Figure(f"exporter, {what}: of a core", share * 100, "%", 2),
        Figure(f"exporter, {what}: memory", memory / 1e6, "MB", 150),
    ]


def open_session(store: Store, number: int) -> None:
    """Open a session with a call by each of its agents, and leave it open."""
    session = f"live-{number}"
    account = session_account(session)
    now = time.time_ns() // 1000
    top = Context(session, f"customer-{number % 50}", "team", path=(account.id,))
    events = [Event(0, Kind.SESSION_OPENED, now, derived_id("session", session), top)]
    for index in range(AGENTS):
        run = derived_id("run", session, str(index))
        own = top._replace(agent=f"agent-{index}", run=run.hex(), level=1 + bool(index))
        events.append(Event(0, Kind.RUN_OPENED, now, run, own))
        id = derived_id("call", session, str(index))
        model = Request("openai", "gpt-4o")
        events.append(Event(0, Kind.CALL, now, id, own, model, 10**9, 10**9, 9, 9, status="ok"))
    store.load([account], events)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_bytes(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    for each in figures():
        sys.stdout.write(f"{each.name:<70} {each.value:>12,.2f} {each.unit}\n")
