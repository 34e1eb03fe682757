"""Runs an exporter under load beside real Prometheus servers, and asks each what went wrong."""

import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from spendtree.event import Kind
from spendtree.metrics import CATALOGUE
from spendtree.store import open_store
from spendtree_exporter.render import OPENMETRICS, TEXT, Format
from tests.exporter.test_prometheus import asked, running

INTERVAL_SECONDS = 3
"""Between two scrapes, and the longest that one may take: the machine is busy with spending."""

HOSTILE_INTERVAL_SECONDS = 10
"""The same under attack: what Prometheus waits for a body by default, and as long between two."""

MEMORY_BYTES = 200 * 2**20
"""What an exporter of a small store may take at most, whatever is sent to it."""

WORKERS = 2
ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-c", "from spendtree_exporter.cli import main; main()"]

PARSERS: tuple[Any, Any] = (
    text_string_to_metric_families,
    openmetrics.text_string_to_metric_families,
)

TROUBLE = re.compile(
    r"^(prometheus_target_(?:scrapes?_(?:exceeded|sample|exemplar|pool_exceeded|pools_failed)\S*|"
    r"sync_failed_total\S*)) ([0-9.e+]+)$",
    re.MULTILINE,
)
"""Counters of Prometheus' own that count samples and scrapes that it refused, with their values."""


class Watched(NamedTuple):
    """What one server saw: scrapes, the least it saw of `up`, samples of the last, complaints.

    `calls` are those that it has counted at the end, `seconds` its longest scrape.
    """

    version: str
    scrapes: int
    up: float
    samples: int
    calls: int
    seconds: float
    complaints: list[str]


class Suffered(NamedTuple):
    """What was done to an exporter by `hostile`, and the most memory that it took, in bytes."""

    counts: dict[str, int]
    peak_bytes: int


def soak(
    programs: Sequence[str],
    seconds: float,
    folder: Path,
    *,
    hostile: list[Suffered] | None = None,
) -> tuple[int, list[Watched]]:
    """Let the servers scrape for so long; return the calls in the ledger and what each saw.

    With a list for what it suffered, the exporter is attacked meanwhile.
    """
    url = f"sqlite:///{folder / 'spend.db'}"
    open_store(url).close()
    interval = INTERVAL_SECONDS if hostile is None else HOSTILE_INTERVAL_SECONDS
    (folder / "spendtree.yaml").write_text(f"metrics: {{birth_hold_seconds: {2 * interval}}}")
    with ExitStack() as stack:
        guarded = hostile is not None
        metrics, pid = stack.enter_context(exporting(url, folder, guarded=guarded))
        apis = []
        for number, program in enumerate(programs):
            place = folder / f"prometheus-{number}"
            place.mkdir()
            server = running(program, metrics, place, replica=str(number), interval=interval)
            apis.append(stack.enter_context(server))
        for api in apis:
            asked(api, "up == 1")
        with spending(url), ExitStack() as attacked:
            if hostile is not None:
                attacked.enter_context(attacking(metrics, pid, seconds, hostile))
            threading.Event().wait(seconds)
        calls = ledger(url)
        seen = [
            watched(api, folder / f"prometheus-{number}", calls) for number, api in enumerate(apis)
        ]
        for format in (TEXT, OPENMETRICS):
            _parsed(metrics, format)
    return calls, seen


def ledger(url: str) -> int:
    """Return the finished calls of a store."""
    store = open_store(url)
    try:
        return sum(1 for _ in store.events(kinds=[Kind.CALL, Kind.LAPSE]))
    finally:
        store.close()


def watched(api: str, place: Path, calls: int) -> Watched:
    """Return what a server has seen, once it has counted all calls."""
    pause, deadline = threading.Event(), time.monotonic() + 60
    while (counted := asked(api, "sum(spendtree_calls_total)")) != calls:
        if time.monotonic() > deadline:
            break
        pause.wait(0.2)
    own = httpx.get(api.removesuffix("/api/v1") + "/metrics").text
    counters = TROUBLE.findall(own)
    assert counters, "Prometheus has renamed the counters of what it refuses"
    complaints = [f"{name} is {value}" for name, value in counters if float(value)]
    log = (place / "prometheus.log").read_text().splitlines()
    complaints += [line for line in log if re.search(r"level=(warn|error)", line, re.IGNORECASE)]
    build = httpx.get(f"{api}/status/buildinfo").json()["data"]
    return Watched(
        build["version"],
        int(asked(api, "sum(count_over_time(up[2h]))")),
        asked(api, "min(min_over_time(up[2h]))"),
        int(asked(api, "max(scrape_samples_scraped)")),
        int(counted),
        asked(api, "max(max_over_time(scrape_duration_seconds[2h]))"),
        complaints,
    )


def _parsed(metrics: str, format: Format) -> None:
    """Have the reference parser of a format read a body. Raises ValueError for what it refuses."""
    body = httpx.get(metrics + "/metrics", headers={"Accept": format.content_type}).text
    parsed = list(PARSERS[format is OPENMETRICS](body))
    assert len(parsed) >= len(CATALOGUE)


@contextmanager
def exporting(url: str, folder: Path, *, guarded: bool) -> Iterator[tuple[str, int]]:
    """Run an exporter in a process of its own; yield its URL and process id.

    A guarded one receives spans, and asks for the password that stands in the URL.
    """
    config = str(folder / "spendtree.yaml")
    command = [*COMMAND, "--store", url, "--config.file", config]
    command += ["--web.listen-address", "127.0.0.1:0"]
    if guarded:
        import bcrypt  # noqa: PLC0415 - an extra

        hashed = bcrypt.hashpw(b"right", bcrypt.gensalt(10)).decode()
        (folder / "web.yml").write_text(f"basic_auth_users: {{prometheus: {hashed}}}")
        command += ["--web.config.file", str(folder / "web.yml"), "--web.enable-otlp-receiver"]
    log = folder / "exporter.log"
    with (
        log.open("w") as output,
        subprocess.Popen(command, stderr=output, text=True) as process,
    ):
        try:
            yield _served(log, process, "prometheus:right@" if guarded else ""), process.pid
        finally:
            process.terminate()


def _served(log: Path, process: "subprocess.Popen[str]", user: str) -> str:
    pause, deadline = threading.Event(), time.monotonic() + 60
    while (match := re.search(r"http://(\S+)/metrics", log.read_text())) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        pause.wait(0.05)
    return f"http://{user}{match[1]}"


@contextmanager
def attacking(metrics: str, pid: int, seconds: float, suffered: list[Suffered]) -> Iterator[None]:
    """Attack an exporter while the block runs, at most for so long; add what it suffered."""
    port = metrics.rpartition(":")[2]
    command = [sys.executable, "-m", "tests.soak.hostile", port, str(seconds)]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as attack:
        try:
            assert attack.stdout is not None
            assert attack.stdout.readline() == "attacking\n"
            yield
            told, _ = attack.communicate(timeout=120)
        except BaseException:
            attack.kill()
            raise
    status = Path(f"/proc/{pid}/status").read_text()
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    suffered.append(Suffered(json.loads(told), int(peak[1]) * 1024))


@contextmanager
def spending(url: str) -> Iterator[None]:
    """Let processes spend while the block runs, and end what they are in afterwards."""
    command = [sys.executable, "-m", "tests.soak.load", url]
    workers = [
        subprocess.Popen(
            [*command, str(seed)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for seed in range(WORKERS)
    ]
    try:
        for worker in workers:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "spending\n"
        yield
    finally:
        for worker in workers:
            worker.communicate()
    assert [worker.returncode for worker in workers] == [0] * WORKERS
