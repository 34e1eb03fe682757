"""The short form of `python -m tests.disruption`: the system interferes, and the books are right.

One seed of each kind of disruption; `make chaos` runs hundreds, in which kinds come together.
"""

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.disruption.fleet import run_in
from tests.disruption.interference import Interrupted, Interruption
from tests.disruption.plan import DISRUPTIONS, NEEDS_ROOT, plan

pytestmark = pytest.mark.slow

SEED = 12
"""One whose ceiling lets most calls through."""


@pytest.mark.parametrize("kind", DISRUPTIONS)
def test_bill_ceiling_and_ledger_agree_under(kind: str, tmp_path: Path) -> None:
    if kind in NEEDS_ROOT and os.geteuid() != 0:
        pytest.skip(f"{kind} needs root: it mounts, or enters a namespace")
    if kind == "namespaces" and shutil.which("unshare") is None:
        pytest.skip("needs the program unshare (util-linux)")

    outcome = run_in(tmp_path, SEED, frozenset({kind}))

    assert outcome.problems == []
    assert outcome.dispatched > 20
    assert outcome.billed_usd <= outcome.ceiling_usd


def test_a_seed_draws_the_same_again_and_every_kind_has_its_turn() -> None:
    assert plan(7, root=True) == plan(7, root=True)
    assert plan(7, root=True) != plan(8, root=True)
    drawn = [plan(seed, root=True).disruptions for seed in range(len(DISRUPTIONS))]
    assert frozenset().union(*drawn) == set(DISRUPTIONS)
    assert not NEEDS_ROOT & frozenset().union(
        *(plan(seed, root=False).disruptions for seed in range(50))
    )


def test_an_interruption_arrives_inside_an_attempt_and_never_after_it() -> None:
    interrupted = Interrupted(random.Random(1), signals=True, exceptions=False)
    interrupted.start()

    def spin() -> None:
        while True:
            pass

    try:
        assert all(interrupted.attempt(spin) for _ in range(20))
    except Interruption:
        pytest.fail("an interruption came outside of an attempt")
    finally:
        interrupted.stop()
    assert interrupted.count == 20
