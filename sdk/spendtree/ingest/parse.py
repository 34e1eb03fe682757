"""Bytes or parsed JSON of any known dialect -> SpanRecords, and Problems for what is none. Pure.

Which dialect a document is says the table of `dialects`; a receiver that has parsed its request
uses `parse` on the object, `files` uses it on a file's bytes.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from spendtree.ingest import chatdev, refusals
from spendtree.ingest.dialects import PAGES, Dialect, Reader, recognised
from spendtree.ingest.documents import ACCEPTED, Document, documents, exact
from spendtree.ingest.span import InexactNumberError, Problem, SpanRecord

Found = Iterator[SpanRecord | Problem]

_BOM = b"\xef\xbb\xbf"
_PAGES_MAX = 4
"""Pages in pages: an API's answer, a list of traces in it."""


def parse(content: bytes | Any, *, file: str = "") -> Found:
    """Return the spans of a file's bytes, or of a JSON value that is already parsed.

    `file` names the source in Problems, and a ChatDev log's session. Never raises for content.
    """
    reading = _Reading(file)
    if isinstance(content, bytes):
        yield from _bytes(content.removeprefix(_BOM), file, reading)
    else:
        yield from reading.exactly(content, "")


def _bytes(content: bytes, file: str, reading: "_Reading") -> Found:
    if not content.strip():
        yield Problem(file, "line 1", "is empty")
        return
    refused = refusals.of_bytes(content)
    if refused is not None:
        yield Problem(file, "", str(refused))
        return
    log = content.decode("utf-8", "replace") if content.startswith(b"[2") else ""
    if chatdev.is_log(log):
        yield from chatdev.read(log, file)
        return
    if content.lstrip()[:1] not in (b"{", b"["):
        refused = refusals.of_text(content[:20_000].decode("utf-8", "replace"))
    else:
        refused = _refused_object(content)
    if refused is not None:
        yield Problem(file, "line 1", str(refused))
        return
    for document in documents(content, file):
        if isinstance(document, Problem):
            yield document
        elif document.rest:
            yield from reading.inner(document)
        else:
            yield from reading.document(document)


def _refused_object(content: bytes) -> refusals.Refusal | None:
    """Return why what looks like JSON at its start is not read: JavaScript's console prints so."""
    line = content.lstrip()[:4096].partition(b"\n")[0].strip()
    if line not in (b"{", b"["):
        return None
    text = content[:20_000].decode("utf-8", "replace")
    return next((why for pattern, why in refusals.TEXTS[:1] if pattern.search(text)), None)


class _Reading:
    """One file being read: the readers of its dialects, and whether all of it is of one."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._readers: dict[str, Reader] = {}
        self._lines = False

    def document(self, document: Document) -> Iterable[SpanRecord | Problem]:
        """Return the spans of a document, none of them before all its numbers are exact."""
        try:
            return self._value(document.value, document.where)
        except InexactNumberError:
            value = exact(document.source) if document.source else document.value
            return self.exactly(value, document.where)

    def exactly(self, value: Any, where: str) -> Iterable[SpanRecord | Problem]:
        """Return the spans of a value that no parser can read better than it was."""
        try:
            return self._value(value, where)
        except InexactNumberError as error:
            return (Problem(self._file, where or "line 1", str(error)),)

    def inner(self, document: Document) -> Found:
        """Return the spans among what follows something unreadable; other pieces are silent."""
        value = document.value
        if isinstance(value, dict) and recognised(value) is not None:
            yield from self.document(document)

    def _value(self, value: Any, where: str, depth: int = _PAGES_MAX) -> list[SpanRecord | Problem]:
        if not isinstance(value, list):
            return self._object(value, where, depth)
        found: list[SpanRecord | Problem] = []
        for i, item in enumerate(value):
            found += self._object(item, f"{where} [{i}]".lstrip(), depth)
        return found

    def _object(self, value: Any, where: str, depth: int) -> list[SpanRecord | Problem]:
        if isinstance(value, list) and depth:
            return self._value(value, where, depth - 1)
        if not isinstance(value, dict):
            return [Problem(self._file, where or "line 1", "is not an object, so not a span")]
        dialect = recognised(value)
        if dialect is not None:
            self._lines = self._lines or dialect.lines
            return self._read(dialect, value, where)
        return self._unknown(value, where, depth)

    def _read(
        self, dialect: Dialect, value: Mapping[str, Any], where: str
    ) -> list[SpanRecord | Problem]:
        try:
            return list(self._reader(dialect)(value, where, self._file))
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            # Content that nobody thought of must not cost the rest of the file.
            reason = f"cannot be read as {dialect.name}: {error!r}"[:200]
            return [Problem(self._file, where or "line 1", reason)]

    def _reader(self, dialect: Dialect) -> Reader:
        reader = self._readers.get(dialect.name)
        if reader is None:
            reader = self._readers[dialect.name] = dialect.open(self._file)
        return reader

    def _unknown(
        self, value: Mapping[str, Any], where: str, depth: int
    ) -> list[SpanRecord | Problem]:
        """Return the spans of a page, or why an object is not read."""
        refused = refusals.of_document(value)
        if refused is not None:
            return [Problem(self._file, where or "line 1", str(refused))]
        for key in PAGES if depth else ():
            inner = value.get(key)
            if isinstance(inner, (list, dict)) and inner and _holds_objects(inner):
                return self._value(inner, f"{where} {key}".lstrip(), depth - 1)
        if self._lines or _is_passed_over(value):
            return []
        keys = ", ".join(list(value)[:5]) or "nothing"
        reason = f"unknown format (an object of {keys}); accepted are {ACCEPTED}"
        return [Problem(self._file, where or "line 1", reason)]


def _holds_objects(inner: Any) -> bool:
    return isinstance(inner, dict) or all(isinstance(item, dict) for item in inner)


def _is_passed_over(value: Mapping[str, Any]) -> bool:
    """Return whether an object is of something that telemetry files hold beside spans."""
    return value.get("type") in ("metric", "log") or "scopeMetrics" in value or "metrics" in value
