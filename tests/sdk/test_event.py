"""Events: stored numbers that may never change, derived ids, and what a repetition must repeat."""

from dataclasses import astuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spendtree.event import STATUSES, Context, Event, Kind, Request, derived_id
from spendtree.usage import NO_UNITS, Usage

CALL = Event(
    0, Kind.CALL, 20, b"c" * 16, Context("s", path=("session/s",)), Request("p", "m"), 7, 9,
    1, 2, 3, 4, 5, 1, "ok", 10, {"reason": "why"},
)  # fmt: skip


def test_the_numbers_of_statuses_never_change() -> None:
    """They are in files: a new status goes to the end."""
    assert STATUSES[:12] == (
        "", "ok", "failed", "unmetered", "lapsed", "succeeded", "exhausted", "budget_exceeded",
        "abandoned", "busy", "unknown_price", "store",
    )  # fmt: skip
    assert len(set(STATUSES)) == len(STATUSES)


def test_the_numbers_of_kinds_never_change() -> None:
    """They are in files, and in SQL statements as literals."""
    assert {kind.name: int(kind) for kind in list(Kind)[:13]} == {
        "SESSION_OPENED": 1,
        "SESSION_CLOSED": 2,
        "RUN_OPENED": 3,
        "RUN_CLOSED": 4,
        "CALL": 5,
        "LAPSE": 6,
        "ADJUSTMENT": 7,
        "DENIED": 8,
        "TOOL": 9,
        "WARNED": 10,
        "TRANSFER": 11,
        "CAP_CHANGED": 12,
        "MESSAGE": 13,
    }


def test_a_derived_id_is_the_same_in_every_version() -> None:
    assert derived_id("session", "s").hex() == "33ba9d7a4058088fb719193e4167cc69"


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_derived_ids_are_equal_only_for_equal_parts(one: list[str], other: list[str]) -> None:
    assert (derived_id(*one) == derived_id(*other)) == (one == other)
    assert len(derived_id(*one)) == 16


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("a", ""), ("a",)),
        (("", "a"), ("a", "")),
        ((), ("",)),
        (("a\0b",), ("a", "b")),
        (("\ud800",), ("?",)),
    ],
)
def test_parts_do_not_run_into_each_other(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert derived_id(*one) != derived_id(*other)


def test_the_token_fields_of_an_event_are_a_usage() -> None:
    assert CALL.usage == Usage(1, 2, 3, 4, 5, 1)
    assert astuple(CALL.usage)[:6] == CALL[8:14]


def test_an_ended_hold_says_what_was_booked() -> None:
    assert CALL.ended(Kind.CALL, 7, 9) is CALL
    lapsed = CALL.ended(Kind.LAPSE, 0, 11)
    assert (lapsed.kind, lapsed.cost, lapsed.held) == (Kind.LAPSE, 0, 11)
    assert lapsed._replace(kind=CALL.kind, cost=CALL.cost, held=CALL.held) == CALL


@pytest.mark.parametrize(
    "other",
    [
        CALL._replace(cost=8),
        CALL._replace(held=8),
        CALL._replace(status="failed"),
        CALL._replace(data={"reason": "else"}),
        CALL._replace(data=None),
        CALL._replace(context=Context("t")),
    ],
)
def test_the_payload_tells_two_operations_apart(other: Event) -> None:
    assert other.payload != CALL.payload


def test_the_payload_is_not_about_when_and_where() -> None:
    assert CALL._replace(seq=5, at=99, started=98).payload == CALL.payload
    assert CALL._replace(data={}).payload == CALL._replace(data=None).payload


def test_the_units_of_an_event_are_a_part_of_its_usage() -> None:
    event = CALL._replace(data={"units": {"input_audio": 7}, "marks": ["unread"]})

    assert event.usage == Usage(1, 2, 3, 4, 5, 1, units={"input_audio": 7})
    assert event.marks == ("unread",)
    assert CALL.usage.units is NO_UNITS
    assert CALL.marks == ()
