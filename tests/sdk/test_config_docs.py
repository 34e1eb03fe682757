"""docs/configuration.md names every key there is, and its example uses every one of them."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from spendtree.config import load_config, loading, sections
from spendtree.config.describing import describe
from spendtree.config.document import read_document
from spendtree.config.review import review
from spendtree.config.settings import ACCOUNT_KINDS, PERIODS
from spendtree.config.steps import STEP_NAMES
from spendtree.errors import ConfigurationError
from spendtree.pricing.own import KEYS as OWN_KEYS
from spendtree.pricing.own import UNIT_KEYS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"
TEXT = PAGE.read_text("utf-8")

VOCABULARY: dict[str, Any] = {
    **dict.fromkeys(loading.SECTIONS),
    "modes": dict.fromkeys(ACCOUNT_KINDS),
    "session": loading.SESSION,
    "agents": {
        "NAME": {
            **loading.AGENT,
            "contract": {**sections.CONTRACT, "output_tokens": sections.OUTPUT_TOKENS},
        }
    },
    "customers": {"NAME": {**loading.CUSTOMER, "budgets_usd": dict.fromkeys(PERIODS)}},
    "teams": {"NAME": {**loading.PAYER, "budgets_usd": dict.fromkeys(PERIODS)}},
    "periods": dict.fromkeys(PERIODS, loading.PERIOD),
    "plans": {"NAME": sections.PLAN},
    "policies": {"NAME": None},
    "prices": {"NAME": {**{key: None for key in OWN_KEYS if key not in UNIT_KEYS}}},
    "metrics": sections.METRICS,
    "alerts": {"thresholds": {"NAME": None}},
}
"""Every key as the readers' tables have it; what is no mapping is the end of a key. The prices of
units have a table of their own."""

UNITS_PAGE = PAGE.with_name("pricing.md").read_text("utf-8")


def leaves(tree: Mapping[str, Any], *above: str) -> Iterator[str]:
    """Yield the dotted path of every key that holds a value."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, *above, key)
        else:
            yield ".".join((*above, key))


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page."""
    section = TEXT.split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    (text,) = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    path = tmp_path / "spendtree.yaml"
    path.write_text(text, "utf-8")
    return path


def test_the_table_names_every_key_that_there_is_once_and_no_other() -> None:
    named = [key for row in rows("Every key") for key in re.findall(r"`([^`]+)`", row[0])]

    assert sorted(named) == sorted(leaves(VOCABULARY))


def test_the_table_of_units_names_every_key_of_a_units_price() -> None:
    (section,) = re.findall(r"^## Units and fees\n(.*?)^## ", UNITS_PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("| `")]
    keys = [key for line in lines for key in re.findall(r"`([^`]+)`", line.split("|")[2])]

    assert sorted(keys) == sorted(UNIT_KEYS)
    assert "pricing.md#units-and-fees" in TEXT


def test_the_whole_file_is_valid_and_nothing_in_it_is_odd(example: Path) -> None:
    assert review(load_config(example)) == []


def test_the_whole_file_uses_every_key(example: Path) -> None:
    _, data = read_document(str(example))
    data["alerts"]["thresholds"] = {"NAME": None}
    for section in ("agents", "customers", "teams", "plans", "policies", "prices"):
        merged: dict[str, Any] = {}
        for entry in data[section].values():
            merged.update(entry if isinstance(entry, dict) else {})
        if section == "prices":  # keys that hold prices of their own end here
            merged = {key: None for key in merged if key not in UNIT_KEYS}
        data[section] = {"NAME": merged or None}
    used = set(leaves(data))

    unused = set(leaves(VOCABULARY)) - used
    assert unused <= {
        *(f"modes.{kind}" for kind in ACCOUNT_KINDS),
        *(
            f"{who}.NAME.budgets_usd.{period}"
            for who in ("customers", "teams")
            for period in PERIODS
        ),
        *(f"periods.{period}.{who}_usd" for who in ("customer", "team") for period in PERIODS),
    }


def test_the_defaults_in_the_table_are_those_of_an_empty_configuration() -> None:
    shown = describe(load_config(None))
    checked = 0
    for keys, default, _ in rows("Every key"):
        value = re.fullmatch(r"`([^`\[]+)`", default)
        for key in re.findall(r"`([^`]+)`", keys):
            section, _, name = key.partition(".")
            if value is None or "NAME" in key or section == "modes":
                continue
            found = shown[section] if not name else shown[section][name]
            found = found[0] if isinstance(found, list) else found
            text = str(found).lower() if isinstance(found, bool) else str(found)
            assert text.removesuffix(".0") == value[1], key
            checked += 1
    assert checked == 14


def test_the_table_of_steps_is_the_table_of_the_reader() -> None:
    told = {
        row[0].strip("`"): set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", row[1])))
        for row in rows("Policies")
    }

    assert told == {name: set(sections.STEPS[name]) for name in STEP_NAMES}


def test_the_message_that_the_page_shows_is_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "spendtree.yaml"
    path.write_text("session:\n  # a mistake\n  ceiling_usd: much\n")

    with pytest.raises(ConfigurationError) as caught:
        load_config(path)

    assert str(caught.value).removeprefix(f"{tmp_path}/") in TEXT
