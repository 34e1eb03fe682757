"""The rows of the list of sessions, from a store's sums. Pure: sums and events in, values out."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from spendtree.event import Context, Event, Kind
from spendtree.tree.growth import OPEN, UNATTRIBUTED
from spendtree.tree.values import Sums, iso

ContextSums = tuple[Any, ...]
"""A row of a store's `totals`, as its `Totals` names the fields."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """One row of the list of sessions: who, when, and the sums of its calls.

    The calls of no session are one row with session "" and status "unattributed". `origin` is
    that of `Context`; the spend of "history" is not in the counters.
    """

    session: str
    customer: str
    team: str
    status: str
    started: int | None
    ended: int | None
    origin: str
    sums: Sums

    def to_dict(self) -> dict[str, Any]:
        """Return the row as flat JSON values."""
        who = {
            "session": self.session,
            "customer": self.customer,
            "team": self.team,
            "status": self.status,
            "started": iso(self.started),
            "ended": iso(self.ended),
        }
        sums = self.sums.to_dict()
        del sums["denied_calls"]  # not known from sums of calls
        return who | sums | {"origin": self.origin}


def summaries(
    totals: Iterable[ContextSums], session_events: Iterable[Event]
) -> list[SessionSummary]:
    """Return one row per session, in the order in which they are met.

    `totals` are a store's sums of calls by context, `session_events` its SESSION_OPENED and
    SESSION_CLOSED events in log order. The rows' costs add up to those of `totals`, to the
    pico-dollar.
    """
    rows: dict[str, _Row] = {}
    for event in session_events:
        row = rows.setdefault(event.context.session, _Row(event.context))
        row.note(event)
    for sums in totals:
        context = sums[0]
        row = rows.setdefault(context.session, _Row(context))
        row.count(sums)
    return [row.summary() for row in rows.values()]


class _Row:
    """A session's row while events and sums are read."""

    __slots__ = ("context", "ended", "first_at", "started", "status", "sums")

    def __init__(self, context: Context) -> None:
        self.context = context
        self.status = OPEN if context.session else UNATTRIBUTED
        self.started: int | None = None
        self.ended: int | None = None
        self.first_at: int | None = None
        self.sums = Sums()

    def note(self, event: Event) -> None:
        if event.kind == Kind.SESSION_OPENED:
            self.context, self.started = event.context, event.started or event.at
        elif event.kind == Kind.SESSION_CLOSED:
            self.status, self.ended = event.status, event.at

    def count(self, row: ContextSums) -> None:
        _, calls, failed, lapsed, unpriced, *tokens_and_money, first_at, _ = row
        denied = 0  # denials are not among the sums of calls
        self.sums = self.sums.plus(Sums(calls, failed, lapsed, unpriced, denied, *tokens_and_money))
        self.first_at = first_at if self.first_at is None else min(self.first_at, first_at)

    def summary(self) -> SessionSummary:
        session = bool(self.context.session)
        return SessionSummary(
            session=self.context.session,
            customer=self.context.customer if session else "",
            team=self.context.team if session else "",
            status=self.status,
            started=self.first_at if self.started is None else self.started,
            ended=self.ended,
            origin=self.context.origin,
            sums=self.sums,
        )
