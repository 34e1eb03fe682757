"""What the sources state, read from their wheels: which model writes how many tokens at most.

The wheels are data here: nothing of them is installed, imported or run.
"""

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

LITELLM = "litellm"
PRICE_LIST = "litellm/model_prices_and_context_window_backup.json"

TEXT_MODES = frozenset({"chat", "completion", "responses"})
"""Kinds of models in the price list that answer with tokens of text."""

PROFILES: dict[str, str] = {
    "langchain-anthropic": "anthropic",
    "langchain-aws": "aws",
    "langchain-deepseek": "deepseek",
    "langchain-fireworks": "fireworks",
    "langchain-google-genai": "google",
    "langchain-google-vertexai": "google",
    "langchain-groq": "groq",
    "langchain-mistralai": "mistral",
    "langchain-openai": "openai",
    "langchain-openrouter": "openrouter",
    "langchain-perplexity": "perplexity",
    "langchain-xai": "x-ai",
}
"""Packages with profiles of models.dev, and whose models those are."""


class Statement(NamedTuple):
    """One source's word on one model; `window` is its context window there, None if not told."""

    source: str
    provider: str
    model: str
    tokens: int
    window: int | None


def of_price_list(models: Mapping[str, Mapping[str, Any]]) -> Iterator[Statement]:
    """Yield what LiteLLM's price list states."""
    for model, told in models.items():
        if told.get("mode") in TEXT_MODES:
            yield from _statement("L", str(told.get("litellm_provider", "")), model, told)


def of_profiles(provider: str, profiles: Mapping[str, Mapping[str, Any]]) -> Iterator[Statement]:
    """Yield what the profiles of one package state."""
    for model, told in profiles.items():
        yield from _statement("M", provider, model, told)


def read_price_list(wheel: Path) -> dict[str, Any]:
    """Return the price list of a wheel."""
    with ZipFile(wheel) as archive:
        models: dict[str, Any] = json.loads(archive.read(PRICE_LIST))
    return models


def read_profiles(wheel: Path) -> dict[str, Any]:
    """Return the profiles of a wheel: the one literal in its `data/_profiles.py`."""
    with ZipFile(wheel) as archive:
        (name,) = [each for each in archive.namelist() if each.endswith("/data/_profiles.py")]
        return parse_profiles(archive.read(name).decode("utf-8"))


def parse_profiles(source: str) -> dict[str, Any]:
    """Return the value of `_PROFILES` in a source."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign | ast.Assign) and node.value is not None:
            targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
            if any(isinstance(each, ast.Name) and each.id == "_PROFILES" for each in targets):
                profiles: dict[str, Any] = ast.literal_eval(node.value)
                return profiles
    raise ValueError("there are no _PROFILES in this source")


def _statement(
    source: str, provider: str, model: str, told: Mapping[str, Any]
) -> Iterator[Statement]:
    tokens, window = told.get("max_output_tokens"), told.get("max_input_tokens")
    if type(tokens) is int and tokens > 0:
        yield Statement(source, provider, model, tokens, window if type(window) is int else None)
