"""CATALOGUE: every metric family there is. A table; code, docs, rules and dashboards read it.

Nothing here counts anything: `fold` fills the families that follow from events and accounts, the
exporter those about itself and its configuration.
"""

from spendtree.metrics.families_budgets import BUDGETS
from spendtree.metrics.families_calls import CALLS
from spendtree.metrics.families_exporter import EXPORTER
from spendtree.metrics.families_sessions import SESSIONS
from spendtree.metrics.family import Family

CATALOGUE: tuple[Family, ...] = (*CALLS, *SESSIONS, *BUDGETS, *EXPORTER)

_BY_NAME = {each.name: each for each in CATALOGUE}


def family(name: str) -> Family:
    """Return the family of that name (without the prefix); KeyError if there is none."""
    return _BY_NAME[name]
