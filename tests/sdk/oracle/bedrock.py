"""Amazon Bedrock: Converse, and InvokeModel with a body of each model's own."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from tests.sdk.oracle import anthropic
from tests.sdk.oracle.reading import Part, Reading, count, named

Object = Mapping[str, Any]

GUARDRAIL = {
    "contentPolicyUnits": "guardrail_content",
    "topicPolicyUnits": "guardrail_topic",
    "sensitiveInformationPolicyUnits": "guardrail_sensitive",
    "contextualGroundingPolicyUnits": "guardrail_grounding",
}
"""Text units of a guardrail's policies that are billed. Word filters and regular expressions
(`wordPolicyUnits`, `sensitiveInformationPolicyFreeUnits`) are free."""


def converse(body: Object, asked: str) -> Reading:
    """Read what Converse returns, or the `metadata` event of ConverseStream.

    Source: "TokenUsage", Bedrock API reference: `inputTokens` are those sent beside the cache;
    `cacheReadInputTokens` and `cacheWriteInputTokens` stand beside them (`totalTokens` is the sum);
    `cacheDetails` splits the writes by lifetime. The response does not name the model.
    """
    usage = body["usage"]
    hour = sum(count(one, "inputTokens") for one in usage.get("cacheDetails", ()) if _hour(one))
    part = Part(
        model=asked,
        input=count(usage, "inputTokens"),
        output=count(usage, "outputTokens"),
        cache_read=count(usage, "cacheReadInputTokens"),
        cache_write=count(usage, "cacheWriteInputTokens") - hour,
        cache_write_1h=hour,
    )
    return Reading(asked, (part,), _guardrail(body.get("trace", {})))


def converse_stream(events: list[Object], asked: str) -> Reading:
    """Read the events of ConverseStream.

    Source: "ConverseStreamOutput", Bedrock API reference: one `metadata` event has usage and trace.
    """
    (metadata,) = [event["metadata"] for event in events if "metadata" in event]
    return converse(metadata, asked)


def invoke(body: Object, asked: str) -> Reading:
    """Read what InvokeModel returns: the model's own body, chosen by the model that was asked.

    Sources, "Inference request parameters and response fields" of the Bedrock user guide: "Amazon
    Nova" (`usage` as Converse, cache keys ending in Count), "Amazon Titan Text"
    (`inputTextTokenCount`, `results[].tokenCount`), "Meta Llama" (`prompt_token_count`,
    `generation_token_count`), "Anthropic Claude Messages" (as Anthropic's API). "How
    Amazon Bedrock Guardrails works": where a guardrail changes the model's answer, the inference
    is charged; the trace's `modelOutput` is what the model returned, with its usage.
    """
    units = _guardrail(body.get("amazon-bedrock-trace", {}))
    if "anthropic." in asked:
        return anthropic.message(body, asked)
    if "amazon.nova" in asked:
        outputs = body.get("amazon-bedrock-trace", {}).get("guardrail", {}).get("modelOutput")
        usage = json.loads(outputs[0])["usage"] if outputs else body["usage"]
        part = Part(
            model=asked,
            input=count(usage, "inputTokens"),
            output=count(usage, "outputTokens"),
            cache_read=count(usage, "cacheReadInputTokenCount"),
            cache_write=count(usage, "cacheWriteInputTokenCount"),
        )
    elif "amazon.titan" in asked:
        written = sum(count(result, "tokenCount") for result in body["results"])
        part = Part(asked, input=count(body, "inputTextTokenCount"), output=written)
    else:
        assert asked.startswith("meta."), asked
        part = Part(
            asked,
            input=count(body, "prompt_token_count"),
            output=count(body, "generation_token_count"),
        )
    return Reading(asked, (part,), units)


def invoke_stream(events: list[Object], asked: str) -> Reading:
    """Read the chunks of InvokeModelWithResponseStream.

    Source: "InvokeModelWithResponseStream", Bedrock API reference and code examples: the last chunk
    of every model has `amazon-bedrock-invocationMetrics`, Bedrock's own count, which is what it
    bills. "How Amazon Bedrock Guardrails works": where a guardrail blocks the prompt, "you're
    charged for the guardrail evaluation. There are no charges for foundation model inference
    calls"; such a stream has no invocation metrics, and the tokens beside it are those of the
    message that stands for an answer, which no model processed.
    """
    chunks = [json.loads(event["chunk"]["bytes"]) for event in events]
    last = chunks[-1]
    units = _guardrail(last.get("amazon-bedrock-trace", {}))
    model = next((c["message"]["model"] for c in chunks if "message" in c), asked)
    metrics = last.get("amazon-bedrock-invocationMetrics")
    if metrics is None:
        return Reading(model, (Part(model),), units)
    part = Part(
        model,
        input=count(metrics, "inputTokenCount"),
        output=count(metrics, "outputTokenCount"),
        cache_read=count(metrics, "cacheReadInputTokenCount"),
        cache_write=count(metrics, "cacheWriteInputTokenCount"),
    )
    return Reading(model, (part,), units)


def _hour(detail: Object) -> bool:
    return bool(detail["ttl"] == "1h")


def _guardrail(trace: Object) -> dict[str, int]:
    """Return the text units that a guardrail evaluated.

    Source: "GuardrailUsage", Bedrock API reference, and "Amazon Bedrock pricing", "Guardrails".
    """
    counts = dict.fromkeys(GUARDRAIL.values(), 0)
    for usage in _assessed(trace):
        for key, unit in GUARDRAIL.items():
            counts[unit] += count(usage, key)
    return named(counts)


def _assessed(node: Any) -> Iterator[Object]:
    """Yield `invocationMetrics.usage` of each assessment, however many there are of each kind."""
    if isinstance(node, Mapping):
        if "invocationMetrics" in node:
            yield node["invocationMetrics"]["usage"]
        for child in node.values():
            yield from _assessed(child)
    elif isinstance(node, list):
        for child in node:
            yield from _assessed(child)
