"""Measures a round of all alerting and recording rules in a real Prometheus, over 50,000 series.

Time is divided: a scrape and a round are a second instead of fifteen, and the rules' hour is four
minutes. So every window of an hour holds as many samples as it does in earnest, after five
minutes; and a series' last sample is looked for 20 s back instead of five minutes. (Windows of six
hours and more fill by a fifth; they read what is recorded, which is little.)
The exporter's place is taken by ready pages of the same fold, since it is not what is measured.
"""

import contextlib
import gzip
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from bench.figure import Figure
from bench.fold import events, standing
from spendtree.account import (
    Account,
    Balance,
    envelope_account,
    payer_account,
    session_account,
)
from spendtree.cli import bundle
from spendtree.event import Event, Kind
from spendtree.metrics import Fold, Limits
from spendtree.period import period
from spendtree_exporter.render import TEXT, render
from tests.alerts import shortened

SERIES, SESSION_SERIES = 50_000, 20_000
DIVISOR = 15
ROUNDS = 15
ROUND_SECONDS = 15
PAGES = 30
TARGET_SECONDS = 1.0

PROMETHEUS = """
global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: {every}s}}
rule_files: ["{folder}/rules/*.yml"]
scrape_configs:
  - job_name: spendtree
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""


def figures(quick: bool = False) -> list[Figure]:
    """Return the figures; `quick` lets the windows of an hour fill by a sixth."""
    fold, calls = _filled()
    with TemporaryDirectory() as name, _page(fold, calls) as port:
        folder = Path(name)
        _write(folder, port)
        with _prometheus(folder) as (process, api):
            threading.Event().wait(45 if quick else 300)
            seen = _asked(api, 'count({__name__=~"spendtree_.*"})')
            recorded = _asked(api, 'count({__name__=~".+:spendtree_.+:.+"})')
            if seen < 0.9 * SERIES:
                raise RuntimeError("scrapes time out: the machine is too busy to measure anything")
            busy, rounds = _work(process, api)
            _configure(folder, port, every=ROUND_SECONDS)
            process.send_signal(signal.SIGHUP)
            took = list(_rounds(api))
            _forget_rules(folder, process)
            idle, _ = _work(process, api)
    return [
        Figure("rules: series that are scraped", seen, "series"),
        Figure("rules: series that are recorded", recorded, "series"),
        Figure("rules: a round of all of them, by the clock", median(took), "s", TARGET_SECONDS),
        Figure(
            "rules: a round of all of them, of a core", (busy - idle) / rounds, "s", TARGET_SECONDS
        ),
    ]


def _filled() -> tuple[Fold, list[Event]]:
    """Return a fold of 50,000 series, 20,000 of them with a session, and calls that change some."""
    now = time.time_ns() // 1000
    fold = Fold("bench", limits=Limits(series=SERIES, session_series=SESSION_SERIES))
    month = period("month", now).name
    accounts: dict[str, Account] = {}
    log: list[Event] = []
    for event in [*events(60_000), *standing(40_000)]:
        who = event.context
        payer = payer_account("customer", who.customer, month)
        accounts[payer.id] = payer
        if who.session:
            session = session_account(who.session, who.customer, who.team)
            accounts[session.id] = session
        if who.session and who.agent:
            envelope = envelope_account(who.session, who.agent, who.customer, who.team)
            accounts[envelope.id] = envelope
        log.append(event._replace(at=now, context=who._replace(path=(payer.id, *who.path))))
    fold.apply(log)
    live = fold.live_accounts
    fold.set_balances([(accounts[id], Balance(10**12)) for id in live if id in accounts])
    return fold, [event for event in log if event.kind is Kind.CALL][::10]


@contextmanager
def _page(fold: Fold, calls: list[Event]) -> Iterator[int]:
    """Serve the fold's pages in turn, a tenth of the calls made again before each of them.

    They are rendered before, so that Prometheus has the machine for itself.
    """
    bodies = itertools.cycle(list(_bodies(fold, calls)))

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = next(bodies)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a scrape that timed out
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _bodies(fold: Fold, calls: list[Event]) -> Iterator[bytes]:
    for _ in range(PAGES):
        fold.apply(calls)
        yield gzip.compress(render(fold, TEXT), compresslevel=1)


def _write(folder: Path, port: int) -> None:
    for name, text in bundle.files().items():
        if name.startswith("rules/"):
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(yaml.safe_dump(shortened.rules(yaml.safe_load(text), DIVISOR)), "utf-8")
    _configure(folder, port, every=1)


def _configure(folder: Path, port: int, *, every: int) -> None:
    config = PROMETHEUS.format(folder=folder, port=port, every=every)
    (folder / "prometheus.yml").write_text(config, "utf-8")


@contextmanager
def _prometheus(folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    program = shutil.which("prometheus")
    if program is None:
        raise FileNotFoundError("no prometheus: apt-get install -y prometheus")
    log = folder / "prometheus.log"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
        f"--query.lookback-delta={300 // DIVISOR}s",
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield process, f"http://{_address(log)}/api/v1"
    finally:
        process.terminate()
        process.wait(timeout=60)


def _address(log: Path) -> str:
    for _ in range(600):
        for line in log.read_text("utf-8").splitlines():
            if "Listening on" in line and "address=" in line:
                return line.partition("address=")[2].split()[0].strip('"')
        threading.Event().wait(0.1)
    raise TimeoutError(log.read_text("utf-8")[-2_000:])


def _rounds(api: str) -> Iterator[float]:
    """Yield how long rounds took: of each group its last evaluation, one after the other.

    Rounds are rare here, as they are in earnest, so that none waits for the one before.
    """
    for _ in range(ROUNDS // 5):
        threading.Event().wait(ROUND_SECONDS + 2)
        groups = _got(f"{api}/rules")["data"]["groups"]
        faults = [
            rule["lastError"]
            for group in groups
            for rule in group["rules"]
            if rule.get("lastError")
        ]
        assert not faults, faults[0]
        yield sum(group["evaluationTime"] for group in groups)


def _work(process: subprocess.Popen[bytes], api: str) -> tuple[float, float]:
    """Return the seconds of a core that a quarter of a minute takes, and how many rounds it had.

    Unlike the clock this hardly depends on what else the machine does.
    """
    before, evaluated = _cpu_seconds(process.pid), _evaluations(api)
    threading.Event().wait(ROUNDS)
    rules = sum(len(group["rules"]) for group in _got(f"{api}/rules")["data"]["groups"])
    rounds = (_evaluations(api) - evaluated) / max(rules, 1)
    return _cpu_seconds(process.pid) - before, rounds


def _evaluations(api: str) -> float:
    """Return how many rules Prometheus has evaluated since it started."""
    with urllib.request.urlopen(api.replace("/api/v1", "/metrics"), timeout=60) as answer:
        text = answer.read().decode()
    return sum(
        map(float, re.findall(r"^prometheus_rule_evaluations_total\{.*\} (\S+)$", text, re.M))
    )


def _forget_rules(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Let Prometheus go on scraping, and evaluate nothing."""
    for path in (folder / "rules").iterdir():
        path.unlink()
    process.send_signal(signal.SIGHUP)
    threading.Event().wait(5)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _asked(api: str, query: str) -> float:
    found = _got(f"{api}/query?{urllib.parse.urlencode({'query': query})}")["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def _got(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


if __name__ == "__main__":
    for each in figures(quick="--quick" in sys.argv):
        sys.stdout.write(f"{each.name:<70} {each.value:>12,.3f} {each.unit}\n")
