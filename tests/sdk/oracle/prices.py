"""What the models of the recordings cost, written down from the providers' price pages.

Dollars per million tokens as text, as they stood at the end of November 2026; for models that were
retired before, as the page last had them. A model that no page can be found for is not listed: then
only its buckets are compared.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from tests.sdk.oracle.reading import Part, Reading

PAGES = {
    "anthropic": "Anthropic, Pricing: platform.claude.com/docs/en/about-claude/pricing",
    "aws": "Amazon Bedrock pricing, US East (as LiteLLM 1.110.2 of November 2026 lists it)",
    "azure": "Azure OpenAI pricing, global standard (as LiteLLM 1.110.2 lists it)",
    "cerebras": "Cerebras, Pricing: cerebras.ai/pricing, 2026-05 (and LiteLLM 1.110.2)",
    "cohere": "Cohere, Pricing: cohere.com/pricing (R7B, R 08-2024 also in LiteLLM 1.110.2)",
    "deepseek": "DeepSeek, Models & Pricing: api-docs.deepseek.com/quick_start/pricing, off-peak",
    "gemini": "Google, Gemini API pricing: ai.google.dev/gemini-api/docs/pricing",
    "groq": "Groq, Supported models: console.groq.com/docs/models",
    "mistral": "Mistral, Pricing (as LiteLLM 1.110.2 lists it)",
    "openai": "OpenAI, Pricing: platform.openai.com/docs/pricing (as LiteLLM 1.110.2 lists it)",
    "openrouter": "xAI, Models and pricing; a recording of the same model states the same figures",
    "together": "Together, Pricing (as LiteLLM 1.110.2 lists it)",
}
"""Where each provider's figures are from."""


class Price(NamedTuple):
    """Of one model. `cache_read` "" means that the page has no price of its own for it."""

    input: str
    output: str
    cache_read: str = ""
    cache_write: str = ""
    cache_write_1h: str = ""


_SONNET = Price("3", "15", "0.30", "3.75", "6")
_OPUS = Price("5", "25", "0.50", "6.25", "10")
_HAIKU_35 = Price("0.80", "4", "0.08", "1", "1.60")
# Amazon Nova: "tokens written to cache" are charged as any other input.
_NOVA_LITE = Price("0.06", "0.24", "0.015", "0.06")
_NOVA_MICRO = Price("0.035", "0.14", "0.00875", "0.035")
_FLASH_20 = Price("0.10", "0.40", "0.025")
_FLASH_25 = Price("0.30", "2.50", "0.03")
_FLASH_3 = Price("0.50", "3", "0.05")
_PRO_25 = Price("1.25", "10", "0.125")
# Flash off-peak; the old names are served by, and billed as, the current Flash.
_DEEPSEEK_FLASH = Price("0.15", "0.60", "0.003")
_GPT_5 = Price("1.25", "10", "0.125")

PRICES: Mapping[tuple[str, str], Price] = {
    ("anthropic", "claude-2.1"): Price("8", "24"),
    ("anthropic", "claude-3-5-haiku-20241022"): _HAIKU_35,
    ("anthropic", "claude-3-5-haiku-latest"): _HAIKU_35,
    ("anthropic", "claude-3-5-sonnet-20240620"): _SONNET,
    ("anthropic", "claude-3-7-sonnet-20250219"): _SONNET,
    ("anthropic", "claude-3-haiku-20240307"): Price("0.25", "1.25", "0.03", "0.30", "0.50"),
    ("anthropic", "claude-opus-4-7"): _OPUS,
    ("anthropic", "claude-opus-4-8"): _OPUS,
    ("anthropic", "claude-opus-5"): _OPUS,
    ("anthropic", "claude-sonnet-4-20250514"): _SONNET,
    ("anthropic", "claude-sonnet-4-5-20250929"): _SONNET,
    ("anthropic", "claude-sonnet-4-6"): _SONNET,
    ("anthropic", "claude-sonnet-5"): Price("2", "10", "0.20", "2.50", "4"),
    ("azure_openai", "gpt-4o-2024-11-20"): Price("2.50", "10", "1.25"),
    ("bedrock", "amazon.nova-lite-v1"): _NOVA_LITE,
    ("bedrock", "amazon.nova-micro-v1"): _NOVA_MICRO,
    ("bedrock", "amazon.titan-text-express-v1"): Price("0.20", "0.60"),
    ("bedrock", "amazon.titan-text-lite-v1"): Price("0.15", "0.20"),
    ("bedrock", "anthropic.claude-v2"): Price("8", "24"),
    ("bedrock", "claude-2.0"): Price("8", "24"),
    ("bedrock", "claude-3-5-sonnet-20240620"): _SONNET,
    ("bedrock", "claude-3-sonnet-20240229"): _SONNET,
    ("bedrock", "meta.llama2-13b-chat-v1"): Price("0.75", "1"),
    ("bedrock", "meta.llama3-1-70b-instruct-v1"): Price("0.72", "0.72"),
    ("bedrock", "meta.llama3-70b-instruct-v1"): Price("2.65", "3.50"),
    ("bedrock", "us.amazon.nova-lite-v1"): _NOVA_LITE,
    ("bedrock", "us.amazon.nova-micro-v1"): _NOVA_MICRO,
    # From Claude 4.5 on a regional endpoint costs a tenth more than the global one.
    ("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1"): Price(
        *("3.30", "16.50", "0.33", "4.125", "6.60")
    ),
    ("cerebras", "gpt-oss-120b"): Price("0.35", "0.75"),
    ("cerebras", "llama-3.3-70b"): Price("0.85", "1.20"),
    ("cerebras", "qwen-3-coder-480b"): Price("2", "2"),
    ("cerebras", "zai-glm-4.7"): Price("2.25", "2.75"),
    ("cohere", "command"): Price("1", "2"),
    ("cohere", "command-r-08-2024"): Price("0.15", "0.60"),
    ("cohere", "command-r-plus"): Price("2.50", "10"),
    ("cohere", "command-r7b-12-2024"): Price("0.0375", "0.15"),
    ("deepseek", "deepseek-reasoner"): _DEEPSEEK_FLASH,
    ("deepseek", "deepseek-v4-flash"): _DEEPSEEK_FLASH,
    ("gemini", "gemini-1.5-flash"): Price("0.075", "0.30"),
    ("gemini", "gemini-2.0-flash"): _FLASH_20,
    ("gemini", "gemini-2.5-flash"): _FLASH_25,
    ("gemini", "gemini-2.5-pro"): _PRO_25,
    ("gemini", "gemini-3-flash-preview"): _FLASH_3,
    ("gemini", "gemini-3-pro-preview"): Price("2", "12", "0.20"),
    ("gemini", "gemini-3.5-flash"): Price("1.50", "9", "0.15"),
    ("gemini", "gemini-3.6-flash"): Price("0.75", "3.75", "0.075"),
    ("groq", "llama-3.3-70b-versatile"): Price("0.59", "0.79"),
    ("groq", "openai/gpt-oss-120b"): Price("0.15", "0.60", "0.075"),
    ("mistral", "magistral-medium-latest"): Price("1.50", "7.50", "0.15"),
    ("mistral", "mistral-small-latest"): Price("0.15", "0.60", "0.015"),
    ("mistral", "mistral-tiny"): Price("0.25", "0.25", "0.025"),
    ("openai", "gpt-4o-2024-08-06"): Price("2.50", "10", "1.25"),
    ("openai", "gpt-4o-mini-2024-07-18"): Price("0.15", "0.60", "0.075"),
    ("openai", "gpt-4.1-mini"): Price("0.40", "1.60", "0.10"),
    ("openai", "gpt-5"): _GPT_5,
    ("openai", "gpt-5-2025-08-07"): _GPT_5,
    ("openai", "gpt-5.2-2025-12-11"): Price("1.75", "14", "0.175"),
    ("openai", "gpt-5.6-sol"): Price("4", "20", "0.40", "5"),
    ("openai", "o3-mini-2025-01-31"): Price("1.10", "4.40", "0.55"),
    ("openai", "text-embedding-3-small"): Price("0.02", "0"),
    ("openrouter", "x-ai/grok-4"): Price("3", "15", "0.75"),
    ("together", "meta-llama/Llama-3.3-70B-Instruct-Turbo"): Price("1.04", "1.04"),
    ("together", "mistralai/Mixtral-8x7B-Instruct-v0.1"): Price("0.60", "0.60"),
    ("vertex", "gemini-2.0-flash"): Price("0.15", "0.60"),
    ("vertex", "gemini-2.5-flash"): _FLASH_25,
    ("vertex", "gemini-2.5-pro"): _PRO_25,
    ("vertex", "gemini-3-flash-preview"): _FLASH_3,
}

UNPRICED = {
    ("bedrock", "arn"): "an inference profile's name says nothing of its model",
    ("gemini", "gemini-2.0-flash-exp"): "experimental models were on no price list",
    ("groq", "groq/compound"): "costs what its models do, which this recording does not tell apart",
    ("groq", "meta-llama/llama-4-scout-17b-16e-instruct"): "no longer on Groq's page",
    ("huggingface", "Qwen/Qwen2.5-VL-72B-Instruct"): "billed at whatever Nebius asks",
    ("huggingface", "meta-llama/Llama-4-Scout-17B-16E-Instruct"): "billed at what Together asks",
    ("huggingface", "meta-llama/llama-3.1-8b-instruct"): "billed at whatever Novita asks",
    ("ollama", "gemma3:1b"): "runs on one's own machine",
    ("ollama", "llama3"): "runs on one's own machine",
    ("ollama", "qwen3.6:latest"): "runs on one's own machine",
    ("openrouter", "mistralai/mistral-small"): "no longer on OpenRouter's page",
}
"""Models of which only buckets are compared, and why."""

FEES: Mapping[tuple[str, str], str] = {
    # Anthropic, "Pricing", "Web search tool": $10 per 1,000 searches.
    ("anthropic", "web_search"): "10",
    # OpenAI, "Pricing", "Built-in tools": web search $10 per 1,000 calls.
    ("openai", "web_search"): "10",
    # Gemini API pricing, "Grounding with Google Search": $14 per 1,000 queries of Gemini 3.
    ("gemini", "web_search"): "14",
    # Amazon Bedrock pricing, "Guardrails": per 1,000 text units.
    ("bedrock", "guardrail_content"): "0.15",
    ("bedrock", "guardrail_topic"): "0.15",
    ("bedrock", "guardrail_sensitive"): "0.10",
    ("bedrock", "guardrail_grounding"): "0.10",
}
"""Dollars per thousand of what a fee is asked for."""

SERVED = {"": Decimal(1), "flex": Decimal("0.5")}
"""Factors of how a response was served ("Flex PayGo": half of the standard price)."""


def cost(provider: str, reading: Reading) -> Decimal | None:
    """Return what a response costs in dollars, None where a part of it has no known price."""
    if reading.cost is not None:
        return reading.cost
    total = Decimal(0)
    for unit, count in reading.units.items():
        if (provider, unit) not in FEES:
            return None
        total += count * Decimal(FEES[provider, unit]) / 1_000
    for part in reading.parts:
        if (provider, part.model) in UNPRICED:
            return None
        total += _tokens(PRICES[provider, part.model], part) * SERVED[reading.served]
    return total


def _tokens(price: Price, part: Part) -> Decimal:
    counts = (part.input, part.output, part.cache_read, part.cache_write, part.cache_write_1h)
    return (
        sum(
            (count * Decimal(each) for count, each in zip(counts, price, strict=True) if count),
            Decimal(0),
        )
        / 1_000_000
    )
