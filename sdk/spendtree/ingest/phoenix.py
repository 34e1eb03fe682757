"""Phoenix' data frames, as `DataFrame.to_json` writes them: by record or by column. Pure.

https://arize.com/docs/phoenix/tracing/how-to-tracing/importing-and-exporting-traces: columns are
`context.trace_id`, `context.span_id`, `parent_id`, `span_kind`, `attributes.llm.model_name` …
"""

from collections.abc import Iterator, Mapping
from typing import Any

from spendtree.ingest import otelsdk
from spendtree.ingest.pieces import one
from spendtree.ingest.span import Problem, SpanRecord

_ID = "context.span_id"
_PREFIX = "attributes."


def is_row(document: Mapping[str, Any]) -> bool:
    """Return whether a document is a row of a frame of spans, or a whole frame by columns."""
    return _ID in document


def read(document: Mapping[str, Any], where: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the spans of a row, or of all rows of a frame that is written by columns."""
    ids = document[_ID]
    if not isinstance(ids, dict):
        yield one(document, span, where, file)
        return
    for index in ids:
        row = {
            name: column[index]
            for name, column in document.items()
            if isinstance(column, dict) and column.get(index) is not None
        }
        yield one(row, span, f"{where} row {index}".lstrip(), file)


def span(row: Mapping[str, Any]) -> SpanRecord:
    """Return one row."""
    attributes = {
        name.removeprefix(_PREFIX): value
        for name, value in row.items()
        if name.startswith(_PREFIX) and value is not None
    }
    item = {name: value for name, value in row.items() if not name.startswith(_PREFIX)}
    context = {"trace_id": row.get("context.trace_id"), "span_id": row.get(_ID)}
    return otelsdk.span({**item, "context": context, "attributes": attributes})
