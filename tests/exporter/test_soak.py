"""A busy exporter under a real Prometheus: no scrape fails, and no sample is refused.

`make soak` does the same for ten minutes, with any servers.
"""

from pathlib import Path

import pytest

from tests.soak.watching import INTERVAL_SECONDS, soak

SECONDS = 15.0


@pytest.mark.slow
def test_no_scrape_fails_and_no_call_is_missed_while_two_processes_spend(
    prometheus: str, tmp_path: Path
) -> None:
    calls, (seen,) = soak([prometheus], SECONDS, tmp_path)

    assert seen.complaints == []
    assert seen.up == 1
    assert seen.scrapes >= SECONDS / INTERVAL_SECONDS
    assert seen.calls == calls > 0
