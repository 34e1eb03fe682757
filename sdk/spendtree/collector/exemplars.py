"""Exemplars: which session and span each histogram bucket was last filled by. Pure.

The fold counts and forgets who it was; here its histograms are looked at right after an event that
may have been observed, and what has changed in them is put down to it. `fresh` of a histogram is
used as it is meant: "nothing has changed since whoever shows it has looked".
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from prometheus_client.samples import Exemplar

from spendtree.event import Event, Kind
from spendtree.metrics import CATALOGUE, Fold, Histogram, Table, label_text

EXEMPLAR_MAX = 128
"""Characters of all label names and values of an exemplar: OpenMetrics 1.0, section "Exemplars"."""

_ESCAPED = frozenset('"\\\n')

_FAMILIES = tuple(each for each in CATALOGUE if each.kind == "histogram")


def is_observed(event: Event) -> bool:
    """Tell whether histograms may take an event: ends of sessions, and calls that have waited."""
    if event.kind == Kind.SESSION_CLOSED:
        return True
    return event.data is not None and "waited_us" in event.data


class Exemplars:
    """The exemplars of one fold's histograms."""

    def __init__(self) -> None:
        self._trails: dict[Histogram, _Trail] = {}

    def of(self, histogram: Histogram) -> Sequence[Exemplar | None]:
        """Return what each bucket has for an exemplar, () if none has one."""
        trail = self._trails.get(histogram)
        return () if trail is None else trail.exemplars

    def note(self, fold: Fold, event: Event) -> None:
        """Put down to an event what has changed since the last one that was noted."""
        labels = exemplar_labels(event)
        for decimals, histogram in _changed(fold):
            trail = self._trails.get(histogram)
            if trail is None:
                trail = self._trails[histogram] = _Trail(len(histogram.counts))
            filled = trail.step(histogram)
            if filled is not None and labels:
                index, amount = filled
                at = event.at / 1e6
                trail.exemplars[index] = Exemplar(dict(labels), amount / 10**decimals, at)


class _Trail:
    """A histogram as it was when it was last looked at, and its exemplars so far."""

    def __init__(self, buckets: int) -> None:
        self.counts = [0] * buckets
        self.value = 0
        self.exemplars: list[Exemplar | None] = [None] * buckets

    def step(self, histogram: Histogram) -> tuple[int, int] | None:
        """Return (bucket, amount) of the one observation that was made since; None for others.

        Two at once (two agents that share the name `_other`) have one sum, which is neither's.
        """
        before, value = self.counts, self.value
        self.counts, self.value = list(histogram.counts), histogram.value
        grown = [now - then for now, then in zip(self.counts, before, strict=True)]
        return (grown.index(1), self.value - value) if sum(grown) == 1 else None


def exemplar_labels(event: Event) -> Mapping[str, str]:
    """Return the labels that name an event's session and span, as many of them as fit.

    A part of an id finds nothing, so ids are left out whole: the span's first. Left out is also a
    session that would have to be escaped: the reference parser cannot read quotes in exemplars.
    """
    name = label_text(event.context.session)
    session = {"session_id": name} if name and not _ESCAPED & set(name) else {}
    span = {"span_id": event.id.hex()}
    for labels in ({**session, **span}, session, span):
        if labels and sum(map(len, (*labels, *labels.values()))) <= EXEMPLAR_MAX:
            return labels
    return {}


def _changed(fold: Fold) -> Iterator[tuple[int, Histogram]]:
    for each in _FAMILIES:
        table = cast("Table", fold.rows(each.name))
        for histogram in table.series.values():
            if not histogram.fresh:
                histogram.fresh = True
                yield each.decimals, histogram
