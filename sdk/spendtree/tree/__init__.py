"""Events of a session to its cost tree, sums of a store to the list of its sessions.

Pure: no store, no clock, no terminal, no configuration. Every figure equals the sums of the
store's own `totals`, to the pico-dollar.
"""

from spendtree.tree.folding import fold
from spendtree.tree.growth import breakdown, build
from spendtree.tree.summary import SessionSummary, summaries
from spendtree.tree.values import CycleCost, GroupNode, ModelCost, Node, SessionTree, Sums, iso

__all__ = [
    "CycleCost",
    "GroupNode",
    "ModelCost",
    "Node",
    "SessionSummary",
    "SessionTree",
    "Sums",
    "breakdown",
    "build",
    "fold",
    "iso",
    "summaries",
]
