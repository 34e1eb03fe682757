"""What is billed beside tokens, and what is not billed at all: guardrails, tools, moderation."""

import copy
import json
from typing import Any

import pytest

from spendtree import Spendtree, Usage
from spendtree.event import Event, Kind
from spendtree.model_names import is_another
from spendtree.response import read
from spendtree.response.plain import plain
from spendtree.response.reading import walked

NOVA = "us.amazon.nova-micro-v1:0"


def assessment(content: int = 1, action: str = "NONE", **more: int) -> dict[str, Any]:
    usage = {
        **dict.fromkeys(("topicPolicyUnits", "sensitiveInformationPolicyUnits"), 1),
        **dict.fromkeys(("contextualGroundingPolicyUnits", "wordPolicyUnits"), 0),
        "contentPolicyUnits": content,
        "sensitiveInformationPolicyFreeUnits": 3,
        **more,
    }
    topics = [{"name": "t", "type": "DENY", "action": action}]
    return {"topicPolicy": {"topics": topics}, "invocationMetrics": {"usage": usage}}


FREE_ONLY = {"topicPolicyUnits": 0, "sensitiveInformationPolicyUnits": 0, "wordPolicyUnits": 2}
BOTH = {"guardrail_content": 3, "guardrail_topic": 2, "guardrail_sensitive": 2}
TWO_SIDES = {
    "inputAssessment": {"a": assessment()},
    "outputAssessments": {"a": [assessment(content=2)]},
}
CONVERSE = {
    "output": {"message": {"role": "assistant", "content": [{"text": "hi"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15},
    "metrics": {"latencyMs": 3},
    "trace": {"guardrail": TWO_SIDES},
}
BESIDE = {
    "guardrail": {"input": {"a": assessment()}, "outputs": [{"a": assessment(content=2)}]},
}
METRICS = {"inputTokenCount": 10, "outputTokenCount": 5}
TITAN = {"inputTextTokenCount": 10, "results": [{"tokenCount": 5, "outputText": "hi"}]}
STREAM_END = {
    "outputText": "hi",
    "index": 0,
    "totalOutputTextTokenCount": 5,
    "inputTextTokenCount": 10,
    "amazon-bedrock-trace": BESIDE,
    "amazon-bedrock-invocationMetrics": METRICS,
}


def settled(response: Any, asked: str, provider: str, **options: Any) -> Event:
    tracker = Spendtree("memory:", options)
    with tracker.call(asked, provider=provider, input_tokens=100, max_output_tokens=100) as call:
        call.record(response)
    (event,) = tracker.store.events(kinds=(Kind.CALL, Kind.LAPSE))
    return event


@pytest.mark.parametrize(
    "response",
    [
        CONVERSE,
        [
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {key: CONVERSE[key] for key in ("usage", "metrics", "trace")}},
        ],
        {**TITAN, "amazon-bedrock-trace": BESIDE},
        [{"chunk": {"bytes": json.dumps(STREAM_END).encode()}}],
        {
            "usage_metadata": {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15},
            "response_metadata": {"trace": CONVERSE["trace"]},
        },
    ],
    ids=["Converse", "ConverseStream", "InvokeModel", "its stream", "LangChain"],
)
def test_what_guardrails_checked_is_counted_on_both_sides(response: Any) -> None:
    assert read(response, NOVA).usage == Usage(10, 5, units=BOTH)


def test_a_guardrail_has_a_price() -> None:
    with_it, without = (
        settled(CONVERSE, NOVA, "aws"),
        settled({**CONVERSE, "trace": {}}, NOVA, "aws"),
    )

    assert with_it.cost is not None
    assert without.cost is not None
    assert with_it.cost - without.cost == (3 + 2) * 150_000_000 + 2 * 100_000_000
    assert with_it.marks == ()


def test_a_check_without_a_price_is_marked() -> None:
    trace = {"guardrail": {"inputAssessment": {"a": assessment(automatedReasoningPolicyUnits=4)}}}
    event = settled({**CONVERSE, "trace": trace}, NOVA, "aws")

    assert event.units["guardrail_reasoning"] == 4
    assert event.marks == ("unpriced:guardrail_reasoning",)


def test_a_prompt_that_converse_blocked_costs_the_guardrail_alone() -> None:
    usage = {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
    trace = {"guardrail": {"inputAssessment": {"a": assessment(action="BLOCKED")}}}
    body = {**CONVERSE, "stopReason": "guardrail_intervened", "usage": usage, "trace": trace}
    event = settled(body, NOVA, "aws")

    assert (event.kind, event.cost) == (Kind.CALL, 400_000_000)
    assert event.usage.total_tokens == 0


def test_tokens_of_the_message_for_a_blocked_prompt_are_not_billed() -> None:
    trace = {"guardrail": {"input": {"a": assessment(action="BLOCKED")}}}
    blocked = {**TITAN, "amazon-bedrock-trace": trace}
    metered = {**blocked, "amazon-bedrock-invocationMetrics": METRICS}
    masked = {"guardrail": {"input": {"a": assessment(action="ANONYMIZED")}}}

    assert read(blocked).usage == Usage(0, 0, units=dict.fromkeys(BOTH, 1))
    assert read(metered).usage == Usage(10, 5, units=dict.fromkeys(BOTH, 1))
    assert read({**TITAN, "amazon-bedrock-trace": masked}).usage == Usage(
        10, 5, units=dict.fromkeys(BOTH, 1)
    )


def test_a_prompt_that_a_free_filter_blocked_is_free() -> None:
    trace = {"guardrail": {"input": {"a": assessment(0, action="BLOCKED", **FREE_ONLY)}}}
    event = settled({**TITAN, "amazon-bedrock-trace": trace}, NOVA, "aws")

    assert (event.kind, event.cost, event.usage) == (Kind.CALL, 0, Usage(0, 0))


def test_the_usage_of_an_answer_that_a_guardrail_changed_is_that_of_the_model() -> None:
    whole = {"output": {}, "usage": {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}}
    trace = {"guardrail": {**BESIDE["guardrail"], "modelOutput": [json.dumps(whole)]}}
    body = {"output": {}, "usage": {"inputTokens": 10}, "amazon-bedrock-trace": trace}
    text = {"guardrail": {**BESIDE["guardrail"], "modelOutput": ["no body"]}}

    assert read(body).usage == Usage(10, 5, units=BOTH)
    partial = read({**body, "amazon-bedrock-trace": text})
    assert partial.usage is None
    assert partial.floor is not None
    assert partial.floor.units == BOTH


def test_a_guardrail_that_is_applied_alone_states_its_usage() -> None:
    usage = assessment(2)["invocationMetrics"]["usage"]
    body = {"usage": usage, "action": "NONE", "outputs": [], "assessments": [assessment(2)]}
    units = {"guardrail_content": 2, "guardrail_topic": 1, "guardrail_sensitive": 1}

    assert read(body).usage == Usage(0, 0, units=units)
    free = read({**body, "usage": assessment(0, "NONE", **FREE_ONLY)["invocationMetrics"]["usage"]})
    assert (free.usage, free.free, free.problem) == (Usage(0, 0), True, "")


def gemini(*parts: Any, model: str = "gemini-3-flash-preview", **candidate: Any) -> dict[str, Any]:
    return {
        "candidates": [{"content": {"parts": list(parts)}, "index": 0, **candidate}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
        "modelVersion": model,
    }


def search(*queries: str, kind: str = "GOOGLE_SEARCH_WEB", id: str = "x") -> dict[str, Any]:
    return {"toolCall": {"toolType": kind, "args": {"queries": list(queries)}, "id": id}}


@pytest.mark.parametrize(
    ("body", "units"),
    [
        (gemini(search("a", "b", ""), search("b")), {"web_search": 2}),
        (gemini(search("a", kind="GOOGLE_SEARCH_IMAGE")), {"web_search": 1}),
        (gemini(search(id="1"), search(id="2")), {"web_search": 2}),
        (gemini(search("a"), groundingMetadata={"webSearchQueries": ["a"]}), {"web_search": 1}),
        (gemini(search("a", "b"), model="gemini-2.5-flash"), {"grounded_prompt": 1}),
        (gemini(search(kind="GOOGLE_MAPS")), {"maps_prompt": 1}),
        (gemini(search(kind="URL_CONTEXT"), {"text": "hi"}), {}),
        ([gemini({"text": "h"}), gemini(search("a")), gemini({"text": "i"})], {"web_search": 1}),
        (
            gemini({"tool_call": {"tool_type": "GOOGLE_SEARCH_WEB", "args": {"queries": ["a"]}}}),
            {"web_search": 1},
        ),
    ],
)
def test_searches_that_a_gemini_calls_as_tools_are_counted(body: Any, units: Any) -> None:
    assert read(body).usage == Usage(10, 5, units=units)


def groq(*tools: Any, **more: Any) -> dict[str, Any]:
    executed = [{"index": place, **tool} for place, tool in enumerate(tools)]
    return {
        "model": "groq/compound",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"content": "hi", "executed_tools": executed}}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
        **more,
    }


def of_model(model: str, inputs: int, output: int, reasoning: int = 0) -> dict[str, Any]:
    usage = {"prompt_tokens": inputs, "completion_tokens": output, "total_tokens": inputs + output}
    split = {"completion_tokens_details": {"reasoning_tokens": reasoning}} if reasoning else {}
    return {"model": model, "usage": {**usage, **split}}


def test_tools_that_groq_executed_are_counted() -> None:
    kinds = ("search", "visit", "python", "search", "wolfram_alpha")
    functions = ({"type": "function", "name": "browser.search"}, {"type": "function", "name": "x"})
    body = groq(*({"type": kind} for kind in kinds), *functions)
    units = {"web_search": 3, "tool_request": 3, "code_session": 1}

    assert read(body).usage == Usage(10, 5, units=units)
    assert read(groq()).usage == Usage(10, 5)


def test_a_tool_of_a_stream_counts_once() -> None:
    begun = {"choices": [{"delta": {"executed_tools": [{"type": "search", "index": 0}]}}]}
    ended: Any = copy.deepcopy(begun)
    ended["choices"][0]["delta"]["executed_tools"][0]["output"] = "found"
    other = {"choices": [{"delta": {"executed_tools": [{"type": "search", "index": 1}]}}]}
    usage = of_model("", 10, 5)["usage"]
    last = {"choices": [{"delta": {}}], "model": "groq/compound", "x_groq": {"usage": usage}}

    assert read([begun, ended, other, last]).usage == Usage(10, 5, units={"web_search": 2})


def test_each_model_of_a_compound_system_has_its_own_price() -> None:
    models = [of_model("a", 4, 1), of_model("b", 5, 3, reasoning=2), of_model("a", 1, 1)]
    body = groq({"type": "visit"}, usage_breakdown={"models": models})
    prices = {
        "a": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "10"},
        "b": {"input_usd_per_mtok": "100", "output_usd_per_mtok": "1000"},
    }
    event = settled(body, "groq/compound", "groq", prices=prices)

    assert event.usage == Usage(10, 5, reasoning_tokens=2, units={"tool_request": 1})
    assert event.cost == (5 + 500 + 2 * 10 + 3 * 1000) * 10**6
    assert event.data is not None
    assert event.data["parts"] == ["a", "b"]
    assert event.marks == ("unpriced:tool_request",)


def test_a_breakdown_that_is_not_the_whole_is_reported() -> None:
    for models in ([of_model("a", 4, 1)], [of_model("a", 10, 5)] * 2, [{"model": "a"}]):
        said = read(groq(usage_breakdown={"models": models}))
        assert (said.usage, said.parts) == (Usage(10, 5), ())
        assert "usage_breakdown" in said.unread


MODERATION = {
    "id": "modr-1",
    "model": "omni-moderation-latest",
    "results": [{"flagged": False, "categories": {"hate": False}, "category_scores": {"hate": 0}}],
}


def test_openais_moderation_is_free() -> None:
    event = settled(MODERATION, "omni-moderation-latest", "openai")
    assert (event.kind, event.cost, event.usage) == (Kind.CALL, 0, Usage(0, 0))

    prices = {"omni-moderation-latest": {"input_usd_per_mtok": "1", "output_usd_per_mtok": "1"}}
    assert settled(MODERATION, "omni-moderation-latest", "", prices=prices).cost == 0


@pytest.mark.parametrize(
    "body",
    [
        {**MODERATION, "model": "gpt-4o"},
        {**MODERATION, "results": []},
        {**MODERATION, "results": [{"flagged": True}]},
        {**MODERATION, "results": [{"categories": {}, "category_scores": {}}]},
        {**MODERATION, "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}},
    ],
)
def test_what_only_looks_like_a_moderation_is_not_free(body: Any) -> None:
    assert (read(body).usage, read(body).free) == (None, False)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4", "gpt-4-0613"),
        ("claude-sonnet-4-5-latest", "claude-sonnet-4-5-20250929"),
        ("models/gemini-2.5-pro", "gemini-2.5-pro"),
        ("us.anthropic.claude-sonnet-4-20250514-v1:0", "claude-sonnet-4-20250514"),
        ("openai/gpt-oss-120b", "gpt-oss-120b"),
        ("m", ""),
    ],
)
def test_a_snapshot_of_what_was_asked_is_not_another_model(asked: str, answered: str) -> None:
    assert not is_another(asked, answered)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
        ("claude-opus-4", "claude-opus-4-1"),
        ("gpt-4.1", "gpt-4.1-mini-2025-04-14"),
        ("my-deployment", "gpt-4o-2024-08-06"),
        ("google/gemini-2.0-flash-exp:free", "x-ai/grok-4"),
        ("deepseek-v3", "deepseek-v2"),
    ],
)
def test_whatever_else_answers_is_another_model(asked: str, answered: str) -> None:
    assert is_another(asked, answered)


@pytest.mark.parametrize("cost", [None, 0.5])
@pytest.mark.parametrize("asked", ["unknown", "gpt-4o"])
def test_the_model_that_answered_is_kept_whatever_decides_the_price(asked: str, cost: Any) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15, "cost": cost}
    event = settled({"model": "other", "usage": usage}, asked, "openai")

    assert event.data is not None
    assert event.data["answered_by"] == "other"


EVERYDAY: dict[str, Any] = {
    "gemini": gemini({"text": "hi"}, finishReason="STOP", safetyRatings=[]),
    "Converse": {**{key: CONVERSE[key] for key in CONVERSE if key != "trace"}},
    "OpenRouter": {
        "id": "gen-1",
        "provider": "xAI",
        "model": "x-ai/grok-4",
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hi"}}],
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "cost": 0.0033,
            "is_byok": False,
            "cost_details": {"upstream_inference_cost": None},
            "prompt_tokens_details": {"cached_tokens": 4, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3, "image_tokens": 0},
        },
    },
    "OpenAI": {key: value for key, value in groq().items() if key != "choices"},
}
EVERYDAY["gemini"]["usageMetadata"] |= {
    "thoughtsTokenCount": 7,
    "totalTokenCount": 22,
    "cachedContentTokenCount": 4,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 10}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 4}],
    "trafficType": "ON_DEMAND",
}
EVERYDAY["Converse"]["usage"] = {
    "inputTokens": 10,
    "outputTokens": 5,
    "totalTokens": 24,
    "cacheReadInputTokens": 8,
    "cacheWriteInputTokens": 1,
}
TOOLS = groq({"type": "search"})["choices"]
MORE = {"executed_tools": [{"type": "search"}], "toolCall": search("a")["toolCall"]}
ODD: tuple[Any, ...] = (
    None,
    0,
    -1,
    3,
    1.5,
    "7",
    True,
    2**50,
    [],
    {},
    "",
    [{"modality": "AUDIO", "tokenCount": 3}],
)


def variants(thing: Any) -> list[Any]:
    """Return copies with one value, at any depth, replaced, added or gone."""
    found: list[Any] = list(ODD)
    if isinstance(thing, dict):
        for key in thing:
            found += [{**thing, key: each} for each in variants(thing[key])]
            found.append({each: thing[each] for each in thing if each != key})
        found += [{**thing, key: value} for key, value in MORE.items()]
        found.append({**thing, "choices": TOOLS})
    elif isinstance(thing, list):
        for place, item in enumerate(thing):
            found += [[*thing[:place], each, *thing[place + 1 :]] for each in variants(item)]
    return found


@pytest.mark.parametrize("name", EVERYDAY)
def test_what_is_read_at_once_is_what_the_walk_reads(name: str) -> None:
    body = EVERYDAY[name]
    assert plain(body) is not None
    at_once = [each for each in variants(body) if plain(each) is not None]
    assert len(at_once) >= 10
    for each in (body, *at_once):
        assert read(each) == walked(each), each
