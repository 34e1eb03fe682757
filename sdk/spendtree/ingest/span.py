"""What every dialect is read into: one span, normalised, and what is wrong with one that is not.

Values only: nothing here knows a dialect, a file, a store or a price.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal, get_args

from spendtree.response import NOTHING_UNREAD
from spendtree.usage import Usage

__all__ = [
    "KINDS",
    "NOTHING_UNREAD",
    "InexactNumberError",
    "Problem",
    "SpanError",
    "SpanKind",
    "SpanRecord",
]

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

    `model` is the model that was asked, as far as the source says, and `answered` the one that
    answered, "" where it is the same. `served`, `parts` and `unread` are as in `response.Reading`.
    `reported_cost` is what the source states, `is_bill` whether it repeats the provider's own
    statement. `keys` are names of attributes of a span in which nothing was recognised.
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
    answered: str = ""
    served: tuple[str, ...] | None = None
    parts: Sequence[tuple[str, Usage]] = ()
    unread: Mapping[str, Any] | None = None
    is_bill: bool = False
    keys: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """A piece of a file that was left out: where it stands, and why it could not be read.

    `position` is a line ("line 12"), a place inside a document ("spans[3]"), or both. A cause that
    a file has more than once is one Problem, the first, with their `count`.
    """

    file: str
    position: str
    reason: str
    count: int = 1

    def __str__(self) -> str:
        where = ": ".join(part for part in (self.file, self.position) if part)
        more = f" (and {self.count - 1:,} more like it)" if self.count > 1 else ""
        return f"{where}: {self.reason}{more}"


class Unread(dict[str, Any]):
    """What stands for a span that was not parsed, since that would take too much: the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class SpanError(ValueError):
    """A span that cannot be read; internal, every dialect's reader turns it into a Problem."""


class InexactNumberError(ValueError):
    """A number that the fast JSON parser rounded: the document must be read by the exact one."""
