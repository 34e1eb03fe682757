"""Carrying the scope where contextvars do not reach: into pools of threads, and other processes.

Other processes are told identifiers, as W3C baggage; what may be spent is the store's to say.
"""

from spendtree.propagation.inbound import Inbound
from spendtree.propagation.pool import ThreadPoolExecutor

__all__ = ["Inbound", "ThreadPoolExecutor"]
