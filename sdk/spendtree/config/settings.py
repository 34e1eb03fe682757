"""What can be configured, as values with their defaults; how they are read is not known here.

Pure. Amounts are Decimal dollars; None is "not configured", which is no limit where a cap is meant.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, get_args

from spendtree.config.steps import DEFAULT_POLICY, Step
from spendtree.config.version import Version

Mode = Literal["record", "warn", "enforce"]
MODES: tuple[Mode, ...] = get_args(Mode)

AccountKind = Literal["session", "envelope", "run", "customer", "team"]
ACCOUNT_KINDS: tuple[AccountKind, ...] = get_args(AccountKind)

Period = Literal["day", "week", "month"]
PERIODS: tuple[Period, ...] = get_args(Period)

OnExhausted = Literal["raise", "skip"]
ContractMode = Literal["record", "truncate", "refuse"]

Marks = tuple[Decimal, ...]
"""Fractions of a cap, ascending, each above 0 and at most 1, at which a warning is given."""

NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """What holds for every session that says nothing else.

    `ceiling_usd` is its cap; a session starts only if at least `min_cost_usd` of it is free.
    `warn_at` are the marks of every account that has none of its own. `max_output_tokens` is the
    output limit of its calls that name none and whose agent has none. `required` refuses calls,
    tools and agents outside any session.
    """

    ceiling_usd: Decimal | None = None
    warn_at: Marks = (Decimal("0.8"),)
    min_cost_usd: Decimal = NOTHING
    max_output_tokens: int | None = None
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractSettings:
    """How long a result may be that an agent hands to its parent, in tokens, and what happens else.

    `mode`: only record a violation, truncate what is too long, or refuse the delivery.
    """

    min_output_tokens: int | None = None
    max_output_tokens: int | None = None
    mode: ContractMode = "record"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """What holds for every run of one agent role that says nothing else; None is no limit.

    `envelope_usd` caps what the role itself spends in one session, `reserved` keeps that money from
    everybody else; `max_cost_usd` caps one run and everything it spawns. A run starts only if at
    least `min_cost_usd` is free (None: the session's). `max_output_tokens` is the output limit of
    one call. `warn_at` None are the session's marks. `policy` is a name in `Config.policies` or the
    steps themselves; `on_exhausted` "skip" ends a run without money quietly.
    """

    envelope_usd: Decimal | None = None
    max_cost_usd: Decimal | None = None
    reserved: bool = False
    min_cost_usd: Decimal | None = None
    max_output_tokens: int | None = None
    warn_at: Marks | None = None
    policy: str | tuple[Step, ...] | None = None
    on_exhausted: OnExhausted = "raise"
    contract: ContractSettings | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PayerSettings:
    """What holds for one customer or one team.

    `budgets_usd` caps each UTC day, week or month. A customer's `mode` is that of every account of
    its calls, a team's that of its own budgets. `warn_at` None are the session's marks. `plan` is
    the name in `Config.plans` of what a customer pays; teams have none.
    """

    budgets_usd: Mapping[Period, Decimal] = field(default_factory=dict)
    mode: Mode | None = None
    warn_at: Marks | None = None
    plan: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSettings:
    """What a plan costs a customer a month."""

    price_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """Thresholds of alerts that are not the default's, by their name in `THRESHOLDS`."""

    thresholds: Mapping[str, Decimal] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodSettings:
    """The budget for one kind of period of each customer, or team, that has none of its own."""

    customer_usd: Decimal | None = None
    team_usd: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSettings:
    """How many series and names the metrics may have, and how long.

    `max_series` is in all, `max_session_series` of them carry a session, which they do for
    `linger_seconds` after its last event; the others bound the names of one label each. A new
    counter shows 0 for `birth_hold_seconds`.
    """

    max_series: int = 100_000
    max_session_series: int = 20_000
    max_customers: int = 200
    max_teams: int = 200
    max_agents: int = 200
    max_providers: int = 50
    max_models: int = 100
    linger_seconds: float = 900.0
    birth_hold_seconds: float = 60.0


EVERY_AGENT = "*"
"""The name under which `agents` has the defaults of every agent."""

NO_LIMITS = AgentSettings()
NOBODY = PayerSettings()
NO_PERIOD = PeriodSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that can be configured, checked. `prices` are what PriceBook takes.

    `version` is the one that it states, `dated` stands in where it states none: of which time it
    is. A mapping has neither.
    """

    version: Version | None = None
    dated: Version | None = field(default=None, compare=False)
    mode: Mode = "enforce"
    modes: Mapping[AccountKind, Mode] = field(default_factory=dict)
    busy_timeout_seconds: float = 30.0
    session: SessionSettings = SessionSettings()
    agents: Mapping[str, AgentSettings] = field(default_factory=dict)
    customers: Mapping[str, PayerSettings] = field(default_factory=dict)
    teams: Mapping[str, PayerSettings] = field(default_factory=dict)
    periods: Mapping[Period, PeriodSettings] = field(default_factory=dict)
    plans: Mapping[str, PlanSettings] = field(default_factory=dict)
    policies: Mapping[str, tuple[Step, ...]] = field(default_factory=dict)
    prices: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    metrics: MetricsSettings = MetricsSettings()
    alerts: AlertSettings = AlertSettings()

    @property
    def order(self) -> int | None:
        """Return where it stands among other configurations, None if it cannot be ordered."""
        known = self.version or self.dated
        return None if known is None else known.order

    def has_same_budgets(self, other: "Config") -> bool:
        """Tell whether both give every customer and team the same budgets."""
        return self._amounts() == other._amounts()

    @property
    def has_budgets(self) -> bool:
        """Tell whether it gives anybody a budget."""
        return any(self._amounts())

    def _amounts(self) -> tuple[Mapping[Any, Any], ...]:
        own = [
            {name: payer.budgets_usd for name, payer in payers.items() if payer.budgets_usd}
            for payers in (self.customers, self.teams)
        ]
        return *own, {kind: each for kind, each in self.periods.items() if each != NO_PERIOD}

    def agent(self, role: str) -> AgentSettings:
        """Return the settings of a role: its own, else those of every agent ("*").

        Where neither is configured there are no limits, nor are there outside any agent (the role
        ""). A role's own settings already have the defaults of every agent in them (`loading`).
        """
        if not role:
            return NO_LIMITS
        return self.agents.get(role) or self.agents.get(EVERY_AGENT, NO_LIMITS)

    def payer(self, kind: Literal["customer", "team"], name: str) -> PayerSettings:
        """Return the settings of a customer or team; one that is not configured has none."""
        return (self.customers if kind == "customer" else self.teams).get(name, NOBODY)

    def budgets(self, kind: Literal["customer", "team"], name: str) -> dict[Period, Decimal]:
        """Return the budget of each period that a customer or team has one for, in dollars.

        Its own, else that of `periods`; nobody (the name "") has none.
        """
        if not name:
            return {}
        own = self.payer(kind, name).budgets_usd
        found = {period: own.get(period, self._shared(kind, period)) for period in PERIODS}
        return {period: budget for period, budget in found.items() if budget is not None}

    def mode_for(self, kind: AccountKind, customer: str = "", team: str = "") -> Mode:
        """Return the mode of one kind of account in a call's path.

        The customer's own, else for the team's budgets the team's, else the kind's, else `mode`.
        """
        own = self.payer("customer", customer).mode
        if own is None and kind == "team":
            own = self.payer("team", team).mode
        return own or self.modes.get(kind, self.mode)

    def marks_for(self, kind: AccountKind, name: str = "") -> Marks:
        """Return the fractions of its cap at which an account warns.

        `name` is the role of an envelope or a run, else the customer or team.
        """
        own: Marks | None = None
        if kind in ("envelope", "run"):
            own = self.agent(name).warn_at
        elif kind == "customer" or kind == "team":
            own = self.payer(kind, name).warn_at
        return self.session.warn_at if own is None else own

    def min_cost_for(self, role: str = "") -> Decimal:
        """Return what must be free for a run of a role to start; "" is a session."""
        own = self.agent(role).min_cost_usd
        return self.session.min_cost_usd if own is None else own

    def policy_for(self, role: str) -> tuple[Step, ...]:
        """Return what the calls of a role try, in order, when there is not money enough."""
        policy = self.agent(role).policy
        if isinstance(policy, str):
            return self.policies[policy]
        return DEFAULT_POLICY if policy is None else policy

    def _shared(self, kind: Literal["customer", "team"], period: Period) -> Decimal | None:
        shared = self.periods.get(period, NO_PERIOD)
        return shared.customer_usd if kind == "customer" else shared.team_usd
