"""What can never be recorded is set aside with its reason; all else is recorded."""

import json
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from spendtree.errors import LedgerConflictError, StoreError, StoreUnavailableError
from spendtree.event import Kind
from spendtree.ingest import SpanRecord
from spendtree.pricing import PriceBook
from spendtree.store import open_store
from spendtree.store.memory import MemoryStore
from spendtree.usage import Usage
from spendtree_exporter import journal as journal_module
from spendtree_exporter import set_aside as set_aside_module
from spendtree_exporter.app import create_app
from spendtree_exporter.gather import Gatherer, Patience
from spendtree_exporter.journal import Journal
from spendtree_exporter.serve import serving
from spendtree_exporter.set_aside import SetAside

HUGE = 9 * 10**6
"""Dollars a million tokens: 10**9 of them cost more than an account holds."""

PRICES = PriceBook(
    {
        "m": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"},
        "gold": {"input_usd_per_mtok": str(HUGE), "output_usd_per_mtok": "1"},
    }
)


def call(trace: int, id: int, model: str = "m", tokens: int = 10) -> SpanRecord:
    return SpanRecord(
        trace_id=f"{trace:032x}",
        span_id=f"{id:016x}",
        kind="LLM",
        model=model,
        start_us=1_760_000_000_000_000,
        end_us=1_760_000_001_000_000,
        usage=Usage(tokens, 1),
    )


def gatherer(store: Any, file: Path | None = None, **more: Any) -> Gatherer:
    patience = Patience(rooted=0.0, rootless=0.0)
    aside = SetAside(str(file) if file else "")
    return Gatherer(store, PRICES, patience=patience, set_aside=aside, **more)


class Refusing(MemoryStore):
    """A store that refuses one trace with an error."""

    error: Exception = ValueError("of no use")
    refused = f"otlp:{1:032x}"

    def load(self, accounts: Any, events: Any) -> int:
        if any(event.context.session == self.refused for event in events):
            raise self.error
        return super().load(accounts, events)


def sessions(store: Any) -> list[int]:
    found = store.events(kinds=[Kind.SESSION_OPENED])
    return sorted(int(event.context.session.removeprefix("otlp:"), 16) for event in found)


@pytest.mark.parametrize(
    "error", [OverflowError("int too large"), LedgerConflictError("two"), RecursionError("deep")]
)
def test_a_trace_that_is_never_taken_is_set_aside_and_the_others_are_recorded(
    tmp_path: Path, error: Exception
) -> None:
    store, file = Refusing(), tmp_path / "aside"
    store.error = error
    taker = gatherer(store, file)
    taker.take([call(1, 1), call(2, 2), call(3, 3)])
    taker.book()

    assert sessions(store) == [2, 3]
    assert taker.figures().pending == 0
    assert taker.set_aside == {"span": 1, "journal_line": 0}
    (line,) = file.read_text().splitlines()
    assert str(error) in json.loads(line)["reason"]
    assert json.loads(line)["spans"][0]["span_id"] == f"{1:016x}"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_of_a_trace_only_the_span_that_has_no_place_is_set_aside(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    taker = gatherer(store)
    taker.take([call(1, 1), replace(call(1, 2), start_us=2**70, end_us=2**70), call(1, 3)])
    taker.stop()

    assert len(list(store.events(kinds=[Kind.CALL]))) == 2
    assert taker.set_aside["span"] == 1
    assert taker.figures().pending == 0
    store.close()


def test_calls_that_pass_what_an_account_holds_keep_no_others_waiting(sqlite_url: str) -> None:
    store = open_store(sqlite_url)
    taker = gatherer(store)
    for number in range(4):  # $3.6 million each, and a session's account holds 9.2
        taker.take([call(1, number + 1, "gold", 4 * 10**5)])
        taker.book()
    taker.take([call(2, 1, "gold", 10**9), call(3, 1)])
    taker.book()

    recorded = len(list(store.events(kinds=[Kind.CALL])))
    assert recorded + taker.set_aside["span"] == 6
    assert taker.figures().pending == 0
    assert 3 in sessions(store)
    store.close()


def test_what_the_store_cannot_take_just_now_waits(tmp_path: Path) -> None:
    store = Refusing()
    store.error = StoreUnavailableError("the disk is full")
    taker = gatherer(store, tmp_path / "aside")
    taker.take([call(1, 1), call(2, 2)])
    for _ in range(100):
        taker.book()
    assert taker.figures().pending == 1

    store.refused = ""
    taker.book()
    assert sessions(store) == [1, 2]
    assert taker.set_aside["span"] == 0


def test_a_trace_that_alone_is_refused_again_and_again_is_set_aside() -> None:
    store = Refusing()
    store.error = StoreError("something that nobody thought of")
    taker = gatherer(store)
    taker.take([call(1, 1)])
    for _ in range(100):
        taker.book()
    assert taker.figures().pending == 1, "no other trace was recorded: it may be the store"

    taker.take([call(2, 2)])
    for _ in range(2):
        taker.book()
    assert taker.figures().pending == 0
    assert taker.set_aside["span"] == 1


def test_the_file_is_bounded_and_a_directory_in_its_place_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(set_aside_module, "FILE_BYTES", 1_000)
    aside = SetAside(str(tmp_path / "aside"))
    for _ in range(100):
        aside.line("broken", b"\0" * 100)
    assert (tmp_path / "aside").stat().st_size <= 1_000
    assert aside.counts["journal_line"] == 100

    aside = SetAside(str(tmp_path))
    aside.line("broken", b"x")
    assert aside.counts["journal_line"] == 1


def test_a_damaged_line_costs_only_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "LINE_BYTES", 10_000)
    path = tmp_path / "spans"
    Journal(str(path)).write([call(1, 1)], now=0.0)
    good = Path(f"{path}.1").read_bytes()
    other = json.loads(good)
    other[0]["name"] = 5
    lines = [
        b"\0" * 100,
        b"x" * 35_000,
        b"[" * 5_000,
        b"null",
        b'[{"trace_id": "a"}]',
        json.dumps([*other, *json.loads(good)]).encode(),
        b"\xff\xfe",
    ]
    Path(f"{path}.1").write_bytes(b"\n".join([*lines, good]) + good[:30])
    Path(f"{path}.2").mkdir()
    Path(f"{path}.3").write_bytes(good)
    store = MemoryStore()
    taker = gatherer(store, tmp_path / "aside", journal=Journal(str(path)))

    taker.take_up()
    taker.book()

    assert sessions(store) == [1]
    assert taker.set_aside["journal_line"] == 9
    kept = [json.loads(line) for line in (tmp_path / "aside").read_text().splitlines()]
    assert len(kept) == 9
    assert all(each["reason"] for each in kept)
    assert Path(f"{path}.2").is_dir()
    assert not Path(f"{path}.1").exists()


def test_the_exporter_starts_and_serves_whatever_stands_beside_the_store(
    sqlite_url: str, tmp_path: Path
) -> None:
    beside = str(tmp_path / "spend.db-exporter")
    Path(f"{beside}-spans.1").write_bytes(b"\0" * 1_000)
    Path(f"{beside}-spans.2").mkdir()
    Path(f"{beside}-spans.set-aside").mkdir()
    store = open_store(sqlite_url)
    for content in (
        b"\0" * 100,
        b"[" * 100_000,
        b'{"snapshot":"spendtree","form":9}\n',
        b"{}\n" * 9,
    ):
        state = Path(f"{beside}-state")
        state.write_bytes(content)
        app = create_app(store, receive=PRICES, state_file=state)
        with serving(app) as url:
            assert httpx.get(f"{url}/metrics", timeout=20).status_code == 200
    state.unlink()
    state.mkdir()
    with serving(create_app(store, receive=PRICES, state_file=state)) as url:
        assert httpx.get(f"{url}/metrics", timeout=20).status_code == 200
    store.close()


def test_spans_of_many_bytes_are_bounded_by_their_bytes() -> None:
    store = Refusing()
    store.error = StoreUnavailableError("full")
    patience = Patience(rooted=10**6, rootless=10**6, bytes=20_000)
    taker = Gatherer(store, PRICES, patience=patience)
    large = [
        SpanRecord(trace_id=f"{1:032x}", span_id=f"{n}", name="n" * 1_000, kind="LLM")
        for n in range(30)
    ]

    assert taker.take(large[:5])
    assert not taker.take(large)
    assert taker.figures().pending == 5
