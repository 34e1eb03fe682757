"""Metrics: the catalogue of every family, and the fold that turns events into their series.

Pure: events and times come in, integers come out; no clock, no I/O, no text format.
"""

from spendtree.metrics.births import BIRTH_HOLD_US
from spendtree.metrics.catalogue import CATALOGUE, family
from spendtree.metrics.family import PREFIX, Family, Labels
from spendtree.metrics.fold import Fold
from spendtree.metrics.groups import Column, Group
from spendtree.metrics.names import OTHER, OVERFLOW, Limits, label_text
from spendtree.metrics.series import Histogram, Series, Table
from spendtree.metrics.sessions import LINGER_US

__all__ = [
    "BIRTH_HOLD_US",
    "CATALOGUE",
    "LINGER_US",
    "OTHER",
    "OVERFLOW",
    "PREFIX",
    "Column",
    "Family",
    "Fold",
    "Group",
    "Histogram",
    "Labels",
    "Limits",
    "Series",
    "Table",
    "family",
    "label_text",
]
