"""A loopback provider, a Spendtree on a file, and both libraries instrumented."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("openai", reason="the openai client is not there: pip install openai")
pytest.importorskip("anthropic", reason="the anthropic client is not there: pip install anthropic")

from prometheus_client import CollectorRegistry

import spendtree
from spendtree import Spendtree
from spendtree.testing import LoopbackProvider
from tests.sdk.integrations.desk import CONFIG, Desk


@pytest.fixture
def provider() -> Iterator[LoopbackProvider]:
    with LoopbackProvider() as made:
        yield made


@pytest.fixture
def desk(tmp_path: Path, provider: LoopbackProvider) -> Iterator[Desk]:
    """Instrument both libraries, and open the books that their calls go to."""
    tracker = Spendtree(f"sqlite:///{tmp_path}/spend.db", CONFIG)
    registry = CollectorRegistry()
    spendtree.collector(registry, tracker=tracker)
    spendtree.instrument("openai", "anthropic")
    yield Desk(provider, tracker, registry)
    spendtree.uninstrument()
    tracker.close()
