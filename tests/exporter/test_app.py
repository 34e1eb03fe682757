"""The exporter's doors over real HTTP, while the store grows, fails or is still being read."""

import gzip
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from spendtree.errors import StoreUnavailableError
from spendtree.metrics import CATALOGUE
from spendtree.store import Store, open_store
from spendtree.store.memory import MemoryStore
from spendtree.store.protocol import START, Cursor, Page
from spendtree_exporter import app as app_module
from spendtree_exporter.app import create_app
from spendtree_exporter.render import OPENMETRICS, TEXT
from spendtree_exporter.serve import serving
from tests.exporter.conftest import Load
from tests.exporter.test_follow import TroubledStore, until


class SlowStore(MemoryStore):
    """A memory store whose log cannot be read to its end before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()

    def read(self, cursor: Cursor = START, limit: int = 10_000) -> Page:
        return super().read(cursor, limit)._replace(more=not self.go.is_set())


@contextmanager
def client_of(store: Store) -> Iterator[httpx.Client]:
    with serving(create_app(store)) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


def value(body: str, name: str) -> float:
    """Return the sum of all samples of that full name."""
    families = text_string_to_metric_families(body)
    return sum(s.value for family in families for s in family.samples if s.name == name)


def spend(body: str) -> list[str]:
    """Return the lines of a body that tell what was spent, not how the exporter itself is doing."""
    samples = (line for line in body.splitlines() if line.startswith("spendtree_"))
    return [line for line in samples if not line.startswith("spendtree_exporter")]


def test_the_metrics_are_served_in_the_format_that_was_asked_for(load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 50)
    with client_of(store) as client:
        text = client.get("/metrics")
        openmetrics = client.get("/metrics", headers={"Accept": OPENMETRICS.content_type})

    assert text.status_code == openmetrics.status_code == 200
    assert text.headers["content-type"] == TEXT.content_type
    assert openmetrics.headers["content-type"] == OPENMETRICS.content_type
    assert openmetrics.text.endswith("# EOF\n")
    assert {"Accept", "Accept-Encoding"} == set(text.headers["vary"].split(", "))
    assert value(text.text, "spendtree_calls_total") == 50
    assert value(text.text, "spendtree_cost_usd_total") == pytest.approx(
        sum(123_456_789 * n for n in range(1, 51)) / 1e12, rel=1e-12
    )


def test_gzip_is_sent_to_those_who_accept_it_and_says_the_same(load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 50)
    with client_of(store) as client:
        plain = client.get("/metrics", headers={"Accept-Encoding": "identity"})
        with client.stream("GET", "/metrics", headers={"Accept-Encoding": "gzip"}) as zipped:
            raw = b"".join(zipped.iter_raw())

    assert "content-encoding" not in plain.headers
    assert zipped.headers["content-encoding"] == "gzip"
    assert len(raw) < len(plain.content) / 3
    told = gzip.decompress(raw).decode()
    assert spend(told) == spend(plain.text)
    assert len(spend(told)) > 50


def test_head_answers_the_headers_without_a_body(load: Load) -> None:
    store = MemoryStore()
    with client_of(store) as client:
        answer = client.head("/metrics", headers={"Accept-Encoding": "identity"})

    assert answer.status_code == 200
    assert answer.content == b""
    assert int(answer.headers["content-length"]) > 1_000


def test_other_methods_and_paths_are_refused() -> None:
    with client_of(MemoryStore()) as client:
        assert client.post("/metrics").status_code == 405
        assert client.get("/nothing").status_code == 404


def test_nothing_is_shown_before_the_whole_log_was_read(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app_module, "CATCH_UP_SECONDS", 0.05)
    store = SlowStore()
    load(store, 0, 5)
    with client_of(store) as client:
        early = client.get("/metrics")
        assert early.status_code == 503
        assert "reading the log" in early.text
        assert client.get("/-/ready").status_code == 503
        assert client.get("/-/healthy").status_code == 200
        assert "not ready" in client.get("/").text

        store.go.set()
        until(lambda: client.get("/-/ready").status_code == 200)
        assert value(client.get("/metrics").text, "spendtree_calls_total") == 5


def test_a_scrape_during_a_short_catch_up_waits_for_it() -> None:
    store = SlowStore()
    with client_of(store) as client:
        let_go = threading.Timer(0.2, store.go.set)
        let_go.start()
        assert client.get("/metrics").status_code == 200
        let_go.join()


def test_the_last_good_figures_are_served_while_the_store_fails(load: Load) -> None:
    store = TroubledStore()
    load(store, 0, 5)
    with client_of(store) as client:
        before = client.get("/metrics").text
        store.trouble = StoreUnavailableError("the disk is away")
        errors = "spendtree_exporter_store_errors_total"
        until(lambda: value(client.get("/metrics").text, errors) > 0)
        after = client.get("/metrics").text
        assert client.get("/-/ready").status_code == 200

    assert value(after, "spendtree_cost_usd_total") == value(before, "spendtree_cost_usd_total")
    assert value(after, "spendtree_calls_total") == 5


def test_figures_that_could_be_wrong_are_not_shown() -> None:
    store = TroubledStore()
    store.trouble = ZeroDivisionError("a bug")
    with client_of(store) as client:
        for path in ("/metrics", "/-/ready", "/-/healthy"):
            answer = client.get(path)
            assert answer.status_code == 503
            assert "ZeroDivisionError" in answer.text


def test_the_exporter_tells_about_itself(load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 20)
    with client_of(store) as client:
        client.get("/metrics")
        body = client.get("/metrics").text

    assert value(body, "spendtree_exporter_events_read_total") == 20
    assert value(body, "spendtree_exporter_series") == sum(
        line.startswith("spendtree_") and not line.startswith(("spendtree_exporter", "spendtree_b"))
        for line in body.splitlines()
    )
    assert value(body, "spendtree_exporter_series_limit") == 100_000
    assert 0 < value(body, "spendtree_exporter_scrape_duration_seconds") < 5
    assert 0 <= value(body, "spendtree_exporter_lag_seconds") < 5
    assert value(body, "spendtree_build_info") == 1
    for each in CATALOGUE:
        if each.name.startswith("exporter_") or each.name == "build_info":
            assert f"\n{each.full_name}{{" in body, "each of its own families has a sample"


def test_the_landing_page_links_the_doors_and_loads_nothing_from_elsewhere(load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 1_234)
    with client_of(store) as client:
        client.get("/metrics")
        page = client.get("/")

    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for path in ("/metrics", "/-/healthy", "/-/ready"):
        assert f'href="{path}"' in page.text
    assert "1,234" in page.text
    assert store.id in page.text
    assert "//" not in page.text, "no other host"


def test_a_body_says_the_same_to_many_scrapers_at_once(load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 200)
    bodies: list[str] = []
    with client_of(store) as client:
        scrapers = [
            threading.Thread(target=lambda: bodies.append(client.get("/metrics").text))
            for _ in range(8)
        ]
        for scraper in scrapers:
            scraper.start()
        for scraper in scrapers:
            scraper.join()

    assert {value(body, "spendtree_calls_total") for body in bodies} == {200}


WRITER = """
import sys, time
from tests.exporter.conftest import load_calls
from spendtree.store import open_store
store = open_store(sys.argv[1])
for number in range(int(sys.argv[2])):
    load_calls(store, number, 1)
    print(number + 1, flush=True)
    sys.stdin.readline()
"""


def test_what_another_process_writes_is_served_within_a_second(sqlite_url: str) -> None:
    store, calls = open_store(sqlite_url, create=False), 10
    command = [sys.executable, "-c", WRITER, sqlite_url, str(calls)]
    with (
        client_of(store) as client,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer,
    ):
        assert writer.stdin is not None
        assert writer.stdout is not None
        try:
            for number in range(1, calls + 1):
                assert int(writer.stdout.readline()) == number
                written = time.monotonic()
                while value(client.get("/metrics").text, "spendtree_calls_total") < number:
                    assert time.monotonic() < written + 1.0, f"call {number} is not there"
                writer.stdin.write(b"\n")
                writer.stdin.flush()
        finally:
            writer.kill()
    store.close()


BUSY_WRITER = """
import sys
from tests.exporter.conftest import load_calls
from spendtree.store import open_store
store = open_store(sys.argv[1])
for first in range(0, 5_000, 10):
    load_calls(store, int(sys.argv[2]) + first, 10)
"""


def test_scrapes_never_fall_or_fail_while_two_processes_write(sqlite_url: str) -> None:
    store = open_store(sqlite_url, create=False)
    writers = [
        subprocess.Popen([sys.executable, "-c", BUSY_WRITER, sqlite_url, str(first)])
        for first in (0, 100_000)
    ]
    try:
        with client_of(store) as client:
            seen = [0.0]
            while any(writer.poll() is None for writer in writers):
                seen.append(value(client.get("/metrics").text, "spendtree_calls_total"))
            assert [writer.wait() for writer in writers] == [0, 0]
            until(lambda: value(client.get("/metrics").text, "spendtree_calls_total") == 10_000)
            body = client.get("/metrics").text
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()

    assert seen == sorted(seen), "a counter went down"
    cost = sum(event.cost or 0 for event in store.events())
    assert value(body, "spendtree_cost_usd_total") == pytest.approx(cost / 1e12, rel=1e-12)
    store.close()
