"""What agents already emit -> events: OpenTelemetry span dialects, Langfuse, ChatDev, our own.

`import_files` brings files into a store. Its parts serve a span receiver, too: `parse` turns bytes
or JSON into `SpanRecord`s, `to_events` turns those into events, both without any I/O, and `Loader`
books sessions. One module a dialect; `files` and `load` are the only ones that do I/O.
"""

from spendtree.ingest.booking import Terms
from spendtree.ingest.convert import Converted, to_events
from spendtree.ingest.load import ImportReport, Loader, import_files
from spendtree.ingest.otlp import received
from spendtree.ingest.parse import parse
from spendtree.ingest.sessions import SpanSession, sort
from spendtree.ingest.span import Problem, SpanRecord, Unread

__all__ = [
    "Converted",
    "ImportReport",
    "Loader",
    "Problem",
    "SpanRecord",
    "SpanSession",
    "Terms",
    "Unread",
    "import_files",
    "parse",
    "received",
    "sort",
    "to_events",
]
