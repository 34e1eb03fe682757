"""Measures `import`: span records of a file on disk, read, converted, priced, and booked.

The input are real traces, multiplied with new ids to the size wanted. They are not part of this
repository: without `../shared/data` there is nothing to measure, and that is said.
"""

import gzip
import json
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from bench.figure import Figure
from spendtree.ingest import import_files
from spendtree.pricing import PriceBook
from spendtree.store import open_store

SOURCE = Path(__file__).resolve().parents[2] / "shared/data/traces/chatdev_spans.jsonl.gz"
SPANS, QUICK_SPANS = 60_000, 6_000
TARGET = 20_000

PRICES = {
    model: {"input_usd_per_mtok": per_input, "output_usd_per_mtok": per_output}
    for model, per_input, per_output in (
        ("gpt-3.5-turbo", "1.5", "2"),
        ("gpt-3.5-turbo-16k", "3", "4"),
        ("gpt-4", "30", "60"),
    )
}


def figures(*, quick: bool = False) -> list[Figure]:
    if not SOURCE.exists():
        print(f"import: not measured, {SOURCE} is not there", file=sys.stderr)
        return []
    with tempfile.TemporaryDirectory() as directory:
        traces = Path(directory, "spans.jsonl")
        spans = multiplied(traces, QUICK_SPANS if quick else SPANS)
        into_file = seconds(f"sqlite:///{directory}/spend.db", traces, spans)
        again = seconds(f"sqlite:///{directory}/spend.db", traces, spans)
        into_memory = seconds("memory:", traces, spans)
    return [
        Figure("importing into a SQLite file", spans / into_file, "spans/s", TARGET),
        Figure("importing what is there already", spans / again, "spans/s"),
        Figure("importing into memory", spans / into_memory, "spans/s"),
    ]


def seconds(store: str, traces: Path, spans: int) -> float:
    """Return how long one import takes; it must have read all and found nothing wrong."""
    with closing(open_store(store)) as opened:
        begun = time.perf_counter()
        report = import_files(opened, [traces], prices=PriceBook(PRICES))
        taken = time.perf_counter() - begun
    assert (report.spans_read, report.problems) == (spans, [])
    return taken


def multiplied(target: Path, spans: int) -> int:
    """Write at least that many spans: the real ones again and again as other sessions."""
    with gzip.open(SOURCE, "rt") as lines:
        records = [json.loads(line) for line in lines]
    written = 0
    with target.open("w") as out:
        while written < spans:
            copy = f"{written:x}"
            for record in records:
                session = f"{record['session_id']}-{copy}"
                trace = f"{copy}{record['trace_id']}"[:32]
                out.write(json.dumps(record | {"session_id": session, "trace_id": trace}))
                out.write("\n")
            written += len(records)
    return written


if __name__ == "__main__":
    for figure in figures(quick="--quick" in sys.argv):
        print(f"{figure.name}: {figure.value:,.0f} {figure.unit}")
