"""From what lists state to the rows of the table: dropped, held at the larger, disputed."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from facts import __main__ as command
from facts.statements import LITELLM, PRICE_LIST, PROFILES, Statement, of_price_list, of_profiles
from facts.statements import parse_profiles as parse
from facts.table import rows, text
from spendtree.pricing.catalogue import Catalogue
from spendtree.pricing.limits import Identity, LimitTable, Row, load_table

WINDOW = 1000


def find(model: str, provider: str) -> tuple[Identity, int | None] | None:
    """Know models of "maker" only: a dated name belongs to the entry of the undated one."""
    if provider != "maker":
        return None
    entry = model.partition("@")[0]
    return Identity("maker", (model, f"{entry}*"), True), WINDOW


def stated(source: str, model: str, tokens: int, window: int | None = None) -> Statement:
    return Statement(source, "maker", model, tokens, window)


def test_what_equals_or_exceeds_a_context_window_is_no_statement() -> None:
    found = rows(
        [
            stated("L", "equals-the-catalogues", WINDOW),
            stated("L", "exceeds", WINDOW + 1),
            stated("M", "equals-its-own", 500, window=500),
            stated("M", "below", 500, window=501),
        ],
        find,
    )

    assert found == {("maker", "below*"): Row(500, "M", disputed=False)}


def test_where_sources_disagree_the_larger_is_held_and_the_row_is_disputed() -> None:
    found = rows([stated("L", "m", 100), stated("M", "m", 200)], find)

    assert found == {("maker", "m*"): Row(200, "LM", disputed=True)}


def test_a_source_that_states_the_window_does_not_dispute_another() -> None:
    found = rows([stated("L", "m", 100), stated("M", "m", WINDOW)], find)

    assert found == {("maker", "m*"): Row(100, "L", disputed=False)}


def test_names_of_one_entry_that_agree_are_one_row() -> None:
    found = rows([stated("L", "m", 100), stated("L", "m@1", 100), stated("M", "m", 100)], find)

    assert found == {("maker", "m*"): Row(100, "LM", disputed=False)}


def test_names_of_one_entry_that_differ_have_rows_of_their_own() -> None:
    found = rows([stated("L", "m", 200), stated("M", "m", 200), stated("L", "m@chat", 100)], find)

    assert found == {
        ("maker", "m*"): Row(200, "LM", disputed=True),
        ("maker", "m"): Row(200, "LM", disputed=False),
        ("maker", "m@chat"): Row(100, "L", disputed=False),
    }


def test_models_that_the_price_list_does_not_know_are_left_out() -> None:
    assert rows([Statement("L", "nobody", "m", 100, None)], find) == {}


def test_only_models_that_write_text_are_read_from_the_price_list() -> None:
    models: dict[str, dict[str, Any]] = {
        "chat": {"mode": "chat", "max_output_tokens": 10, "litellm_provider": "p"},
        "embed": {"mode": "embedding", "max_output_tokens": 10, "litellm_provider": "p"},
        "words": {"mode": "chat", "max_output_tokens": "if told", "litellm_provider": "p"},
        "zero": {"mode": "chat", "max_output_tokens": 0, "litellm_provider": "p"},
    }

    assert list(of_price_list(models)) == [Statement("L", "p", "chat", 10, None)]


def test_profiles_are_read_as_a_literal_and_never_run() -> None:
    source = 'from typing import Any\n_PROFILES: dict[str, Any] = {"m": {"max_output_tokens": 3}}\n'

    assert list(of_profiles("p", parse(source))) == [Statement("M", "p", "m", 3, None)]
    with pytest.raises(ValueError, match="malformed"):
        parse("_PROFILES = exit()\n")


def test_what_is_written_is_read_again() -> None:
    table = {("a", "m*"): Row(7, "LM", disputed=True), ("a", "n"): Row(8, "L", disputed=False)}

    read = LimitTable(text(table, {"L": "a list of 2026-01-01", "M": "another in some packages"}))

    assert read.rows == table
    assert read.sources == {"L": "a list of 2026-01-01", "M": "another in some packages"}


def test_the_table_says_what_its_sources_say_where_they_are_installed() -> None:
    """Only in the versions that it was made from: others may say something else."""
    needed = [LITELLM, *PROFILES]
    told = "\n".join(load_table().sources.values())
    lists: dict[str, Any] = {}
    for package in needed:
        try:
            files = importlib.metadata.files(package) or []
            version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed here")
        if f"{package} {version}" not in told.replace("LiteLLM", LITELLM):
            pytest.skip(f"{package} {version} is not the version that the table was made from")
        name = PRICE_LIST if package == LITELLM else "/data/_profiles.py"
        (file,) = [each for each in files if str(each).endswith(name)]
        content = Path(str(file.locate())).read_text("utf-8")
        lists[package] = json.loads(content) if package == LITELLM else parse(content)

    statements = [*of_price_list(lists[LITELLM])]
    for package, provider in PROFILES.items():
        statements += of_profiles(provider, lists[package])
    assert rows(statements, command.find_in(Catalogue())) == load_table().rows
