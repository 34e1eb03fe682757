"""How a session's events become its cost tree. Pure: events in log order in, one value out."""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from spendtree.event import UNREAD, Context, Event, Kind
from spendtree.money import to_usd
from spendtree.tree.values import CycleCost, Node, SessionTree, Sums, models_of, with_children

OPEN = "open"
UNATTRIBUTED = "unattributed"

DEPTH_MAX = 100
"""Runs nested deeper stand beside their parent: JSON, screens and recursion end somewhere."""

_OPENED = (Kind.SESSION_OPENED, Kind.RUN_OPENED)
_CLOSED = (Kind.SESSION_CLOSED, Kind.RUN_CLOSED)
_FINISHED = (Kind.CALL, Kind.LAPSE)
_SPENDING = (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT, Kind.TOOL)


def build(events: Iterable[Event]) -> SessionTree:
    """Return the cost tree of one session's events, given in log order.

    Nothing is lost: a run whose opening is missing is made from its calls, one whose parent is
    missing is a root. Raises ValueError without events or for events of several sessions.
    """
    growth = _Growth()
    for event in events:
        growth.add(event)
    if growth.session is None:
        raise ValueError("a cost tree needs the events of a session, and there are none")
    return _session_tree(growth, growth.session)


def breakdown(source: Iterable[Event] | SessionTree) -> dict[str, Decimal]:
    """Return what each agent role itself spent, in dollars, dearest first.

    Spend outside any agent stands under "", if there is any such call or charge; {} without
    events. Otherwise as `build`.
    """
    if not isinstance(source, SessionTree):
        events = list(source)
        if not events:
            return {}
        source = build(events)
    return {agent: to_usd(pico) for agent, pico in source.by_agent().items()}


class _Branch:
    """What is known so far of one run, or (as the branch "") of the session itself."""

    __slots__ = ("context", "data", "ended", "models", "reason", "started", "status", "sums")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.data: dict[str, Any] = {}
        self.status = OPEN
        self.reason = ""
        self.started: int | None = None
        self.ended: int | None = None
        self.sums: list[Any] = [*Sums()]
        self.models: dict[str, list[int]] = {}

    def add(self, event: Event) -> None:
        if event.kind in _SPENDING:
            _count(self.sums, event)
            if event.kind != Kind.TOOL:
                _tally(self.models.setdefault(event.request.model, [0, 0]), event)
        elif event.kind == Kind.DENIED:
            data = event.data or {}
            # In mode "warn" the call that would have been denied was made.
            self.sums[4] += 0 if data.get("would") else event.times
            if data.get("spawn") and event.context.run:
                self._end_unstarted(event)
        elif event.kind in _OPENED:
            self.context, self.data = event.context, event.data or {}
            self.started = event.started or event.at
        elif event.kind in _CLOSED:
            self.status, self.ended = event.status, event.at
            self.reason = str((event.data or {}).get("reason") or "")

    def _end_unstarted(self, event: Event) -> None:
        """Note a run that was refused its start: nothing else will ever be known of it."""
        self.status, self.reason = "exhausted", "refused its start"
        self.started, self.ended = event.started or event.at, event.at


class _Growth:
    """The branches of one session while its events are read."""

    def __init__(self) -> None:
        self.session: str | None = None
        self.branches: dict[str, _Branch] = {}
        self.cycles: dict[int, list[int]] = {}
        self.first_at: int | None = None

    def add(self, event: Event) -> None:
        context = event.context
        if self.session is None:
            self.session = context.session
            self.branches[""] = _Branch(Context(context.session, context.customer, context.team))
        elif context.session != self.session:
            raise ValueError(
                f"a cost tree is of one session; here are events of {self.session!r} "
                f"and of {context.session!r}"
            )
        self._branch(context).add(event)
        if event.kind in _SPENDING:
            _tally(self.cycles.setdefault(context.cycle, [0, 0]), event)
            started = event.started or event.first_at
            self.first_at = started if self.first_at is None else min(self.first_at, started)

    def _branch(self, context: Context) -> _Branch:
        # A call that names an agent but no run (imported) still stands under that agent.
        key = context.run or (f"agent {context.agent}" if context.agent else "")
        branch = self.branches.get(key)
        if branch is None:
            branch = self.branches[key] = _Branch(context)
        return branch


def _session_tree(growth: _Growth, session: str) -> SessionTree:
    children, order = _arrange(growth.branches)
    nodes: dict[str, Node] = {}
    for key in reversed(order):
        below = tuple(nodes[child] for child in children[key])
        nodes[key] = _node(growth.branches[key], below)
    roots = tuple(nodes[key] for key in children[""])
    top = growth.branches[""]
    own = Sums(*top.sums)
    ceiling = top.data.get("ceiling")
    return SessionTree(
        session=session,
        customer=top.context.customer if session else "",
        team=top.context.team if session else "",
        status=top.status if session else UNATTRIBUTED,
        reason=top.reason,
        started=growth.first_at if top.started is None else top.started,
        ended=top.ended,
        ceiling_usd=None if ceiling is None else to_usd(ceiling),
        totals=with_children(own, roots),
        own=own,
        models=models_of(top.models),
        cycles=tuple(CycleCost(n, *growth.cycles[n]) for n in sorted(growth.cycles)),
        roots=roots,
    )


def _arrange(branches: dict[str, _Branch]) -> tuple[dict[str, list[str]], list[str]]:
    """Return the children of each branch, and all runs in an order with parents first."""
    parents: dict[str, str] = {}
    for key, branch in branches.items():
        if key:
            above = branch.context.parent if branch.context.parent in branches else ""
            parents[key] = "" if _reaches(parents, above, key) else above
    children: dict[str, list[str]] = defaultdict(list)
    for key, parent in parents.items():
        children[parent].append(key)
    arranged: dict[str, list[str]] = defaultdict(list)
    order: list[str] = []
    waiting = [(key, "", 1) for key in reversed(children[""])]
    while waiting:
        key, parent, depth = waiting.pop()
        arranged[parent].append(key)
        order.append(key)
        under = (key, depth + 1) if depth < DEPTH_MAX else (parent, depth)
        waiting.extend((child, *under) for child in reversed(children[key]))
    return arranged, order


def _reaches(parents: dict[str, str], start: str, goal: str) -> bool:
    """Tell whether the way up from `start` comes by `goal`: such an edge would close a circle."""
    while start:
        if start == goal:
            return True
        start = parents.get(start, "")
    return False


def _node(branch: _Branch, children: tuple[Node, ...]) -> Node:
    context, own = branch.context, Sums(*branch.sums)
    return Node(
        run=context.run,
        agent=context.agent,
        level=context.level,
        task_id=context.task_id,
        task=str(branch.data.get("task") or ""),
        cycle=context.cycle,
        status=branch.status,
        reason=branch.reason,
        started=branch.started,
        ended=branch.ended,
        own=own,
        subtree=with_children(own, children),
        models=models_of(branch.models),
        children=children,
    )


def _count(sums: list[Any], event: Event) -> None:
    """Add an event to sums: the rule of the store's totals, over the fields of `Sums`."""
    count = event.times
    finished = count if event.kind in _FINISHED else 0
    lapse = event.kind == Kind.LAPSE
    sums[0] += finished
    sums[1] += finished if event.status == "failed" else 0
    sums[2] += count if lapse else 0
    sums[3] += count if event.cost is None and event.kind in (Kind.CALL, Kind.ADJUSTMENT) else 0
    sums[5] += event.input_tokens
    sums[6] += event.output_tokens
    sums[7] += event.cache_read_tokens
    sums[8] += event.cache_write_tokens + event.cache_write_1h_tokens
    sums[9] += _true_cost(event)
    if lapse:
        sums[10] += event.held
    elif event.kind == Kind.ADJUSTMENT:
        sums[10] -= event.held
    if event.data is not None:
        sums[11] += count if event.is_partly_unpriced else 0
        sums[12] += count if UNREAD in event.marks else 0
        sums[13] += event.units


def _tally(calls_and_cost: list[int], event: Event) -> None:
    calls_and_cost[0] += event.times if event.kind in _FINISHED else 0
    calls_and_cost[1] += _true_cost(event)


def _true_cost(event: Event) -> int:
    return 0 if event.kind == Kind.LAPSE else event.cost or 0
