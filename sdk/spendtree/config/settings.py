"""What can be configured, as values with their defaults; how they are read is not known here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

Mode = Literal["record", "warn", "enforce"]
MODES: tuple[Mode, ...] = ("record", "warn", "enforce")


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What holds for every session that says nothing else.

    `ceiling_usd` is its cap in dollars (None: no cap); `warn_at` are the fractions of a cap,
    ascending, each above 0 and at most 1, at which a warning is given.
    """

    ceiling_usd: Decimal | None = None
    warn_at: tuple[Decimal, ...] = (Decimal("0.8"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What holds for every run of one agent role that says nothing else; None is no limit.

    `envelope_usd` caps what the role itself spends in one session, `max_cost_usd` caps one run and
    everything it spawns (both in dollars), `max_output_tokens` is the output limit of one call.
    """

    envelope_usd: Decimal | None = None
    max_cost_usd: Decimal | None = None
    max_output_tokens: int | None = None


NO_LIMITS = AgentSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured, checked. `prices` are what PriceBook takes."""

    mode: Mode = "enforce"
    session: SessionSettings = SessionSettings()
    agents: Mapping[str, AgentSettings] = field(default_factory=dict)
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    busy_timeout_seconds: float = 30.0

    def agent(self, name: str) -> AgentSettings:
        """Return the settings of a role; one that is not configured has no limits."""
        return self.agents.get(name, NO_LIMITS)
