"""Families: a fold's series as prometheus_client's metric families. No clock, nothing is counted.

Integers become floats here, on their way to the wire: the nearest ones, by one division each.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.samples import Exemplar

from spendtree.metrics import CATALOGUE, Column, Family, Fold, Histogram, Labels, Table

Samples = Mapping[str, Sequence[tuple[Labels, int]]]
"""Samples that are not the fold's: (label values, value in the family's integer unit) by family."""

OfBuckets = Callable[[Histogram], Sequence[Exemplar | None]]
"""What each bucket of a histogram has for an exemplar; () if none has one."""

_EXPORTERS_OWN = "exporter_"
"""What the names of families begin with that are about an exporter, and there is none here."""


def describe() -> Iterator[Metric]:
    """Yield the families that there are, without samples."""
    for each in CATALOGUE:
        if not each.name.startswith(_EXPORTERS_OWN):
            yield _empty(each)


def collect(fold: Fold, exemplars: OfBuckets, own: Samples) -> Iterator[Metric]:
    """Yield every family with its samples, those without any too."""
    store = fold.store_id
    for each, rows in fold:
        if each.name.startswith(_EXPORTERS_OWN):
            continue
        metric = _empty(each)
        scale = 10**each.decimals
        if isinstance(metric, HistogramMetricFamily):
            assert isinstance(rows, Table)
            for key, histogram in rows.series.items():
                labels = (store, *rows.words.labels(key))
                buckets = _buckets(each, histogram, exemplars(histogram))
                total = 0 if histogram.due else histogram.value
                metric.add_metric(labels, buckets, total / scale)
        else:
            for labels, value in (*_values(rows), *own.get(each.name, ())):
                metric.add_metric((store, *labels), value / scale)
        yield metric


def _empty(each: Family) -> CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily:
    kind = _KINDS[each.kind]
    return kind(each.full_name, each.help, labels=("store", *each.labels), unit=each.unit)


_KINDS: Mapping[
    str, type[CounterMetricFamily] | type[GaugeMetricFamily] | type[HistogramMetricFamily]
] = {
    "counter": CounterMetricFamily,
    "gauge": GaugeMetricFamily,
    "histogram": HistogramMetricFamily,
}


def _values(rows: Mapping[Labels, object]) -> Iterator[tuple[Labels, int]]:
    if isinstance(rows, Table):
        for key, series in rows.series.items():
            yield rows.words.labels(key), series.shown
    elif isinstance(rows, Column):
        for group in rows.groups.values():
            value = group.values()[rows.index]
            if value is not None:
                yield rows.labels(group.labels) if rows.labels else group.labels, value


def _buckets(
    each: Family, histogram: Histogram, exemplars: Sequence[Exemplar | None]
) -> list[tuple[str, float] | tuple[str, float, Exemplar]]:
    """Return a histogram's buckets, added up; without exemplars while it shows 0."""
    buckets: list[tuple[str, float] | tuple[str, float, Exemplar]] = []
    count = 0
    for index, le in enumerate((*each.buckets, "+Inf")):
        count += 0 if histogram.due else histogram.counts[index]
        exemplar = exemplars[index] if exemplars and not histogram.due else None
        buckets.append((le, count) if exemplar is None else (le, count, exemplar))
    return buckets
