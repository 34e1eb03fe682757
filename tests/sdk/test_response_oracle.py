"""An independent reader, written from the providers' documentation, agrees with `call.record`.

Every recorded response is given to a call as it came over the connection, and what the log then has
(buckets, units, the model that answered, cost and whether the provider stated it) is compared with
what `tests.sdk.oracle` reads and prices. What differs is explained one by one in `differences.py`,
or the test fails; so it does where an entry no longer differs.
"""

import json
import re
from collections import ChainMap
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import ROUND_CEILING, Decimal
from typing import Any

import pytest

from spendtree import Spendtree
from spendtree.call import CallOptions
from spendtree.event import Event, Kind
from spendtree.testing import FrozenClock
from tests.sdk.oracle import prices
from tests.sdk.oracle.differences import DIFFERENCES
from tests.sdk.oracle.reader import read
from tests.sdk.oracle.reading import Reading
from tests.sdk.recordings import RECORDED, ROWS, needs_recordings, raw

OFF_PEAK = datetime(2026, 11, 30, 12, tzinfo=UTC)
"""A Monday noon, when DeepSeek asks the lower of its two prices; the oracle's prices are of it."""
PEAK = datetime(2026, 11, 30, 2, tzinfo=UTC)

PROVIDERS = {"gemini": "google", "vertex": "google", "bedrock": "aws", "azure_openai": "azure"}
"""The names of a call's provider, where the index of the recordings has others."""

BUCKETS = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_tokens",
    "cache_write": "cache_write_tokens",
    "cache_write_1h": "cache_write_1h_tokens",
    "reasoning": "reasoning_tokens",
}
PICO = Decimal(10) ** 12
DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
"""What a snapshot adds to the name of its model."""
ALIASES = {
    "anthropic.claude-3-sonnet-20240229-v1": "claude-3-sonnet",
    "anthropic.claude-v2": "claude-2.0",
    "anthropic/claude-sonnet-4.6": "anthropic/claude-4.6-sonnet",
    "claude-sonnet-4-0": "claude-sonnet-4",
    "compound-beta": "groq/compound",
    "gemini-2.5-pro-preview-03-25": "gemini-2.5-pro",
    "gpt-5.6": "gpt-5.6-sol",
    "models/gemini-2.5-pro": "gemini-2.5-pro",
    "us.anthropic.claude-3-5-sonnet-20240620-v1": "claude-3-5-sonnet",
}
"""Names under which the same model is asked for, by the providers' lists of models."""


def body_of(file: str) -> Any:
    """Return a body as a client has it: JSON decoded, a stream's text whole, frames as bytes."""
    response = json.loads((RECORDED / file).read_text(encoding="utf-8"))["response"]
    if "body_json" in response:
        return response["body_json"]
    return raw(file) if "body_b64" in response else response["body_text"]


def logged(row: dict[str, Any], at: datetime = OFF_PEAK) -> Event:
    """Return what the log has of a call that recorded the response."""
    provider = PROVIDERS.get(row["provider"], row["provider"])
    tracker = Spendtree("memory:", clock=FrozenClock(int(at.timestamp()) * 10**9))
    asked: CallOptions = {"provider": provider, "input_tokens": 1000, "max_output_tokens": 1000}
    with tracker.call(row["model"], **asked) as call:
        call.record(body_of(row["file"]))
    (event,) = tracker.store.events(kinds=(Kind.CALL, Kind.LAPSE))
    return event


def differences(row: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return what the oracle and the log say, by aspect, where they differ."""
    reading, event = read(row), logged(row)
    said = {True: "stated", False: "presumed"}
    pairs = {
        "usage": (said[bool(reading.parts)], said[event.kind == Kind.CALL]),
        **{
            name: (str(reading.total(name)), str(getattr(event, theirs)))
            for name, theirs in BUCKETS.items()
        },
        "units": (listed(reading.units), listed((event.data or {}).get("units", {}))),
        "model": models(row, reading, event),
        "cost": costs(row, reading, event),
        "source": (
            "list" if reading.cost is None else "provider",
            (event.data or {}).get("cost_source", "list"),
        ),
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def listed(units: Mapping[str, int]) -> str:
    return " ".join(f"{name}={count}" for name, count in sorted(units.items()))


def models(row: dict[str, Any], reading: Reading, event: Event) -> tuple[str, str]:
    """Return both models that answered. A log that names none says that the one asked did."""
    theirs = str((event.data or {}).get("answered_by", row["model"]))
    same = ALIASES.get(theirs, theirs) in (reading.model, DATED.sub("", reading.model))
    if same or event.kind != Kind.CALL:
        return "", ""
    return reading.model, theirs


def costs(row: dict[str, Any], reading: Reading, event: Event) -> tuple[str, str]:
    """Return both costs; the log rounds one up to whole pico-dollars."""
    expected = prices.cost(row["provider"], reading) if reading.parts else None
    if expected is None or event.kind != Kind.CALL:
        return "", ""  # nothing to compare, or the aspect "usage" says so
    exact = (expected * PICO).to_integral_value(ROUND_CEILING)
    theirs = "unpriced" if event.cost is None else dollars(event.cost)
    return dollars(int(exact)), theirs


def dollars(pico: int) -> str:
    return f"{(Decimal(pico) / PICO).normalize():f}"


@needs_recordings
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_an_independent_reader_agrees_but_for_what_is_explained(row: dict[str, Any]) -> None:
    explained = [one.aspects for one in DIFFERENCES if one.file == row["file"]]
    assert differences(row) == dict(ChainMap(*map(dict, explained)))


@needs_recordings
def test_every_explanation_is_of_one_recording_and_one_aspect() -> None:
    keys = [(one.file, aspect) for one in DIFFERENCES for aspect in one.aspects]
    assert len(set(keys)) == len(keys)
    assert {file for file, _ in keys} <= {row["file"] for row in ROWS}
    assert all(one.why for one in DIFFERENCES)


def test_what_is_called_safe_charges_no_less() -> None:
    safe = [
        one.aspects["cost"]
        for one in DIFFERENCES
        if one.verdict == "safe" and "cost" in one.aspects
    ]
    assert safe
    assert all(Decimal(oracle) <= Decimal(theirs) for oracle, theirs in safe)


@needs_recordings
def test_most_recordings_have_a_price_of_the_oracle() -> None:
    assert len(ROWS) >= 176
    readings = [(row["provider"], read(row)) for row in ROWS]
    used = [(provider, reading) for provider, reading in readings if reading.parts]
    priced = [one for one in used if prices.cost(*one) is not None]
    assert len(used) - len(priced) <= 16, "see UNPRICED"


@needs_recordings
def test_deepseek_costs_twice_as_much_in_its_peak_hours() -> None:
    """Models & Pricing: "Peak hours are 01:00 - 04:00 and 06:00 - 10:00 UTC" of working days."""
    (row,) = [row for row in ROWS if row["file"] == "deepseek/responses__json__200__002.json"]
    off_peak, peak = logged(row).cost, logged(row, PEAK).cost
    assert off_peak is not None
    assert peak == 2 * off_peak
