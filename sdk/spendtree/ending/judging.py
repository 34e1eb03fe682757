"""Judges how a call ended, by walking the table over its error and what caused it."""

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

from spendtree.ending.endings import ENDINGS, Ending


def table() -> list[tuple[str, str, str, str]]:
    """Return the rows of the table for people: what, outcome, why, source."""
    return [(_told(row), row.outcome, row.why, row.source) for row in ENDINGS]


def not_billed(error: BaseException) -> str:
    """Return why an error means that nothing was billed, "" if that is not sure.

    The error is taken for the provider's, so nothing else should fail within a call. Of an error
    and what caused it, the outermost that the table knows decides; what caused that one only says
    it more precisely (no connection, since it was refused). A class tells nothing once a response
    was there: then a hook of the user's failed, at a request of its own.
    """
    reason = ""
    answered = was_answered(error)
    for each in _causes(error):
        if isinstance(each, BaseExceptionGroup):
            reasons = [not_billed(member) for member in each.exceptions]
            return reasons[0] if all(reasons) else reason
        row = _row_of_class(type(each))
        told = None if reason or row is not None else _told_by_provider(each)
        if told is not None:
            return told
        if row is not None and row.outcome == "void" and not answered:
            reason = row.why
        elif row is not None and not reason:
            return ""
    return reason


def was_answered(error: BaseException) -> bool:
    """Tell whether an error, or what caused it, came when an HTTP client had a response already.

    A frame of the client that sent the request says so: it keeps the response in a variable while
    the hooks for responses run.
    """
    return any(_has_response(each.__traceback__) for each in _causes(error))


def _has_response(traceback: TracebackType | None) -> bool:
    while traceback is not None:
        frame = traceback.tb_frame
        module = frame.f_globals.get("__name__") or ""
        if module in _SENDERS and frame.f_locals.get("response") is not None:
            return True
        traceback = traceback.tb_next
    return False


def _told_by_provider(error: BaseException) -> str | None:
    """Return what an error's code or status says: why nothing was billed, "" if not sure."""
    status, code = _status(error), _code(error)
    row = _BY_CODE.get(code)
    if row is not None and (row.outcome == "lapse" or status is None):
        return f"{row.why} ({code})" if row.outcome == "void" else ""
    if status is None:
        return None
    return f"refused with HTTP status {status}" if status in NOT_BILLED_STATUS else ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Iterate from an error to what it was raised from, or holds as its cause."""
    each: Any = error
    for _ in range(8):  # clients wrap the socket's error a few times
        if not isinstance(each, BaseException):
            return
        yield each
        # Not __context__: an earlier try's error says nothing.
        each = each.__cause__ or _held_cause(each)


def _held_cause(error: BaseException) -> Any:
    """Return the cause that a client keeps in an error, where it does not raise it from that."""
    if type(error).__module__.partition(".")[0] not in _HOLDING_CAUSES:
        return None
    return getattr(error, "reason", None) or next(iter(error.args), None)


def _row_of_class(kind: type[BaseException]) -> Ending | None:
    for base in kind.__mro__:
        for package, row in _BY_CLASS.get(base.__name__, ()):
            if base.__module__ == package or base.__module__.startswith(f"{package}."):
                return row
    return None


def _status(error: BaseException) -> int | None:
    """Return the HTTP status that a client's error carries.

    The response's comes first: clients make errors of what a stream says after a 200, with the
    status that it would have had (google-genai, openai, anthropic, httpx; botocore's is a dict).
    """
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        metadata = response.get("ResponseMetadata")
        return metadata.get("HTTPStatusCode") if isinstance(metadata, Mapping) else None
    # A SystemExit has a code, too.
    for owner in (response, error if isinstance(error, Exception) else None):
        for name in ("status_code", "status", "code"):
            status = getattr(owner, name, None)
            if isinstance(status, int) and 100 <= status <= 599:
                return int(status)
    return None


def _code(error: BaseException) -> str:
    """Return the code that a provider gave an error: in the error, in its body, from gRPC."""
    response, body = getattr(error, "response", None), getattr(error, "body", None)
    code: Any = getattr(error, "code", None)
    if type(error).__module__.partition(".")[0] == "grpc" and callable(code):
        code = getattr(code(), "name", None)
    for owner, key in ((response, "Error"), (body, "error")):
        inner = owner.get(key) if isinstance(owner, Mapping) else None
        if not isinstance(code, str) and isinstance(inner, Mapping):
            code = inner.get("Code") or inner.get("code")
    return code if isinstance(code, str) else ""


def _told(row: Ending) -> str:
    what = {"status": "HTTP ", "code": "code ", "exception": ""}[row.kind]
    return what + ", ".join(row.names)


_SENDERS = frozenset({"httpx._client", "httpx2._client"})
"""Modules whose functions send a request and name what they get `response`."""

_HOLDING_CAUSES = frozenset({"httpcore", "httpcore2", "requests", "urllib3"})

_BY_CODE = {name: row for row in reversed(ENDINGS) if row.kind == "code" for name in row.names}
_BY_CLASS: dict[str, list[tuple[str, Ending]]] = {}
for _row in ENDINGS:
    for _name in _row.names if _row.kind == "exception" else ():
        _package, _, _class = _name.rpartition(".")
        _BY_CLASS.setdefault(_class, []).append((_package, _row))

NOT_BILLED_STATUS = frozenset(
    int(name)
    for row in ENDINGS
    if row.kind == "status" and row.outcome == "void"
    for name in row.names
)
"""HTTP statuses of a request that was refused before a model ran."""
