"""`spendtree sessions`: rows that add up, in JSON to the nano-dollar, in tables that fit."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree.cli import main
from spendtree.store import open_store
from tests.sdk.cli_store import ALL_COST, BUDGET_COST, STRAY_COST, TREE_COST, make_store

WHO = ["session", "customer", "team", "status", "started", "ended"]
COUNTS = ["calls", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_store(tmp_path_factory.mktemp("sessions"))


def rows(store: str, capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, Any]]:
    assert main(["sessions", "--json", "--store", store, *options]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def table(
    store: str, capsys: pytest.CaptureFixture[str], width: int, *options: str
) -> tuple[list[str], str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        assert main(["sessions", "--store", store, *options]) == 0
    said = capsys.readouterr()
    return [line.rstrip() for line in said.out.splitlines()], said.err


def test_json_is_a_list_of_objects_with_the_promised_fields(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(store, capsys)
    assert all(list(row)[:6] == WHO for row in found)
    assert all(type(row[name]) is int for row in found for name in COUNTS)
    assert all(type(row["cost_usd"]) is str for row in found)
    (row,) = (row for row in found if row["session"] == "tree-1")
    assert (row["customer"], row["team"], row["status"]) == ("acme", "search", "succeeded")
    assert (row["calls"], row["failed_calls"], row["cache_read_tokens"]) == (11, 1, 3000)
    assert row["cost_usd"] == str(TREE_COST)
    assert row["started"].endswith("Z")
    assert row["ended"] >= row["started"]


def test_the_rows_add_up_to_everything_in_the_store(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    opened = open_store(store)
    everything = sum(row.cost for row in opened.totals())
    opened.close()
    found = rows(store, capsys)
    assert sum(Decimal(row["cost_usd"]) for row in found) == ALL_COST
    assert Decimal(everything).scaleb(-12) == ALL_COST


def test_calls_of_no_session_are_a_row_without_a_name(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = (row for row in rows(store, capsys) if not row["session"])
    assert (row["status"], row["ended"], row["calls"]) == ("unattributed", None, 1)
    assert Decimal(row["cost_usd"]) == STRAY_COST


def test_a_session_that_ran_into_its_ceiling_says_so(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (row,) = rows(store, capsys, "--customer", "globex")
    assert row["status"] == "budget_exceeded"
    assert Decimal(row["cost_usd"]) == BUDGET_COST


def test_sorted_by_cost_the_dearest_comes_first(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = [Decimal(row["cost_usd"]) for row in rows(store, capsys, "--sort", "cost")]
    assert costs == sorted(costs, reverse=True)


def test_by_default_the_newest_comes_first(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    started = [row["started"] for row in rows(store, capsys)]
    assert started == sorted(started, reverse=True)


def test_limit_cuts_the_rows_and_0_is_no_limit(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(rows(store, capsys, "--limit", "1")) == 1
    assert len(rows(store, capsys, "--limit", "0")) == 3


def test_a_limited_table_still_tells_the_whole_sum(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = table(store, capsys, 80, "--limit", "1", "--sort", "cost")
    assert lines[-1] == "2 sessions (1 shown, --limit 0 shows all): $0.153 in 13 calls"


@pytest.mark.parametrize("width", [80, 110, 140])
def test_a_table_fits_its_screen_and_cuts_no_figure(
    width: int, store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, _ = table(store, capsys, width)
    assert max(map(len, lines)) <= width
    assert next(line for line in lines if "tree-1" in line).endswith("$0.1310")
    assert "budget exceeded" in "\n".join(lines)


def test_a_wide_table_tells_more(store: str, capsys: pytest.CaptureFixture[str]) -> None:
    narrow, _ = table(store, capsys, 80)
    wide, _ = table(store, capsys, 140)
    assert set(wide[0].split()) > set(narrow[0].split())


def test_a_customer_without_sessions_is_told_the_customers_there_are(
    store: str, capsys: pytest.CaptureFixture[str]
) -> None:
    lines, said = table(store, capsys, 80, "--customer", "acne")
    assert lines == []
    assert "'acne'" in said
    assert "acme, globex" in said


def test_an_empty_store_says_so_and_is_an_empty_list(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/empty.db"
    open_store(url).close()
    assert rows(url, capsys) == []
    assert "no session" in table(url, capsys, 80)[1]
