"""Whatever becomes of a usage object: no cost below what is still understood, and never 0."""

import copy
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spendtree import Spendtree
from spendtree.event import Event, Kind
from spendtree.response import read
from spendtree.response.reading import walked

INPUT, OUTPUT, READ = 1_000_000, 5_000_000, 100_000
PRICES = {
    "m": {
        "input_usd_per_mtok": "1",
        "output_usd_per_mtok": "5",
        "cache_read_usd_per_mtok": "0.1",
        "context_window": 1_000_000,
    }
}
BOUND: Any = {"input_tokens": 100, "max_output_tokens": 100}


class Shape(NamedTuple):
    """A usage object: where it stands, its keys of input, output and what a cache served of it."""

    place: str
    usage: dict[str, Any]
    input: str
    output: str
    read: str
    inside: bool = True


SHAPES = (
    Shape(
        "usage",
        {
            "prompt_tokens": 600,
            "completion_tokens": 400,
            "total_tokens": 1000,
            "prompt_tokens_details": {"cached_tokens": 200},
            "completion_tokens_details": {"reasoning_tokens": 100},
        },
        *("prompt_tokens", "completion_tokens", "prompt_tokens_details.cached_tokens"),
    ),
    Shape(
        "usage",
        {
            "input_tokens": 600,
            "output_tokens": 400,
            "cache_read_input_tokens": 200,
            "cache_creation_input_tokens": 50,
            "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 30},
        },
        *("input_tokens", "output_tokens", "cache_read_input_tokens"),
        inside=False,
    ),
    Shape(
        "usageMetadata",
        {
            "promptTokenCount": 600,
            "candidatesTokenCount": 300,
            "thoughtsTokenCount": 100,
            "cachedContentTokenCount": 200,
            "totalTokenCount": 1000,
        },
        *("promptTokenCount", "candidatesTokenCount", "cachedContentTokenCount"),
    ),
    Shape(
        "usage",
        {"inputTokens": 600, "outputTokens": 400, "totalTokens": 1200, "cacheReadInputTokens": 200},
        *("inputTokens", "outputTokens", "cacheReadInputTokens"),
        inside=False,
    ),
)

MUTATIONS = {
    "drop": lambda at, key: at.pop(key),
    "rename": lambda at, key: at.update({f"{key}_renamed": at.pop(key)}),
    "nest": lambda at, key: at.update({key: {"inner": at[key]}}),
    "null": lambda at, key: at.update({key: None}),
    "zero": lambda at, key: at.update({key: 0}),
    "text": lambda at, key: at.update({key: str(at[key])}),
    "words": lambda at, key: at.update({key: "many"}),
    "float": lambda at, key: at.update({key: 250.0}),
    "negative": lambda at, key: at.update({key: -5}),
    "larger": lambda at, key: at.update({key: 5000}),
    "list": lambda at, key: at.update({key: [at[key]]}),
    "unknown": lambda at, key: at.update({f"odd_{key}": 77}),
}


def paths_of(usage: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key, value in usage.items():
        found.append(prefix + key)
        if isinstance(value, dict):
            found += paths_of(value, f"{prefix}{key}.")
    return found


def mutated(shape: Shape, changes: list[tuple[str, int]]) -> dict[str, Any]:
    usage = copy.deepcopy(shape.usage)
    for name, place in changes:
        paths = paths_of(usage)
        if not paths:
            break
        *above, key = paths[place % len(paths)].split(".")
        at: Any = usage
        for each in above:
            at = at[each]
        MUTATIONS[name](at, key)
    return usage


def understood(usage: dict[str, Any], path: str) -> int:
    """Return the count at a path, 0 where nobody could understand it."""
    value: Any = usage
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    if isinstance(value, str) and value.isdigit():
        return int(value)
    return int(value) if isinstance(value, (int, float)) and value > 0 else 0


def least(shape: Shape, usage: dict[str, Any]) -> int:
    """Return what the part that is still understood costs at least."""
    inputs, read = understood(usage, shape.input), understood(usage, shape.read)
    if shape.inside:
        inputs = max(inputs - read, 0)
    return inputs * INPUT + read * READ + understood(usage, shape.output) * OUTPUT


def ended(response: Any) -> Event:
    tracker = Spendtree("memory:", {"prices": PRICES, "mode": "enforce"})
    with tracker.session(ceiling="1000") as session, session.call("m", **BOUND) as call:
        call.record(response)
    (event,) = [e for e in tracker.store.events() if e.kind in (Kind.CALL, Kind.LAPSE)]
    return event


@settings(deadline=None, max_examples=300)
@given(
    st.sampled_from(SHAPES),
    st.lists(st.tuples(st.sampled_from(sorted(MUTATIONS)), st.integers(0, 30)), max_size=4),
    st.booleans(),
)
def test_no_mutation_makes_a_call_cheaper_than_what_is_still_understood(
    shape: Shape, changes: list[tuple[str, int]], streamed: bool
) -> None:
    usage = mutated(shape, changes)
    body = {"model": "m", "choices": [], shape.place: usage}

    event = ended([{"model": "m"}, body] if streamed else body)

    assert read(body)._replace(error=None) == walked(body)._replace(error=None)
    counted = event.held if event.kind == Kind.LAPSE else event.cost
    assert counted is not None
    assert counted > 0, usage
    assert counted >= least(shape, usage), (usage, event)


@pytest.mark.parametrize("shape", SHAPES)
def test_unchanged_they_cost_what_they_say(shape: Shape) -> None:
    event = ended({"model": "m", shape.place: shape.usage})

    written = shape.usage.get("cache_creation_input_tokens", 0)
    thoughts = shape.usage.get("thoughtsTokenCount", 0)
    expected = least(shape, shape.usage) + written * INPUT + thoughts * OUTPUT
    assert (event.kind, event.cost, event.marks) == (Kind.CALL, expected, ())
