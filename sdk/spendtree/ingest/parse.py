"""Bytes or parsed JSON of any known dialect -> SpanRecords, and Problems for what is none. Pure.

One table says which dialect a document is; a receiver that has parsed its request uses `parse` on
the object, `files` uses it on a file's bytes.
"""

from collections.abc import Callable, Iterator, Mapping
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
        yield from _value(content, "", file)


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


def _document(document: Document, file: str) -> Found:
    try:
        # A list, so that nothing of a document is passed on before all its numbers are exact.
        found = list(_value(document.value, document.where, file))
    except InexactNumberError:
        found = list(_value(exact(document.source), document.where, file))
    yield from found


def _inner(document: Document, file: str) -> Found:
    """Return the spans among what follows something unreadable; other pieces of it are silent."""
    if isinstance(document.value, dict) and _reader(document.value) is not None:
        yield from _document(document, file)


def _value(value: Any, where: str, file: str) -> Found:
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from _object(item, f"{where} [{i}]".lstrip(), file)
    else:
        yield from _object(value, where, file)


def _object(value: Any, where: str, file: str) -> Found:
    reader = _reader(value) if isinstance(value, dict) else None
    if reader is not None:
        yield from reader(value, where, file)
    else:
        reason = "is not an object, so not a span"
        if isinstance(value, dict):
            keys = ", ".join(list(value)[:5])
            reason = f"unknown format (an object of {keys or 'nothing'}); accepted are {ACCEPTED}"
        yield Problem(file, where or "line 1", reason)


def _span_reader(convert: Callable[[Mapping[str, Any]], SpanRecord]) -> Reader:
    def read(value: Mapping[str, Any], where: str, file: str) -> Found:
        yield one(value, convert, where, file)

    return read


def _spans(value: Mapping[str, Any], where: str, file: str) -> Found:
    yield from each(value["spans"], _any_span, f"{where} spans".lstrip(), file)


def _any_span(value: Mapping[str, Any]) -> SpanRecord:
    return otlp.span({}, value) if "spanId" in value else otelsdk.span(value)


_compact = _span_reader(compact.span)
_sdk = _span_reader(otelsdk.span)
_observation = _span_reader(partial(langfuse.observation, ""))
_otlp_span = _span_reader(partial(otlp.span, {}))


def _reader(value: Mapping[str, Any]) -> Reader | None:
    """Return what reads a document, told by the keys that only its dialect has."""
    if compact.is_record(value) and "attributes" not in value:
        return _compact
    if "resourceSpans" in value or "resource_spans" in value:
        return otlp.read
    if langfuse.is_export(value):
        return langfuse.read
    if isinstance(value.get("spans"), list):
        return _spans
    if "spanId" in value and "traceId" in value:
        return _otlp_span
    if langfuse.is_observation(value):
        return _observation
    if "attributes" in value or "context" in value or "start_time" in value:
        return _sdk
    return None
