"""Real traces do not page anyone without a reason: 121 recorded sessions happen again.

Replayed an hour as a minute over the shipped rules, with the timing of the recordings, two alerts
fire, and both tell the truth about the recordings:

* **SpendtreeUnpricedCalls**: 32 of ChatDev's calls do not say which model they were made with, so
  nobody knows their price.
* **SpendtreeUnmeteredCalls**: 12 calls came back without a usage, ten of them without the name of
  a model, so nobody knows what they cost.

Nothing else does. In particular the coordinators' share stays below its limit of 40 %: it is 12 %
of all that ChatDev's teams spent, by a count that knows nothing of these rules. Hardly anybody
routes again; there are no ceilings and no budgets; and what failed cost nothing.
"""

import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.alerts import recorded
from tests.alerts.running import asked, until
from tests.alerts.stack import DIVISOR, Stack, complaints, stack

EXPLAINED = {"SpendtreeUnpricedCalls", "SpendtreeUnmeteredCalls"}
"""What fires; why, says the top of this file."""

LONGER_THAN_ANY_WAIT_SECONDS = 12
"""What has to go on for five minutes before it fires does so within five seconds here."""

pytestmark = pytest.mark.skipif(
    not recorded.DATA.is_dir(),
    reason=f"the recorded traces are not here: put them into {recorded.DATA}",
)


@pytest.mark.slow
def test_recorded_sessions_are_judged_without_an_error_and_what_fires_is_explained(
    tmp_path: Path,
) -> None:
    """By a newer Prometheus; the other end-to-end test has Debian's."""
    with stack(tmp_path, {"prices": recorded.PRICES}, version="newer") as chain:
        replay = recorded.Replay(chain.store, recorded.moments(DIVISOR))
        replay.start()
        try:
            until(
                lambda: names(chain) >= EXPLAINED or replay.error,
                what="alert that is explained",
                seconds=180,
            )
            replay.finish()
        finally:
            replay.stop()
        end = time.time() + LONGER_THAN_ANY_WAIT_SECONDS
        until(lambda: evaluated(chain) > end, what="evaluation of everything that waits")

        assert names(chain) == EXPLAINED
        assert health(chain) == {"ok"}
        assert complaints(tmp_path) == []
        shares = values(chain, "customer:spendtree_coordinator_share:ratio1h")
        sessions = values(chain, "sum by (customer) (spendtree_sessions_total)")
    assert set(sessions) == set(shares) == set(recorded.CUSTOMERS)
    assert sum(sessions.values()) == 121
    assert all(0.02 < share < 0.34 for share in shares.values()), shares


def names(chain: Stack) -> set[str]:
    """Return every alert that has fired at any time."""
    samples = asked(chain.prometheus, 'max_over_time(ALERTS{alertstate="firing"}[1h])')
    return {sample["metric"]["alertname"] for sample in samples}


def values(chain: Stack, query: str) -> dict[str, float]:
    """Return the values of a query by customer."""
    return {
        one["metric"]["customer"]: float(one["value"][1]) for one in asked(chain.prometheus, query)
    }


def groups(chain: Stack) -> list[dict[str, Any]]:
    answer = httpx.get(f"{chain.prometheus}/api/v1/rules").json()
    found: list[dict[str, Any]] = answer["data"]["groups"]
    return found


def evaluated(chain: Stack) -> float:
    """Return when the group was evaluated that was so longest ago, in seconds since 1970."""
    return min(
        datetime.fromisoformat(re.sub(r"\.\d+", "", group["lastEvaluation"])).timestamp()
        for group in groups(chain)
    )


def health(chain: Stack) -> set[str]:
    """Return how the evaluation of all rules went, the last time."""
    return {rule["health"] for group in groups(chain) for rule in group["rules"]}
