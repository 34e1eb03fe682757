"""Pytest fixtures: `pytest_plugins = ["spendtree.testing.plugin"]` in a conftest.py brings them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from spendtree.testing.clock import FrozenClock
from spendtree.testing.provider import FakeProvider
from spendtree.tracker import Spendtree

PRICES = {"fake-model": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
"""A thousand tokens in and a thousand out cost exactly two cents."""


@pytest.fixture
def fake_provider() -> FakeProvider:
    """Return a provider that costs nothing and keeps its own bill."""
    return FakeProvider()


@pytest.fixture
def frozen_clock() -> FrozenClock:
    """Return a clock that stands at 2026-01-01T00:00:00Z until it is told to move."""
    return FrozenClock()


@pytest.fixture
def tracker(tmp_path: Path, frozen_clock: FrozenClock) -> Iterator[Spendtree]:
    """Yield a Spendtree with a temporary SQLite store, the frozen clock and a `fake-model`."""
    made = Spendtree(f"sqlite:///{tmp_path}/spend.db", {"prices": PRICES}, clock=frozen_clock)
    yield made
    made.close()
