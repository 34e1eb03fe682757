"""Bytes -> JSON documents: one, one a line, or one after the other. Pure.

orjson reads several times faster and is used where it is installed; it rounds integers above 64
bits, so a document in which such an id was found is read again by the exact parser.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from spendtree.ingest.span import Problem

ACCEPTED = (
    "OTLP JSON (resourceSpans), OTLP logs, dumps of OpenTelemetry SDKs, exports of Langfuse, "
    "LangSmith, Phoenix, MLflow, Jaeger, LiteLLM and Helicone, Claude Code and Codex transcripts, "
    "compact span records and ChatDev logs (docs/import.md lists all)"
)


class Document(NamedTuple):
    """A parsed document, where it stands ("line 3" or ""), and the bytes it was parsed from.

    `rest` is True for what was found after something unreadable: it may be any inner piece of it.
    """

    value: Any
    where: str
    source: bytes
    rest: bool = False


def _fast() -> Callable[[bytes], Any]:
    try:
        import orjson  # noqa: PLC0415 - optional, and imported only where something is read
    except ImportError:
        return exact
    loads: Callable[[bytes], Any] = orjson.loads
    return loads


def exact(source: bytes) -> Any:
    """Parse with integers of any size. Raises ValueError."""
    try:
        return json.loads(source)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def documents(content: bytes, file: str) -> Iterator[Document | Problem]:
    """Return the JSON documents of a file, and what between them is none."""
    loads = _fast()
    first, _, rest = content.lstrip().partition(b"\n")
    if rest.strip() and _is_container(loads, first):
        yield from _lines(content, loads, file)
        return
    try:
        yield Document(loads(content), "", content)
    except ValueError:
        yield from _sequence(content, file)


def _lines(
    content: bytes, loads: Callable[[bytes], Any], file: str
) -> Iterator[Document | Problem]:
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line or line.isspace():
            continue
        try:
            yield Document(loads(line), f"line {number}", line)
        except ValueError as error:
            yield Problem(file, f"line {number}", f"is not JSON: {error}")


def _is_container(loads: Callable[[bytes], Any], line: bytes) -> bool:
    try:
        return isinstance(loads(line), (dict, list))
    except ValueError:
        return False


def _sequence(content: bytes, file: str) -> Iterator[Document | Problem]:
    """Read documents that span lines and follow each other, as a console exporter prints them.

    What cannot be read is skipped up to the next line that begins a document.
    """
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        yield Problem(file, f"line {number}", f"is not UTF-8 (byte {error.start})")
        text = content.decode("utf-8", "replace")
    decoder = json.JSONDecoder()
    position, line, counted, rest = _next_document(text, 0), 1, 0, False
    if position < 0:
        yield Problem(file, "line 1", f"unknown format: not JSON; accepted are {ACCEPTED}")
    while position >= 0:
        line, counted = line + text.count("\n", counted, position), position
        try:
            value, end = decoder.raw_decode(text, position)
            yield Document(value, f"line {line}", b"", rest)
        except (ValueError, RecursionError) as error:
            if not rest:
                reason = error if isinstance(error, ValueError) else "is nested too deeply"
                yield Problem(file, f"line {line}", f"is not JSON: {reason}")
            end, rest = _line_end(text, position), True
        position = _next_document(text, end)


def _next_document(text: str, start: int) -> int:
    """Return where the next line begins that opens an object or a list; -1 if none does."""
    position = start
    while position < len(text):
        stripped = position
        while stripped < len(text) and text[stripped] in " \t\r\n,":
            stripped += 1
        if stripped < len(text) and text[stripped] in "{[":
            return stripped
        position = _line_end(text, stripped)
    return -1


def _line_end(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end < 0 else end + 1
