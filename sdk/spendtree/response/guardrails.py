"""What Amazon Bedrock's guardrails checked: units by policy, and prompts that were blocked. Pure.

Each assessment of a trace states its own usage, of the prompt and of the answer, by guardrail; they
are billed together.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spendtree.response.aliases import meaning
from spendtree.response.fields import Fields, fields_of
from spendtree.response.numbers import number

INPUTS = ("inputAssessment", "input")
OUTPUTS = ("outputAssessments", "outputs")
"""Assessments in the trace of Converse, and in that of InvokeModel."""
ORIGINAL = "modelOutput"
"""What the model had answered before a guardrail changed it, as text."""
GUARDRAIL = (*INPUTS, *OUTPUTS, ORIGINAL)

_INVOCATION = "invocationMetrics"
_DEPTH = 6
_PREFIX = "guardrail_"


def checked(traces: Iterable[tuple[Fields, bool]]) -> dict[str, int]:
    """Return the units that all assessments of some traces state."""
    units: dict[str, int] = {}
    for trace, _ in traces:
        for side in (*INPUTS, *OUTPUTS):
            for usage in _usages(trace.get(side), _DEPTH):
                for unit, count in _units(usage):
                    units[unit] = units.get(unit, 0) + count
    return units


def is_blocked(traces: Sequence[tuple[Fields, bool]]) -> bool:
    """Return whether a prompt was blocked, so that no model ran.

    Only a trace beside a model's own body says so: the tokens of such a body are those of the
    message that stands for the answer, and are not billed. Converse states zeros itself.
    """
    blocked = False
    for trace, beside_body in traces:
        if not beside_body or trace.get(ORIGINAL) or any(trace.get(side) for side in OUTPUTS):
            return False
        blocked = blocked or any(_blocks(trace.get(side), _DEPTH) for side in INPUTS)
    return blocked


def originals(traces: Iterable[tuple[Fields, bool]]) -> list[Any]:
    """Return what models had answered before guardrails changed it, where that was a body."""
    from spendtree.response.wire import json_of  # noqa: PLC0415  # few responses need it

    found = []
    for trace, _ in traces:
        texts = trace.get(ORIGINAL)
        for text in texts if isinstance(texts, (list, tuple)) else ():
            body = json_of(text) if isinstance(text, (str, bytes)) else None
            if isinstance(body, dict):
                found.append(body)
    return found


def _units(usage: Fields) -> Iterator[tuple[str, int]]:
    for key, value in usage.items():
        known = meaning(key) if type(key) is str else None
        count = number(value)
        if known is not None and known.bucket.startswith(_PREFIX) and count and count > 0:
            yield known.bucket, count


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, (list, tuple)):
        return node
    fields = fields_of(node)
    return fields.values() if fields else ()


def _usages(node: Any, depth: int) -> Iterator[Fields]:
    """Yield the usage of each assessment: by guardrail, one or a list of them."""
    fields = fields_of(node, (_INVOCATION,))
    if fields and _INVOCATION in fields:
        metrics = fields_of(fields[_INVOCATION], ("usage",)) or {}
        usage = fields_of(metrics.get("usage"))
        if usage:
            yield usage
    elif depth:
        for child in _children(node):
            yield from _usages(child, depth - 1)


def _blocks(node: Any, depth: int) -> bool:
    fields = fields_of(node, ("action",))
    if fields and fields.get("action") == "BLOCKED":
        return True
    return depth > 0 and any(_blocks(child, depth - 1) for child in _children(node))
