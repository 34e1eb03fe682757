"""`spendtree import`: what it says, to whom, and with which exit code."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree.cli import main

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "traces"

real_traces = pytest.mark.skipif(
    not DATA.is_dir(), reason=f"needs the recorded traces in {DATA}, kept beside the repository"
)


def span(number: int, **fields: Any) -> str:
    """Return one line of a compact span record: an LLM call of a thousand tokens in and out."""
    record = {
        "session_id": "s-1",
        "trace_id": "t-1",
        "span_id": f"span-{number}",
        "kind": "LLM",
        "name": "call",
        "agent": "writer",
        "model": "fake-model",
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-01-01T00:00:01Z",
        "status": "ok",
        "usage": {"input_tokens": 1000, "output_tokens": 1000},
    }
    return json.dumps(record | fields) + "\n"


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/spend.db"


@pytest.fixture
def prices(tmp_path: Path) -> str:
    path = tmp_path / "prices.yaml"
    path.write_text('prices: {fake-model: {input_usd_per_mtok: "10", output_usd_per_mtok: "20"}}\n')
    return str(path)


def costs(store: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Decimal]:
    capsys.readouterr()
    assert main(["sessions", "--json", "--store", store]) == 0
    rows = json.loads(capsys.readouterr().out)
    return {row["session"]: Decimal(row["cost_usd"]) for row in rows}


@pytest.mark.parametrize("option", ["--config", "--prices-file"])
def test_spans_are_priced_by_the_file_that_is_given(
    option: str, store: str, prices: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(span(1) + span(2))
    assert main(["import", "--store", store, option, prices, str(trace)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith("1 file, 2 spans read: 1 session, ")
    assert "2 calls" in said.out
    assert list(costs(store, capsys).values()) == [Decimal("0.06")]


def test_the_customer_and_team_are_those_that_are_given(
    store: str, prices: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(span(1))
    options = ["--store", store, "--config", prices, "--customer", "acme", "--team", "search"]
    main(["import", *options, str(trace)])
    capsys.readouterr()
    main(["sessions", "--json", "--store", store])
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["customer"], row["team"]) == ("acme", "search")


def test_importing_again_changes_nothing_and_says_so(
    store: str, prices: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(span(1))
    main(["import", "--store", store, "--config", prices, str(trace)])
    before = costs(store, capsys)
    assert main(["import", "--store", store, "--config", prices, str(trace)]) == 0
    assert "0 new events" in capsys.readouterr().out
    assert costs(store, capsys) == before


def test_what_cannot_be_read_is_named_and_the_rest_is_imported(
    store: str, prices: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace, other = tmp_path / "trace.jsonl", tmp_path / "notes.txt"
    trace.write_text(span(1) + "{ no json\n" + span(2))
    other.write_text("dear diary\n")
    missing = tmp_path / "missing.jsonl"
    code = main(
        ["import", "--store", store, "--config", prices, str(trace), str(other), str(missing)]
    )
    said = capsys.readouterr()
    assert code == 1
    assert f"{trace}: line 2: " in said.err
    assert f"{other}: " in said.err
    assert f"{missing}: " in said.err
    assert "Traceback" not in said.err
    assert list(costs(store, capsys).values()) == [Decimal("0.06")]


def test_json_reports_figures_and_problems(
    store: str, prices: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(span(1) + "{ no json\n")
    options = ["--json", "--store", store, "--config", prices]
    assert main(["import", *options, str(trace)]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["files"], report["calls"]) == (1, 1)
    (problem,) = report["problems"]
    assert (problem["file"], problem["position"]) == (str(trace), "line 2")


def test_a_price_file_that_is_wrong_is_one_line_and_nothing_is_imported(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prices.yaml").write_text("prizes: {}\n")
    (tmp_path / "trace.jsonl").write_text(span(1))
    options = ["--config", str(tmp_path / "prices.yaml"), str(tmp_path / "trace.jsonl")]
    assert main(["import", "--store", store, *options]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("spendtree: ")
    assert "prizes" in said.err
    assert said.err.count("\n") == 1
    assert not (tmp_path / "spend.db").exists()


def test_beside_live_spans_it_must_be_said_what_imported_ones_are(
    store: str, prices: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["demo", "--sessions", "1", "--json", "--store", store])
    trace = tmp_path / "trace.jsonl"
    trace.write_text(span(1))
    options = ["--store", store, "--config", prices, str(trace)]
    capsys.readouterr()
    assert main(["import", *options]) == 1
    said = capsys.readouterr().err
    assert "--live" in said
    assert "--history" in said
    assert main(["import", "--history", *options]) == 0
    capsys.readouterr()
    main(["sessions", "--json", "--store", store])
    origins = {row["origin"] for row in json.loads(capsys.readouterr().out)}
    assert origins == {"", "history"}


@real_traces
def test_a_real_company_of_agents_is_imported_as_its_own_log_counts(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["import", "--store", store, "--json", str(DATA / "chatdev_spans.jsonl.gz")])
    report = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (report["sessions"], report["calls"]) == (57, 1396)
    assert len(costs(store, capsys)) == 57


def test_a_name_that_is_mistyped_makes_no_store(
    store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", "--store", store, str(tmp_path / "typo.json")]) == 1

    said = capsys.readouterr()
    assert "typo.json" in said.err
    assert said.out.splitlines()[-1] == "0 new events", "and names none"
    assert not list(tmp_path.iterdir())


def test_a_dash_is_standard_input(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-m", "spendtree.cli", "import", "--store", store, "-"]

    subprocess.run(command, input=span(1).encode(), timeout=60, check=True, capture_output=True)

    assert len(costs(store, capsys)) == 1
