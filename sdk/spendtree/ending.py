"""How a call ended that gave no usage: surely not billed, or unknown. Pure; imports no client.

Whatever is not in a table here is unclear, and unclear money is presumed spent (rule 3).
"""

from typing import Any

NOT_BILLED_STATUS = frozenset({400, 401, 402, 403, 404, 405, 409, 413, 415, 422, 429, 529})
"""HTTP statuses of a request that was refused before a model ran.

4xx and 429: OpenAI "Error codes", Anthropic "Errors" (both bill only requests that succeed);
529: Anthropic's overloaded_error, answered before a byte of output. 408 and 499 are missing on
purpose: the request may have been running; so are 5xx.
"""


NEVER_CONNECTED = frozenset(
    {
        "httpx.ConnectError",
        "httpx.ConnectTimeout",
        "httpx.PoolTimeout",
        "httpcore.ConnectError",
        "httpcore.ConnectTimeout",
        "httpcore.PoolTimeout",
        "aiohttp.client_exceptions.ClientConnectorError",
        "urllib3.exceptions.NewConnectionError",
    }
)
"""Clients' errors of a request that never had a connection to be sent on.

By name, since httpcore (under httpx, openai, anthropic) cuts off the socket's error as the cause.
"""


def not_billed(error: BaseException) -> str:
    """Return why an error means that nothing was billed, "" if that is not sure."""
    status = _status(error)
    if status in NOT_BILLED_STATUS:
        return f"refused with HTTP status {status}"
    cause: BaseException | None = error
    for _ in range(8):  # clients wrap the socket's error a few times
        if cause is None:
            break
        if _never_connected(cause):
            return "connection refused"
        cause = cause.__cause__  # not __context__: an earlier try's error says nothing
    return ""


def _never_connected(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):  # one for each address of the host
        return all(_never_connected(each) for each in error.exceptions)
    if isinstance(error, ConnectionRefusedError):
        return True
    names = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(error).__mro__}
    return not NEVER_CONNECTED.isdisjoint(names)


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a client's error carries (openai, anthropic, httpx, aiohttp)."""
    for owner in (error, getattr(error, "response", None)):
        for name in ("status_code", "status"):
            status: Any = getattr(owner, name, None)
            if isinstance(status, int):
                return status
    return None
