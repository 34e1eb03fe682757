"""CATALOGUE: every metric family there is. A table; code, docs, rules and dashboards read it.

Nothing here counts anything: `fold` fills the families that follow from events, the exporter
fills those about itself (`exporter_…`, `build_info`).
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "spendtree_"

_DECIMALS = {"usd": 12, "seconds": 6}
"""Series hold integers: pico-dollars and microseconds in families of these units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One metric family.

    `name` is without the prefix; `labels` are those beside `store`, which every series has;
    `unit` is the unit that the name ends with ("" where it names none); `buckets` are the upper
    bounds of a histogram as decimal text, () for other kinds.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""
    buckets: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """Return the name as it is scraped."""
        return PREFIX + self.name

    @property
    def decimals(self) -> int:
        """Return how many decimal places a series' integer value has."""
        return _DECIMALS.get(self.unit, 0)


_SESSION = ("session", "agent", "customer", "routing_cycle")

CATALOGUE: tuple[Family, ...] = (
    Family(
        name="cost_usd_total",
        kind="counter",
        unit="usd",
        labels=("customer", "team", "agent", "level", "provider", "model", "routing_cycle"),
        help="True cost of everything recorded; spend outside any agent has level 0.",
    ),
    Family(
        name="calls_total",
        kind="counter",
        labels=("customer", "agent", "model", "status"),
        help="Finished calls; lapsed and unmetered ones ended without known usage.",
    ),
    Family(
        name="tokens_total",
        kind="counter",
        unit="tokens",
        labels=("customer", "agent", "provider", "model", "type"),
        help="Tokens processed, in disjoint types; input is what no cache served or stored.",
    ),
    Family(
        name="session_cost_usd_total",
        kind="counter",
        unit="usd",
        labels=_SESSION,
        help="True cost of one session; starts at 0, so its value is the spend.",
    ),
    Family(
        name="session_calls_total",
        kind="counter",
        labels=_SESSION,
        help="Finished calls of one session; starts at 0.",
    ),
    Family(
        name="session_tokens_total",
        kind="counter",
        unit="tokens",
        labels=_SESSION,
        help="Tokens of all types of one session; starts at 0.",
    ),
    Family(
        name="agent_runs_total",
        kind="counter",
        labels=("customer", "team", "agent", "routing_cycle", "status"),
        help="Agent runs that ended.",
    ),
    Family(
        name="agent_run_cost_usd_total",
        kind="counter",
        unit="usd",
        labels=("customer", "team", "agent", "routing_cycle", "status"),
        help="Cost of the run's own calls, posted when the run ends.",
    ),
    Family(
        name="sessions_total",
        kind="counter",
        labels=("customer", "team", "status"),
        help="Sessions that ended; one that is continued afterwards is not counted again.",
    ),
    Family(
        name="denied_calls_total",
        kind="counter",
        labels=("customer", "team", "agent", "kind", "reason"),
        help="Calls and agent runs refused before anything was sent, by kind of account.",
    ),
    Family(
        name="would_deny_calls_total",
        kind="counter",
        labels=("customer", "team", "agent", "kind", "reason"),
        help="Calls that enforcing would have refused (mode warn); they were made.",
    ),
    Family(
        name="overrun_usd_total",
        kind="counter",
        unit="usd",
        labels=("customer", "agent", "model"),
        help="True cost above the money that was held for the call.",
    ),
    Family(
        name="presumed_usd_total",
        kind="counter",
        unit="usd",
        labels=("customer", "agent", "model"),
        help="Money presumed spent by calls of unclear ending; never part of the cost counters.",
    ),
    Family(
        name="presumed_resolved_usd_total",
        kind="counter",
        unit="usd",
        labels=("customer", "agent", "model"),
        help="Presumed money taken back because the true cost became known.",
    ),
    Family(
        name="unpriced_calls_total",
        kind="counter",
        labels=("provider", "model"),
        help="Calls whose price is unknown; they add nothing to the cost counters.",
    ),
    Family(
        name="unmetered_calls_total",
        kind="counter",
        labels=("provider", "model"),
        help="Calls that were answered without usage.",
    ),
    Family(
        name="unattributed_calls_total",
        kind="counter",
        labels=("model", "reason"),
        help="Finished calls outside any session.",
    ),
    Family(
        name="unattributed_cost_usd_total",
        kind="counter",
        unit="usd",
        labels=("model", "reason"),
        help="True cost of calls outside any session; part of the cost counters too.",
    ),
    Family(
        name="label_overflow_total",
        kind="counter",
        labels=("label",),
        help="Finished calls shown under _other or _overflow because this label was full.",
    ),
    Family(
        name="exporter_events_read_total",
        kind="counter",
        help="Events that this exporter has read from the store since it started.",
    ),
    Family(
        name="exporter_store_errors_total",
        kind="counter",
        help="Reads of the store that failed; the figures shown are the last good ones.",
    ),
    Family(
        name="exporter_lag_seconds",
        kind="gauge",
        unit="seconds",
        help="Time since the exporter last stood at the end of the log.",
    ),
    Family(
        name="exporter_series",
        kind="gauge",
        labels=("part",),
        help="Series shown, by part: those that carry a session, and the standing ones.",
    ),
    Family(
        name="exporter_series_limit",
        kind="gauge",
        labels=("part",),
        help="Most series of that part; beyond it spend is shown under _other or _overflow.",
    ),
    Family(
        name="exporter_live_sessions",
        kind="gauge",
        help="Sessions that are open.",
    ),
    Family(
        name="exporter_writer",
        kind="gauge",
        help="1 if this exporter writes to the store, 0 if another one does and this one reads.",
    ),
    Family(
        name="exporter_received_spans_total",
        kind="counter",
        labels=("result",),
        help="Spans received over OTLP: accepted, rejected as unreadable, or ignored because "
        "nothing in their trace is a call, an agent or a session.",
    ),
    Family(
        name="exporter_pending_spans",
        kind="gauge",
        help="Spans received whose trace may not be complete; they are recorded once it is.",
    ),
    Family(
        name="exporter_scrape_duration_seconds",
        kind="gauge",
        unit="seconds",
        help="Time that the scrape before this one took to render and compress.",
    ),
    Family(
        name="build_info",
        kind="gauge",
        labels=("version",),
        help="Always 1; the label says which version serves this.",
    ),
)

_BY_NAME = {each.name: each for each in CATALOGUE}


def family(name: str) -> Family:
    """Return the family of that name (without the prefix); KeyError if there is none."""
    return _BY_NAME[name]
