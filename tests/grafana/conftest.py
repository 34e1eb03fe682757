"""What the dashboards' tests share: a Prometheus full of the demo's history."""

import os
from collections.abc import Iterator

import pytest

from tests.grafana import filled as history
from tests.grafana.prometheus import MissingProgramError


@pytest.fixture(scope="session")
def filled() -> Iterator[history.Filled]:
    """The Prometheus, once for each worker; its blocks are made by the first of them."""
    try:
        with history.filled() as found:
            yield found
    except MissingProgramError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))
