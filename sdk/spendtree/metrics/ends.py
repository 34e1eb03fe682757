"""Ends: what the opening and the end of sessions and runs says, and what caps come to. Pure."""

from collections.abc import Callable

from spendtree.account import envelope_account, run_account, session_account
from spendtree.event import Context, Event, Kind
from spendtree.metrics.names import Names
from spendtree.metrics.sessions import Cap, Session, Sessions
from spendtree.metrics.wiring import Wirings

_MILLION = 10**6
"""Ratios are counted in millionths, rounded up: a bucket's bound is then exactly its bound."""

_RUN = ("agent_runs_total", "agent_run_cost_usd_total")
_SESSION = (
    "sessions_total",
    "completed_session_cost_usd",
    "completed_session_calls",
)
_AMPLIFICATION = ("completed_session_amplification_ratio",)
_EXPECTED = ("completed_session_cost_to_expected_ratio",)
_MULTIAGENT = ("completed_multiagent_cost_usd_total",)
_USAGE = ("envelope_usage_ratio",)
_ENVELOPES = ("envelopes_total", "envelopes_exhausted_total")
_PARTS = ("coordinator", "worker")


Handler = Callable[[Event, int], Session | None]
"""What is done with an event that was recorded at a time (microseconds).

It answers the session whose contexts now come to something else than before, if any does.
"""


class Ends:
    """Counts ends. `handlers` are by kind of event."""

    def __init__(self, names: Names, wirings: Wirings, sessions: Sessions) -> None:
        self._names = names
        self._wirings = wirings
        self._sessions = sessions
        self.handlers: dict[int, Handler] = {
            Kind.SESSION_OPENED: self._session_opened,
            Kind.SESSION_CLOSED: self._session_closed,
            Kind.RUN_OPENED: self._run_opened,
            Kind.RUN_CLOSED: self._run_closed,
            Kind.CAP_CHANGED: self._cap_changed,
        }

    def _session_opened(self, event: Event, at: int) -> None:
        context = event.context
        session = self._sessions.open(context.session, event.at)
        data = event.data
        if data:
            expected = data.get("expected")
            if expected is not None:
                session.expected = expected
            if data.get("ceiling") is not None:
                self._names.who(context)
                self._sessions.add_account(session, session_account(context.session).id)

    def _run_opened(self, event: Event, at: int) -> Session | None:
        data = event.data
        if not data:
            return None
        context = event.context
        envelope, max_cost = data.get("envelope"), data.get("max_cost")
        if envelope is None and max_cost is None:
            return None
        session = self._sessions.meet(context.session, event.at)
        if session.caps is None:
            session.caps = {}
        if envelope is not None:
            account = envelope_account(context.session, context.agent).id
            session.caps.setdefault(account, Cap(context.agent, "envelope", envelope))
            self._names.who(context)
            self._sessions.add_account(session, account)
        if max_cost is not None:
            account = run_account(context.session, context.agent, context.run).id
            session.caps[account] = Cap(context.agent, "max_cost", max_cost)
        return session

    def _cap_changed(self, event: Event, at: int) -> None:
        data = event.data or {}
        account = str(data.get("account", ""))
        session = self._sessions.find(event.context.session)
        if session is None:
            return
        if data.get("kind") in ("session", "envelope") and event.cost is not None:
            self._sessions.add_account(session, account)
        cap = session.caps.get(account) if session.caps else None
        if cap is not None and event.cost is not None:
            cap.cap = event.cost

    def _run_closed(self, event: Event, at: int) -> None:
        who = self._names.who(event.context)
        runs, cost = self._wirings.of(who, _RUN, "status", event.status, at)
        runs.add(1)
        cost.add(event.cost or 0)

    def _session_closed(self, event: Event, at: int) -> Session:
        session = self._sessions.meet(event.context.session, event.at)
        if not (event.data or {}).get("continued"):
            self._completed(event, session, at)
        session.caps = None
        self._sessions.close(session, event.at)
        return session

    def _completed(self, event: Event, session: Session, at: int) -> None:
        status, of = event.status, self._wirings.of
        who = self._names.who(event.context)
        cost = event.cost or 0
        calls = own = first = 0
        for row in session.rows:
            calls += row.calls
            own += row.cost
            if row.labels[3] == "1":
                first += row.cost
        count, costs, all_calls = of(who, _SESSION, "status", status, at)
        count.add(1)
        costs.add(cost)
        all_calls.add(calls)
        if first > 0:
            of(who, _AMPLIFICATION, "status", status, at)[0].add(-(-own * _MILLION // first))
        if session.expected:
            of(who, _EXPECTED, "status", status, at)[0].add(-(-cost * _MILLION // session.expected))
        if session.several:
            for part, pico in zip(_PARTS, (own - session.worker, session.worker), strict=True):
                of(who, _MULTIAGENT, "part", part, at)[0].add(pico)
        if session.caps:
            self._caps(session.caps, event.context, at)

    def _caps(self, caps: dict[str, Cap], context: Context, at: int) -> None:
        """Count caps, those of one agent and kind as one."""
        merged: dict[tuple[str, str], tuple[bool, int | None]] = {}
        for cap in caps.values():
            exhausted, usage = merged.get((cap.agent, cap.kind), (False, None))
            if cap.cap > 0:
                usage = max(usage or 0, -(-cap.spent * _MILLION // cap.cap))
            merged[cap.agent, cap.kind] = exhausted or cap.exhausted, usage
        for (agent, kind), (exhausted, usage) in merged.items():
            who = self._names.who(context._replace(agent=agent))
            all_caps, denied = self._wirings.of(who, _ENVELOPES, "kind", kind, at)
            all_caps.add(1)
            denied.add(int(exhausted))
            if usage is not None:
                self._wirings.of(who, _USAGE, "kind", kind, at)[0].add(usage)
