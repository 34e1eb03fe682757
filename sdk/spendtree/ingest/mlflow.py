"""MLflow traces: `{"info": …, "data": {"spans": […]}}`, versions 2 and 3. Pure.

https://mlflow.org/docs/latest/genai/concepts/trace/: values of attributes are JSON in texts, ids of
version 3 are base64. `mlflow.trace.tokenUsage` is the sum of the calls and repeats them.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from spendtree.ingest import otelsdk, scalars
from spendtree.ingest.pieces import each
from spendtree.ingest.scalars import opened
from spendtree.ingest.span import Problem, SpanRecord

_SESSION = "mlflow.trace.session"
_LOOKED_AT = ("mlflow.", "gen_ai.", "llm.", "model", "ai.")


def is_trace(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one trace."""
    data = opened(document.get("data"))
    return isinstance(document.get("info"), dict) and isinstance(data.get("spans"), list)


def read(document: Mapping[str, Any], where: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the spans of one trace."""
    metadata = scalars.mapping(document["info"].get("trace_metadata"))
    conversation = scalars.text(metadata.get(_SESSION))
    spans = opened(document["data"])["spans"]
    yield from each(spans, partial(span, conversation), f"{where} data.spans".lstrip(), file)


def span(conversation: str, item: Mapping[str, Any]) -> SpanRecord:
    """Return one span."""
    stated = scalars.mapping(item.get("attributes"))
    attributes = {
        key: _value(value) if key.startswith(_LOOKED_AT) else value for key, value in stated.items()
    }
    parent = item.get("parent_span_id", item.get("parent_id"))
    found = otelsdk.span({**item, "attributes": attributes, "parent_span_id": parent})
    name = found.name if found.kind == "AGENT" and not found.agent else found.agent
    return replace(found, agent=name, conversation=conversation or found.conversation)


def _value(value: Any) -> Any:
    """Return the value that is written as JSON in a text; the text where it is no JSON."""
    if not isinstance(value, str) or value[:1] not in '"{[0123456789tfn-':
        return value
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        return value
    return json.dumps(found) if isinstance(found, dict) else found
