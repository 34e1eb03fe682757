"""The `openai` library: chat completions, responses, embeddings. A table; it imports nothing of it.

Sources: the API reference ("Create chat completion", "Create a model response", "Create
embeddings") and the library's `_base_client`, through which every resource goes.
"""

import re

from spendtree.integrations.library import Endpoint, Library
from spendtree.pricing.supplements import OPENAI_REGIONS

COMPLETION_TOKENS = frozenset({"openai", "azure", "groq", "cerebras"})
"""Providers that know `max_completion_tokens`; OpenAI's reasoning models refuse the older name."""

_OPENAI_MODEL = re.compile(r"(?:[\w.-]+/)?(?:gpt-|chatgpt|o\d)")


def chat_limit(provider: str, model: str) -> str:
    """Return the name by which a provider of chat completions knows the output limit."""
    known = provider in COMPLETION_TOKENS or (not provider and _OPENAI_MODEL.match(model))
    return "max_completion_tokens" if known else "max_tokens"


_DONE = re.compile(rb"\[DONE\]")
_LAST_USAGE = re.compile(rb'"choices"\s*:\s*\[\s*\]|"error"\s*:\s*\{')
"""OpenRouter tells of an error together with the usage, in the last event."""
_ENDED = re.compile(rb'"response\.(?:completed|incomplete|failed)"')

RESPONSES = Endpoint(
    limits=("max_output_tokens",), kept_by_provider=("prompt",), final=_ENDED, done=_ENDED
)

LIBRARY = Library(
    name="openai",
    clients=("OpenAI", "AsyncOpenAI"),
    endpoints={
        "/chat/completions": Endpoint(
            limits=("max_completion_tokens", "max_tokens"),
            limit_for=chat_limit,
            choices=("n",),
            fallbacks="models",  # OpenRouter's
            usage_option=True,
            final=_LAST_USAGE,
            done=_DONE,
        ),
        "/completions": Endpoint(
            limits=("max_tokens",),
            choices=("n", "best_of"),
            prompts="prompt",
            usage_option=True,
            final=_LAST_USAGE,
            done=_DONE,
        ),
        "/responses": RESPONSES,
        "/responses/compact": RESPONSES._replace(sends_limit=False),
        "/embeddings": Endpoint(embeds=True),
    },
    hosts={
        "api.openai.com": "openai",
        **{f"{region}.api.openai.com": "openai" for region in OPENAI_REGIONS},
    },
    kinds={"Azure": "azure", "Bedrock": "aws"},
)
