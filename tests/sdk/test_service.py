"""What a request asks for beside text, and that its hold is for that."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spendtree import Spendtree, Usage
from spendtree.call.answer import Answer
from spendtree.errors import BudgetExceededError, ConfigurationError, UsageError
from spendtree.event import Event, Kind
from spendtree.integrations.service import Service, service_of
from spendtree.money import to_pico
from spendtree.testing import assert_books_balance

SERVED = [
    ({"service_tier": "flex"}, "", {}, ("flex",)),
    ({"service_tier": "priority"}, "", {}, ("priority",)),
    ({"service_tier": "SERVICE_TIER_PRIORITY"}, "", {}, ("priority",)),
    ({"service_tier": "auto"}, "", {}, ()),
    ({"service_tier": "default"}, "", {}, ()),
    ({"service_tier": "standard_only"}, "", {}, ()),
    ({"service_tier": None}, "", {}, ()),
    ({"serviceTier": {"type": "flex"}}, "", {}, ("flex",)),
    ({"serviceTier": {"type": "reserved"}}, "", {}, ("provisioned",)),
    ({"performanceConfig": {"latency": "optimized"}}, "", {}, ("fast",)),
    ({"performanceConfig": {"latency": "standard"}}, "", {}, ()),
    ({"speed": "fast", "inference_geo": "us"}, "", {}, ("fast", "region:us")),
    ({"inference_geo": "global"}, "", {}, ()),
    ({}, "eu.api.openai.com", {}, ("region:eu",)),
    ({"service_tier": "flex"}, "us.api.openai.com", {}, ("flex", "region:us")),
    ({}, "api.openai.com", {}, ()),
    ({}, "us-east5-aiplatform.googleapis.com", {}, ("regional",)),
    ({}, "aiplatform.eu.rep.googleapis.com", {}, ("regional",)),
    ({}, "aiplatform.googleapis.com", {}, ()),
    ({}, "", {"X-Amzn-Bedrock-Service-Tier": "priority"}, ("priority",)),
    ({}, "", {"X-Amzn-Bedrock-PerformanceConfig-Latency": "optimized"}, ("fast",)),
    ({}, "", {"X-Vertex-AI-LLM-Shared-Request-Type": "flex"}, ("flex",)),
    ({}, "", {"X-Vertex-AI-LLM-Request-Type": "dedicated"}, ("provisioned",)),
    ({"service_tier": ["flex"], "speed": None}, "", {"x-other": "flex"}, ()),
]


@pytest.mark.parametrize(("body", "host", "headers", "served"), SERVED)
def test_a_request_says_what_it_asks_to_be_served_as(
    body: dict[str, Any], host: str, headers: dict[str, str], served: tuple[str, ...]
) -> None:
    assert service_of(body, host, headers) == Service(served)


def said(*parts: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(parts)}]}


MODALITIES = [
    ({"messages": [{"role": "user", "content": "audio image"}]}, ()),
    ({"modalities": ["text", "audio"], "audio": {"voice": "alloy"}}, ("audio",)),
    (said({"type": "text", "text": "t"}), ()),
    (said({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}), ("audio",)),
    (said({"type": "image_url", "image_url": {"url": "https://x"}}), ("image",)),
    (said({"type": "image", "source": {}}, {"type": "document"}), ("image",)),
    ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, ("image",)),
    ({"input": [{"type": "input_image"}]}, ("image",)),
    ({"input": [{"type": "function_call_output", "output": [{"type": "input_file"}]}]}, ("image",)),
    (said({"type": "tool_result", "content": [{"type": "image"}]}), ("image",)),
    ({"messages": [{"role": "assistant", "audio": {"id": "a"}}]}, ("audio",)),
    ({"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav"}}]}]}, ("audio",)),
    ({"contents": [{"parts": [{"file_data": {"mime_type": "video/mp4"}}]}]}, ("video",)),
    ({"contents": [{"parts": [{"inline_data": {"mime_type": "application/pdf"}}]}]}, ("image",)),
    ({"input": "audio", "messages": [7, None]}, ()),
]


@pytest.mark.parametrize(("body", "modalities"), MODALITIES)
def test_a_request_says_what_is_to_be_read_and_made(
    body: dict[str, Any], modalities: tuple[str, ...]
) -> None:
    assert service_of(body).modalities == modalities


UNITS = [
    ({"tools": [{"type": "web_search_20250305", "max_uses": 3}]}, {"web_search": 3}),
    ({"tools": [{"type": "web_search_20250305"}]}, {}),
    ({"tools": [{"type": "web_search"}], "max_tool_calls": 2}, {"web_search": 2}),
    (
        {"tools": [{"type": "web_search_preview"}, {"type": "file_search"}], "max_tool_calls": 2},
        {"web_search": 2, "file_search": 2},
    ),
    ({"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]}, {"code_session": 1}),
    ({"tools": [{"type": "code_interpreter", "container": "cntr_1"}]}, {}),
    ({"web_search_options": {}}, {"web_search": 1}),
    ({"tools": [{"type": "function", "name": "f"}, None], "max_tool_calls": 9}, {}),
    ({"tools": [{"type": "web_search", "max_uses": -1}]}, {}),
    ({"tools": [{"type": "web_search", "max_uses": "many"}]}, {}),
]


@pytest.mark.parametrize(("body", "units"), UNITS)
def test_a_request_says_how_often_it_may_use_what_is_billed_beside_tokens(
    body: dict[str, Any], units: dict[str, int]
) -> None:
    assert dict(service_of(body).units) == units


# The hold and the price of a call.

AUDIO = Usage(200, 100, units={"input_audio": 800, "output_audio": 900})
BOUND: Any = {"input_tokens": 1000, "max_output_tokens": 1000}


@pytest.fixture(params=["memory", "sqlite"])
def tracker(request: pytest.FixtureRequest, tmp_path: Path) -> Spendtree:
    url = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path / 'spend.db'}"
    return Spendtree(url)


def ended(tracker: Spendtree) -> Event:
    return [event for event in tracker.store.events() if event.kind == Kind.CALL][-1]


def test_a_call_is_held_for_what_it_asks_to_be_served_as_and_priced_so(tracker: Spendtree) -> None:
    with (
        tracker.session(ceiling=1) as session,
        session.call("gpt-5", provider="openai", served=["Priority"], **BOUND) as call,
    ):
        call.record(Usage(1000, 1000))

    event = ended(tracker)
    assert event.held == event.cost == to_pico("0.0225")
    assert event.data == {"served": ["priority"]}
    assert_books_balance(tracker)


def test_a_tier_that_has_no_price_is_held_at_the_everyday_one_and_marked_and_never_below_its_hold(
    tracker: Spendtree,
) -> None:
    with (
        tracker.session(ceiling=1) as session,
        session.call("gpt-5", provider="openai", served=["scale"], **BOUND) as call,
    ):
        call.record(Usage(100, 100))

    event = ended(tracker)
    assert event.cost == event.held == to_pico("0.01125")
    assert event.marks == ("unpriced:scale",)
    assert (event.data or {})["priced_part"] == to_pico("0.001125")
    assert_books_balance(tracker)


def test_without_a_cap_a_part_without_a_price_is_marked_and_the_rest_is_priced(
    tracker: Spendtree,
) -> None:
    with tracker.session() as session, session.call("gpt-4o", provider="openai", **BOUND) as call:
        call.record(Usage(1000, 0, units={"output_audio": 10}))

    event = ended(tracker)
    assert (event.cost, event.marks) == (to_pico("0.0026"), ("unpriced:output_audio",))
    assert_books_balance(tracker)


def test_a_modality_without_a_price_never_takes_a_capped_call_below_its_hold(
    tracker: Spendtree,
) -> None:
    with (
        tracker.session(ceiling="0.02") as session,
        session.call("gpt-4o", provider="openai", **BOUND) as call,
    ):
        call.record(Usage(10, 10, units={"output_audio": 900}))

    event = ended(tracker)
    assert event.cost == event.held == to_pico("0.0125")
    with (
        tracker.session(session.id, ceiling="0.02") as again,
        pytest.raises(BudgetExceededError),
        again.call("gpt-4o", provider="openai", **BOUND),
    ):
        pass
    assert_books_balance(tracker)


def test_a_model_made_for_sound_is_refused_where_sound_would_not_fit(tracker: Spendtree) -> None:
    with (
        tracker.session(ceiling="0.02") as session,
        pytest.raises(BudgetExceededError),
        session.call("gpt-4o-audio-preview", provider="openai", **BOUND),
    ):
        pass
    with (
        tracker.session(ceiling="0.20") as session,
        session.call("gpt-4o-audio-preview", provider="openai", **BOUND) as call,
    ):
        call.record(AUDIO)

    event = ended(tracker)
    assert (event.cost, event.marks) == (to_pico("0.1055"), ())
    assert event.held >= to_pico("0.1055")
    assert_books_balance(tracker)


def test_modalities_that_are_read_are_held_at_their_own_price(tracker: Spendtree) -> None:
    with tracker.session(ceiling=1) as session:
        with session.call("gemini-2.5-flash", provider="google", **BOUND) as text:
            text.record(Usage(1000, 1000))
        with session.call(
            "gemini-2.5-flash", provider="google", modalities=["text", "audio"], **BOUND
        ) as call:
            call.record(Usage(0, 1000, units={"input_audio": 1000}))

    first, second = [event for event in tracker.store.events() if event.kind == Kind.CALL]
    assert first.held == to_pico("0.0028")
    assert second.held == second.cost == to_pico("0.0035")


def test_fees_are_held_as_far_as_they_are_told_and_shown_as_an_overrun_beyond(
    tracker: Spendtree,
) -> None:
    with tracker.session(ceiling=1) as session:
        with session.call("gpt-5", provider="openai", units={"web_search": 2}, **BOUND) as call:
            call.record(Usage(1000, 1000, units={"web_search": 2}))
        told = ended(tracker)
        with session.call("gpt-5", provider="openai", **BOUND) as call:
            call.record(Usage(1000, 1000, units={"web_search": 2}))
        untold = ended(tracker)

    assert told.held == told.cost == untold.cost == to_pico("0.03125")
    assert (told.overrun, untold.overrun) == (0, to_pico("0.02"))
    assert_books_balance(tracker)


def test_a_model_that_units_alone_price_needs_their_number_under_a_cap(tracker: Spendtree) -> None:
    with (
        tracker.session(ceiling=1) as session,
        pytest.raises(ConfigurationError, match=r"by audio_second, not .*units=\{'audio_sec"),
        session.call("whisper-1", provider="openai", input_tokens=10, max_output_tokens=10),
    ):
        pass
    with (
        tracker.session(ceiling=1) as session,
        session.call("whisper-1", provider="openai", units={"audio_second": 60}) as call,
    ):
        call.record(Usage(0, 0, units={"audio_second": 60}))

    event = ended(tracker)
    assert event.held == event.cost == to_pico("0.006")
    with (
        tracker.session(ceiling="0.005") as session,
        pytest.raises(BudgetExceededError),
        session.call("whisper-1", provider="openai", units={"audio_second": 60}),
    ):
        pass
    assert_books_balance(tracker)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"units": {"searches": 1}}, "units: 'searches' is not a known unit; known are input_au"),
        ({"units": {"web_search": 1.5}}, "units: web_search 1.5 is not a count"),
        ({"units": {"web_search": -1}}, "units: web_search -1 is not between 0"),
        ({"units": ["web_search"]}, "is not a mapping of unit names"),
        ({"served": "flex"}, "served: 'flex' is not a list; give"),
        ({"served": [1]}, "is not a list of words"),
        ({"served": ["x" * 500]}, "is too long for a tier"),
        ({"modalities": "audio"}, "modalities: 'audio' is not a list"),
        ({"modalities": ["sound"]}, "'sound' is not a known modality; known are audio, image"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_held(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Spendtree("memory:").call("gpt-5", **options)
    assert problem in str(refused.value)


@pytest.fixture
def recorded(tracker: Spendtree, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Event]:
    """Make a call whose response states a tier: () is the everyday one, None is silent."""

    def recorded(tier: tuple[str, ...] | None, **options: Any) -> Event:
        answer = Answer(Usage(1000, 1000), "gpt-5", served=tier)
        # The package has functions of the names of these modules.
        monkeypatch.setattr(sys.modules["spendtree.call.call"], "read", lambda *_: answer)
        with (
            tracker.session(ceiling=1) as session,
            session.call("gpt-5", provider="openai", **options, **BOUND) as call,
        ):
            call.record({})
        return ended(tracker)

    return recorded


EVERYDAY, PRIORITY = to_pico("0.01125"), to_pico("0.0225")


def test_what_the_response_says_it_was_served_as_goes_before_what_was_asked(
    recorded: Callable[..., Event],
) -> None:
    downgraded = recorded((), served=["priority"])
    silent = recorded(None, served=["priority"])

    assert (downgraded.held, downgraded.cost) == (PRIORITY, EVERYDAY)
    assert (silent.held, silent.cost) == (PRIORITY, PRIORITY)


def test_a_model_that_is_served_otherwise_than_usual_is_held_so_until_it_is_not(
    tracker: Spendtree, recorded: Callable[..., Event]
) -> None:
    """An account whose requests of tier "auto" are served as priority overruns once."""
    calls = [recorded(tier) for tier in (("priority",), ("priority",), (), ())]

    assert [call.held for call in calls] == [EVERYDAY, PRIORITY, PRIORITY, EVERYDAY]
    assert [call.cost for call in calls] == [PRIORITY, PRIORITY, EVERYDAY, EVERYDAY]
    assert [call.overrun for call in calls] == [EVERYDAY, 0, 0, 0]
    assert not tracker.served_lately
    assert_books_balance(tracker)
