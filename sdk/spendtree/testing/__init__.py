"""For tests of programs that use Spendtree: a fake provider, a frozen clock, assertions on spend.

The pytest fixtures are in `spendtree.testing.plugin`; nothing here needs pytest.
"""

from spendtree.testing.assertions import assert_books_balance, assert_calls, assert_spent
from spendtree.testing.clock import FrozenClock
from spendtree.testing.provider import FakeProvider, ProviderError, ProviderRequest

__all__ = [
    "FakeProvider",
    "FrozenClock",
    "ProviderError",
    "ProviderRequest",
    "assert_books_balance",
    "assert_calls",
    "assert_spent",
]
