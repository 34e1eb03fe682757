"""Metrics: the catalogue of every family, and the fold that turns events into their series.

Pure: events and times come in, integers come out; no clock, no I/O, no text format.
"""

from spendtree.metrics.catalogue import CATALOGUE, PREFIX, Family, family
from spendtree.metrics.fold import LINGER_US, Fold
from spendtree.metrics.names import OTHER, OVERFLOW, Limits, label_text
from spendtree.metrics.series import Series

__all__ = [
    "CATALOGUE",
    "LINGER_US",
    "OTHER",
    "OVERFLOW",
    "PREFIX",
    "Family",
    "Fold",
    "Limits",
    "Series",
    "family",
    "label_text",
]
