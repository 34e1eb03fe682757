"""What few calls have beside text tokens and a certain price: other modalities, fees, doubts. Pure.

Their events say so in their data, so that the loop over all others pays nothing for it.
"""

from collections.abc import Mapping

from spendtree.event import UNPRICED, UNREAD, Event
from spendtree.metrics.names import OTHER, Names, Who
from spendtree.metrics.series import Tables
from spendtree.metrics.wiring import METERED, Wirings
from spendtree.usage import is_tokens


class Beside:
    """Counts units and marks of calls."""

    def __init__(self, tables: Tables, names: Names, wirings: Wirings) -> None:
        self._tables = tables
        self._names = names
        self._wirings = wirings

    def count(self, event: Event, who: Who, at: int) -> None:
        """Count what an event says in its data; `at` is when it was recorded."""
        names = self._names.labels(who, event.request, event.status)
        for unit, count in event.units.items():
            if not is_tokens(unit):
                self._add("billed_units_total", count, {**names, "unit": unit}, at)
            elif event.kind in METERED:
                self._add("tokens_total", count, {**names, "type": unit}, at)
        if event.marks:
            self._doubts(event, names, at)

    def _doubts(self, event: Event, names: dict[str, str], at: int) -> None:
        marks = event.marks
        for mark in marks:
            if mark.startswith(UNPRICED) and event.cost is not None:
                part = self._admit("part", mark.removeprefix(UNPRICED), at)
                self._add("partly_unpriced_calls_total", event.times, {**names, "part": part}, at)
        for path, times in event.unread.items():
            key = self._admit("key", path, at)
            self._add("unread_usage_keys_total", times, {**names, "key": key}, at)
        reason = "partly_unpriced" if event.is_partly_unpriced else UNREAD
        if event.cost and (event.is_partly_unpriced or UNREAD in marks):
            self._add("uncertain_cost_usd_total", event.cost, {**names, "reason": reason}, at)

    def _admit(self, label: str, text: str, at: int) -> str:
        name = self._names.admit(label, text)
        if name == OTHER:
            self._wirings.overflow(label, at).add(1)
        return name

    def _add(self, name: str, amount: int, names: Mapping[str, str], at: int) -> None:
        self._tables.series(name, names, at)[0].add(amount)
