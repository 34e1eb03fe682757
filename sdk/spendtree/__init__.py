"""Who spends what in a multi-agent LLM system, stopped before it spends more than it may."""

from spendtree.call import Call, Tool
from spendtree.collector import collector, metrics_app
from spendtree.default import (
    agent,
    call,
    configure,
    cycle,
    extract,
    gather,
    inject,
    purpose,
    session,
    tool,
)
from spendtree.errors import (
    BudgetExceededError,
    ClockError,
    ConfigurationError,
    ContractError,
    EnvelopeExhaustedError,
    ImportFormatError,
    LedgerConflictError,
    MoneyError,
    PrunedError,
    ScopeError,
    SessionRequiredError,
    SkippedError,
    SpendtreeError,
    StoreError,
    StoreUnavailableError,
    TransferError,
    UnknownPriceError,
    UsageError,
)
from spendtree.integrations import instrument, uninstrument, wrap
from spendtree.propagation import Inbound, ThreadPoolExecutor
from spendtree.scope import Agent, Cycle, Scope, Session, Warning, current
from spendtree.tracker import Spendtree
from spendtree.usage import Usage

__all__ = [
    "Agent",
    "BudgetExceededError",
    "Call",
    "ClockError",
    "ConfigurationError",
    "ContractError",
    "Cycle",
    "EnvelopeExhaustedError",
    "ImportFormatError",
    "Inbound",
    "LedgerConflictError",
    "MoneyError",
    "PrunedError",
    "Scope",
    "ScopeError",
    "Session",
    "SessionRequiredError",
    "SkippedError",
    "Spendtree",
    "SpendtreeError",
    "StoreError",
    "StoreUnavailableError",
    "ThreadPoolExecutor",
    "Tool",
    "TransferError",
    "UnknownPriceError",
    "Usage",
    "UsageError",
    "Warning",
    "agent",
    "call",
    "collector",
    "configure",
    "current",
    "cycle",
    "extract",
    "gather",
    "inject",
    "instrument",
    "metrics_app",
    "purpose",
    "session",
    "tool",
    "uninstrument",
    "wrap",
]

__version__ = "0.1.0"
