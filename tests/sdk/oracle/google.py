"""Google's generateContent, on the Gemini API and on Vertex AI."""

from collections.abc import Mapping
from typing import Any

from tests.sdk.oracle.reading import Part, Reading, count, named

Object = Mapping[str, Any]

TEXT = ("TEXT", 1)
"""How a modality says text; clients that keep an enum's number have 1."""
FLEX = "ON_DEMAND_FLEX"


def content(body: Object, asked: str) -> Reading:
    """Read one response.

    Sources: "UsageMetadata", Gemini API reference: `promptTokenCount` "is still the total effective
    prompt size meaning this includes the number of tokens in the cached content";
    `toolUsePromptTokenCount` are tokens of tool-use prompts and `thoughtsTokenCount` those of
    thoughts, both beside prompt and candidates (the total is the sum of the four). "Pricing":
    output is priced "including thinking tokens"; "Code execution", "Billing": intermediate tokens
    are billed as input. Vertex AI, "TrafficType": ON_DEMAND is pay-as-you-go, ON_DEMAND_FLEX is
    Flex, half the price ("Flex PayGo").
    """
    usage = body["usageMetadata"]
    for details in ("promptTokensDetails", "candidatesTokensDetails", "toolUsePromptTokensDetails"):
        assert all(one["modality"] in TEXT for one in usage.get(details, ()))
    # Vertex and the Gemini API name the same model with and without the collection's name.
    model = str(body.get("modelVersion") or asked).removeprefix("models/")
    cached, thoughts = count(usage, "cachedContentTokenCount"), count(usage, "thoughtsTokenCount")
    part = Part(
        model=model,
        input=count(usage, "promptTokenCount") - cached + count(usage, "toolUsePromptTokenCount"),
        output=count(usage, "candidatesTokenCount") + thoughts,
        cache_read=cached,
        reasoning=thoughts,
    )
    flex = "flex" if usage.get("trafficType") == FLEX else ""
    return Reading(model, (part,), _searches(body, model), flex)


def content_stream(chunks: list[Object], asked: str) -> Reading:
    """Read a streamed response.

    Source: "Understand and count tokens", "Streaming": each chunk has the usage so far, the last
    one that of the whole response; grounding stands in whichever chunk has it.
    """
    last = {**chunks[-1], "candidates": [c for one in chunks for c in one.get("candidates", ())]}
    return content(last, asked)


def _searches(body: Object, model: str) -> dict[str, int]:
    """Return what grounding is billed for.

    Source: "Grounding with Google Search", "Pricing": Gemini 3 is billed for each search query that
    it executes, "we ignore the empty web search queries when counting unique queries"; Gemini 2.5
    and older for each prompt that was grounded by one. Where tools are combined, Gemini 3 states
    the queries in `toolCall` parts of the type GOOGLE_SEARCH_WEB ("Combine built-in tools and
    function calling"). File search has no fee of its own ("File search", "Pricing").
    """
    queries: set[str] = set()
    for candidate in body.get("candidates", ()):
        queries.update(candidate.get("groundingMetadata", {}).get("webSearchQueries", ()))
        for part in candidate.get("content", {}).get("parts", ()):
            call = part.get("toolCall", {})
            if call.get("toolType") == "GOOGLE_SEARCH_WEB":
                queries.update(call["args"]["queries"])
    queries.discard("")
    if model.startswith("gemini-3"):
        return named({"web_search": len(queries)})
    return named({"grounded_prompt": min(1, len(queries))})
