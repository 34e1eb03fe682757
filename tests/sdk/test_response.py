"""The usage that providers state, read into disjoint buckets; checked on recorded responses."""

import functools
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from genai_prices.data_snapshot import get_snapshot

from spendtree import Usage, UsageError
from spendtree.response import usage_of

RECORDED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "providers"

NOT_UNDERSTOOD = {
    ("cohere", "chat"): "states usage.tokens and usage.billed_units",
    ("ollama", "chat"): "states prompt_eval_count at the top; a local model bills nothing",
    ("bedrock", "invoke"): "bodies of Llama and Titan models; converse is understood",
}
"""Shapes without a row: their calls settle as unmetered."""

NO_INPUT_STATED = {("gemini", "generate_content"): "a blocked answer may state no promptTokenCount"}


def recorded() -> list[dict[str, Any]]:
    if not (RECORDED / "index.jsonl").is_file():
        return []
    lines = (RECORDED / "index.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [row for row in rows if row["body_kind"] == "json"]


ROWS = recorded()
needs_recordings = pytest.mark.skipif(
    not ROWS, reason="needs the recorded responses of ../shared/data/providers"
)


@functools.cache
def body_of(file: str) -> Any:
    return json.loads((RECORDED / file).read_text(encoding="utf-8"))["response"]["body_json"]


def as_object(body: Any) -> Any:
    if isinstance(body, dict):
        return SimpleNamespace(**{key: as_object(value) for key, value in body.items()})
    return [as_object(each) for each in body] if isinstance(body, list) else body


def successes() -> list[dict[str, Any]]:
    return [row for row in ROWS if row["status"] == 200 and row["usage_at"]]


def understood() -> list[dict[str, Any]]:
    return [row for row in successes() if usage_of(body_of(row["file"])) is not None]


@needs_recordings
def test_every_recorded_shape_is_understood_but_for_those_listed() -> None:
    missing = {
        (row["provider"], row["endpoint"])
        for row in successes()
        if usage_of(body_of(row["file"])) is None
    }
    assert missing == set(NOT_UNDERSTOOD) | set(NO_INPUT_STATED)
    assert len(understood()) >= 75


@needs_recordings
def test_a_refusal_states_no_usage() -> None:
    refusals = [row for row in ROWS if row["status"] >= 400]
    assert len(refusals) >= 20
    assert [usage_of(body_of(row["file"])) for row in refusals] == [None] * len(refusals)


@needs_recordings
def test_a_clients_object_is_read_like_the_body_it_was_made_from() -> None:
    for row in understood():
        body = body_of(row["file"])
        assert usage_of(as_object(body)) == usage_of(body), row["file"]


@needs_recordings
def test_the_buckets_add_up_to_the_total_that_the_provider_states() -> None:
    compared = 0
    for row in understood():
        body = body_of(row["file"])
        usage = body.get("usage") or body.get("usageMetadata") or {}
        keys = ("total_tokens", "totalTokens", "totalTokenCount")
        totals = [usage[key] for key in keys if usage.get(key)]
        if totals:
            compared += 1
            found = usage_of(body)
            assert found is not None
            assert [found.total_tokens] == totals, row["file"]
    assert compared >= 60


@needs_recordings
def test_every_bucket_that_the_index_says_is_not_zero_is_not_zero() -> None:
    told = {
        "cache_read_tokens": ("cached_tokens", "cache_read_input", "cacheRead", "cachedContent"),
        "cache_write_tokens": ("cache_write_tokens", "cache_creation_input", "cacheWrite"),
        "reasoning_tokens": ("reasoning_tokens", "thinking_tokens", "thoughtsTokenCount"),
        "output_tokens": ("completion_tokens", "output_tokens", "outputTokens", "candidatesToken"),
    }
    for row in understood():
        if row["n_usage_objects"] != 1 or row["file"] == "openrouter/chat__json__200__009.json":
            continue  # the index merges several usages; this file counts what it read as written
        found = usage_of(body_of(row["file"]))
        for bucket, words in told.items():
            keys = [key for key in row["nonzero_usage_keys"] if "_details.audio" not in key]
            expected = any(word in key for key in keys for word in words)
            assert not expected or getattr(found, bucket) > 0, (row["file"], bucket)


GENAI_FLAVOURS = {
    ("openai", "chat_completions"): ("openai", "chat"),
    ("openai", "responses"): ("openai", "responses"),
    ("anthropic", "messages"): ("anthropic", "default"),
    ("gemini", "generate_content"): ("google", "default"),
    ("bedrock", "converse"): ("aws", "default"),
}


@needs_recordings
def test_the_sums_equal_those_that_another_library_reads() -> None:
    compared = 0
    for row in understood():
        flavour = GENAI_FLAVOURS.get((row["provider"], row["endpoint"]))
        found = usage_of(body_of(row["file"]))
        if flavour is None or found is None:
            continue
        provider, api = flavour
        reader = get_snapshot().find_provider(None, provider, None)
        _, theirs = reader.extract_usage(body_of(row["file"]), api_flavor=api)
        inputs = found.total_tokens - found.output_tokens
        assert (theirs.input_tokens or 0, theirs.output_tokens or 0) == (
            inputs,
            found.output_tokens,
        ), row["file"]
        assert (theirs.cache_read_tokens or 0) == found.cache_read_tokens, row["file"]
        writes = found.cache_write_tokens + found.cache_write_1h_tokens
        assert (theirs.cache_write_tokens or 0) == writes, row["file"]
        compared += 1
    assert compared >= 40


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        ({"usage": {"prompt_tokens": 7, "completion_tokens": None}}, Usage(7, 0)),
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
                    "cacheWriteInputTokens": 2,
                }
            },
            Usage(3, 4, 1, 2),
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
    "body", [None, "text", 7, {}, [], {"usage": None}, {"usage": {}}, {"usage": [1]}, object()]
)
def test_what_states_no_usage_has_none(body: Any) -> None:
    assert usage_of(body) is None


def test_counts_that_contradict_each_other_are_an_error() -> None:
    with pytest.raises(UsageError, match="input_tokens: -10"):
        usage_of({"usage": {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 20}}})
