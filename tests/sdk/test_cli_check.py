"""`spendtree check`: the effective settings, what looks odd in them, and what is wrong."""

import json
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from spendtree import Spendtree
from spendtree.cli import main
from spendtree.config import load_config
from spendtree.config.describing import describe

WHOLE = """
mode: warn
session:
  ceiling_usd: 0.10
agents:
  coordinator: {envelope_usd: 0.05, reserved: true}
  researcher:
    max_cost_usd: 0.20
    policy:
      - wait: {seconds: 5}
      - clamp: {floor: 64}
      - fallback: {model: gpt-4o-mini, provider: openai}
      - refuse
customers:
  acme: {budgets_usd: {day: 5}}
  globex: {mode: record}
periods:
  month: {customer_usd: 100}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "spendtree.yaml"
    path.write_text(WHOLE, "utf-8")
    return path


def shown(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Return what is printed on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(file.parent)
    assert main(["check", file.name]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return [line.rstrip() for line in said.out.splitlines()]


def read_json(file: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    assert main(["check", "--json", str(file)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    found: dict[str, Any] = json.loads(said.out)
    return found


def test_json_holds_the_effective_settings_exactly(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = read_json(file, capsys)

    assert list(found) == ["settings", "warnings"]
    assert found["settings"] == describe(load_config(file))
    assert found["settings"]["session"]["ceiling_usd"] == "0.1"
    assert found["settings"]["customers"]["acme"]["budgets_usd"] == {"day": "5", "month": "100"}


def test_the_json_settings_are_a_configuration_that_means_the_same(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = load_config(read_json(file, capsys)["settings"])

    assert again.agent("researcher").max_cost_usd == Decimal("0.2")
    assert again.policy_for("researcher") == load_config(file).policy_for("researcher")
    assert again.mode_for("run", "globex") == "record"


def test_warnings_name_file_line_and_key(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (warning,) = read_json(file, capsys)["warnings"]

    assert warning == (
        f"{file}:8: agents.researcher.max_cost_usd: $0.20 is above session.ceiling_usd, $0.10: "
        "that binds first"
    )


def test_warnings_come_in_the_order_of_the_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(
        "policies: {unused: [wait]}\n"
        "agents:\n"
        "  a: {warn_at: 0.5}\n"
        "session: {min_cost_usd: 2, ceiling_usd: 1}\n"
    )

    warnings = read_json(path, capsys)["warnings"]

    assert [warning.split(": ")[0] for warning in warnings] == [f"{path}:{n}" for n in (1, 3, 4)]


def test_the_settings_are_a_tree_that_fits_80_columns(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(file, capsys, monkeypatch)

    tree = lines[: lines.index("")]
    text = "\n".join(tree)
    assert tree[0] == "spendtree.yaml"
    assert max(map(len, tree)) <= 80
    for part in (
        "├── mode: warn",
        "│   ├── ceiling_usd: 0.1",
        "│   │   ├── reserved: true",
        "│       ├── policy: wait (seconds 5), clamp (floor 64), fallback (model",
        "│   │   ├── budgets_usd: day 5, month 100",
        "├── busy_timeout_seconds: 30",
        "    └── birth_hold_seconds: 60",
    ):
        assert part in text, part


def test_tiers_and_factors_of_a_price_are_in_the_tree(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "spendtree.yaml"
    rates = "input_usd_per_mtok: {}, output_usd_per_mtok: 9"
    path.write_text(
        f"prices:\n  m: {{{rates.format(3)}, flex: 0.5, regions: {{eu: 1.1}},\n"
        f"    tiers: [{{above: 1000, {rates.format(6)}}}, {{above: 2000, {rates.format(9)}}}]}}\n"
    )

    text = " ".join(" ".join(shown(path, capsys, monkeypatch)).replace("│", " ").split())

    assert "flex: 0.5" in text
    assert "regions: eu 1.1" in text
    assert "tiers: (above 1000, input_usd_per_mtok 6, output_usd_per_mtok 9)," in text


def test_the_tree_ends_in_the_warnings_each_on_one_line(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = shown(file, capsys, monkeypatch)

    assert lines[-2] == ""
    assert lines[-1].startswith("warning: spendtree.yaml:8: agents.researcher.max_cost_usd: ")
    assert lines[-1].endswith("that binds first")


def test_an_empty_file_shows_every_default_and_warns_of_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "empty.yaml"
    path.touch()

    lines = shown(path, capsys, monkeypatch)

    assert "├── mode: enforce" in lines
    assert "    ├── max_customers: 200" in lines
    assert not [line for line in lines if line.startswith("warning")]
    assert not [line for line in lines if "agents" in line.split("max_")[0]]


def test_control_characters_in_names_never_reach_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text('agents: {"a\\e[31m": {warn_at: 0.5}, "[bold]b": {}}\n')

    lines = shown(path, capsys, monkeypatch)

    assert "\x1b" not in "\n".join(lines)
    assert any("[bold]b" in line for line in lines)


def test_an_invalid_file_is_one_line_with_its_place_and_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("mode: warn\nsession:\n  ceiling_usd: much\n")

    assert main(["check", str(path)]) == 1
    said = capsys.readouterr()

    assert said.out == ""
    assert said.err.startswith(f"spendtree: {path}:3: session.ceiling_usd: 'much' is no amount")
    assert said.err.count("\n") == 1


def test_a_missing_file_is_exit_code_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none.yaml")]) == 1
    assert "none.yaml: there is no such configuration file" in capsys.readouterr().err


def test_no_file_is_wrong_usage_unless_the_environment_names_one(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPENDTREE_CONFIG", raising=False)
    assert main(["check"]) == 2
    assert "Missing argument 'FILE'" in capsys.readouterr().err

    monkeypatch.setenv("SPENDTREE_CONFIG", str(file))
    assert main(["check"]) == 0
    assert "mode: warn" in capsys.readouterr().out


def test_budgets_that_stand_with_another_amount_are_told_where_a_store_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    newer = {"version": 3, "customers": {"acme": {"budgets_usd": {"day": "5", "month": "50"}}}}
    with closing(Spendtree(url, newer)) as tracker, tracker.session(customer="acme"):
        pass
    file = tmp_path / "spendtree.yaml"
    text = "version: %d\ncustomers: {acme: {budgets_usd: {day: 7, week: 9, month: 50}}}\n"
    for version, said in ((2, True), (3, True), (4, False)):
        file.write_text(text % version)
        assert main(["check", "--json", "--store", url, str(file)]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["settings"]["version"] == str(version)
        told = [warning for warning in found["warnings"] if "does not hold" in warning]
        assert len(told) == said
        assert main(["doctor", "--json", "--store", url, "--config", str(file)]) == 0
        facts = json.loads(capsys.readouterr().out)["configuration"]
        assert facts["outvoted"] == told
        assert not told or told[0].startswith("the budget of customer 'acme' for 2")
