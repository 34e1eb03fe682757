"""What the counters must say, computed the slow and plain way; and random logs to compare on.

Independent of the fold: one event after the other, `Decimal` dollars, a dictionary per sample.
Nothing overflows and no session leaves here; those have tests of their own.
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

from hypothesis import strategies as st

from spendtree.event import Context, Event, Kind, Request
from spendtree.metrics import family

Sample = tuple[str, frozenset[tuple[str, str]]]

PICO = Decimal("1e-12")
TOKENS = ("input_audio", "output_audio", "cache_read_image", "citation")
"""Units of the logs below that are tokens; the others are fees."""


def expected(store: str, events: Iterable[Event]) -> dict[Sample, Decimal]:
    """Return every non-zero sample by (name without prefix, label pairs without empty ones)."""
    oracle = _Oracle(store)
    for event in events:
        if event.context.origin != "history":
            oracle.count(event)
    return {sample: value for sample, value in oracle.sums.items() if value}


class _Session:
    def __init__(self) -> None:
        self.calls = 0
        self.cost: dict[tuple[int, int], int] = defaultdict(int)
        """By routing cycle and level."""
        self.agents: set[str] = set()
        self.expected = 0
        self.caps: dict[str, dict[str, Any]] = {}


class _Oracle:
    def __init__(self, store: str) -> None:
        self.store = store
        self.sums: dict[Sample, Decimal] = defaultdict(Decimal)
        self.sessions: dict[str, _Session] = defaultdict(_Session)

    def add(self, name: str, amount: Decimal | int, **labels: str) -> None:
        pairs = {"store": self.store, **labels}
        self.sums[name, frozenset((k, v) for k, v in pairs.items() if v)] += amount

    def observe(self, name: str, amount: Decimal | int, **labels: str) -> None:
        for le in family(name).buckets:
            self.add(f"{name}_bucket", amount <= Decimal(le), **labels, le=le)
        self.add(f"{name}_bucket", 1, **labels, le="+Inf")
        self.add(f"{name}_count", 1, **labels)
        self.add(f"{name}_sum", amount, **labels)

    def count(self, event: Event) -> None:
        c, r, data = event.context, event.request, event.data or {}
        cycle = str(c.cycle) if c.cycle <= 9 else "10+"
        level = str(c.level) if c.level <= 4 else "5+"
        who = {"customer": c.customer, "agent": c.agent}
        owner = {**who, "team": c.team}
        asked = {"provider": r.provider, "model": r.model}
        session = {**who, "session": c.session, "routing_cycle": cycle}
        reason = str(data.get("unattributed", "no_scope"))
        cost = (event.cost or 0) * PICO
        add = self.add
        if event.kind in (Kind.CALL, Kind.LAPSE):
            add("calls_total", 1, **who, model=r.model, status=event.status)
            if c.session:
                add("session_calls_total", 1, **session)
            if not c.session or "unattributed" in data:
                add("unattributed_calls_total", 1, model=r.model, reason=reason)
        if event.kind in (Kind.CALL, Kind.ADJUSTMENT, Kind.TOOL) and event.cost is not None:
            add("cost_usd_total", cost, **owner, **asked, level=level, routing_cycle=cycle)
            if c.session:
                add("session_cost_usd_total", cost, **session)
            if not c.session or "unattributed" in data:
                add("unattributed_cost_usd_total", cost, model=r.model, reason=reason)
        if event.kind in (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT):
            tokens = {
                "input": event.input_tokens,
                "output": event.output_tokens,
                "cache_read": event.cache_read_tokens,
                "cache_write": event.cache_write_tokens + event.cache_write_1h_tokens,
            }
            tokens |= {name: n for name, n in data.get("units", {}).items() if name in TOKENS}
            for type, count in tokens.items():
                add("tokens_total", count, **who, **asked, type=type)
            if c.session:
                add("session_tokens_total", sum(tokens.values()), **session)
            if "waited_us" in data:
                waited = Decimal(data["waited_us"]).scaleb(-6)
                self.observe("hold_wait_seconds", waited, kind=data["waited_at"])
        if event.kind in (Kind.CALL, Kind.ADJUSTMENT, Kind.TOOL):
            self.count_doubts(event, who, asked)
        if event.kind in (Kind.CALL, Kind.ADJUSTMENT):
            if event.cost is None:
                add("unpriced_calls_total", 1, **asked)
            elif event.held and event.cost > event.held:
                add("overrun_usd_total", cost - event.held * PICO, **who, model=r.model)
        if event.kind == Kind.LAPSE:
            add("presumed_usd_total", event.held * PICO, **who, model=r.model)
            if event.status == "unmetered":
                add("unmetered_calls_total", 1, **asked)
        if event.kind == Kind.ADJUSTMENT:
            add("presumed_resolved_usd_total", event.held * PICO, **who, model=r.model)
        if event.kind == Kind.RUN_CLOSED:
            ended = {**owner, "routing_cycle": cycle, "status": event.status}
            add("agent_runs_total", 1, **ended)
            add("agent_run_cost_usd_total", cost, **ended)
        if event.kind == Kind.DENIED:
            name = "would_deny_calls_total" if data.get("would") else "denied_calls_total"
            add(name, 1, **owner, kind=str(data.get("kind", "")), reason=event.status)
        if event.kind == Kind.WARNED:
            add("budget_warnings_total", 1, customer=c.customer, team=c.team, kind=data["kind"])
        if event.kind == Kind.TRANSFER:
            ends = {"source": data["source_agent"], "target": data["target_agent"]}
            add("transfers_total", 1, **ends)
            add("transferred_usd_total", cost, **ends)
        if event.kind == Kind.MESSAGE:
            ends = {"source": c.agent, "target": str(data.get("target", ""))}
            add("messages_total", 1, **ends)
            add("message_tokens_total", event.input_tokens, **ends)
            add("message_cost_usd_total", cost, **ends)
            if "violation" in data:
                broken = {"agent": c.agent, "kind": data["violation"]["kind"]}
                add("contract_violations_total", 1, **broken)
                add("contract_excess_tokens_total", data["violation"]["excess"], **broken)
        if c.session:
            self.count_session(event, self.sessions[c.session])

    def count_doubts(self, event: Event, who: dict[str, str], asked: dict[str, str]) -> None:
        """Count what is billed beside tokens, and what is not sure."""
        data = event.data or {}
        for name, count in data.get("units", {}).items():
            if name not in TOKENS:
                self.add("billed_units_total", count, **who, **asked, unit=name)
        parts = {mark[9:] for mark in data.get("marks", ()) if mark.startswith("unpriced:")}
        for part in parts if event.cost is not None else ():
            self.add("partly_unpriced_calls_total", 1, **asked, part=part)
        for key in data.get("unread", {}):
            self.add("unread_usage_keys_total", 1, provider=asked["provider"], key=key)
        if event.cost and (parts or "unread" in data.get("marks", ())):
            reason = "partly_unpriced" if parts else "unread"
            cost = event.cost * PICO
            self.add("uncertain_cost_usd_total", cost, **who, model=asked["model"], reason=reason)

    def count_session(self, event: Event, session: _Session) -> None:
        c, data = event.context, event.data or {}
        if event.kind == Kind.SESSION_OPENED:
            session.expected = data.get("expected", session.expected)
        if event.kind == Kind.RUN_OPENED and "envelope" in data:
            cap = {"agent": c.agent, "kind": "envelope", "cap": data["envelope"]}
            name = f"envelope/{c.session}/{c.agent}"
            session.caps.setdefault(name, {**cap, "spent": 0, "denied": False})
        if event.kind == Kind.RUN_OPENED and "max_cost" in data:
            cap = {"agent": c.agent, "kind": "max_cost", "cap": data["max_cost"]}
            session.caps[f"run/{c.run}"] = {**cap, "spent": 0, "denied": False}
        if event.kind in (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT, Kind.TOOL):
            session.calls += event.kind in (Kind.CALL, Kind.LAPSE)
            session.cost[c.cycle, c.level] += event.cost or 0
            session.agents |= {c.agent} - {""}
            for account in set(c.path) & session.caps.keys():
                session.caps[account]["spent"] += event.cost or 0
        if event.kind == Kind.DENIED and not data.get("would"):
            session.caps.get(data.get("account", ""), {})["denied"] = True
        if event.kind == Kind.CAP_CHANGED and event.cost is not None:
            session.caps.get(data["account"], {})["cap"] = event.cost
        if event.kind == Kind.TRANSFER:
            for name, sign in ((data["source"], -1), (data["target"], 1)):
                if name in session.caps:
                    session.caps[name]["cap"] += sign * (event.cost or 0)
        if event.kind == Kind.SESSION_CLOSED:
            if not data.get("continued"):
                self.complete(event, session)
            session.caps = {}

    def complete(self, event: Event, session: _Session) -> None:
        c, status = event.context, event.status
        cost, total = event.cost or 0, sum(session.cost.values())
        first = sum(pico for (cycle, _), pico in session.cost.items() if cycle == 1)
        self.add("sessions_total", 1, customer=c.customer, team=c.team, status=status)
        self.observe("completed_session_cost_usd", cost * PICO, customer=c.customer, status=status)
        self.observe("completed_session_calls", session.calls, status=status)
        if first:
            ratio = millionths(total, first)
            self.observe("completed_session_amplification_ratio", ratio, status=status)
        if session.expected:
            ratio = millionths(cost, session.expected)
            self.observe("completed_session_cost_to_expected_ratio", ratio, status=status)
        if len(session.agents) > 1:
            for (_, level), pico in session.cost.items():
                part = "coordinator" if level < 2 else "worker"
                name = "completed_multiagent_cost_usd_total"
                self.add(name, pico * PICO, customer=c.customer, part=part)
        for agent, kind in {(cap["agent"], cap["kind"]) for cap in session.caps.values()}:
            caps = [x for x in session.caps.values() if (x["agent"], x["kind"]) == (agent, kind)]
            labels = {"customer": c.customer, "team": c.team, "agent": agent, "kind": kind}
            self.add("envelopes_total", 1, **labels)
            self.add("envelopes_exhausted_total", any(x["denied"] for x in caps), **labels)
            usages = [millionths(x["spent"], x["cap"]) for x in caps if x["cap"] > 0]
            if usages:
                self.observe("envelope_usage_ratio", max(usages), agent=agent, kind=kind)


def millionths(part: int, whole: int) -> Decimal:
    """Return part / whole, rounded up to the sixth decimal."""
    return Decimal(ceil(Fraction(part * 10**6, whole))).scaleb(-6)


_ENDINGS: dict[Kind, tuple[str, ...]] = {
    Kind.SESSION_OPENED: ("",),
    Kind.SESSION_CLOSED: ("succeeded", "failed", "budget_exceeded", "abandoned"),
    Kind.RUN_OPENED: ("",),
    Kind.RUN_CLOSED: ("succeeded", "failed", "exhausted"),
    Kind.CALL: ("ok", "failed"),
    Kind.LAPSE: ("lapsed", "unmetered"),
    Kind.ADJUSTMENT: ("ok", "failed"),
    Kind.DENIED: ("exhausted", "busy", "unknown_price", "store"),
    Kind.TOOL: ("ok", "failed"),
    Kind.WARNED: ("",),
    Kind.TRANSFER: ("",),
    Kind.CAP_CHANGED: ("",),
    Kind.MESSAGE: ("",),
}
_ENVELOPE, _RUN = "envelope/s-1/coordinator", "run/01"
_DATA: dict[Kind, tuple[dict[str, object] | None, ...]] = {
    Kind.SESSION_OPENED: (None, {"expected": 10**12, "ceiling": 10**13}, {"ceiling": 10**13}),
    Kind.RUN_OPENED: (None, {"envelope": 10**12}, {"max_cost": 3 * 10**11, "task": "look"}),
    Kind.CALL: (
        None,
        {"unattributed": "no_scope"},
        {"unattributed": "lost_thread"},
        {"waited_us": 10_000, "waited_at": "session"},
        {"waited_us": 3_000_001, "waited_at": "customer"},
        {"units": {"input_audio": 800, "web_search": 2}},
        {"units": {"web_search": 1, "guardrail_topic": 3}, "marks": ["unpriced:guardrail_topic"]},
        {
            "units": {"citation": 7},
            "marks": ["unpriced:citation", "unpriced:flex", "unread"],
            "unread": {"hologram_tokens": 3, "total": 9},
        },
        {"marks": ["unread"], "unread": {"total": "12 of 11"}},
    ),
    Kind.ADJUSTMENT: (
        None,
        {"units": {"output_audio": 4, "cache_read_image": 5}, "unattributed": "imported"},
        {"units": {"web_search": 5}, "marks": ["unpriced:web_search"]},
    ),
    Kind.LAPSE: (None, {"unattributed": "imported"}),
    Kind.SESSION_CLOSED: (None, {"continued": True}),
    Kind.DENIED: (
        None,
        {"kind": "session", "account": "session/s-1"},
        {"kind": "envelope", "account": _ENVELOPE},
        {"kind": "envelope", "account": _ENVELOPE, "would": True},
        {"kind": "run", "account": _RUN},
    ),
    Kind.WARNED: ({"account": "session/s-1", "kind": "session", "mark": "0.8"},),
    Kind.TRANSFER: (
        {
            "source": _ENVELOPE,
            "target": _RUN,
            "source_agent": "coordinator",
            "target_agent": "researcher",
            "reason": "asked",
        },
    ),
    Kind.CAP_CHANGED: (
        {"account": _ENVELOPE, "kind": "envelope"},
        {"account": "session/s-1", "kind": "session"},
    ),
    Kind.MESSAGE: (
        None,
        {"target": "coordinator"},
        {"target": "coordinator", "violation": {"kind": "max", "excess": 7}},
    ),
}

_contexts = st.builds(
    Context,
    session=st.sampled_from(["", "s-1", "s-2", "s-3"]),
    customer=st.sampled_from(["", "acme", "globex"]),
    team=st.sampled_from(["", "search"]),
    agent=st.sampled_from(["", "coordinator", 'a "quoted" \\ agent\nof two lines', "Prüfer"]),
    run=st.sampled_from(["", "01", "02"]),
    level=st.integers(0, 7),
    cycle=st.integers(1, 12),
    path=st.sampled_from([(), ("session/s-1", _ENVELOPE), ("session/s-1", _RUN, _ENVELOPE)]),
    origin=st.sampled_from(["", "", "import", "history"]),
)
_requests = st.builds(
    Request,
    provider=st.sampled_from(["", "openai", "anthropic"]),
    model=st.sampled_from(["", "gpt-4o", "claude"]),
    purpose=st.sampled_from(["work", "plan"]),
)
_tokens = st.integers(0, 2**40)
_money = st.integers(0, 10**18)


@st.composite
def one_event(draw: st.DrawFn) -> Event:
    """Draw an event with the fields that its kind fills, in the shapes that writers give them."""
    kind = draw(st.sampled_from(sorted(_ENDINGS)))
    context = draw(_contexts)
    if kind in (Kind.SESSION_OPENED, Kind.SESSION_CLOSED) and not context.session:
        context = context._replace(session="s-9")
    event = Event(
        0,
        kind,
        1,
        b"",
        context,
        draw(_requests),
        status=draw(st.sampled_from(_ENDINGS[kind])),
        data=draw(st.sampled_from(_DATA.get(kind, (None,)))),
    )
    if kind in (Kind.CALL, Kind.ADJUSTMENT):
        cost = draw(st.none() | _money)
        return event._replace(
            cost=cost,
            held=draw(_money),
            input_tokens=draw(_tokens),
            output_tokens=draw(_tokens),
            cache_read_tokens=draw(_tokens),
            cache_write_tokens=draw(_tokens),
            cache_write_1h_tokens=draw(_tokens),
        )
    if kind == Kind.LAPSE:
        return event._replace(held=draw(_money))
    if kind == Kind.MESSAGE:
        return event._replace(cost=draw(st.none() | _money), input_tokens=draw(_tokens))
    if kind in (Kind.TRANSFER, Kind.CAP_CHANGED):
        return event._replace(cost=draw(_money))
    if kind in (Kind.TOOL, Kind.RUN_CLOSED, Kind.SESSION_CLOSED):
        return event._replace(cost=draw(_money))
    return event


logs = st.lists(one_event(), max_size=40)
"""Logs of every kind of event, contexts and requests often shared."""
