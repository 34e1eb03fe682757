"""How values look: figures that line up, that are never cut, and that never look like nothing."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from spendtree.cli import output
from spendtree.cli.grid import Column, grid
from spendtree.tree import Sums

USD = 10**12


@pytest.mark.parametrize(
    ("largest", "amount", "shown"),
    [
        (USD, USD, "$1.000"),
        (1234 * USD, 1234 * USD, "$1,234.00"),
        (USD // 100, USD // 400, "$0.00250"),
        (USD, 0, "$0.000"),
        (USD, 1, "<$0.001"),
        (USD, -USD // 2, "-$0.500"),
        (1, 1, "<$0.000000001"),
        (0, 0, "$0.00"),
    ],
)
def test_amounts_of_a_column_have_the_same_decimals(largest: int, amount: int, shown: str) -> None:
    assert output.Dollars.fitting([largest]).text(amount) == shown


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0"),
        (9_999, "9999"),
        (10_000, "10.0k"),
        (99_949, "99.9k"),
        (99_960, "100k"),
        (999_499, "999k"),
        (999_500, "1.0M"),
        (12_345_678, "12.3M"),
        (2**40, "1.1T"),
    ],
)
def test_token_counts_are_short(count: int, shown: str) -> None:
    assert output.tokens(count) == shown


@given(st.integers(0, 2**49))
def test_a_token_count_is_never_longer_than_five_characters(count: int) -> None:
    assert len(output.tokens(count)) <= 5


def test_a_share_is_in_per_cent_and_a_little_is_not_nothing() -> None:
    assert [output.share(part, 1000) for part in (0, 1, 9, 500, 1000)] == [
        "0%",
        "<1%",
        "<1%",
        "50%",
        "100%",
    ]
    assert output.share(1, 0) == ""


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (99.9, "99.9 s"), (100, "1 min 40 s"), (7265, "2 h 01 min"), (-1, "–")],
)
def test_durations_are_for_people(seconds: float, shown: str) -> None:
    assert output.duration(10**15, 10**15 + round(seconds * 10**6)) == shown


def test_a_moment_that_is_unknown_is_a_dash() -> None:
    assert output.moment(None) == output.moment(2**62) == output.duration(1, None) == "–"
    assert output.moment(1_767_225_600 * 10**6) == "2026-01-01 00:00:00"


def test_counts_agree_with_their_nouns() -> None:
    assert [output.plural(n, "call") for n in (0, 1, 1234)] == ["0 calls", "1 call", "1,234 calls"]


def test_what_the_cost_does_not_contain_is_said_only_where_there_is_something() -> None:
    assert output.caveats(Sums(calls=5, cost=USD)) == []
    assert len(output.caveats(Sums(calls=5, lapsed_calls=1, unpriced_calls=1, presumed=1))) == 2


def test_control_characters_are_blanked() -> None:
    assert output.clean("a\x1b[31mb\nc\u202ed\x9be") == "a [31mb c d e"


names = st.lists(st.text("ab", max_size=20), unique=True, max_size=12)


@given(names)
def test_a_prefix_names_its_session_alone_unless_it_is_all_of_it(names: list[str]) -> None:
    for name, prefix in output.unique_prefixes(names, least=3).items():
        assert name.startswith(prefix)
        assert prefix == name or [n for n in names if n.startswith(prefix)] == [name]


def shown(columns: list[Column], width: int) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=max(width, 1)).print(grid(columns, width))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def column(title: str, *texts: str, **options: int) -> Column:
    return Column(title, [Text(text) for text in texts], **options)  # type: ignore[arg-type]


def test_texts_give_way_before_columns_and_figures_never() -> None:
    columns = [
        column("Name", "a-rather-long-name", least=10),
        column("Calls", "12", spare=1),
        column("Cost", "$0.1234"),
    ]
    assert shown(columns, 40) == [
        "Name                Calls  Cost",
        "a-rather-long-name  12     $0.1234",
    ]
    assert shown(columns, 26) == ["Name        Calls  Cost", "a-rather-…  12     $0.1234"]
    assert shown(columns, 20) == ["Name         Cost", "a-rather-l…  $0.1234"]
    assert shown(columns, 17) == ["Name      Cost", "a-rathe…  $0.1234"]


def test_a_spare_column_without_any_text_is_left_out() -> None:
    columns = [column("Session", "s-1"), column("Team", "", spare=1), column("Cost", "$1")]
    assert shown(columns, 80)[0].split() == ["Session", "Cost"]
