"""The attempts of one request: each is a call with a hold of its own.

A client's own retries are hidden inside its `request`; here they are switched off, and made again
around it: as often, after as long, and for the same reasons, which the client's own rules tell
(`max_retries`, `Retry-After`, `x-should-retry`). All attempts carry one idempotency key.
"""

import os
from collections.abc import Awaitable, Callable
from importlib import import_module
from types import TracebackType
from typing import Any

from spendtree.ending import was_answered
from spendtree.integrations.asked import Asked, ClientCall
from spendtree.integrations.library import Library
from spendtree.integrations.results import hand_over, note

Request = Callable[..., Any]
AsyncRequest = Callable[..., Awaitable[Any]]

KEY_PREFIX = "stainless-python-retry-"
"""With which the clients begin the keys that they make themselves."""

COUNT_HEADER = "x-stainless-retry-count"

PREPARE = "_copy_and_prepare"
"""Where a client has it, it reads one-shot iterators in a request, which no second attempt can."""

UNSENT = frozenset(
    {
        *("_build_request", "_prepare_options", "_prepare_request", "_copy_and_prepare"),
        *("wait_for_connection", "_connect"),
    }
)
"""Functions of the clients, and of the HTTP libraries below them, before a request is sent.

What fails or is cancelled in one of them was surely not billed. The name counts only in one of
their own modules, or where such a module calls it (a subclass may prepare requests its own way).
"""

SENDERS = frozenset({"openai", "anthropic", "httpx", "httpx2", "httpcore", "httpcore2"})
"""The packages of those functions."""


class Switch:
    """Whether a `request` of ours tracks, or only passes through: others may hold on to it."""

    on = True


class Attempts:
    """Counts the attempts, makes each one's options, and tells whether another follows."""

    def __init__(self, library: str, client: Any, options: Any) -> None:
        self._library = library
        self._client = client
        self.options = options
        self.most = options.get_max_retries(client.max_retries)
        self.taken = 0
        self._key = options.idempotency_key or f"{KEY_PREFIX}{os.urandom(16).hex()}"

    def next(self, options: Any, call: ClientCall) -> Any:
        """Return the options of the attempt that is made now."""
        options.idempotency_key = self._key
        if isinstance(self.most, int) and self.most > 0:
            options.max_retries = 0
        if self.taken:
            given = options.headers
            headers = dict(given) if hasattr(given, "items") else {}
            options.headers = {COUNT_HEADER: str(self.taken), **headers}
        return note(options, call)

    def failed(self, call: ClientCall, error: BaseException) -> bool:
        """End the call of an attempt that failed; tell whether another attempt follows."""
        own = _is_of_provider(self._library, error)
        if not own and _is_unsent(error.__traceback__) and not was_answered(error):
            call.void("ended before it was sent")
        call.__exit__(type(error), error, error.__traceback__)
        more = isinstance(self.most, int) and self.taken < self.most
        return more and isinstance(error, Exception) and self._is_worth_another(error)

    def pause(self, error: Any) -> dict[str, Any]:
        """Return what the client's own pause between attempts is called with, and count one."""
        taken, self.taken = self.taken, self.taken + 1
        return {
            "retries_taken": taken,
            "max_retries": self.most,
            "options": self.options,
            "response": getattr(error, "response", None),
        }

    def succeeded(self, result: Any) -> Any:
        """Return a result that says how many attempts it took, where it says that at all."""
        if self.taken and hasattr(result, "retries_taken"):
            result.retries_taken = self.taken
        return result

    def _is_worth_another(self, error: Exception) -> bool:
        own = getattr(self._client, "_should_retry_exception", None)
        if own is not None:
            return bool(own(error)[0])
        module = import_module(self._library)
        if isinstance(error, module.APIStatusError):
            return bool(self._client._should_retry(error.response))
        return isinstance(error, module.APIConnectionError)


def sync_request(library: Library, request: Request, switch: Switch) -> Request:
    """Return a client's `request` with a call around each attempt."""

    def tracked(client: Any, cast_to: Any, options: Any, **given: Any) -> Any:
        endpoint = library.endpoint(options, client) if switch.on else None
        if endpoint is None:
            return request(client, cast_to, options, **given)
        if hasattr(client, PREPARE):
            options = getattr(client, PREPARE)(options)
        asked = Asked(library, endpoint, client, options)
        attempts = Attempts(library.name, client, options)
        while True:
            call = asked.call()
            guard = call.__exit__  # fetched before, it ends the call however this is left
            call.__enter__()
            try:
                sent = attempts.next(asked.options(call), call)
                result = request(client, cast_to, sent, **given)
            except BaseException as error:
                if not attempts.failed(call, error):
                    raise
                pause = attempts.pause(error)
            else:
                return attempts.succeeded(hand_over(result, asked, call, guard))
            client._sleep_for_retry(**pause)

    return tracked


def async_request(library: Library, request: AsyncRequest, switch: Switch) -> AsyncRequest:
    """Return an asynchronous client's `request` with a call around each attempt."""

    async def tracked(client: Any, cast_to: Any, options: Any, **given: Any) -> Any:
        endpoint = library.endpoint(options, client) if switch.on else None
        if endpoint is None:
            return await request(client, cast_to, options, **given)
        if hasattr(client, PREPARE):
            options = await getattr(client, PREPARE)(options)
        asked = Asked(library, endpoint, client, options)
        attempts = Attempts(library.name, client, options)
        while True:
            call = asked.call()
            guard = call.__exit__
            await call.__aenter__()
            try:
                sent = attempts.next(asked.options(call), call)
                result = await request(client, cast_to, sent, **given)
            except BaseException as error:
                if not attempts.failed(call, error):
                    raise
                pause = attempts.pause(error)
            else:
                return attempts.succeeded(hand_over(result, asked, call, guard))
            await client._sleep_for_retry(**pause)

    return tracked


def _is_of_provider(library: str, error: BaseException) -> bool:
    """Tell whether an error is the client's own report of how its request went."""
    return isinstance(error, import_module(library).APIError)


def _is_unsent(traceback: TracebackType | None) -> bool:
    called_by_sender = False
    while traceback is not None:
        frame = traceback.tb_frame
        is_sender = (frame.f_globals.get("__name__") or "").partition(".")[0] in SENDERS
        if (is_sender or called_by_sender) and frame.f_code.co_name in UNSENT:
            return True
        called_by_sender = is_sender
        traceback = traceback.tb_next
    return False
