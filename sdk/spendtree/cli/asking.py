"""Asking: what the demo's agents say to a model, what it will answer, and the direct way there.

The answer is drawn before the question is asked, and whoever pretends to be the provider obeys it:
`Direct` here, in no time and without a library; `clients` over HTTP, with the client of OpenAI.
"""

import asyncio
from dataclasses import dataclass
from typing import Literal, Protocol

import spendtree
from spendtree.testing import ProviderError

PROVIDERS = {
    "claude-haiku-4-5": "anthropic",
    "claude-sonnet-4-5": "anthropic",
    "gemini-2.5-flash": "google",
    "gpt-4o": "openai",
    "gpt-4o-mini": "openai",
    "madlad-400": "self-hosted",
}

Failure = Literal["", "refused", "cut"]

FAILURES: dict[Failure, tuple[int, str]] = {
    "refused": (429, "too many requests"),
    "cut": (502, "the stream was cut"),
}
"""How a provider fails: surely not billed, or who knows; with status and message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What the provider will do after `seconds`: state a usage, be `silent` about it, or fail."""

    usage: spendtree.Usage
    seconds: float
    failure: Failure = ""
    silent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One question to a model: at most so many tokens in and out, and what it will answer.

    `streams` asks for the answer as it is written.
    """

    model: str
    input_tokens: int
    max_output_tokens: int
    answer: Answer
    purpose: str | None = None
    streams: bool = False


class Asking(Protocol):
    """A way to ask: each prompt is a call of the current scope, with a hold of its own."""

    async def ask(self, prompt: Prompt) -> None:
        """Ask, and wait for the answer; raises ProviderError where there is none."""


class Direct:
    """Asks a fake provider in this process, through `spendtree.call`: for tests in virtual time."""

    async def ask(self, prompt: Prompt) -> None:
        """Ask, and wait for the answer; raises ProviderError where there is none."""
        answer = prompt.answer
        async with spendtree.call(
            prompt.model,
            provider=PROVIDERS[prompt.model],
            input_tokens=prompt.input_tokens,
            max_output_tokens=prompt.max_output_tokens,
            purpose=prompt.purpose,
        ) as call:
            await asyncio.sleep(answer.seconds)
            if answer.failure:
                raise ProviderError(*FAILURES[answer.failure])
            if not answer.silent:  # else its worst case is presumed spent
                call.record(answer.usage)
