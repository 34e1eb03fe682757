"""Bytes or parsed JSON of any known dialect -> SpanRecords, and Problems for what is none. Pure.

One table says which dialect a document is; a receiver that has parsed its request uses `parse` on
the object, `files` uses it on a file's bytes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from spendtree.ingest import chatdev, compact, langfuse, otelsdk, otlp
from spendtree.ingest.documents import ACCEPTED, Document, documents, exact
from spendtree.ingest.pieces import each, one
from spendtree.ingest.span import InexactNumberError, Problem, SpanRecord

Found = Iterator[SpanRecord | Problem]
Reader = Callable[[Mapping[str, Any], str, str], Found]

_BOM = b"\xef\xbb\xbf"


def parse(content: bytes | Any, *, file: str = "") -> Found:
    """Return the spans of a file's bytes, or of a JSON value that is already parsed.

    `file` names the source in Problems, and a ChatDev log's session. Never raises for content.
    """
    if isinstance(content, bytes):
        yield from _bytes(content.removeprefix(_BOM), file)
    else:
        yield from _told_exactly(content, "", file)


def _bytes(content: bytes, file: str) -> Found:
    if not content.strip():
        yield Problem(file, "line 1", "is empty")
        return
    log = content.decode("utf-8", "replace") if content.startswith(b"[2") else ""
    if chatdev.is_log(log):
        yield from chatdev.read(log, file)
        return
    for document in documents(content, file):
        if isinstance(document, Problem):
            yield document
        elif document.rest:
            yield from _inner(document, file)
        else:
            yield from _document(document, file)


def _document(document: Document, file: str) -> Iterable[SpanRecord | Problem]:
    """Return the spans of a document, none of them before all its numbers are exact."""
    try:
        return _value(document.value, document.where, file)
    except InexactNumberError:
        value = exact(document.source) if document.source else document.value
        return _told_exactly(value, document.where, file)


def _told_exactly(value: Any, where: str, file: str) -> Iterable[SpanRecord | Problem]:
    """Return the spans of a value that no parser can read better than it was."""
    try:
        return _value(value, where, file)
    except InexactNumberError as error:
        return (Problem(file, where or "line 1", str(error)),)


def _inner(document: Document, file: str) -> Found:
    """Return the spans among what follows something unreadable; other pieces of it are silent."""
    value = document.value
    if isinstance(value, dict) and (_converter(value) or _reader(value)):
        yield from _document(document, file)


def _value(value: Any, where: str, file: str) -> Iterable[SpanRecord | Problem]:
    if not isinstance(value, list):
        return _object(value, where, file)
    found: list[SpanRecord | Problem] = []
    for i, item in enumerate(value):
        found += _object(item, f"{where} [{i}]".lstrip(), file)
    return found


def _object(value: Any, where: str, file: str) -> Iterable[SpanRecord | Problem]:
    if not isinstance(value, dict):
        return (Problem(file, where or "line 1", "is not an object, so not a span"),)
    convert = _converter(value)
    if convert is not None:
        return (one(value, convert, where, file),)
    reader = _reader(value)
    if reader is not None:
        return list(reader(value, where, file))
    keys = ", ".join(list(value)[:5]) or "nothing"
    reason = f"unknown format (an object of {keys}); accepted are {ACCEPTED}"
    return (Problem(file, where or "line 1", reason),)


def _spans(value: Mapping[str, Any], where: str, file: str) -> Found:
    yield from each(value["spans"], _any_span, f"{where} spans".lstrip(), file)


def _any_span(value: Mapping[str, Any]) -> SpanRecord:
    return otlp.span({}, value) if "spanId" in value else otelsdk.span(value)


_observation = partial(langfuse.observation, "")
_otlp_span = partial(otlp.span, {})


def _converter(value: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], SpanRecord] | None:
    """Return what reads a document that is one span, told by the keys of its dialect."""
    if compact.is_record(value) and "attributes" not in value:
        return compact.span
    if any(key in value for key in _SEVERAL):
        return None
    if "spanId" in value and "traceId" in value:
        return _otlp_span
    if langfuse.is_observation(value):
        return _observation
    if "attributes" in value or "context" in value or "start_time" in value:
        return otelsdk.span
    return None


_SEVERAL: dict[str, Reader] = {
    "resourceSpans": otlp.read,
    "resource_spans": otlp.read,
    "observations": langfuse.read,
    "spans": _spans,
}
"""What reads a document of several spans, by the key under which it holds them."""


def _reader(value: Mapping[str, Any]) -> Reader | None:
    return next((read for key, read in _SEVERAL.items() if isinstance(value.get(key), list)), None)
