"""Headers and environment variables: what is put into them, and what is believed of them."""

import logging
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spendtree
from spendtree import Spendtree
from spendtree.propagation import baggage, carrier, traceparent
from spendtree.propagation.identifiers import CYCLE_MAX, LEVEL_MAX, PREFIX, Identifiers

RUN = "0193f0a0b0c07000800000000000abcd"


def members(headers: Any) -> dict[str, str]:
    return baggage.parse(headers["baggage"])


def test_a_session_is_named_with_its_customer_and_team_and_nothing_else() -> None:
    tracker = Spendtree("memory:")
    with tracker.session("s-1", customer="acme", team="search", ceiling="0.25"):
        headers = tracker.inject()

    assert members(headers) == {
        "spendtree.session": "s-1",
        "spendtree.customer": "acme",
        "spendtree.team": "search",
    }
    assert headers["traceparent"] == traceparent.text("s-1", "")
    assert headers.keys() == {"baggage", "traceparent"}


def test_a_run_is_named_with_where_it_stands_but_never_with_what_it_may_spend() -> None:
    tracker = Spendtree("memory:")
    with (
        tracker.session("s", ceiling="0.25"),
        tracker.cycle(),
        tracker.cycle(),
        tracker.agent("coordinator", envelope="0.05") as above,
        tracker.agent("reader", task_id="t-17", task="secret", max_cost="0.06") as run,
    ):
        headers = tracker.inject()

    assert members(headers) == {
        "spendtree.session": "s",
        "spendtree.run": run.id,
        "spendtree.cycle": "1",
        "spendtree.agent": "reader",
        "spendtree.parent": above.id,
        "spendtree.level": "2",
        "spendtree.task": "t-17",
    }


def test_a_cycle_is_named_where_one_is_fixed() -> None:
    tracker = Spendtree("memory:")
    with tracker.session("s") as session:
        assert "spendtree.cycle" not in members(tracker.inject())
        with session.cycle(), session.cycle():
            pass
        with session.cycle():
            assert members(tracker.inject())["spendtree.cycle"] == "2"


def test_outside_any_scope_nothing_is_touched() -> None:
    tracker, other = Spendtree("memory:"), Spendtree("memory:")
    headers = {"baggage": "theirs=1"}
    with other.session():
        assert tracker.inject(headers) is headers
    assert headers == {"baggage": "theirs=1"}
    assert tracker.inject() == {}


def test_the_default_injects_the_scope_it_is_called_in() -> None:
    tracker = Spendtree("memory:")
    with tracker.session("s"):
        assert members(spendtree.inject())["spendtree.session"] == "s"


def test_headers_of_others_stay_whatever_their_case() -> None:
    tracker = Spendtree("memory:")
    headers = {"Baggage": "theirs=1", "Traceparent": "a tracer's"}
    with tracker.session("s"):
        tracker.inject(headers)
        multi = httpx.Headers({"baggage": "theirs=1"})
        tracker.inject(multi)

    assert headers == {"Baggage": "theirs=1,spendtree.session=s", "Traceparent": "a tracer's"}
    assert multi["BAGGAGE"] == "theirs=1,spendtree.session=s"
    assert traceparent.parse(multi["traceparent"])


def test_environment_variables_have_their_usual_names() -> None:
    tracker = Spendtree("memory:")
    with tracker.session("s"):
        made = tracker.inject(environment=True)
        kept = tracker.inject({"BAGGAGE": "theirs=1", "PATH": "/bin"}, environment=True)

    assert made.keys() == {"BAGGAGE", "TRACEPARENT"}
    assert kept["BAGGAGE"] == "theirs=1,spendtree.session=s"
    assert carrier.read(kept)[0] == Identifiers(session="s")


def test_a_full_baggage_is_left_alone_and_said_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    tracker = Spendtree("memory:")
    full = "k=" + "v" * (baggage.MAX_BYTES - 2)
    with tracker.session("s"), caplog.at_level(logging.WARNING, "spendtree"):
        assert tracker.inject({"baggage": full}) == {"baggage": full}
    assert "baggage is full" in caplog.text


def test_the_longest_names_are_cut_from_the_end_until_they_fit() -> None:
    tracker = Spendtree("memory:")
    long = "語" * 200
    with (
        tracker.session(long, customer=long, team=long),
        tracker.agent(long, task_id=long) as run,
    ):
        headers = tracker.inject()

    assert len(headers["baggage"]) <= baggage.MAX_BYTES
    told, _ = carrier.read(headers)
    assert told is not None
    assert (told.session, told.run, told.customer, told.team) == (long, run.id, long, long)
    assert (told.agent, told.level, told.task) == (long, 1, "")


def test_a_header_may_come_as_text_or_bytes_in_a_mapping_or_in_pairs_and_in_several_lines() -> None:
    header = "spendtree.session=s,spendtree.customer=acme"
    expected = Identifiers(session="s", customer="acme")
    one, other = header.split(",")

    for headers in (
        {"Baggage": header},
        [("baggage", header)],
        [(b"baggage", one.encode()), (b"x", b"\xff"), (b"baggage", other.encode())],
        httpx.Headers([("baggage", one), ("Baggage", other)]),
        {"BAGGAGE": header, "HOME": "/"},
    ):
        assert carrier.read(headers)[0] == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session", "x" * 201),
        ("session", ""),
        ("customer", "x" * 201),
        ("run", RUN[:-1]),
        ("run", RUN.upper()),
        ("run", "../" + RUN[3:]),
        ("parent", "x"),
        ("level", "-1"),
        ("level", str(LEVEL_MAX + 1)),
        ("level", "1e3"),
        ("level", "٣"),
        ("cycle", str(CYCLE_MAX + 1)),
        ("cycle", "9" * 5000),
    ],
)
def test_what_is_no_identifier_counts_as_not_said(name: str, value: str) -> None:
    said = {PREFIX + "session": "s", PREFIX + name: value}

    told = Identifiers.read(said)

    assert told == (None if name == "session" else Identifiers(session="s"))


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=200)), max_size=5), st.text())
def test_no_headers_are_too_broken_to_be_read(pairs: list[tuple[str, str]], value: str) -> None:
    tracker = Spendtree("memory:")
    for text in (value, f"spendtree.session={value}", f"spendtree.session=s,spendtree.run={value}"):
        headers = [*pairs, ("baggage", text), ("traceparent", value)]
        with tracker.extract(headers) as scope:
            assert scope is None or scope.session.id


def test_ours_are_erased_and_the_others_stay() -> None:
    tracker = Spendtree("memory:")
    with tracker.session("s"):
        mixed = tracker.inject({"baggage": "theirs=1", "accept": "*/*"})
        own = tracker.inject({"traceparent": "a tracer's"})

    carrier.erase(mixed)
    carrier.erase(own)

    assert mixed == {"baggage": "theirs=1", "accept": "*/*"}
    assert own == {"traceparent": "a tracer's"}
    untouched = {"baggage": "theirs=1", "traceparent": traceparent.text("s", "")}
    before = dict(untouched)
    carrier.erase(untouched)
    assert untouched == before
