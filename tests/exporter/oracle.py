"""What the counters must say, computed the slow and plain way; and random logs to compare on.

Independent of the fold: one event after the other, `Decimal` dollars, a dictionary per sample.
Nothing overflows and no session leaves here; those have tests of their own.
"""

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from hypothesis import strategies as st

from spendtree.event import Context, Event, Kind, Request

Sample = tuple[str, frozenset[tuple[str, str]]]

PICO = Decimal("1e-12")


def expected(store: str, events: Iterable[Event]) -> dict[Sample, Decimal]:
    """Return every non-zero sample by (name without prefix, label pairs without empty ones)."""
    sums: dict[Sample, Decimal] = defaultdict(Decimal)

    def add(name: str, amount: Decimal | int, **labels: str) -> None:
        pairs = {"store": store, **labels}
        sums[name, frozenset((k, v) for k, v in pairs.items() if v)] += amount

    for event in events:
        c, r = event.context, event.request
        if c.origin == "history":
            continue
        cycle = str(c.cycle) if c.cycle <= 9 else "10+"
        level = str(c.level) if c.level <= 4 else "5+"
        who = {"customer": c.customer, "agent": c.agent}
        owner = {**who, "team": c.team}
        asked = {"provider": r.provider, "model": r.model}
        session = {**who, "session": c.session, "routing_cycle": cycle}
        reason = str((event.data or {}).get("unattributed", "no_scope"))
        cost = (event.cost or 0) * PICO
        if event.kind in (Kind.CALL, Kind.LAPSE):
            add("calls_total", 1, **who, model=r.model, status=event.status)
            if c.session:
                add("session_calls_total", 1, **session)
            else:
                add("unattributed_calls_total", 1, model=r.model, reason=reason)
        if event.kind in (Kind.CALL, Kind.ADJUSTMENT, Kind.TOOL) and event.cost is not None:
            add("cost_usd_total", cost, **owner, **asked, level=level, routing_cycle=cycle)
            if c.session:
                add("session_cost_usd_total", cost, **session)
            else:
                add("unattributed_cost_usd_total", cost, model=r.model, reason=reason)
        if event.kind in (Kind.CALL, Kind.LAPSE, Kind.ADJUSTMENT):
            tokens = {
                "input": event.input_tokens,
                "output": event.output_tokens,
                "cache_read": event.cache_read_tokens,
                "cache_write": event.cache_write_tokens + event.cache_write_1h_tokens,
            }
            for type, count in tokens.items():
                add("tokens_total", count, **who, **asked, type=type)
            if c.session:
                add("session_tokens_total", sum(tokens.values()), **session)
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
        if event.kind == Kind.SESSION_CLOSED and not (event.data or {}).get("continued"):
            add("sessions_total", 1, customer=c.customer, team=c.team, status=event.status)
        if event.kind == Kind.DENIED:
            data = event.data or {}
            family = "would_deny_calls_total" if data.get("would") else "denied_calls_total"
            add(family, 1, **owner, kind=str(data.get("kind", "")), reason=event.status)
    return {sample: value for sample, value in sums.items() if value}


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
    Kind.MESSAGE: ("",),
}
_DATA: dict[Kind, tuple[dict[str, object] | None, ...]] = {
    Kind.CALL: (None, {"unattributed": "no_scope"}, {"unattributed": "lost_thread"}),
    Kind.LAPSE: (None, {"unattributed": "imported"}),
    Kind.SESSION_CLOSED: (None, {"continued": True}),
    Kind.DENIED: (None, {"kind": "session"}, {"kind": "envelope", "would": True}),
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
    path=st.sampled_from([(), ("session/s-1",)]),
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
    if kind in (Kind.TOOL, Kind.RUN_CLOSED, Kind.SESSION_CLOSED):
        return event._replace(cost=draw(_money))
    return event


logs = st.lists(one_event(), max_size=40)
"""Logs of every kind of event, contexts and requests often shared."""
