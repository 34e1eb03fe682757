"""Reading the members of a list one by one, so that a bad one costs only itself. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from spendtree.ingest.span import Problem, SpanError, SpanRecord

Nested = Callable[[Mapping[str, Any], str, str], Iterable[SpanRecord | Problem] | None]
"""Returns what an item holds that is more than one span, None if it is one."""

NO_ID = "has no span id, so a second delivery could not be told from a second span"


def each(
    items: Iterable[Any],
    convert: Callable[[Mapping[str, Any]], SpanRecord],
    where: str,
    file: str,
    *,
    nested: Nested | None = None,
) -> Iterator[SpanRecord | Problem]:
    """Convert the members of the list at `where`; those that cannot be read become problems."""
    for i, item in enumerate(items):
        if nested is not None and isinstance(item, dict):
            several = nested(item, f"{where}[{i}]", file)
            if several is not None:
                yield from several
                continue
        yield one(item, convert, f"{where}[{i}]", file)


def one(
    item: Any, convert: Callable[[Mapping[str, Any]], SpanRecord], where: str, file: str
) -> SpanRecord | Problem:
    """Convert the one span that stands at `where` ("" is the whole document)."""
    where = where or "line 1"
    if not isinstance(item, dict):
        return Problem(file, where, "is not an object, so not a span")
    try:
        record = convert(item)
    except SpanError as error:
        return Problem(file, where, str(error))
    return record if record.span_id else Problem(file, where, NO_ID)
