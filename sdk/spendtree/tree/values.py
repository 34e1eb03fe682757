"""The values of a cost tree and their form as JSON; made in `growth`, folded in `folding`.

Amounts are exact pico-dollars, times microseconds since 1970 UTC; only `to_dict` turns them into
decimal dollars and ISO 8601 texts.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from operator import add
from typing import Any, NamedTuple

from spendtree.money import to_usd
from spendtree.usage import NO_UNITS, UNITS, Units, is_tokens, tokens_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Sums(NamedTuple):
    """Sums over calls: counts, tokens, pico-dollars.

    `calls` are finished calls, of which `failed_calls`, `lapsed_calls` (unmetered included) and
    `unpriced_calls`; `denied_calls` never happened and are not among them. `cost` holds true costs
    only (tool charges too), `presumed` what lapses presume and nothing has resolved.
    `partly_unpriced_calls` have a part without a price, `unread_calls` a usage that was not
    understood as a whole; `units` are counts by the names of `spendtree.usage.UNITS`.
    """

    calls: int = 0
    failed_calls: int = 0
    lapsed_calls: int = 0
    unpriced_calls: int = 0
    denied_calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost: int = 0
    presumed: int = 0
    partly_unpriced_calls: int = 0
    unread_calls: int = 0
    units: Units = NO_UNITS

    @property
    def all_input_tokens(self) -> int:
        """Return input of every modality that no cache served or stored."""
        return self.input_tokens + self._other("input", cached=False)

    @property
    def all_cached_tokens(self) -> int:
        """Return input of every modality that was read from a cache."""
        return self.cache_read_tokens + self._other("input", cached=True)

    @property
    def all_output_tokens(self) -> int:
        """Return output of every modality."""
        return self.output_tokens + self._other("output", cached=False)

    def _other(self, direction: str, *, cached: bool) -> int:
        return sum(
            count
            for name, count in self.units.items()
            if is_tokens(name)
            and UNITS[name].direction == direction
            and UNITS[name].cached is cached
        )

    @property
    def tokens(self) -> int:
        """Return all tokens, of every modality."""
        return sum(self[5:9]) + tokens_of(self.units)

    def plus(self, other: "Sums") -> "Sums":
        """Return the sums of both."""
        return Sums(*map(add, self, other))

    def to_dict(self) -> dict[str, Any]:
        """Return the counts as they are and the money as decimal strings of dollars."""
        counts = self._asdict() | {"units": dict(self.units)}
        money = {"cost_usd": _usd(counts.pop("cost")), "presumed_usd": _usd(counts.pop("presumed"))}
        return counts | money


class ModelCost(NamedTuple):
    """What one model was called for: finished calls and their true cost."""

    model: str
    calls: int
    cost: int

    def to_dict(self) -> dict[str, Any]:
        """Return the cost as a decimal string of dollars."""
        return {"model": self.model, "calls": self.calls, "cost_usd": _usd(self.cost)}


class CycleCost(NamedTuple):
    """What one routing cycle cost: finished calls and their true cost."""

    cycle: int
    calls: int
    cost: int

    def to_dict(self) -> dict[str, Any]:
        """Return the cost as a decimal string of dollars."""
        return {"routing_cycle": self.cycle, "calls": self.calls, "cost_usd": _usd(self.cost)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One run of an agent: what it spent itself (`own`) and with all that it spawned (`subtree`).

    `run` is "" for calls that name an agent but no run. `status` is open, succeeded, failed or
    exhausted, `reason` what its end was given; `started` and `ended` are None where they are not
    known. `models` stand dearest first and are of its own calls, `children` in the order in which
    they were opened.
    """

    run: str
    agent: str
    level: int
    task_id: str
    task: str
    cycle: int
    status: str
    reason: str
    started: int | None
    ended: int | None
    own: Sums
    subtree: Sums
    models: tuple[ModelCost, ...]
    children: tuple["Node", ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the node and all below it as JSON values."""
        return {
            "run": self.run,
            "agent": self.agent,
            "level": self.level,
            "task_id": self.task_id,
            "task": self.task,
            "routing_cycle": self.cycle,
            "status": self.status,
            "reason": self.reason,
            "started": iso(self.started),
            "ended": iso(self.ended),
            "own": self.own.to_dict(),
            "subtree": self.subtree.to_dict(),
            "models": [model.to_dict() for model in self.models],
            "children": [child.to_dict() for child in self.children],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupNode:
    """Several runs of one agent under one parent in one routing cycle, shown as one row."""

    agent: str
    level: int
    cycle: int
    runs: tuple[Node, ...]
    own: Sums
    subtree: Sums
    models: tuple[ModelCost, ...]
    children: tuple[Node, ...]

    @property
    def count(self) -> int:
        """Return how many runs are in the group."""
        return len(self.runs)

    def having(self, status: str) -> int:
        """Return how many runs of the group have this status."""
        return sum(run.status == status for run in self.runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTree:
    """One session: who it is, what it cost, and the agent runs that spent it.

    `own` and `models` are of the calls outside any agent; `totals` are everything, so `own` and
    the roots' `subtree` add up to it. `status` is "open" while nothing closed the session and
    "unattributed" for the calls of no session. `ceiling_usd` is None without a ceiling.
    """

    session: str
    customer: str
    team: str
    status: str
    reason: str
    started: int | None
    ended: int | None
    ceiling_usd: Decimal | None
    totals: Sums
    own: Sums
    models: tuple[ModelCost, ...]
    cycles: tuple[CycleCost, ...]
    roots: tuple[Node, ...]

    def nodes(self) -> Iterator[Node]:
        """Iterate over all nodes, each before its children."""
        waiting = list(reversed(self.roots))
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(node.children))

    def by_agent(self) -> dict[str, int]:
        """Return what each agent role itself spent, dearest first; "" is outside any agent."""
        spent: dict[str, int] = defaultdict(int)
        for node in self.nodes():
            spent[node.agent] += node.own.cost
        if self.own.calls or self.own.cost:
            spent[""] += self.own.cost
        return {agent: spent[agent] for agent in sorted(spent, key=lambda a: (-spent[a], a))}

    def to_dict(self) -> dict[str, Any]:
        """Return the tree as JSON values: dollars as decimal strings, times in ISO 8601 UTC."""
        return {
            "session": self.session,
            "customer": self.customer,
            "team": self.team,
            "status": self.status,
            "reason": self.reason,
            "started": iso(self.started),
            "ended": iso(self.ended),
            "ceiling_usd": None if self.ceiling_usd is None else f"{self.ceiling_usd:f}",
            "totals": self.totals.to_dict(),
            "agents": {agent: _usd(pico) for agent, pico in self.by_agent().items()},
            "routing_cycles": [cycle.to_dict() for cycle in self.cycles],
            "outside_agents": self.own.to_dict(),
            "models_outside_agents": [model.to_dict() for model in self.models],
            "roots": [root.to_dict() for root in self.roots],
        }


def with_children(own: Sums, children: Iterable[Node]) -> Sums:
    """Return own sums plus the subtrees of the children."""
    for child in children:
        own = own.plus(child.subtree)
    return own


def models_of(calls_and_costs: Mapping[str, Sequence[int]]) -> tuple[ModelCost, ...]:
    """Return the models of a table of (calls, cost) by name, dearest first."""
    found = [ModelCost(model, *sums) for model, sums in calls_and_costs.items()]
    return tuple(sorted(found, key=lambda m: (-m.cost, m.model)))


def iso(at: int | None) -> str | None:
    """Return microseconds since 1970 UTC in ISO 8601, None for what is unknown or no date."""
    if at is None:
        return None
    try:
        return (_EPOCH + timedelta(microseconds=at)).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return None


def _usd(pico: int) -> str:
    return f"{to_usd(pico):f}"
