"""What one seed asks of the processes, and what is done to them meanwhile. Pure."""

import random
from typing import Any, NamedTuple

from tests.chaos.plan import CUSTOMER, HAND_ROLES, PICO_PER_TOKEN, SESSION

__all__ = ["CUSTOMER", "DISRUPTIONS", "SESSION", "Disruption", "Plan", "Stop", "plan"]

Disruption = str

DISRUPTIONS: tuple[Disruption, ...] = (
    "signals",
    "async_exceptions",
    "forks",
    "copies",
    "namespaces",
    "stops",
    "kills",
    "clock",
    "full_volume",
)
NEEDS_ROOT = frozenset({"namespaces", "full_volume"})
"""Mounting a volume and entering a PID namespace are for root alone."""

WORKERS = 3


class Stop(NamedTuple):
    """A worker is stopped `after` seconds and goes on `seconds` later; 0 is for good: a kill."""

    worker: int
    after: float
    seconds: float


class Plan(NamedTuple):
    """One seed: what happens, the budgets, and how much each of the workers does.

    `volume_mb` is the size of the volume that the store is on (None: an ordinary folder), `fills`
    the seconds after which it is full, and for how long.
    """

    seed: int
    disruptions: frozenset[Disruption]
    ceiling: str
    config: dict[str, Any]
    threads: int
    tasks: int
    calls: int
    stops: tuple[Stop, ...] = ()
    volume_mb: int | None = None
    fills: tuple[tuple[float, float], ...] = ()
    copies: int = 0


def plan(seed: int, *, root: bool, only: frozenset[Disruption] | None = None) -> Plan:
    """Draw a seed: one disruption for sure, by turns, and each other one now and then.

    `only` are disruptions to use in place of those that are drawn.
    """
    chance = random.Random(f"disruption/{seed}")
    possible = [each for each in DISRUPTIONS if root or each not in NEEDS_ROOT]
    chosen = {possible[seed % len(possible)]}
    chosen.update(each for each in possible if chance.random() < 0.2)
    if only is not None:
        chosen = set(only)
    dollars = chance.choice((0.5, 1.0, 2.0, 4.0, 8.0)) * chance.uniform(0.8, 1.2)
    full = "full_volume" in chosen
    return Plan(
        seed,
        frozenset(chosen),
        f"{dollars:.4f}",
        _config(chance, dollars),
        threads=2,
        tasks=3,
        calls=24,
        stops=tuple(_stops(chance, chosen)),
        volume_mb=chance.choice((2, 4, 8)) if full else None,
        fills=tuple((chance.uniform(0, 0.6), chance.uniform(0.1, 0.8)) for _ in range(2 * full)),
        copies=100 if "copies" in chosen else 0,
    )


def _stops(chance: random.Random, chosen: set[Disruption]) -> list[Stop]:
    stops = []
    if "stops" in chosen:
        stops += [Stop(0, chance.uniform(0, 0.5), chance.uniform(0.2, 1.5)) for _ in range(2)]
    if "kills" in chosen:
        stops.append(Stop(1, chance.uniform(0.1, 0.8), 0))
    return stops


def _config(chance: random.Random, dollars: float) -> dict[str, Any]:
    price = {
        model: {"input_usd_per_mtok": str(pico // 10**6), "output_usd_per_mtok": str(pico // 10**6)}
        for model, pico in PICO_PER_TOKEN.items()
    }
    agents: dict[str, dict[str, Any]] = {
        role: {"envelope_usd": f"{dollars * chance.uniform(0.2, 0.6):.4f}"} for role in HAND_ROLES
    }
    agents[HAND_ROLES[0]]["reserved"] = chance.random() < 0.5
    return {
        "prices": price,
        "agents": agents,
        "busy_timeout_seconds": 3,
        # Never the limit: there so that periods roll when clocks jump.
        "customers": {CUSTOMER: {"budgets_usd": {"day": "1000", "month": "1000"}}},
    }
