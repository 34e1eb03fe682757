"""What the catalogue does not list: service tiers, speeds, regions, and prices of some units. Pure.

Facts from the providers' own price pages, each row with its source and the day it was read. The
catalogue's own prices go before these, and the user's before both. A row holds for every model that
its pattern matches from the start of the name; of several rows for one thing the first one counts.
"""

import re
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from typing import NamedTuple

from spendtree.pricing.sheet import Prices

AS_OF = "2026-12-01"
"""When the pages were last read."""

OPENAI = "openai.com/api/pricing (priority, flex, batch; tools; data residency)"
AZURE = "azure.microsoft.com/pricing/details/cognitive-services/openai-service"
ANTHROPIC = "platform.claude.com/docs/en/about-claude/pricing (batch, fast mode, data residency)"
GOOGLE = "ai.google.dev/gemini-api/docs/pricing (batch, flex, priority; grounding)"
VERTEX = "cloud.google.com/vertex-ai/generative-ai/pricing (regional endpoints)"
BEDROCK = "aws.amazon.com/bedrock/pricing (service tiers, batch)"
GUARDRAILS = "aws.amazon.com/bedrock/pricing (guardrails, per 1,000 text units)"
COHERE = "cohere.com/pricing (rerank)"
XAI = "docs.x.ai/docs/models (batch)"
GROQ = "console.groq.com/docs/service-tiers (no tier has a price of its own; batch)"


OPENAI_REGIONS = ("us", "eu", "ae", "au", "ca", "gb", "in", "jp", "kr", "sg")
"""The prefixes of its hosts for data residency: `eu.api.openai.com`."""


class Factor(NamedTuple):
    """What a modifier does to all prices of tokens, for some models of some providers."""

    modifier: str
    providers: tuple[str, ...]
    models: str
    """A regular expression for the start of the model's id in the catalogue."""
    factor: Fraction
    source: str


class Fee(NamedTuple):
    """The price of a unit in dollars, for some models of some providers."""

    unit: str
    providers: tuple[str, ...]
    models: str
    usd: str
    source: str


class LargeCall(NamedTuple):
    """What calls with more than `above` tokens of input cost beside smaller ones."""

    above: int
    providers: tuple[str, ...]
    models: str
    input: Fraction
    """The factor on all input, cached parts included."""
    output: Fraction
    source: str


_OPENAI = ("openai", "azure")
_LARGE_GPT = (
    r"(?:openai\.)?(?:gpt-5\.[45](?:-pro)?|gpt-(?:5\.6|6|6\.1)-(?:luna|sol|terra|astra|rosalind))"
    r"(?:-20\d\d|$)"
)
_SINCE_GPT_5_4 = r"gpt-5\.[4-9]|gpt-[6-9]|gpt-realtime-2\.1"
_BY_GEO = r"claude-(opus-(4-[6-9]|[5-9])|sonnet-(4-[6-9]|[5-9])|haiku-([5-9])|fable|mythos)"
_REGIONAL = (
    r"claude-(opus-4-[5-9]|sonnet-4-[5-9]|haiku-4-[5-9]|(opus|sonnet|haiku)-[5-9]|fable)"
    r"|gemini-(3\.[5-9]|3\.1-flash|[4-9])"
)

_BEDROCK_SMALL = r"gemma-3|qwen3-next|(mini|magi|mi)stral"

FACTORS: tuple[Factor, ...] = (
    # OpenAI, and Azure where it sells the same. What Azure calls "scale" or provisioned is bought
    # by the hour: no factor says what one call of it costs.
    # Discounts of fine-tuned models differ: the smallest of them.
    Factor("batch", _OPENAI, r"ft:gpt-4o-2024", Fraction(5, 6), OPENAI),
    Factor("batch", _OPENAI, r"gpt-3\.5-turbo-1106", Fraction(1), OPENAI),
    Factor("batch", _OPENAI, "", Fraction(1, 2), OPENAI),
    Factor("flex", _OPENAI, r"gpt-[5-9]|o3|o4-mini", Fraction(1, 2), OPENAI),
    Factor("priority", _OPENAI, r"gpt-4\.1-nano", Fraction(2), OPENAI),
    Factor("priority", _OPENAI, r"gpt-4\.1|o3", Fraction(7, 4), OPENAI),
    Factor("priority", _OPENAI, r"gpt-4o-2024-05-13", Fraction(7, 4), OPENAI),
    Factor("priority", _OPENAI, r"gpt-4o-mini", Fraction(5, 3), OPENAI),
    Factor("priority", _OPENAI, r"gpt-4o", Fraction(17, 10), OPENAI),
    Factor("priority", _OPENAI, r"o4-mini", Fraction(20, 11), OPENAI),
    Factor("priority", _OPENAI, r"gpt-5-mini|gpt-5\.1-codex-mini", Fraction(9, 5), OPENAI),
    Factor("priority", _OPENAI, r"gpt-5\.5", Fraction(5, 2), OPENAI),
    Factor("priority", _OPENAI, r"gpt-[5-9]", Fraction(2), OPENAI),
    Factor("ultrafast", _OPENAI, r"gpt-6", Fraction(6), OPENAI),
    *(
        Factor(f"region:{region}", ("openai",), models, factor, OPENAI)
        for models, factor in ((_SINCE_GPT_5_4, Fraction(11, 10)), ("", Fraction(1)))
        for region in OPENAI_REGIONS
    ),
    # Anthropic. "priority" there is capacity that was bought before: not known by the call.
    Factor("batch", ("anthropic",), "", Fraction(1, 2), ANTHROPIC),
    Factor("fast", ("anthropic",), r"claude-opus-4-[67]", Fraction(6), ANTHROPIC),
    Factor("fast", ("anthropic",), r"claude-opus-(4-8|[5-9])", Fraction(2), ANTHROPIC),
    Factor("region:us", ("anthropic",), _BY_GEO, Fraction(11, 10), ANTHROPIC),
    # Gemini API and Vertex AI.
    Factor("batch", ("google",), r"claude-opus-5-5", Fraction(5, 8), VERTEX),
    Factor("batch", ("google",), "", Fraction(1, 2), GOOGLE),
    Factor("flex", ("google",), "gemini", Fraction(1, 2), GOOGLE),
    Factor("priority", ("google",), "gemini", Fraction(9, 5), GOOGLE),
    Factor("regional", ("google",), _REGIONAL, Fraction(11, 10), VERTEX),
    Factor("regional", ("google",), "", Fraction(1), VERTEX),
    # Bedrock lists its regional profiles as models of their own; the tiers are the same for all.
    # Its tables round each price to the cent per million, so that for cheap models the factor is a
    # bit off: the largest of a model's, over regions, input and output.
    *(
        Factor(tier, ("aws",), models, factor, BEDROCK)
        for models, factor in (
            (r"voxtral-mini", Fraction(3, 5)),
            (r"gemma-3-(12|27)b", Fraction(5, 9)),
            (r"nemotron-nano-9b|qwen3-next", Fraction(12, 23)),
            ("", Fraction(1, 2)),
        )
        for tier in ("batch", "flex")
    ),
    Factor("priority", ("aws",), r"voxtral-mini|nemotron-nano", Fraction(11, 6), BEDROCK),
    Factor("priority", ("aws",), _BEDROCK_SMALL, Fraction(16, 9), BEDROCK),
    Factor("priority", ("aws",), "", Fraction(7, 4), BEDROCK),
    Factor("batch", ("x-ai",), "", Fraction(4, 5), XAI),
    Factor("batch", ("groq",), "", Fraction(1, 2), GROQ),
    Factor("flex", ("groq",), "", Fraction(1), GROQ),
    Factor("performance", ("groq",), "", Fraction(1), GROQ),
)

FEES = (
    Fee("input_audio", _OPENAI, r"gpt-4o-mini-(audio|realtime)", "0.00001", OPENAI),
    Fee("output_audio", _OPENAI, r"gpt-4o-mini-(audio|realtime)", "0.00002", OPENAI),
    Fee("cache_read_audio", _OPENAI, r"gpt-4o-mini-realtime", "0.0000003", OPENAI),
    Fee("input_audio", _OPENAI, r"gpt-4o-(audio|realtime)-preview-2024-10-01", "0.0001", OPENAI),
    Fee("output_audio", _OPENAI, r"gpt-4o-(audio|realtime)-preview-2024-10-01", "0.0002", OPENAI),
    Fee("input_audio", _OPENAI, r"gpt-4o-(audio|realtime)", "0.00004", OPENAI),
    Fee("output_audio", _OPENAI, r"gpt-4o-(audio|realtime)", "0.00008", OPENAI),
    Fee("cache_read_audio", _OPENAI, r"gpt-4o-realtime", "0.0000025", OPENAI),
    Fee("input_audio", _OPENAI, r"gpt-audio-mini|gpt-realtime-mini", "0.00001", OPENAI),
    Fee("output_audio", _OPENAI, r"gpt-audio-mini|gpt-realtime-mini", "0.00002", OPENAI),
    Fee("output_audio", _OPENAI, r"gpt-4o-mini-tts", "0.000012", OPENAI),
    Fee("web_search", _OPENAI, r"gpt-4o.*|gpt-4\.1", "0.025", OPENAI),
    Fee("web_search", _OPENAI, r"gpt-[5-9]|o[1-9]", "0.01", OPENAI),
    Fee("file_search", _OPENAI, "", "0.0025", OPENAI),
    Fee("code_session", ("openai",), "", "0.03", OPENAI),
    Fee("code_session", ("azure",), "", "0.033", AZURE),
    Fee("web_search", ("anthropic",), "claude", "0.01", ANTHROPIC),
    Fee("maps_prompt", ("google",), r"gemini-[12]", "0.025", GOOGLE),
    Fee("maps_prompt", ("google",), "gemini", "0.014", GOOGLE),
    Fee("grounded_prompt", ("google",), r"gemini-[12]", "0.035", GOOGLE),
    Fee("web_search", ("google",), "gemini", "0.014", GOOGLE),
    Fee("guardrail_content", ("aws",), "", "0.00015", GUARDRAILS),
    Fee("guardrail_topic", ("aws",), "", "0.00015", GUARDRAILS),
    Fee("guardrail_sensitive", ("aws",), "", "0.0001", GUARDRAILS),
    Fee("guardrail_grounding", ("aws",), "", "0.0001", GUARDRAILS),
    Fee("rerank_search", ("cohere",), r"rerank-v4\.0-pro", "0.0025", COHERE),
    Fee("rerank_search", ("cohere",), "rerank", "0.002", COHERE),
)

LARGE_CALLS = (
    LargeCall(272_000, ("openai", "azure", "aws"), _LARGE_GPT, Fraction(2), Fraction(3, 2), OPENAI),
    LargeCall(
        *(200_000, ("anthropic", "google"), r"claude-sonnet-4-5"),
        *(Fraction(2), Fraction(3, 2), ANTHROPIC),
    ),
    LargeCall(
        *(100_000, ("anthropic", "google", "aws"), r"claude-haiku-5-5"),
        *(Fraction(5), Fraction(5), ANTHROPIC),
    ),
    LargeCall(
        *(200_000, ("google",), r"gemini-(2\.5|3|3\.1)-pro(?!-(tts|image))"),
        *(Fraction(2), Fraction(3, 2), GOOGLE),
    ),
    LargeCall(
        *(128_000, ("google",), r"gemini-1\.5|gemini-(flash|pro)-1\.5"),
        *(Fraction(2), Fraction(2), GOOGLE),
    ),
    LargeCall(
        *(199_999, ("x-ai",), r"grok-4\.(20|[3-7])|grok-build-0\.1"),
        *(Fraction(2), Fraction(2), XAI),
    ),
)
"""Models whose large calls cost more. The catalogue's own entries say it themselves; this is for
the user's own price of such a model that says nothing of large calls."""

MAKERS = (
    ("openai", r"gpt-|chatgpt|o\d|whisper|tts-|text-embedding-"),
    ("anthropic", "claude-"),
    ("google", "gemini-"),
    ("x-ai", "grok-"),
    ("cohere", "command-|rerank-"),
)
"""Who makes a model, by the start of its name: for calls that name no provider."""

BILLED_BY_UNITS = (("cohere", "rerank"),)
"""Models that the catalogue does not list and that units alone price: provider, and the start of
the name."""

IMAGE_MODELS = r"(gpt|chatgpt)-image"
"""Models whose output is pictures: their price of output is that of pictures."""

SAME_PRICE = {"google": ("audio", "image", "video")}
"""Modalities that a provider bills as text wherever a model lists no price of their own."""


def as_text(provider: str, model: str) -> tuple[str, ...]:
    """Return what costs as text does where a model lists no price for it; see `Sheet.as_text`."""
    read = SAME_PRICE.get(provider, ("image", "video"))
    return (*read, "output_image") if re.match(IMAGE_MODELS, model) else read


@cache
def factors(provider: str, model: str) -> dict[str, Fraction]:
    """Return the factor of each modifier that is known for a model of the catalogue."""
    found: dict[str, Fraction] = {}
    for row in FACTORS:
        if provider in row.providers and re.match(row.models, model):
            found.setdefault(row.modifier, row.factor)
    return found


@cache
def fees(provider: str, model: str) -> Prices:
    """Return the price of each unit that is known for a model, in pico-dollars."""
    found: dict[str, int] = {}
    for row in FEES:
        if provider in row.providers and re.match(row.models, model):
            found.setdefault(row.unit, int(Fraction(row.usd) * 10**12))
    return found


def large_call(provider: str, model: str) -> LargeCall | None:
    """Return what larger calls of a model cost, None if they cost what others do."""
    rows = (row for row in LARGE_CALLS if provider in row.providers)
    return next((row for row in rows if re.match(row.models, model)), None)


def maker(model: str) -> str:
    """Return the provider whose models have such names, "" if nobody is known for them."""
    return next((provider for provider, start in MAKERS if re.match(start, model)), "")


def sources(provider: str, model: str, name: str) -> Iterator[str]:
    """Yield where a model's factor or fee of that name comes from."""
    rows: tuple[Factor | Fee, ...] = (*FACTORS, *FEES)
    for row in rows:
        if name == row[0] and provider in row.providers and re.match(row.models, model):
            yield f"{row.source}, {AS_OF}"
            return
