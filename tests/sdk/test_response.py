"""The usage, model and cost that providers state; checked on recorded responses and streams."""

import json
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from genai_prices import extract_usage

from spendtree import Usage, UsageError
from spendtree.response import model_of, read, reported_cost, usage_of
from spendtree.response.plain import plain
from spendtree.response.reading import walked
from tests.sdk.recordings import RECORDED, ROWS, needs_recordings, recorded

STATES_NO_USAGE = {
    "azure_openai/chat_completions__json__200__004.json": "an error with status 200: filtered",
    "count_tokens/any__json__200__001.json": "counts tokens, spends none",
    "count_tokens/any__json__200__003.json": "counts tokens, spends none",
    "gemini/generate_content__json__200__024.json": "no promptTokenCount and no total",
    "gemini/generate_content__sse__200__044.json": "no promptTokenCount and no total",
    "groq/chat__sse__200__014.json": "a stream that was cut off",
    "openai/chat_completions__sse__200__024.json": "a stream without include_usage",
    "openai/responses__json__200__012.json": "queued in the background, not made yet",
}
"""Successes that do not say all that they used: their calls settle as unmetered."""

REPEATS_ITSELF = "openrouter/chat__json__200__009.json"
"""States the same 2,161 tokens as read from and as written to a cache."""

BEYOND_THE_TOP = {
    "anthropic/messages__sse__200__038.json": Usage(281, 91, 55096),
    "anthropic/messages__sse__200__040.json": Usage(4954, 163, reasoning_tokens=47),
}
"""The model ran several times (a compaction, an advisor): the usage at the top leaves some out."""


def as_object(body: Any) -> Any:
    if isinstance(body, dict):
        return SimpleNamespace(**{key: as_object(value) for key, value in body.items()})
    return [as_object(each) for each in body] if isinstance(body, list) else body


def successes() -> list[str]:
    return [row["file"] for row in ROWS if row["status"] == 200]


def metered() -> list[str]:
    return [file for file in successes() if file not in STATES_NO_USAGE]


def used(file: str) -> Usage:
    usage = usage_of(recorded(file))
    assert usage is not None, file
    return usage


def stated_total(file: str) -> int | None:
    """Return the last total that a response states, wherever it stands."""

    def walk(thing: Any) -> Iterator[int]:
        if isinstance(thing, dict):
            for key, value in thing.items():
                if key in ("total_tokens", "totalTokens", "totalTokenCount"):
                    yield value
                elif key not in ("usage_breakdown", "iterations"):
                    yield from walk(value)
        elif isinstance(thing, list):
            for each in thing:
                yield from walk(each)

    totals = list(walk(recorded(file)))
    return totals[-1] if totals else None


@needs_recordings
def test_every_recorded_success_states_its_usage_but_for_those_listed() -> None:
    unknown = {file for file in successes() if usage_of(recorded(file)) is None}
    assert unknown == set(STATES_NO_USAGE)
    assert len(metered()) >= 140
    assert len(ROWS) >= 176


@needs_recordings
def test_the_everyday_body_is_read_like_any_other() -> None:
    """What is read at once is what the walk reads."""
    at_once = 0
    for row in ROWS:
        body = recorded(row["file"])
        if plain(body) is not None:
            at_once += 1
            assert read(body) == walked(body), row["file"]
    assert at_once >= 10


@needs_recordings
def test_a_refusal_states_no_usage() -> None:
    refusals = [row["file"] for row in ROWS if row["status"] >= 400]
    assert len(refusals) >= 20
    assert [usage_of(recorded(file)) for file in refusals] == [None] * len(refusals)


@needs_recordings
def test_a_clients_object_is_read_like_the_body_it_was_made_from() -> None:
    for file in metered():
        body = recorded(file)
        if "invoke_with" not in file:  # boto3 gives dicts, and keys that are no names
            assert usage_of(as_object(body)) == usage_of(body), file
            assert model_of(as_object(body)) == model_of(body), file


@needs_recordings
def test_a_streams_lines_of_text_are_read_like_its_events() -> None:
    compared = 0
    for row in ROWS:
        if row["body_kind"] in ("sse", "ndjson"):
            record = json.loads((RECORDED / row["file"]).read_text(encoding="utf-8"))
            lines = record["response"]["body_text"].splitlines()
            assert usage_of(lines) == usage_of(recorded(row["file"])), row["file"]
            assert usage_of([line.encode() for line in lines]) == usage_of(lines), row["file"]
            compared += 1
    assert compared >= 40


@needs_recordings
def test_the_buckets_add_up_to_the_total_that_the_provider_states() -> None:
    compared = 0
    for file in metered():
        total = stated_total(file)
        if total is not None:
            assert used(file).total_tokens == total, file
            compared += 1
    assert compared >= 95


NOT_A_PART = {
    "openrouter/chat__json__200__009.json": "cache_write_tokens",
    "groq/chat__json__200__004.json": "reasoning_tokens",
    "openai/chat_completions__json__200__001.json": "reasoning_tokens",
    **{f"cohere/chat__json__200__00{n}.json": "cache_read_tokens" for n in (1, 2)},
}
"""Counts that the index finds elsewhere: repeated, in a breakdown by model, of audio, or not
billed."""


@needs_recordings
def test_every_bucket_that_the_index_says_is_not_zero_is_not_zero() -> None:
    told = {
        "cache_read_tokens": ("cached_tokens", "cache_read_input", "cacheRead", "cachedContent"),
        "cache_write_tokens": ("cache_write_tokens", "cache_creation_input", "cacheWrite"),
        "reasoning_tokens": ("reasoning_tokens", "thinking_tokens", "thoughtsTokenCount"),
        "output_tokens": ("completion_tokens", "output_tokens", "outputTokens", "candidatesToken"),
    }
    for row in ROWS:
        if row["file"] not in metered():
            continue
        usage = used(row["file"])
        for bucket, words in told.items():
            keys = [key for key in row["nonzero_usage_keys"] if "_details.audio" not in key]
            expected = any(word in key for key in keys for word in words)
            expected = expected and NOT_A_PART.get(row["file"]) != bucket
            other = sum(usage.units.get(f"output_{m}", 0) for m in ("audio", "image"))
            found = getattr(usage, bucket) + (other if bucket == "output_tokens" else 0)
            assert not expected or found > 0, (row["file"], bucket)


GENAI_FLAVOURS = {
    ("openai", "chat_completions"): ("openai", "chat"),
    ("openai", "responses"): ("openai", "responses"),
    ("openai", "embeddings"): ("openai", "embeddings"),
    ("azure_openai", "chat_completions"): ("azure", "chat"),
    ("anthropic", "messages"): ("anthropic", "default"),
    ("gemini", "generate_content"): ("google", "default"),
    ("vertex", "generate_content"): ("google", "default"),
    ("bedrock", "converse"): ("aws", "default"),
    ("bedrock", "converse_stream"): ("aws", "default"),
    ("cerebras", "chat"): ("cerebras", "chat"),
    ("cohere", "chat"): ("cohere", "default"),
    ("deepseek", "chat"): ("deepseek", "chat"),
    ("deepseek", "responses"): ("openai", "responses"),
    ("groq", "chat"): ("groq", "default"),
    ("mistral", "chat"): ("mistral", "default"),
    ("openrouter", "chat"): ("openrouter", "chat"),
    ("openrouter", "responses"): ("openrouter", "default"),
    ("together", "chat"): ("openai", "chat"),
    ("huggingface", "chat"): ("openai", "chat"),
}
"""How the other library calls the same shape; it has none for the rest."""


NOT_READ_BY_IT = BEYOND_THE_TOP.keys() | {
    "vertex/generate_content__json__200__005.json",  # names modalities by number: it raises
}


def last_statement(body: Any) -> dict[str, Any]:
    """Return usage the way the other library takes it: in a body, a stream's last one over all.

    Without the model: it looks models up in its own catalogue, and usage does not depend on them.
    """
    stated: dict[str, Any] = {}
    for event in body if isinstance(body, list) else [body]:
        inner = [event.get(key) for key in ("response", "delta", "x_groq", "metadata", "message")]
        for part in (event, *inner):
            for key in ("usage", "usageMetadata"):
                if isinstance(part, dict) and part.get(key):
                    stated[key] = {**stated.get(key, {}), **part[key]}
    return stated


@needs_recordings
def test_the_sums_equal_those_that_another_library_reads() -> None:
    compared = 0
    for row in ROWS:
        flavour = GENAI_FLAVOURS.get((row["provider"], row["endpoint"]))
        file = row["file"]
        if flavour is None or file not in metered() or file in NOT_READ_BY_IT:
            continue
        usage = used(file)
        body = last_statement(recorded(file))
        theirs = extract_usage(body, provider_id=flavour[0], api_flavor=flavour[1]).usage
        outputs = usage.output_tokens + usage.units.get("output_audio", 0)
        assert (theirs.input_tokens or 0) == usage.total_tokens - outputs, file
        assert (theirs.output_tokens or 0) == outputs, file
        assert (theirs.input_audio_tokens or 0) == usage.units.get("input_audio", 0), file
        assert (theirs.cache_read_tokens or 0) == usage.cache_read_tokens, file
        if file != REPEATS_ITSELF:
            writes = usage.cache_write_tokens + usage.cache_write_1h_tokens
            assert (theirs.cache_write_tokens or 0) == writes, file
        compared += 1
    assert compared >= 115


@needs_recordings
def test_a_call_in_which_the_model_ran_several_times_used_the_sum() -> None:
    assert {file: used(file) for file in BEYOND_THE_TOP} == BEYOND_THE_TOP


@needs_recordings
def test_of_two_counts_in_one_stream_the_models_own_is_taken() -> None:
    """Bedrock's metrics say 97 output tokens where Claude's message says 133."""
    file = "bedrock/invoke_with_response_stream__eventstream__200__009.json"
    assert used(file) == Usage(392, 133)


@needs_recordings
@pytest.mark.parametrize("row", [row for row in ROWS if row["body_kind"] == "sse"][:11])
def test_a_stream_of_messages_that_is_cut_off_states_no_usage(row: dict[str, Any]) -> None:
    events = recorded(row["file"])
    assert row["provider"] == "anthropic"
    last = max(place for place, event in enumerate(events) if event.get("usage"))
    assert [usage_of(events[:end]) for end in range(last + 1)] == [None] * (last + 1)


@needs_recordings
def test_a_response_names_the_model_that_answered() -> None:
    silent = {row["provider"] for row in ROWS if row["status"] == 200}
    for row in ROWS:
        if row["status"] == 200 and model_of(recorded(row["file"])):
            silent.discard(row["provider"])
    assert silent == {"cohere", "count_tokens"}
    assert model_of(recorded("openrouter/chat__sse__200__024.json")) == "x-ai/grok-4"
    assert model_of(recorded("gemini/generate_content__sse__200__030.json")) == "gemini-2.0-flash"
    assert model_of(recorded("openai/responses__sse__200__017.json")) == "gpt-5-2025-08-07"
    started = model_of(recorded("anthropic/messages__sse__200__044.json"))
    assert started == "claude-sonnet-4-20250514"
    assert model_of([]) == model_of(None) == model_of({"model": 7}) == ""


@needs_recordings
def test_the_cost_that_openrouter_states_is_read_to_the_last_digit() -> None:
    told = {row["file"] for row in ROWS if "cost" in row["nonzero_usage_keys"]}
    assert len(told) >= 16
    for file in told:
        last = recorded(file)
        for part in [last] if isinstance(last, dict) else last:
            usage = part.get("usage") or part.get("response", {}).get("usage")
            expected = usage["cost"] if usage else None
        assert reported_cost(recorded(file)) == Decimal(str(expected)), file
    others = [row["file"] for row in ROWS if row["provider"] != "openrouter"]
    assert {reported_cost(recorded(file)) for file in others} == {None}


@needs_recordings
def test_the_cost_with_a_key_of_ones_own_is_what_the_provider_bills() -> None:
    assert reported_cost(recorded("openrouter/chat__json__200__019.json")) == Decimal("0.0002265")


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        ({"cost": 0}, Decimal(0)),
        ({"cost": "0.10"}, Decimal("0.10")),
        ({"cost_in_usd_ticks": 37756000}, Decimal("0.0037756")),
        ({"cost": 1e-05, "is_byok": False}, Decimal("0.00001")),
        (
            {"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.2}},
            Decimal("0.21"),
        ),
        ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
        ({"cost": 0, "is_byok": True}, None),
        ({"cost": None}, None),
        ({"cost": True}, None),
        ({"cost": -1}, None),
        ({"cost": float("nan")}, None),
        ({"cost": "much"}, None),
        ({"cost": {"total_cost": 1}}, Decimal(1)),
        ({"cost": {"input_tokens_cost": 1}}, None),
        ({}, None),
    ],
)
def test_a_cost_that_is_not_known_is_none_and_never_zero(usage: Any, cost: Decimal | None) -> None:
    assert reported_cost({"usage": usage}) == cost
    assert reported_cost([{"choices": []}, {"usage": usage}]) == cost


def test_a_stream_has_the_last_of_each_count() -> None:
    start = {"message": {"usage": {"input_tokens": 9, "cache_read_input_tokens": 4}}}
    events = [start, {"usage": {"output_tokens": 3}}, {"usage": {"output_tokens": 5}}]
    assert usage_of(events) == usage_of(tuple(events)) == Usage(9, 5, 4)
    repeated = [{"usage": {"prompt_tokens": 7, "completion_tokens": n}} for n in range(5)]
    assert usage_of(repeated) == Usage(7, 4)


def test_a_live_stream_is_not_read() -> None:
    events = iter([{"usage": {"prompt_tokens": 7, "completion_tokens": 1}}])
    assert usage_of(events) is None
    assert len(list(events)) == 1


def test_tokens_counted_in_the_total_only_are_output() -> None:
    xai = {
        "prompt_tokens": 30,
        "completion_tokens": 9,
        "total_tokens": 239,
        "completion_tokens_details": {"reasoning_tokens": 200},
    }
    assert usage_of({"usage": xai}) == Usage(30, 209, reasoning_tokens=200)
    gemini_compatible = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 100}
    assert usage_of({"usage": gemini_compatible}) == Usage(30, 70)
    no_output = {"promptTokenCount": 14, "totalTokenCount": 14}
    assert usage_of({"usageMetadata": no_output}) == Usage(14, 0)


def test_headers_count_what_a_body_does_not_state() -> None:
    headers = {
        "x-amzn-bedrock-input-token-count": "37",
        "x-amzn-bedrock-output-token-count": "8",
        "x-amzn-bedrock-cache-read-input-token-count": "5",
    }
    response = {"ResponseMetadata": {"HTTPHeaders": headers}, "body": object()}
    assert usage_of(response) == Usage(37, 8, 5)


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"usage": {"prompt_tokens": 7, "total_tokens": 7}}, Usage(7, 0)),
        ({"meta": {"billed_units": {"input_tokens": 3.0, "output_tokens": 4.0}}}, Usage(3, 4)),
        ({"usage": {"prompt_tokens": "7", "completion_tokens": "1"}}, Usage(7, 1)),
        (
            {
                "usage": {
                    "prompt_tokens": 2168,
                    "completion_tokens": 100,
                    "prompt_tokens_details": {"cached_tokens": 2161, "cache_write_tokens": 2161},
                }
            },
            Usage(7, 100, 2161),
        ),
        (
            {
                "usage": {
                    "input_tokens": 5,
                    "output_tokens": 6,
                    "cache_read_input_tokens": 0,
                    "cache_creation_input_tokens": 30,
                    "cache_creation": {"ephemeral_1h_input_tokens": 10},
                }
            },
            Usage(5, 6, 0, 20, 10),
        ),
        (
            {
                "usage": {
                    "inputTokens": 3,
                    "outputTokens": 4,
                    "cacheReadInputTokens": 1,
                    "cacheWriteInputTokens": 5,
                    "cacheDetails": [
                        {"ttl": "5m", "inputTokens": 2},
                        {"ttl": "1h", "inputTokens": 1},
                        {"ttl": "1h", "inputTokens": 2},
                    ],
                }
            },
            Usage(3, 4, 1, 2, 3),
        ),
        (
            SimpleNamespace(
                usage_metadata=SimpleNamespace(
                    prompt_token_count=9,
                    candidates_token_count=2,
                    thoughts_token_count=3,
                    cached_content_token_count=None,
                    tool_use_prompt_token_count=4,
                )
            ),
            Usage(13, 5, 0, 0, 0, 3),
        ),
    ],
)
def test_a_shape_is_read_into_disjoint_buckets(body: Any, usage: Usage) -> None:
    assert usage_of(body) == usage


@pytest.mark.parametrize(
    "body",
    [
        None,
        "text",
        7,
        {},
        [],
        object(),
        {"usage": None},
        {"usage": {}},
        {"usage": [1]},
        {"usage": {"prompt_tokens": 7, "completion_tokens": None}},
        {"usage": {"prompt_tokens": True, "completion_tokens": 2.5}},
        {"usage": {"completion_tokens": 5, "total_tokens": 12}},
        [": comment", "event: ping", "data: [DONE]", b"\xff", {"chunk": {"bytes": b"{"}}],
    ],
)
def test_what_states_no_usage_has_none(body: Any) -> None:
    assert usage_of(body) is None


def test_counts_that_contradict_each_other_are_an_error() -> None:
    with pytest.raises(UsageError, match="input_tokens: -10"):
        usage_of(
            {
                "usage": {
                    "input_tokens": 10,
                    "input_tokens_details": {"cached_tokens": 20},
                    "output_tokens": 1,
                }
            }
        )
