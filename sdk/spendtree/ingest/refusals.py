"""Formats that are recognised and not read: what each is, and what to do instead. Pure.

`ACCEPTED` names what is read; a file that nothing recognises is told so.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Refusal(NamedTuple):
    """A format that is not read: its name, and the way out."""

    name: str
    instead: str

    def __str__(self) -> str:
        return f"is {self.name}: {self.instead}"


def _has_list(document: Mapping[str, Any], key: str) -> bool:
    return isinstance(document.get(key), list)


_METRICS = Refusal(
    "OTLP metrics", "they are sums of many calls; export traces or logs, and import these"
)
_TRACES = Refusal(
    "a list of Langfuse traces without their observations",
    "export the observations (GET /api/public/observations) and import these",
)
_REPORT = Refusal(
    "a usage report of a provider",
    "its rows are sums of many calls; import traces or logs of the calls themselves",
)
_BODY = Refusal(
    "the body of one response, not a trace", "it has no time; give it to `call.record` instead"
)


def _is_metrics(document: Mapping[str, Any]) -> bool:
    exported = _has_list(document, "resourceMetrics") or _has_list(document, "resource_metrics")
    return exported or _has_list(document, "scopeMetrics")


def _is_bare_traces(document: Mapping[str, Any]) -> bool:
    found = document.get("observations")
    return isinstance(found, list) and any(isinstance(item, str) for item in found)


def _is_report(document: Mapping[str, Any]) -> bool:
    bucket = document.get("object") == "bucket" or "starting_at" in document
    return bucket and _has_list(document, "results")


def _is_body(document: Mapping[str, Any]) -> bool:
    usage = document.get("usage") or document.get("usageMetadata")
    kinds = ("choices", "content", "output", "candidates")
    return isinstance(usage, dict) and any(_has_list(document, kind) for kind in kinds)


DOCUMENTS: tuple[tuple[Callable[[Mapping[str, Any]], bool], Refusal], ...] = (
    (_is_metrics, _METRICS),
    (_is_bare_traces, _TRACES),
    (_is_report, _REPORT),
    (_is_body, _BODY),
)

_AS_JSON = "export it as JSON or JSON Lines, and import that"
MAGIC: tuple[tuple[bytes, Refusal], ...] = (
    (b"PAR1", Refusal("a Parquet file", _AS_JSON)),
    (b"SQLite format 3\x00", Refusal("a SQLite database", _AS_JSON)),
    (b"PK\x03\x04", Refusal("a ZIP archive", "unpack it, and import the files in it")),
    (b"\x28\xb5\x2f\xfd", Refusal("compressed with zstd", "unpack it with `zstd -d`")),
    (b"BZh", Refusal("compressed with bzip2", "unpack it with `bunzip2`")),
    (b"ARROW1", Refusal("an Arrow file", _AS_JSON)),
)
"""Formats by their first bytes."""

TEXTS: tuple[tuple[re.Pattern[str], Refusal], ...] = (
    (
        re.compile(r"""(?m)^\s*(?:_?spanContext|traceId|instrumentationScope): [{'"]"""),
        Refusal(
            "what OpenTelemetry's JavaScript console exporter prints, which is not JSON",
            "export with OTLP, or print JSON.stringify(span)",
        ),
    ),
    (
        re.compile(r"(?m)^(?:Resource(?:Spans|Logs) #0|\s*Span #0)"),
        Refusal(
            "what the OpenTelemetry collector's debug exporter prints",
            "use its `file` exporter with `format: json`",
        ),
    ),
    (
        re.compile(r"(?m)^# (?:HELP|TYPE) "),
        Refusal("Prometheus metrics", "they are sums of many calls; import traces or logs"),
    ),
    (
        re.compile(r"\A[\w .\"-]+(?:,[\w .\"-]*){3,}\r?\n"),
        Refusal("a CSV file", _AS_JSON),
    ),
)
"""Formats by their text, of files that are not JSON."""


def of_document(document: Mapping[str, Any]) -> Refusal | None:
    """Return why an object is not read, None if nobody knows what it is."""
    return next((why for is_it, why in DOCUMENTS if is_it(document)), None)


def of_bytes(content: bytes) -> Refusal | None:
    """Return why a file is not read, as its first bytes say."""
    return next((why for magic, why in MAGIC if content.startswith(magic)), None)


def of_text(text: str) -> Refusal | None:
    """Return why a text without JSON is not read."""
    head = text[:10_000]
    return next((why for pattern, why in TEXTS if pattern.search(head)), None)
