"""`python -m tests.chaos [--seeds N] [--first S] [--json]`: run seeds, print what they came to.

Exits with 1 if a seed found anything wrong; `--first` with its number and `--seeds 1` repeats it.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.chaos.fleet import Outcome, run
from tests.chaos.plan import AGENTS, WORKERS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, metavar="N", help="how many (1000)")
    parser.add_argument("--first", type=int, default=1, metavar="S", help="the first of them (1)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    start, outcomes = time.monotonic(), []
    for outcome in run(range(options.first, options.first + options.seeds)):
        outcomes.append(outcome)
        for problem in outcome.problems:
            print(f"seed {outcome.seed}: {problem}", file=sys.stderr, flush=True)
    found = figures(outcomes, time.monotonic() - start)
    if options.json:
        print(json.dumps(found))
    else:
        for name, value in found.items():
            print(f"{name:<40} {value:>12,.6g}")
    return 1 if any(outcome.problems for outcome in outcomes) else 0


def figures(outcomes: Sequence[Outcome], seconds: float) -> dict[str, float]:
    """Add up what seeds came to."""
    ended: Counter[str] = Counter()
    for outcome in outcomes:
        ended.update(outcome.outcomes)
    return {
        "seeds": len(outcomes),
        "seeds with problems": sum(bool(outcome.problems) for outcome in outcomes),
        "processes": WORKERS,
        "agents side by side": AGENTS,
        "seconds": round(seconds, 1),
        "requests dispatched": sum(outcome.dispatched for outcome in outcomes),
        "processes killed": sum(outcome.kills for outcome in outcomes),
        "lapses": sum(outcome.lapses for outcome in outcomes),
        "left by the dead, lapsed at the end": sum(o.left_by_the_dead for o in outcomes),
        "late truths": sum(outcome.late_truths for outcome in outcomes),
        "largest bill / ceiling": max((o.billed_usd / o.ceiling_usd for o in outcomes), default=0),
        "largest (spent + presumed) / ceiling": max(
            (o.booked_usd / o.ceiling_usd for o in outcomes), default=0
        ),
        **{f"  {name}": count for name, count in ended.most_common()},
    }


if __name__ == "__main__":
    sys.exit(main())
