"""Prometheus' own programs as the judges: promtool's lint, and a real scrape."""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from spendtree.event import Context, Event, Kind, Request
from spendtree.store import open_store
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.serve import serving
from tests.exporter.conftest import Load

CONFIG = """
global: {{scrape_interval: {interval}s, external_labels: {{replica: {replica}}}}}
scrape_configs:
  - job_name: spendtree
    static_configs: [{{targets: ["{target}"]}}]
"""

PLAIN = """
  - job_name: plain
    static_configs: [{{targets: ["{target}"]}}]
"""


def test_promtool_finds_nothing_to_complain_about(promtool: str, load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 100)
    lapse = Event(0, Kind.LAPSE, 1, b"l" * 16, Context(), Request(), held=5, status="unmetered")
    store.load([], [lapse])
    with serving(create_app(store)) as url:
        body = httpx.get(f"{url}/metrics").content

    checked = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, timeout=60, check=False
    )

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_promtool_would_complain_about_a_wrong_body(promtool: str) -> None:
    body = b"# HELP spend Money.\n# TYPE spend counter\nspend 1\n"

    checked = subprocess.run(
        [promtool, "check", "metrics"], input=body, capture_output=True, timeout=60, check=False
    )

    assert checked.returncode != 0
    assert b"_total" in checked.stderr


def test_a_real_prometheus_scrapes_it_and_answers_the_ledgers_sum(
    prometheus: str, sqlite_url: str, load: Load, tmp_path: Path
) -> None:
    store = open_store(sqlite_url)
    load(store, 0, 2_000)
    hostile = Context(customer='a "quoted"\\ customer\n\x00\r' + "x" * 10_000)
    store.load([], [Event(0, Kind.CALL, 1, b"h" * 16, hostile, Request(), cost=1, status="ok")])
    ledger = sum(event.cost or 0 for event in store.events())

    with serving(create_app(store)) as url, running(prometheus, url, tmp_path) as api:
        answer = asked(api, "sum(spendtree_cost_usd_total)")
        calls = asked(api, "sum(spendtree_session_calls_total)")
        up = asked(api, "up")
    store.close()

    assert answer == pytest.approx(ledger / 1e12, rel=1e-12)
    assert calls == 2_000
    assert up == 1


@contextmanager
def running(
    program: str,
    target: str,
    folder: Path,
    plain: str = "",
    *,
    replica: str = "a",
    interval: int = 1,
) -> Iterator[str]:
    """Run Prometheus on a free loopback port, scraping one target; yield the URL of its API.

    A user and a password may stand in the target. `plain` is another target, of a job of that
    name. Replicas scrape at different offsets, every `interval` seconds, and wait no longer than
    that for a body.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = folder / "prometheus.yml"
    user, _, host = target.removeprefix("http://").rpartition("@")
    text = CONFIG.format(target=host, replica=replica, interval=interval)
    if user:
        name, _, password = user.partition(":")
        auth = f"    basic_auth: {{username: {name}, password: {password}}}\n"
        text = re.sub(r"(  - job_name: .*\n)", rf"\g<1>{auth}", text, count=1)
    if plain:
        text += PLAIN.format(target=plain.removeprefix("http://"))
    config.write_text(text)
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program,
                f"--config.file={config}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
            ],
            stdout=output,
            stderr=output,
        )
        try:
            yield f"http://{address}/api/v1"
        except BaseException as error:
            error.add_note(log.read_text()[-2_000:])
            raise
        finally:
            process.terminate()
            process.wait(timeout=30)


def asked(api: str, query: str) -> float:
    """Return the one value that a query answers, once it answers at all."""
    pause, deadline = threading.Event(), time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"{api}/query", params={"query": query}).json()
            if answer["data"]["result"]:
                return float(answer["data"]["result"][0]["value"][1])
        except (httpx.TransportError, ValueError, KeyError):
            pass  # it is still starting
        pause.wait(0.1)
    raise AssertionError(f"Prometheus never answered {query}")
