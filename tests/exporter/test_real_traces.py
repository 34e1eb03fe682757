"""The main job on real input: traces go in by the command line, and every reader tells one sum.

The command line's table, the exporter's two formats, the SQL table and a real Prometheus are asked
independently of each other.
"""

import json
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import httpx
import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families as text_families

from spendtree.store import open_store
from spendtree_exporter.app import create_app
from spendtree_exporter.serve import serving
from tests.exporter.test_prometheus import asked, running

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "traces"
NANO = Decimal("1e-9")
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

pytestmark = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"the recorded traces are not here: put them into {DATA}"
)


def spendtree(*arguments: str) -> str:
    """Run the command line; return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "spendtree.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=["chatdev", "originals"])
def imported(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Return a store into which real traces were imported."""
    files = {
        "chatdev": [DATA / "chatdev_spans.jsonl.gz"],
        "originals": sorted(file for file in (DATA / "original").rglob("*") if file.is_file()),
    }[request.param]
    path = tmp_path / "spend.db"
    spendtree("import", "--store", f"sqlite:///{path}", *map(str, files))
    return path


def test_every_reader_of_imported_traces_tells_one_sum(
    imported: Path, promtool: str, prometheus: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{imported}"
    rows = json.loads(spendtree("sessions", "--json", "--store", url))
    told = sum(Decimal(row["cost_usd"]) for row in rows)
    with sqlite3.connect(imported) as connection:
        table = connection.execute(
            "SELECT sum(cost / 1000000), sum(cost % 1000000) FROM event WHERE kind IN (5, 7, 9)"
        ).fetchone()
    connection.close()
    ledger = Decimal(table[0] * 10**6 + table[1]) / 10**12
    store = open_store(url)

    with serving(create_app(store)) as exporter:
        text = httpx.get(f"{exporter}/metrics", headers={"accept": "text/plain"}).text
        openmetrics = httpx.get(f"{exporter}/metrics", headers={"accept": OPENMETRICS}).text
        with running(prometheus, exporter, tmp_path) as api:
            scraped = asked(api, "sum(spendtree_cost_usd_total)")
    store.close()

    checked = subprocess.run(
        [promtool, "check", "metrics"], input=text.encode(), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
    assert ledger > 0
    assert told == ledger
    assert abs(_sum(text_families(text)) - ledger) < NANO
    assert abs(_sum(openmetrics_families(openmetrics)) - ledger) < NANO  # type: ignore[no-untyped-call]
    assert scraped == pytest.approx(float(ledger), rel=1e-12)


def _sum(families: object) -> Decimal:
    samples = [
        sample
        for family in families  # type: ignore[attr-defined]
        for sample in family.samples
        if sample.name == "spendtree_cost_usd_total"
    ]
    return sum((Decimal(repr(sample.value)) for sample in samples), Decimal(0))
