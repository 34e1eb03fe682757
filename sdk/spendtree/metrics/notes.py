"""Notes: what was denied, warned of, moved and handed over, counted as it happens. Pure."""

from collections.abc import Mapping

from spendtree.event import Event, Kind
from spendtree.metrics.ends import Handler
from spendtree.metrics.names import Names, label_text
from spendtree.metrics.series import Tables
from spendtree.metrics.sessions import Sessions


class Notes:
    """Counts single happenings. `handlers` are by kind of event."""

    def __init__(self, tables: Tables, names: Names, sessions: Sessions) -> None:
        self._tables = tables
        self._names = names
        self._sessions = sessions
        self.handlers: dict[int, Handler] = {
            Kind.DENIED: self._denied,
            Kind.WARNED: self._warned,
            Kind.TRANSFER: self._transferred,
            Kind.MESSAGE: self._handed_over,
        }

    def waited(self, kind: str, waited_us: int, at: int) -> None:
        """Observe how long a call waited for money, at which kind of account."""
        self._add("hold_wait_seconds", waited_us, {"kind": label_text(kind)}, at)

    def _denied(self, event: Event, at: int) -> None:
        names = self._names.labels(self._names.who(event.context), event.request, event.status)
        data = event.data or {}
        names["kind"] = label_text(str(data.get("kind", "")))
        names["reason"] = names["status"]
        would = data.get("would")
        name = "would_deny_calls_total" if would else "denied_calls_total"
        self._add(name, event.times, names, at)
        session = self._sessions.find(event.context.session)
        if session is not None and session.caps and not would:
            cap = session.caps.get(str(data.get("account", "")))
            if cap is not None:
                cap.exhausted = True

    def _warned(self, event: Event, at: int) -> None:
        names = self._names.who(event.context)._asdict()
        names["kind"] = label_text(str((event.data or {}).get("kind", "")))
        self._add("budget_warnings_total", 1, names, at)

    def _transferred(self, event: Event, at: int) -> None:
        data, amount = event.data or {}, event.cost or 0
        names = {
            "source": self._agent(data.get("source_agent")),
            "target": self._agent(data.get("target_agent")),
        }
        self._add("transfers_total", 1, names, at)
        self._add("transferred_usd_total", amount, names, at)
        session = self._sessions.find(event.context.session)
        caps = session.caps if session is not None else None
        if caps:
            for account, moved in ((data.get("source"), -amount), (data.get("target"), amount)):
                cap = caps.get(str(account))
                if cap is not None:
                    cap.cap += moved

    def _handed_over(self, event: Event, at: int) -> None:
        data = event.data or {}
        source = self._agent(event.context.agent)
        names = {"source": source, "target": self._agent(data.get("target")), "agent": source}
        self._add("messages_total", event.times, names, at)
        self._add("message_tokens_total", event.input_tokens, names, at)
        if event.cost is not None:
            self._add("message_cost_usd_total", event.cost, names, at)
        violation = data.get("violation")
        if violation:
            names["kind"] = label_text(str(violation.get("kind", "")))
            self._add("contract_violations_total", event.times, names, at)
            excess = int(violation.get("excess", 0))
            self._add("contract_excess_tokens_total", excess, names, at)

    def _agent(self, name: object) -> str:
        return self._names.admit("agent", str(name or ""))

    def _add(self, name: str, amount: int, names: Mapping[str, str], at: int) -> None:
        self._tables.series(name, names, at)[0].add(amount)
