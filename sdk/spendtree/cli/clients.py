"""Clients: the demo's agents ask over HTTP, with the client of OpenAI as it is.

A provider on 127.0.0.1 reads in a header of each request what it shall answer. There is one client
for each provider, as behind a gateway. Needs openai, which is imported when `Clients` is made.
"""

import itertools
import json
from contextlib import nullcontext
from dataclasses import asdict, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import spendtree
from spendtree import bound
from spendtree.cli.asking import FAILURES, PROVIDERS, Answer, Prompt
from spendtree.integrations import wrap
from spendtree.testing import LoopbackProvider, ProviderError, Received, Reply
from spendtree.testing.reply import answer, error_reply

if TYPE_CHECKING:
    from openai import AsyncOpenAI

ANSWER_HEADER = "x-demo-answer"

TEXT = "As far as the sources tell, and they do not tell much."
NOTES = "What was found so far, in the words of whoever found it. "


class Clients:
    """Asks a loopback provider, which runs until it is left; ImportError without openai 2."""

    def __init__(self) -> None:
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient  # noqa: PLC0415

        # Nothing leaves this machine: a proxy of the environment is not asked.
        self._http = DefaultAsyncHttpxClient(trust_env=False)
        self._client = AsyncOpenAI
        self._clients: dict[str, AsyncOpenAI] = {}
        self._numbers = itertools.count(1)
        self.provider = LoopbackProvider(self._respond)

    async def ask(self, prompt: Prompt) -> None:
        """Ask, and wait for the answer; raises ProviderError where there is none."""
        named = spendtree.purpose(prompt.purpose) if prompt.purpose else nullcontext()
        create = self._client_of(PROVIDERS[prompt.model]).chat.completions.create
        asked: dict[str, Any] = {
            "model": prompt.model,
            "messages": _messages(prompt, next(self._numbers)),
            "max_tokens": prompt.max_output_tokens,
            "extra_headers": {ANSWER_HEADER: json.dumps(asdict(prompt.answer))},
        }
        failure = prompt.answer.failure
        try:
            with named:
                if not prompt.streams:
                    await create(**asked)
                    return
                async for _ in await create(**asked, stream=True):
                    pass
        except spendtree.SpendtreeError:
            raise
        except Exception as error:
            # A failure that nobody drew is none of the story.
            if not failure:
                raise
            raise ProviderError(*FAILURES[failure]) from error

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._http.aclose()
        self.provider.close()

    def _client_of(self, provider: str) -> "AsyncOpenAI":
        if provider not in self._clients:
            # No retries of its own: how often the demo tries again is part of its story.
            client = self._client(
                base_url=self.provider.url, api_key="none", max_retries=0, http_client=self._http
            )
            self._clients[provider] = wrap(client, provider=provider)
        return self._clients[provider]

    def _respond(self, ordinal: int, received: Received) -> Reply:
        # Nobody reads what is kept of the requests, and a stream of days would fill the memory.
        self.provider.received.clear()
        told = json.loads(received.headers[ANSWER_HEADER])
        obeyed = Answer(**{**told, "usage": spendtree.Usage(**told["usage"])})
        self.provider.closing.wait(obeyed.seconds)
        return _reply(received, obeyed)


def _messages(prompt: Prompt, number: int) -> list[dict[str, str]]:
    """Return messages that are as long as they are said to be at most.

    None begins as another does: what is known of one would be a tighter bound of the next.
    """
    message = {"role": "user", "content": ""}
    empty = bound.input_tokens({"model": prompt.model, "messages": [message]}) or 0
    size = max(prompt.input_tokens - empty, 0)
    begun = f"Question {number}. "
    text = (begun + NOTES * (size // len(NOTES) + 1))[:size]
    return [{**message, "content": text}]


def _reply(received: Received, obeyed: Answer) -> Reply:
    if obeyed.failure == "refused":
        return error_reply(FAILURES["refused"][0])
    body: dict[str, Any] = dict(received.body)
    if obeyed.silent:
        body["stream_options"] = {}  # as gateways do that do not know what is asked for there
    reply = answer(received.path, body, obeyed.usage, TEXT)
    if obeyed.failure == "cut":
        return replace(reply, fault="reset", fault_after=len(reply.pieces) // 2)
    return reply
