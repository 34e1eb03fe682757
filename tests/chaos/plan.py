"""What one seed asks of the processes: budgets, agents, calls, and how each call goes. Pure.

Each worker draws its own share again from the numbers it is given, so nothing is sent around.
"""

import random
from typing import Any, NamedTuple

WORKERS = 8
TEAMS = 5
HANDS = 4
"""Sub-agents below each of a worker's leads: 8 × 5 × (1 + 4) are 200 agents side by side."""
AGENTS = WORKERS * TEAMS * (1 + HANDS)

SESSION = "chaos"
CUSTOMER = "acme"
LEAD = "lead"
SYNTHESIZER = "synthesizer"
ROLES = (LEAD, SYNTHESIZER, "researcher", "critic", "writer", "checker")
HAND_ROLES = ROLES[2:]

PICO_PER_TOKEN = {"large": 10_000_000, "small": 2_000_000}
"""What the provider charges, for input and output alike."""

POLICIES: tuple[list[Any], ...] = (
    ["wait", "refuse"],
    ["refuse"],
    [{"clamp": {"floor": 50}}, "wait", "refuse"],
    [{"fallback": {"model": "small"}}, "wait", "refuse"],
    ["reallocate", "wait", "refuse"],
    ["wait", {"clamp": {"floor": 10}}, {"fallback": {"model": "small"}}, "skip"],
)

FAULTS = {
    "answer": 50,
    "answer_twice": 8,
    "answer_then_fail": 4,
    "no_usage": 4,
    "refused": 3,
    "connect_timeout": 3,
    "400": 2,
    "429": 5,
    "529": 2,
    "500_unbilled": 3,
    "500_billed": 3,
    "read_timeout": 3,
    "cut_off": 3,
    "too_slow": 5,
}
"""How a call can go, and how often; `desk` does it."""

LATER = {"": 6, "replay": 3, "late_truth": 3, "stranger": 1, "transfer": 1}
"""What follows a call: nothing, its end once more, the truth about a lapse, another call's end."""


class Order(NamedTuple):
    """One call: its bounds in tokens, how much of the limit is used, and how it goes."""

    model: str
    input_tokens: int
    max_output_tokens: int
    used: float
    fault: str
    latency_seconds: float
    patience_seconds: float | None
    """After which the caller gives up altogether, waiting for money included."""
    optional: bool
    later: str


class Hand(NamedTuple):
    """One agent and its calls; `cancelled_after` seconds its task is cancelled, if at all."""

    role: str
    orders: tuple[Order, ...]
    cancelled_after: float | None


class Team(NamedTuple):
    """A lead with its own `max_cost` in dollars, and the agents it spawns."""

    lead: Hand
    max_cost: str | None
    hands: tuple[Hand, ...]


class Kill(NamedTuple):
    """SIGKILL at the worker's `step`-th step: by itself there and then, or by its parent.

    A successor may take its place at once; if there is one, it may look for the holds that were
    left before it does anything else.
    """

    step: int
    by_itself: bool
    replaced: bool
    swept: bool


class Shift(NamedTuple):
    """What one worker does: in threads or in tasks, and whether it is killed at it."""

    threads: bool
    teams: tuple[Team, ...]
    kill: Kill | None
    synthesizes: bool
    raises: str | None
    """The ceiling that it raises the session's to, in dollars."""


class Budgets(NamedTuple):
    """The caps of one seed: the ceiling, a raised one, and the configuration."""

    ceiling: str
    raised: str | None
    config: dict[str, Any]


def budgets(seed: int) -> Budgets:
    """Draw the caps and policies of a seed."""
    chance = random.Random(f"budgets/{seed}")
    dollars = chance.choice((0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 20.0)) * chance.uniform(0.8, 1.2)
    ceiling = f"{dollars:.4f}"
    raised = f"{dollars * chance.uniform(1, 1.5):.4f}" if chance.random() < 0.3 else None
    agents: dict[str, Any] = {
        role: {
            "envelope_usd": f"{dollars * chance.uniform(0.05, 0.6):.4f}",
            "policy": chance.choice(POLICIES),
        }
        for role in HAND_ROLES
        if chance.random() < 0.7
    }
    agents[SYNTHESIZER] = {"envelope_usd": f"{dollars * 0.1:.4f}", "reserved": True}
    agents[LEAD] = {"policy": chance.choice(POLICIES), "on_exhausted": "skip"}
    prices = {
        model: {"input_usd_per_mtok": str(pico // 10**6), "output_usd_per_mtok": str(pico // 10**6)}
        for model, pico in PICO_PER_TOKEN.items()
    }
    config: dict[str, Any] = {
        "prices": prices,
        "agents": agents,
        "busy_timeout_seconds": 5,
        "session": {"warn_at": ["0.5", "0.8", "1"]},
        "customers": {
            CUSTOMER: {"budgets_usd": {"month": f"{dollars * chance.uniform(0.7, 2):.4f}"}}
        },
    }
    return Budgets(ceiling, raised, config)


def kill_of(seed: int, worker: int) -> Kill | None:
    """Draw whether and where a seed kills a worker: in most seeds, one in three of them."""
    chance = random.Random(f"kill/{seed}/{worker}")
    if random.Random(f"kills/{seed}").random() < 0.3 or chance.random() > 0.3:
        return None
    return Kill(
        step=int(chance.triangular(1, 200, 20)),
        by_itself=chance.random() < 0.5,
        replaced=chance.random() < 0.7,
        swept=chance.random() < 0.3,
    )


def shift(seed: int, worker: int, successor: bool) -> Shift:
    """Draw a worker's share; the successor of a killed worker has one of its own."""
    chance = random.Random(f"shift/{seed}/{worker}/{successor}")
    drawn = budgets(seed)
    return Shift(
        threads=chance.random() < 0.25,
        teams=tuple(_team(chance, float(drawn.ceiling)) for _ in range(TEAMS)),
        kill=None if successor else kill_of(seed, worker),
        synthesizes=worker % 4 == 0,
        raises=drawn.raised if worker == 1 else None,
    )


def _team(chance: random.Random, dollars: float) -> Team:
    cap = f"{dollars * chance.uniform(0.02, 0.5):.4f}" if chance.random() < 0.6 else None
    lead = _hand(chance, LEAD)._replace(cancelled_after=None)
    return Team(lead, cap, tuple(_hand(chance, chance.choice(HAND_ROLES)) for _ in range(HANDS)))


def _hand(chance: random.Random, role: str) -> Hand:
    orders = tuple(_order(chance) for _ in range(chance.choice((1, 1, 2, 3))))
    cancelled = chance.uniform(0, 0.2) if chance.random() < 0.1 else None
    return Hand(role, orders, cancelled)


def _order(chance: random.Random) -> Order:
    return Order(
        model=chance.choice(("large", "large", "small")),
        input_tokens=chance.randrange(0, 2000),
        max_output_tokens=chance.randrange(0, 6000),
        used=chance.choice((0.0, 1.0, chance.random(), chance.random())),
        fault=_drawn(chance, FAULTS),
        latency_seconds=chance.uniform(0, 0.004),
        patience_seconds=chance.uniform(0, 0.05) if chance.random() < 0.1 else None,
        optional=chance.random() < 0.3,
        later=_drawn(chance, LATER),
    )


def _drawn(chance: random.Random, weights: dict[str, int]) -> str:
    return chance.choices(list(weights), list(weights.values()))[0]
