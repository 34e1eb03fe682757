"""A busy exporter under a real Prometheus: no scrape fails, and no sample is refused.

`make soak` does the same for ten minutes, with any servers.
"""

from pathlib import Path

import pytest

from tests.soak.watching import (
    HOSTILE_INTERVAL_SECONDS,
    INTERVAL_SECONDS,
    MEMORY_BYTES,
    Suffered,
    soak,
)

SECONDS = 15.0
HOSTILE_SECONDS = 30.0


@pytest.mark.slow
def test_no_scrape_fails_and_no_call_is_missed_while_two_processes_spend(
    prometheus: str, tmp_path: Path
) -> None:
    calls, (seen,) = soak([prometheus], SECONDS, tmp_path)

    assert seen.complaints == []
    assert seen.up == 1
    assert seen.scrapes >= SECONDS / INTERVAL_SECONDS
    assert seen.calls == calls > 0


@pytest.mark.slow
def test_no_scrape_fails_and_memory_is_bounded_while_it_is_attacked(
    prometheus: str, tmp_path: Path
) -> None:
    """A thousand silent connections, slow ones, bombs and wrong passwords at once."""
    pytest.importorskip("bcrypt", reason="pip install 'spendtree[auth]'")
    suffered: list[Suffered] = []

    calls, (seen,) = soak([prometheus], HOSTILE_SECONDS, tmp_path, hostile=suffered)

    assert seen.up == 1
    assert seen.scrapes >= HOSTILE_SECONDS / HOSTILE_INTERVAL_SECONDS
    assert seen.calls == calls > 0
    ((counts, peak),) = suffered
    assert peak <= MEMORY_BYTES
    for kind in ("silent", "slow heads", "slow bodies", "slow readers", "guess 401", "bomb 413"):
        assert counts.get(kind, 0) > 0, counts
