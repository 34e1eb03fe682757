"""Which hosts are providers' APIs: what is between our own processes must never be sent there.

The catalogue's patterns are the larger part (`PriceBook.sells_at`); the table adds what it does
not list. Pure.
"""

import re

SUFFIXES = (
    "anthropic.com",
    "openai.com",
    "mistral.ai",
    "cohere.ai",
    "cohere.com",
    "aiplatform.googleapis.com",
    "generativelanguage.googleapis.com",
    "openai.azure.com",
    "models.ai.azure.com",
    "inference.ai.azure.com",
    "models.github.ai",
    "huggingface.cloud",
    "huggingface.co",
    "together.ai",
    "together.xyz",
    "ai21.com",
    "anyscale.com",
    "deepinfra.com",
    "friendli.ai",
    "hyperbolic.xyz",
    "jina.ai",
    "lambda.ai",
    "minimax.chat",
    "moonshot.ai",
    "moonshot.cn",
    "nebius.ai",
    "nebius.com",
    "novita.ai",
    "ollama.com",
    "replicate.com",
    "replicate.delivery",
    "sambanova.ai",
    "siliconflow.cn",
    "siliconflow.com",
    "stability.ai",
    "volces.com",
    # Gateways that pass requests, and what is in them, on to the above.
    "ai-gateway.vercel.sh",
    "gateway.ai.cloudflare.com",
    "helicone.ai",
    "openrouter.ai",
    "portkey.ai",
)
"""Hosts, each with everything below it."""

PATTERNS = (
    r"bedrock[a-z-]*\.[a-z0-9-]+\.(amazonaws\.com(\.cn)?|api\.aws)",
    r"runtime\.sagemaker\.[a-z0-9-]+\.amazonaws\.com(\.cn)?",
    r"[a-z0-9-]+-aiplatform\.googleapis\.com",
    r"dashscope[a-z0-9-]*\.aliyuncs\.com",
    r"(integrate|ai)\.api\.nvidia\.com",
    r"([a-z0-9-]+\.)*ml\.cloud\.ibm\.com",
)
"""Hosts with a region or an account in their name."""

_HOST = re.compile(
    "|".join([*(rf"(.+\.)?{re.escape(suffix)}" for suffix in SUFFIXES), *PATTERNS]),
)


def is_api(host: str) -> bool:
    """Tell whether a host is one of the table."""
    return _HOST.fullmatch(host.lower().rstrip(".")) is not None
