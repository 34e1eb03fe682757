"""The exposition bytes: what the reference parsers read out of them."""

from collections.abc import Callable, Iterable
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families

from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics import CATALOGUE, PREFIX, Fold, label_text
from spendtree_exporter.render import OPENMETRICS, TEXT, Format, Own, decimal, escape, render
from tests.exporter.oracle import Sample, expected, logs

Parse = Callable[[str], Iterable[Metric]]
FORMATS = pytest.mark.parametrize(
    ("format", "parse"),
    [
        (TEXT, text_string_to_metric_families),
        (OPENMETRICS, openmetrics_parser.text_string_to_metric_families),
    ],
    ids=["text", "openmetrics"],
)


def folded(*events: Event) -> Fold:
    fold = Fold("st")
    fold.apply(events)
    return fold


def call(context: Context, cost: int = 5) -> Event:
    return Event(0, Kind.CALL, 1, b"", context, Request("openai", "gpt-4o"), cost, status="ok")


def parsed(body: bytes, parse: Parse) -> dict[Sample, float]:
    found: dict[Sample, float] = {}
    for family in parse(body.decode()):
        for sample in family.samples:
            pairs = frozenset((k, v) for k, v in sample.labels.items() if v)
            key = sample.name.removeprefix(PREFIX), pairs
            assert key not in found, f"two samples of one label set: {key}"
            found[key] = sample.value
    return found


@FORMATS
@given(log=logs)
@settings(deadline=None, max_examples=60)
def test_the_reference_parser_reads_every_series_with_its_value(
    format: Format, parse: Parse, log: list[Event]
) -> None:
    found = parsed(render(folded(*log), format), parse)

    wanted = {sample: float(value) for sample, value in expected("st", log).items()}
    assert {sample: value for sample, value in found.items() if value} == wanted


@FORMATS
def test_every_family_prints_its_help_and_type_also_without_series(
    format: Format, parse: Parse
) -> None:
    body = render(folded(), format).decode()

    found = {family.name: family for family in parse(body)}
    assert len(found) == len(CATALOGUE)
    for each in CATALOGUE:
        name = each.full_name.removesuffix("_total")
        assert found[name].type == each.kind
        assert found[name].documentation == each.help


def test_openmetrics_ends_with_eof_and_names_counters_without_total_in_comments() -> None:
    lines = render(folded(), OPENMETRICS).decode().splitlines()

    assert lines[-1] == "# EOF"
    assert "# TYPE spendtree_cost_usd counter" in lines
    assert "# UNIT spendtree_cost_usd usd" in lines
    assert not any(line.split()[2].endswith("_total") for line in lines[:-1])


def test_values_are_printed_to_the_picodollar_and_never_as_floats() -> None:
    body = render(folded(call(Context(), cost=123_000_000_000_000_001)), TEXT).decode()

    assert "} 123000.000000000001\n" in body


@given(st.integers(-(10**30), 10**30), st.integers(0, 12))
def test_decimal_text_is_exact_and_has_no_exponent_or_trailing_zeros(
    value: int, places: int
) -> None:
    text = decimal(value, places)

    assert Decimal(text) == Decimal(f"{value}e-{places}")
    assert "E" not in text.upper()
    assert "." not in text or not text.endswith("0")


@FORMATS
@given(names=st.lists(st.text(st.characters(), max_size=300), unique=True, max_size=5))
@settings(deadline=None, max_examples=150)
def test_any_text_survives_as_a_label_or_as_its_safe_form(
    format: Format, parse: Parse, names: list[str]
) -> None:
    contexts = [Context(session=name, customer=name, agent=name) for name in names]

    found = parsed(render(folded(*map(call, contexts)), format), parse)

    customers = [
        dict(pairs).get("customer", "") for name, pairs in found if name == "cost_usd_total"
    ]
    assert sorted(customers) == sorted(label_text(name) for name in names)


def test_quotes_backslashes_and_newlines_are_escaped() -> None:
    assert escape('a\\b"c\nd') == 'a\\\\b\\"c\\nd'


def test_ten_thousand_characters_become_one_line_of_bounded_length() -> None:
    hostile = '"\n\\' * 3_334

    body = render(folded(call(Context(customer=hostile))), TEXT)

    assert max(len(line) for line in body.splitlines()) < 1_000


def test_one_log_gives_one_body() -> None:
    log = [call(Context(f"s-{n % 3}", f"c-{n % 5}", agent=f"a-{n}")) for n in range(20)]

    assert render(folded(*log), TEXT) == render(folded(*log), TEXT)


def test_only_lines_whose_value_changed_are_made_again() -> None:
    still, moving = Context(customer="still"), Context(customer="moving")
    fold = folded(call(still), call(moving))
    render(fold, TEXT)
    before = {labels[0]: s.text for labels, s in fold.rows("cost_usd_total").items()}

    fold.apply([call(moving)])
    body = render(fold, TEXT)

    after = {labels[0]: s.text for labels, s in fold.rows("cost_usd_total").items()}
    assert after["still"] is before["still"]
    assert after["moving"] != before["moving"]
    assert after["moving"].endswith(b" 0.00000000001\n")
    assert body == render(folded(call(still), call(moving), call(moving)), TEXT)


def test_samples_of_the_exporter_itself_stand_in_their_families() -> None:
    own: Own = {"exporter_lag_seconds": [((), 250_000)], "build_info": [(("1.2.3",), 1)]}

    body = render(folded(), TEXT, own).decode()

    assert 'spendtree_exporter_lag_seconds{store="st"} 0.25\n' in body
    assert 'spendtree_build_info{store="st",version="1.2.3"} 1\n' in body
