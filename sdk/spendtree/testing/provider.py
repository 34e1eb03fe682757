"""A provider that answers at once, costs nothing, and keeps a bill of its own.

The bill is what a test compares the ledger with: it counts what was dispatched, whatever the
program made of the answer.
"""

import threading
from collections.abc import Callable
from typing import Any, NamedTuple

from spendtree.usage import Usage


class ProviderRequest(NamedTuple):
    """One request that reached the provider, and the usage that it was answered with."""

    model: str
    input_tokens: int
    max_output_tokens: int
    usage: Usage


class ProviderError(Exception):
    """A failure of the provider; `status_code` is the HTTP status, as clients' errors carry it."""

    def __init__(self, status_code: int, message: str = "the fake provider fails") -> None:
        super().__init__(f"{status_code}: {message}")
        self.status_code = status_code


Respond = Callable[[int, str, int, int], Usage]


class FakeProvider:
    """Answers each request with all the output that it allows, or as `respond` says.

    `respond(ordinal, model, input_tokens, max_output_tokens)` returns the usage of request number
    `ordinal` (from 0), or raises, like `ProviderError(429)`. Safe for threads.
    """

    def __init__(self, respond: Respond | None = None) -> None:
        self._respond = respond
        self._lock = threading.Lock()
        self._arrived = 0
        self.requests: list[ProviderRequest] = []
        """What was answered, in order: the provider's own bill."""

    def complete(self, model: str, *, input_tokens: int, max_output_tokens: int) -> dict[str, Any]:
        """Answer a request with a body in the shape of OpenAI's chat completions."""
        with self._lock:
            ordinal = self._arrived
            self._arrived += 1
        usage = Usage(input_tokens, max_output_tokens)
        if self._respond is not None:
            usage = self._respond(ordinal, model, input_tokens, max_output_tokens)
        with self._lock:
            self.requests.append(ProviderRequest(model, input_tokens, max_output_tokens, usage))
        return _chat_completion(model, usage)

    async def complete_async(
        self, model: str, *, input_tokens: int, max_output_tokens: int
    ) -> dict[str, Any]:
        """Answer a request after letting other tasks run, as a real one would."""
        import asyncio  # noqa: PLC0415 - 40 ms that a program without a loop need not pay

        await asyncio.sleep(0)
        return self.complete(model, input_tokens=input_tokens, max_output_tokens=max_output_tokens)


def _chat_completion(model: str, usage: Usage) -> dict[str, Any]:
    prompt = usage.input_tokens + usage.cache_read_tokens
    return {
        "object": "chat.completion",
        "model": model,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "fake"}}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": usage.output_tokens,
            "total_tokens": prompt + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        },
    }
