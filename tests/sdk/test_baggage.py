"""W3C baggage: read and written within its limits; OpenTelemetry's propagator is the oracle."""

import string

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.baggage import get_all, set_baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from spendtree.propagation import baggage

THEIRS = W3CBaggagePropagator()
KEYS = st.text(string.ascii_letters + string.digits + "._-", min_size=1, max_size=20)
VALUES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


def read_by_them(header: str) -> dict[str, object]:
    return dict(get_all(THEIRS.extract({"baggage": header}, Context())))


def trimmed(text: str) -> bool:
    """Leave out what the other reader trims: it decodes before it takes spaces off."""
    return text == text.strip()


@given(st.dictionaries(KEYS, VALUES.filter(trimmed), max_size=8))
def test_what_is_written_is_what_is_read(members: dict[str, str]) -> None:
    header = baggage.merged("", members, "spendtree.")

    assert header is not None
    assert header.isascii()
    assert baggage.parse(header) == members


@given(st.dictionaries(KEYS, VALUES.filter(trimmed), min_size=1, max_size=8))
def test_opentelemetry_reads_what_is_written_here(members: dict[str, str]) -> None:
    header = baggage.merged("", members, "spendtree.")

    # It takes a plus for a space, as forms do; the specification knows no such thing.
    assert header is not None
    assert read_by_them(header.replace("+", "%2B")) == members


@given(st.dictionaries(KEYS, VALUES.filter(trimmed), min_size=1, max_size=8))
def test_what_opentelemetry_writes_is_read_here(members: dict[str, str]) -> None:
    context = Context()
    for key, value in members.items():
        context = set_baggage(key, value, context)
    carrier: dict[str, str] = {}
    THEIRS.inject(carrier, context)

    found = baggage.parse(carrier["baggage"])

    assert {key: value.replace("+", " ") for key, value in found.items()} == {
        key: value.replace("+", " ") for key, value in members.items()
    }


@given(st.text(max_size=300))
def test_no_text_is_too_broken_to_be_read(header: str) -> None:
    for key, value in baggage.parse(header).items():
        assert key
        value.encode()


def test_what_is_malformed_is_left_out_and_the_rest_is_read() -> None:
    header = "a=1, =x,b,c d=2,e=%GG,f=%ff,g=ü,h=%C3%BC;p=1;q, i = 9 ,a=2,j=a=b"

    assert baggage.parse(header) == {"a": "1", "e": "%GG", "h": "ü", "i": "9", "j": "a=b"}


def test_a_header_over_the_limits_is_not_read() -> None:
    full = ",".join(f"k{n}=v" for n in range(baggage.MAX_MEMBERS))
    assert len(baggage.parse(full)) == baggage.MAX_MEMBERS
    assert baggage.parse(f"{full},one=more") == {}

    long = "k=" + "v" * (baggage.MAX_BYTES - 2)
    assert len(baggage.parse(long)["k"]) == baggage.MAX_BYTES - 2
    assert baggage.parse(long + "v") == {}


def test_ours_take_the_place_of_ours_and_leave_the_others_as_they_stand() -> None:
    header = "theirs=%41;p=1 , spendtree.session=old,more=x"

    merged = baggage.merged(header, {"spendtree.session": "new"}, "spendtree.")

    assert merged == "theirs=%41;p=1,more=x,spendtree.session=new"


def test_what_does_not_fit_is_left_out_but_for_the_first_which_is_needed() -> None:
    own = {"spendtree.session": "s", "spendtree.customer": "c" * 300, "spendtree.team": "t"}
    theirs = "k=" + "v" * (baggage.MAX_BYTES - 100)

    merged = baggage.merged(theirs, own, "spendtree.")

    assert merged is not None
    assert len(merged) <= baggage.MAX_BYTES
    assert baggage.parse(merged).keys() == {"k", "spendtree.session", "spendtree.team"}
    assert baggage.merged("k=" + "v" * (baggage.MAX_BYTES - 3), own, "spendtree.") is None
    full = ",".join(f"k{n}=v" for n in range(baggage.MAX_MEMBERS))
    assert baggage.merged(full, own, "spendtree.") is None
