"""The fold: what each kind of event adds to which series, and what bounds them."""

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics import (
    CATALOGUE,
    OTHER,
    OVERFLOW,
    Family,
    Fold,
    Limits,
    family,
    fold,
    label_text,
)
from tests.exporter.oracle import Sample, expected, logs

ACME = Context("s-1", "acme", "search", "researcher", level=2, cycle=1)
GPT = Request("openai", "gpt-4o")
MINUTE = 60_000_000


def call(context: Context = ACME, request: Request = GPT, **fields: Any) -> Event:
    """Return a finished call of $1 held at $2, with what is given instead."""
    given = {"cost": 10**12, "held": 2 * 10**12, "status": "ok", "at": 1, **fields}
    return Event(0, given.pop("kind", Kind.CALL), given.pop("at"), b"", context, request, **given)


def folded(*events: Event, **options: Any) -> Fold:
    made = Fold("st", **options)
    made.apply(events)
    return made


def samples(made: Fold) -> dict[Sample, Decimal]:
    """Return every non-zero sample as the oracle names them."""
    found: dict[Sample, Decimal] = {}
    for each, rows in made:
        for labels, series in rows.items():
            pairs = {"store": made.store_id, **dict(zip(each.labels, labels, strict=True))}
            for name, le, value in parts(each, series):
                named = pairs | le
                key = name, frozenset((k, v) for k, v in named.items() if v)
                assert key not in found, f"two series of one label set: {key}"
                if value:
                    found[key] = value
    return found


def parts(each: Family, series: Any) -> Iterator[tuple[str, dict[str, str], Decimal]]:
    """Yield the name, further labels and value of each sample of a series."""
    value = Decimal(series.value).scaleb(-each.decimals)
    if not each.buckets:
        yield each.name, {}, value
        return
    count = 0
    for le, more in zip((*each.buckets, "+Inf"), series.counts, strict=True):
        count += more
        yield f"{each.name}_bucket", {"le": le}, Decimal(count)
    yield f"{each.name}_sum", {}, value
    yield f"{each.name}_count", {}, Decimal(count)


def total(made: Fold, name: str, **labels: str) -> int:
    """Return the sum of a family's series that have these labels."""
    wanted = family(name).labels
    return sum(
        series.value
        for values, series in made.rows(name).items()
        if labels.items() <= dict(zip(wanted, values, strict=True)).items()
    )


def test_every_family_of_the_catalogue_is_named_by_the_conventions() -> None:
    names = [each.name for each in CATALOGUE]

    assert len(set(names)) == len(names)
    for each in CATALOGUE:
        assert each.full_name == f"spendtree_{each.name}"
        assert each.name.endswith("_total") == (each.kind == "counter"), each.name
        assert "store" not in each.labels
        assert len(set(each.labels)) == len(each.labels)
        if each.unit:
            assert each.full_name.removesuffix("_total").endswith(f"_{each.unit}"), each.name


@given(logs, st.integers(1, 10))
@settings(deadline=None)
def test_the_fold_equals_the_plain_sums_however_the_log_is_paged(
    log: list[Event], page: int
) -> None:
    made = Fold("st")
    for first in range(0, len(log), page):
        made.apply(log[first : first + page])

    assert samples(made) == expected("st", log)
    assert made.events == len(log)


@given(logs)
@settings(deadline=None, max_examples=30)
def test_a_fold_that_forgets_its_contexts_all_the_time_counts_the_same(log: list[Event]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fold, "PAYERS_MAX", 2)

        assert samples(folded(*log)) == expected("st", log)


@given(logs)
@settings(deadline=None, max_examples=50)
def test_totals_stay_exact_and_series_bounded_when_everything_overflows(log: list[Event]) -> None:
    limits = Limits(
        series=14, session_series=4, customers=1, teams=1, agents=1, providers=1, models=1
    )

    made = folded(*log, limits=limits)

    truth = expected("st", log)
    for each in CATALOGUE:
        if each.name != "label_overflow_total":
            name = f"{each.name}_sum" if each.buckets else each.name
            wanted = sum((v for (n, _), v in truth.items() if n == name), Decimal())
            assert Decimal(total(made, each.name)).scaleb(-each.decimals) == wanted, each.name
    assert made.session_series <= 4


def test_values_are_integers_of_picodollars_and_tokens() -> None:
    made = folded(call(cost=1, input_tokens=3))

    assert all(type(series.value) is int for _, rows in made for series in rows.values())
    assert total(made, "cost_usd_total") == 1
    assert total(made, "session_cost_usd_total", session="s-1", agent="researcher") == 1
    assert total(made, "tokens_total", type="input") == 3


def test_an_unpriced_call_is_counted_and_adds_no_cost_series() -> None:
    made = folded(call(cost=None, input_tokens=7))

    assert total(made, "unpriced_calls_total", provider="openai", model="gpt-4o") == 1
    assert total(made, "calls_total", status="ok") == 1
    assert total(made, "tokens_total") == 7
    assert not made.rows("cost_usd_total"), "unknown is not zero"


def test_a_lapse_is_a_finished_call_of_presumed_money_and_no_cost() -> None:
    lapse = call(kind=Kind.LAPSE, cost=0, held=500, status="unmetered")

    made = folded(lapse)

    assert total(made, "calls_total", status="unmetered") == 1
    assert total(made, "presumed_usd_total") == 500
    assert total(made, "unmetered_calls_total") == 1
    assert total(made, "cost_usd_total") == 0


def test_late_truth_adds_cost_and_tokens_and_resolves_without_a_second_call() -> None:
    lapse = call(kind=Kind.LAPSE, cost=0, held=500, status="lapsed")
    truth = call(kind=Kind.ADJUSTMENT, cost=300, held=500, output_tokens=9)

    made = folded(lapse, truth)

    assert total(made, "calls_total") == total(made, "session_calls_total") == 1
    assert total(made, "cost_usd_total") == total(made, "session_cost_usd_total") == 300
    assert total(made, "tokens_total", type="output") == 9
    assert total(made, "presumed_usd_total") == total(made, "presumed_resolved_usd_total") == 500


def test_the_cost_above_the_hold_is_an_overrun_and_a_call_without_a_hold_has_none() -> None:
    made = folded(call(cost=70, held=50), call(cost=50, held=50), call(cost=99, held=0))

    assert total(made, "overrun_usd_total") == 20


def test_what_providers_state_above_and_below_the_price_list_is_a_sum_of_both() -> None:
    made = folded(
        call(cost=70, data={"stated_difference": 20}),
        call(cost=70, data={"stated_difference": -50}),
        call(cost=70, data={"marks": ["stated_cost"]}),
    )

    assert total(made, "stated_cost_difference_usd") == -30


def test_a_call_outside_any_session_counts_as_level_0_and_as_unattributed() -> None:
    stray = Context(customer="acme")

    made = folded(call(stray, data={"unattributed": "lost_thread"}))

    assert total(made, "cost_usd_total", level="0") == 10**12
    assert total(made, "unattributed_calls_total", model="gpt-4o", reason="lost_thread") == 1
    assert total(made, "unattributed_cost_usd_total", reason="lost_thread") == 10**12
    assert not made.rows("session_cost_usd_total")


def test_history_counts_nowhere_and_imports_count_like_live_calls() -> None:
    past = ACME._replace(origin="history")
    ends = [call(past, kind=kind, status="failed") for kind in Kind]

    assert samples(folded(*ends, call(past, cost=9, held=1))) == {}
    assert samples(folded(call(ACME._replace(origin="import")))) == samples(folded(call()))


def test_a_continued_session_is_counted_once() -> None:
    closed = call(kind=Kind.SESSION_CLOSED, status="succeeded")
    again = call(kind=Kind.SESSION_CLOSED, status="succeeded", data={"continued": True})

    assert total(folded(closed, again), "sessions_total", status="succeeded") == 1


def test_deep_levels_and_late_cycles_share_a_label() -> None:
    made = folded(
        *(call(ACME._replace(level=level, cycle=level)) for level in (4, 5, 6, 9, 10, 99))
    )

    rows = [labels[3::3] for labels in made.rows("cost_usd_total")]
    assert rows == [("4", "4"), ("5+", "5"), ("5+", "6"), ("5+", "9"), ("5+", "10+")]


def test_a_session_keeps_its_series_while_open_and_a_quarter_of_an_hour_longer() -> None:
    made = folded(call(kind=Kind.SESSION_OPENED, at=0), call(at=1))
    made.tick(1000 * MINUTE)
    assert made.session_series == 3
    assert made.live_sessions == 1

    made.apply([call(kind=Kind.SESSION_CLOSED, at=1000 * MINUTE, status="succeeded")])
    made.tick(1015 * MINUTE - 1)
    assert made.session_series == 3
    assert made.live_sessions == 0

    made.tick(1015 * MINUTE)
    assert made.session_series == 0
    assert not made.rows("session_cost_usd_total")
    assert total(made, "cost_usd_total") == 10**12


def test_the_log_itself_tells_the_time_when_nobody_else_does() -> None:
    other = ACME._replace(session="s-2")

    made = folded(
        call(kind=Kind.SESSION_OPENED, at=1),
        call(at=1),
        call(kind=Kind.SESSION_CLOSED, at=2),
        call(other, kind=Kind.SESSION_OPENED, at=20 * MINUTE),
        call(other, at=20 * MINUTE),
    )

    assert [labels[0] for labels in made.rows("session_calls_total")] == ["s-2"]


def test_a_session_continued_after_its_end_lingers_from_its_last_event() -> None:
    made = folded(
        call(kind=Kind.SESSION_OPENED, at=0),
        call(kind=Kind.SESSION_CLOSED, at=0),
        call(at=10 * MINUTE),
    )

    made.tick(16 * MINUTE)
    assert total(made, "session_calls_total", session="s-1") == 1

    made.tick(25 * MINUTE)
    assert made.session_series == 0


def test_late_truth_of_a_session_long_gone_does_not_stay_for_ever() -> None:
    made = folded(call(kind=Kind.SESSION_OPENED, at=0), call(kind=Kind.SESSION_CLOSED, at=0))
    made.tick(20 * MINUTE)

    made.apply([call(kind=Kind.ADJUSTMENT, at=20 * MINUTE, cost=5, held=9)])
    assert total(made, "session_cost_usd_total", session="s-1") == 5
    assert made.live_sessions == 0

    made.tick(35 * MINUTE)
    assert made.session_series == 0


def test_a_session_that_only_the_clock_took_away_comes_back_with_all_it_spent() -> None:
    made = folded(call(at=0))
    made.tick(20 * MINUTE)
    assert not made.rows("session_calls_total")

    made.apply([call(at=20 * MINUTE)])

    assert total(made, "session_calls_total", session="s-1") == 2
    assert made.session_series == 3


def test_a_session_that_the_log_has_left_behind_starts_again_and_feeds_no_dropped_series() -> None:
    other = ACME._replace(session="s-2")
    made = folded(call(at=0), call(other, at=20 * MINUTE), call(at=20 * MINUTE))

    assert total(made, "session_calls_total", session="s-1") == 1
    assert total(made, "calls_total") == 3


@given(logs, st.lists(st.integers(0, 3 * 10**9), max_size=5), st.integers(1, 9))
@settings(deadline=None, max_examples=50)
def test_who_has_series_does_not_depend_on_when_somebody_looked(
    log: list[Event], looks: list[int], page: int
) -> None:
    """Admission follows the log, so a restart shows what was shown, whatever the clock did."""
    timed = [event._replace(at=number * MINUTE * 4) for number, event in enumerate(log)]
    limits = Limits(series=200, session_series=7, customers=1, agents=1)
    looked, fresh = Fold("st", limits=limits), folded(*timed, limits=limits)

    for first in range(0, len(timed), page):
        looked.apply(timed[first : first + page])
        for now in looks:
            looked.tick(now)

    looked.tick(10**10)
    fresh.tick(10**10)
    assert samples(looked) == samples(fresh)
    for each in (looked, fresh):
        each.apply([call(ACME._replace(session=s), at=10**10) for s in ("s-1", "s-2", "s-3")])
    assert samples(looked) == samples(fresh)


def test_sessions_beyond_the_limit_share_one_overflow_and_never_appear_halfway() -> None:
    second = ACME._replace(session="s-2")
    made = folded(call(at=0), call(second, at=0), limits=Limits(session_series=5))

    assert total(made, "session_calls_total", session="s-1") == 1
    assert total(made, "session_calls_total", session=OVERFLOW) == 1
    assert total(made, "label_overflow_total", label="session") == 1

    made.apply([call(kind=Kind.SESSION_CLOSED, at=MINUTE)])
    made.tick(14 * MINUTE)
    made.apply([call(second, at=14 * MINUTE)])
    made.tick(16 * MINUTE)
    made.apply([call(second._replace(agent="late"), at=16 * MINUTE)])

    assert total(made, "session_calls_total", session="s-2") == 0, "its start is in the overflow"
    assert total(made, "session_calls_total", session=OVERFLOW) == 3


def test_a_session_that_calls_itself_overflow_has_no_series_to_drop() -> None:
    made = folded(call(ACME._replace(session=OVERFLOW), at=0))
    made.tick(60 * MINUTE)

    assert total(made, "session_calls_total", session=OVERFLOW) == 1
    assert made.session_series == 0


def test_the_first_names_keep_their_own_series_and_later_ones_share_other() -> None:
    def customers(names: Iterable[str]) -> list[Event]:
        return [call(ACME._replace(customer=name)) for name in names]

    made = folded(*customers(["a", "b", "", "c", "d", "a"]), limits=Limits(customers=2))

    by_name = {name: total(made, "calls_total", customer=name) for name in ("a", "b", "", OTHER)}
    assert by_name == {"a": 2, "b": 1, "": 1, OTHER: 2}
    assert total(made, "label_overflow_total", label="customer") == 2


def test_beyond_the_limit_of_all_series_new_ones_fall_together() -> None:
    contexts = [ACME._replace(session="", customer=f"c-{number}") for number in range(100)]

    made = folded(*map(call, contexts), limits=Limits(series=40, session_series=0))

    assert total(made, "calls_total") == 100
    assert total(made, "cost_usd_total") == 100 * 10**12
    assert total(made, "label_overflow_total", label="series") > 0
    assert made.standing_series < 40 + len(CATALOGUE) * 2


@given(st.text(st.characters(), max_size=600), st.text(st.characters(), max_size=600))
def test_labels_of_different_texts_stay_different_short_and_encodable(a: str, b: str) -> None:
    assert (label_text(a) == label_text(b)) == (a == b)
    assert len(label_text(a)) <= 256
    label_text(a).encode()


def test_long_labels_that_differ_only_at_their_end_stay_apart() -> None:
    a, b = label_text("x" * 10_000 + "a"), label_text("x" * 10_000 + "b")

    assert a != b
    assert len(a) == len(b) == 256
