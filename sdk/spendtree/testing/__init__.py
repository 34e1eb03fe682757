"""For tests of programs that use Spendtree: a fake provider, a frozen clock, assertions on spend.

The pytest fixtures are in `spendtree.testing.plugin`; nothing here needs pytest.
"""

from spendtree.testing.assertions import assert_books_balance, assert_calls, assert_spent
from spendtree.testing.clock import FrozenClock
from spendtree.testing.loopback import LoopbackProvider, Received
from spendtree.testing.provider import FakeProvider, ProviderError, ProviderRequest
from spendtree.testing.reply import Reply

__all__ = [
    "FakeProvider",
    "FrozenClock",
    "LoopbackProvider",
    "ProviderError",
    "ProviderRequest",
    "Received",
    "Reply",
    "assert_books_balance",
    "assert_calls",
    "assert_spent",
]
