"""What every dialect is read into: one span, normalised, and what is wrong with one that is not.

Values only: nothing here knows a dialect, a file, a store or a price.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

from spendtree.usage import Usage

SpanKind = Literal["SESSION", "AGENT", "CHAIN", "LLM", "TOOL", "EVENT", "SPAN"]
"""LLM is one call of a model; SPAN is a span whose source does not say what it is."""

KINDS: frozenset[str] = frozenset(get_args(SpanKind))


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanRecord:
    """One span of a trace, as its source tells it; "" and None are "not told".

    Times are microseconds since 1970 UTC. `usage` is in disjoint buckets, whatever the source
    counts together. `agent` names the agent that an AGENT span is a run of, or, on other spans,
    the agent that the source labels them with. `role` is "coordinator", "worker" … where the
    source says so. `rollup` marks a total that repeats the usage of other spans. `session` is the
    id of the session if the source states one, else its trace is the session; `conversation` is
    what several sessions may share. `status` is "ok", "failed" or "" (unset, which is no failure).
    `refused_before` counts refused attempts that the source tells only as a number.
    """

    trace_id: str
    span_id: str
    parent_span_id: str = ""
    session: str = ""
    kind: SpanKind = "SPAN"
    name: str = ""
    agent: str = ""
    role: str = ""
    provider: str = ""
    model: str = ""
    start_us: int | None = None
    end_us: int | None = None
    status: Literal["ok", "failed", ""] = ""
    error: str = ""
    usage: Usage | None = None
    rollup: bool = False
    reported_cost: Decimal | None = None
    customer: str = ""
    team: str = ""
    conversation: str = ""
    response_id: str = ""
    cycle: int = 1
    task_id: str = ""
    purpose: str = "work"
    refused_before: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """A piece of a file that was left out: where it stands, and why it could not be read.

    `position` is a line ("line 12"), a place inside a document ("spans[3]"), or both.
    """

    file: str
    position: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}: {self.position}: {self.reason}"


class Unread(dict[str, Any]):
    """What stands for a span that was not parsed, since that would take too much: the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class SpanError(ValueError):
    """A span that cannot be read; internal, every dialect's reader turns it into a Problem."""


class InexactNumberError(ValueError):
    """A number that the fast JSON parser rounded: the document must be read by the exact one."""
