"""docs/budgets.md says what the tables in the code say, and its examples do what it tells."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from spendtree import errors
from spendtree.config import ACCOUNT_KINDS, DEFAULT_POLICY, MODES
from spendtree.config.settings import ContractMode
from spendtree.config.steps import STEP_NAMES
from spendtree.ending import table
from spendtree.errors import BudgetExceededError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "budgets.md"


@cache
def rows(heading: str) -> list[list[str]]:
    """Return the cells of the tables under a heading, without their headings."""
    text = PAGE.read_text("utf-8")
    (found,) = re.findall(rf"^#+ {heading}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    lines = [line for line in found.split("\n") if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if not set(row[0]) <= {"-", "|"}][1:]


def test_the_endings_are_those_of_the_table_that_decides() -> None:
    assert [tuple(row) for row in rows("How calls end")] == table()


def test_the_steps_are_those_that_a_policy_may_have_and_the_default_is_told() -> None:
    assert [row[0].strip("`") for row in rows("Not enough money: policies")] == list(STEP_NAMES)
    default = ", ".join(step.name for step in DEFAULT_POLICY)
    assert f"The default is `[{default}]`" in PAGE.read_text("utf-8")


def test_the_modes_and_the_kinds_of_account_are_those_that_there_are() -> None:
    assert [row[0].strip("`") for row in rows("Modes")] == list(MODES)
    text = " ".join(PAGE.read_text("utf-8").split())
    assert all(f"`{kind}`" in text for kind in ACCOUNT_KINDS)
    contract = rows("Handing up: messages and contracts")
    assert {row[0].strip("`") for row in contract} == set(get_args(ContractMode))


def test_the_errors_are_ours_and_those_of_the_budget_are_all_there() -> None:
    named = [row[0].strip("`") for row in rows("Errors")]
    assert set(named) <= set(errors.__all__)
    assert all(issubclass(getattr(errors, name), BudgetExceededError) for name in named[:3])


@pytest.mark.parametrize("word", ["RunGuard", "guard.run", "childContext", "onBudgetWarning"])
def test_the_words_of_run_guard_are_translated(word: str) -> None:
    assert any(word in row[0] for row in rows("Coming from RunGuard"))


def test_the_example_of_the_warning_returns_the_raw_synthesis_at_80_percent(
    tmp_path: Path,
) -> None:
    blocks = re.findall(
        r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    (number,) = [place for place, block in enumerate(blocks) if "quality-checker" in block]
    generous = blocks[number].replace('ceiling="0.011"', 'ceiling="1"').replace('"tight", ', "")
    script = tmp_path / "page.py"
    script.write_text("\n".join([blocks[0], blocks[number], generous]), "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split("\n")[1:4] == [
        "session 'tight' has spent $0.0091 of $0.011",
        "an answer to 'Why is the sky blue?'",
        "an answer to 'Is this right?': an answer to 'Why is the sky blue?'",
    ]
