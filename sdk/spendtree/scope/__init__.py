"""Who is spending right now: sessions, routing cycles and agent runs, over contextvars."""

from spendtree.scope.agent import Agent
from spendtree.scope.base import Scope
from spendtree.scope.current import current
from spendtree.scope.options import AgentOptions, OnWarning, SessionOptions, Warning
from spendtree.scope.session import Cycle, Session

__all__ = [
    "Agent",
    "AgentOptions",
    "Cycle",
    "OnWarning",
    "Scope",
    "Session",
    "SessionOptions",
    "Warning",
    "current",
]
