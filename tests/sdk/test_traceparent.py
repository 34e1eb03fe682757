"""W3C trace context: OpenTelemetry's propagator is the oracle."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from spendtree.event import derived_id
from spendtree.ids import new_id
from spendtree.propagation import traceparent

GOOD = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def read_by_them(header: str) -> str:
    context = TraceContextTextMapPropagator().extract({"traceparent": header}, Context())
    span = trace.get_current_span(context).get_span_context()
    return f"{span.trace_id:032x}" if span.is_valid else ""


@given(st.text(min_size=1, max_size=200), st.sampled_from(["", new_id().hex()]))
def test_a_session_and_a_run_are_a_trace_and_its_sampled_parent(session: str, run: str) -> None:
    header = traceparent.text(session, run)

    assert read_by_them(header) == traceparent.parse(header) == traceparent.trace_of(session)
    assert header.endswith("-01")


def test_the_trace_of_a_made_session_is_its_id_and_of_others_that_of_its_opening() -> None:
    made = new_id().hex()
    assert traceparent.trace_of(made) == made
    for named in ("request-4711", made.upper(), "0" * 32):
        assert traceparent.trace_of(named) == derived_id("session", named).hex()


def test_two_runs_of_a_session_are_two_parents_in_one_trace() -> None:
    one, other = (traceparent.text("s", new_id().hex()) for _ in range(2))
    assert one != other
    assert traceparent.parse(one) == traceparent.parse(other)


@pytest.mark.parametrize(
    ("header", "trace_id"),
    [
        (GOOD, TRACE),
        (f"  {GOOD} ", TRACE),
        (GOOD.replace("00-", "cc-", 1), TRACE),
        (GOOD.replace("00-", "cc-", 1) + "-of-the-future", TRACE),
        (GOOD + "-more", ""),
        (GOOD.replace("00-", "ff-", 1), ""),
        (GOOD.upper(), ""),
        (GOOD[:-1], ""),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", ""),
        (f"00-{TRACE}-{'0' * 16}-01", ""),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_a_header_is_read_as_the_specification_says(header: str, trace_id: str) -> None:
    assert traceparent.parse(header) == trace_id
    if header == header.strip() and header.islower():
        assert read_by_them(header) == trace_id
