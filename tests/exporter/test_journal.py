"""Received spans in files: what is read back, and when a file goes."""

import json
import os
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from spendtree.ingest import SpanRecord
from spendtree.pricing import PriceBook
from spendtree.store.memory import MemoryStore
from spendtree.usage import Usage
from spendtree_exporter import journal as journal_module
from spendtree_exporter.gather import Gatherer, Patience
from spendtree_exporter.journal import Journal

FULL = SpanRecord(
    trace_id="t",
    span_id="s",
    parent_span_id="p",
    session="\udc80 odd \n",
    kind="LLM",
    name="n",
    agent="a",
    role="worker",
    provider="openai",
    model="m",
    start_us=2**60,
    end_us=None,
    status="failed",
    error="e",
    usage=Usage(1, 2, 3, 4, 5, 1, {"input_audio": 6}),
    rollup=True,
    reported_cost=Decimal("0.000000000001"),
    customer="c",
    team="t",
    conversation="v",
    response_id="r",
    cycle=3,
    task_id="k",
    purpose="plan",
    refused_before=7,
    answered="m-2",
    served=("flex", "region:us"),
    parts=(("m-2", Usage(1, 1)), ("m-3", Usage(0, 1, units={"web_search": 2}))),
    unread={"holo_tokens": 3},
    is_bill=True,
    keys=("x",),
)
PLAIN = SpanRecord(trace_id="t", span_id="2")


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "spans")


def files(path: str) -> list[str]:
    return sorted(file.name for file in Path(path).parent.iterdir())


def test_every_field_of_what_was_written_is_read_back_request_by_request(path: str) -> None:
    writer = Journal(path)
    writer.write([FULL, PLAIN], now=0.0)
    writer.write([PLAIN], now=1.0)

    assert Journal(path).left() == [[FULL, PLAIN], [PLAIN]]


def test_what_a_version_wrote_that_knew_fewer_fields_is_read(path: str) -> None:
    Journal(path).write([PLAIN], now=0.0)
    file = Path(f"{path}.1")
    (span,) = json.loads(file.read_text())
    for name in ("answered", "served", "parts", "unread", "is_bill", "keys"):
        del span[name]
    file.write_text(json.dumps([span]) + "\n")

    assert Journal(path).left() == [[PLAIN]]


@pytest.mark.parametrize("name", ["spend[1].db-spans", "a*-spans", "what?-spans", "[-spans"])
def test_a_name_that_looks_like_a_pattern_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    (tmp_path / "a-other-spans.7").write_text("[]\n")
    Journal(path).write([FULL], now=0.0)

    assert Journal(path).left() == [[FULL]]
    assert files(path) == sorted(["a-other-spans.7", f"{name}.1"])


def test_a_line_that_was_cut_off_was_never_answered_and_is_left_out(path: str) -> None:
    writer = Journal(path)
    writer.write([PLAIN], now=0.0)
    writer.write([FULL], now=0.0)
    (file,) = Path(path).parent.iterdir()
    os.truncate(file, file.stat().st_size - 5)

    assert Journal(path).left() == [[PLAIN]]


def test_what_could_not_be_written_leaves_nothing_behind(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = Journal(path)
    writer.write([PLAIN], now=0.0)
    whole = os.write
    monkeypatch.setattr(os, "write", lambda file, data: whole(file, data[:10]))
    with pytest.raises(OSError, match="no room for"):
        writer.write([FULL], now=0.0)
    monkeypatch.undo()
    writer.write([FULL], now=0.0)

    assert Journal(path).left() == [[PLAIN], [FULL]]


def test_a_file_goes_once_all_in_it_is_booked_and_not_before(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "SEGMENT_BYTES", 1)
    writer = Journal(path)
    writer.write([PLAIN], now=10.0)
    writer.write([PLAIN], now=20.0)

    writer.settle(unbooked_since=10.0)
    assert files(path) == ["spans.1", "spans.2"]

    writer.settle(unbooked_since=15.0)
    assert files(path) == ["spans.2"]

    writer.settle(unbooked_since=None)
    assert files(path) == []


def test_a_file_is_closed_after_a_while_also_if_it_is_short(path: str) -> None:
    writer = Journal(path)
    writer.write([PLAIN], now=0.0)
    writer.write([PLAIN], now=journal_module.SEGMENT_SECONDS)
    writer.write([PLAIN], now=journal_module.SEGMENT_SECONDS + 1)

    assert files(path) == ["spans.1", "spans.2"]
    writer.settle(unbooked_since=journal_module.SEGMENT_SECONDS + 1)
    assert files(path) == ["spans.2"]


def test_what_was_left_stays_until_the_one_who_took_it_up_has_booked_it(path: str) -> None:
    Journal(path).write([FULL], now=0.0)
    clock = [100.0]

    def gatherer() -> Gatherer:
        return Gatherer(
            MemoryStore(),
            PriceBook({"m": {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}}),
            patience=Patience(rooted=5.0, rootless=5.0),
            journal=Journal(path),
            now=lambda: clock[0],
        )

    for _ in range(2):
        taker = gatherer()
        taker.take_up()
        taker.book()
        assert taker.figures().pending == 1
        assert files(path) == ["spans.1"], "the first of them is killed before it can book"
    clock[0] += 5.0
    taker.book()

    assert taker.figures().pending == 0
    assert files(path) == []


def test_files_that_are_no_part_of_it_are_left_alone(path: str) -> None:
    for name in ("spans.new", "spans", "other.1"):
        (Path(path).parent / name).write_text("[]\n")
    writer = Journal(path)

    assert writer.left() == []
    writer.write([PLAIN], now=0.0)
    writer.settle(unbooked_since=None)
    assert files(path) == ["other.1", "spans", "spans.new"]


def test_a_request_that_cannot_be_kept_is_refused_and_counts_once_when_sent_again(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taker = Gatherer(MemoryStore(), PriceBook(), journal=Journal(path))
    opening: Callable[..., int] = os.open

    def refusing(*arguments: object, **options: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", refusing)
    with pytest.raises(OSError, match="No space left"):
        taker.take([PLAIN])
    monkeypatch.setattr(os, "open", opening)

    assert taker.take([PLAIN])
    assert taker.figures().pending == 1
    assert Journal(path).left() == [[PLAIN]]
