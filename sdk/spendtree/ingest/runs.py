"""Which agent runs a session had, and which call belongs to which. Pure.

An AGENT span is a run if it names its agent or if calls (or a total) hang on it directly; one that
does neither is a frame around agents ("Agent workflow") and would only push all levels down. A run
hangs under the nearest AGENT run around it. Its name wins over the labels on the calls inside,
which are often a library's default ("OpenAI Agent").

Where the source has no AGENT span but labels its calls (ChatDev's phases, spans whose parent was
never delivered), the calls of one agent under one span are one run: a phase spawns its agents anew.

Where the source tells roles, a run without an AGENT run around it that is not the coordinator's
hangs under the run of the coordinator that began last before it, since that one sent it; so level
1 is the coordinator's and level 2 its workers', as in live sessions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from spendtree.event import derived_id
from spendtree.ingest.calls import NONE, Shape
from spendtree.ingest.span import SpanRecord

_LEADING = frozenset({"", "single", "coordinator"})


@dataclass(slots=True)
class Run:
    """One run of an agent; `parent` is None at the top, `total` a usage told for all of it."""

    id: bytes
    agent: str
    role: str
    span: SpanRecord | None
    task: str = ""
    parent: "Run | None" = None
    level: int = 1
    start_us: int = 0
    end_us: int = 0
    calls: list[int] = field(default_factory=list)
    inner: bool = False
    """Whether a call is made in it or in a run that hangs under it."""


def runs(shape: Shape, times: Sequence[tuple[int, int]]) -> tuple[list[Run], list[Run | None]]:
    """Return the runs, parents first, and for each call of the shape its run.

    `times` are the start and end of each span. Runs include in theirs what hangs under them.
    """
    of_span, found = _agent_runs(shape, times)
    labels: dict[tuple[str, str, str], Run] = {}
    of_call: list[Run | None] = []
    for i in shape.calls:
        run = of_span[i] or _labelled(shape, times, i, labels)
        of_call.append(run)
        if run is not None:
            run.calls.append(i)
            run.start_us = min(run.start_us, times[i][0])
            run.end_us = max(run.end_us, times[i][1])
    every = [*found, *labels.values()]
    _send(every)
    return _settled(every), of_call


def _agent_runs(
    shape: Shape, times: Sequence[tuple[int, int]]
) -> tuple[list[Run | None], list[Run]]:
    """Return the run that each span is in, itself included, and all runs of AGENT spans."""
    spans, parents, order, _ = shape
    holders = _holders(shape)
    of_span: list[Run | None] = [None] * len(spans)
    found = []
    for i in order:
        span, parent = spans[i], parents[i]
        around = None if parent == NONE else of_span[parent]
        if span.kind == "AGENT" and (span.agent or i in holders or span.usage is not None):
            id = derived_id("span", span.trace_id, span.span_id)
            name = span.agent or holders.get(i) or span.name
            run = Run(id, name, span.role, span, "", around, 1, *times[i])
            found.append(run)
            around = run
        of_span[i] = around
    return of_span, found


def _holders(shape: Shape) -> dict[int, str]:
    """Return the AGENT spans that hold a call directly, with the first label of their calls."""
    spans, parents, order, calls = shape
    nearest = [NONE] * len(spans)
    for i in order:
        parent = parents[i]
        if parent != NONE:
            nearest[i] = parent if spans[parent].kind == "AGENT" else nearest[parent]
    holders: dict[int, str] = {}
    for i in calls:
        if nearest[i] != NONE:
            holders[nearest[i]] = holders.get(nearest[i]) or spans[i].agent
    return holders


def _labelled(
    shape: Shape,
    times: Sequence[tuple[int, int]],
    call: int,
    labels: dict[tuple[str, str, str], Run],
) -> Run | None:
    """Return the run of a call that stands in no AGENT run, None if it has no label either."""
    spans, parents, _, _ = shape
    span = spans[call]
    if not span.agent:
        return None
    top = call
    while parents[top] != NONE and spans[parents[top]].kind == "LLM":
        top = parents[top]
    under = spans[top].parent_span_id
    key = (span.trace_id, under, span.agent)
    run = labels.get(key)
    if run is None:
        task = "" if parents[top] == NONE else spans[parents[top]].name
        id = derived_id("run", span.session, *key)
        run = labels[key] = Run(id, span.agent, span.role, None, task, None, 1, *times[call])
    return run


def _send(every: list[Run]) -> None:
    """Hang runs that a coordinator sent, and that stand in no other run, under it."""
    tops = [(run.start_us, i, run) for i, run in enumerate(every) if run.parent is None]
    tops.sort(key=lambda top: top[:2])
    leader = next((run for _, _, run in tops if run.role == "coordinator"), None)
    if leader is None:
        return
    for _, _, run in tops:
        if run.role == "coordinator":
            leader = run
        elif run.role not in _LEADING:
            run.parent = leader


def _settled(every: list[Run]) -> list[Run]:
    """Return the runs by level, levels filled in, each as long as what hangs under it."""
    for run in every:
        _level(run)
    every.sort(key=lambda run: run.level)
    for run in reversed(every):
        run.inner = run.inner or bool(run.calls)
        parent = run.parent
        if parent is not None:
            parent.start_us = min(parent.start_us, run.start_us)
            parent.end_us = max(parent.end_us, run.end_us)
            parent.inner = parent.inner or run.inner
    return every


def _level(run: Run) -> None:
    """Fill in a run's level and those of the runs above it, which may be thousands."""
    way = []
    above: Run | None = run
    while above is not None and above.level == 1 and above.parent is not None:
        way.append(above)
        above = above.parent
    level = 1 if above is None else above.level
    for below in reversed(way):
        level += 1
        below.level = level
