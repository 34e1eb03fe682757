"""`python -m tests.disruption [--seeds N] [--first S] [--only KIND]`: run seeds, print the result.

Exits with 1 if a seed found anything wrong; `--first` with its number and `--seeds 1` repeats it.
"""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.disruption.fleet import Outcome, run
from tests.disruption.plan import DISRUPTIONS, WORKERS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.disruption", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, metavar="N", help="how many (300)")
    parser.add_argument("--first", type=int, default=1, metavar="S", help="the first of them (1)")
    parser.add_argument("--only", choices=DISRUPTIONS, action="append", help="what happens")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("not root: no full volumes and no PID namespaces", file=sys.stderr)
    start, outcomes = time.monotonic(), []
    only = frozenset(options.only) if options.only else None
    for outcome in run(range(options.first, options.first + options.seeds), only):
        outcomes.append(outcome)
        for problem in outcome.problems:
            what = ", ".join(outcome.disruptions)
            print(f"seed {outcome.seed} ({what}): {problem}", file=sys.stderr, flush=True)
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
    kinds: Counter[str] = Counter()
    for outcome in outcomes:
        ended.update(outcome.outcomes)
        kinds.update(outcome.disruptions)
    return {
        "seeds": len(outcomes),
        "seeds with problems": sum(bool(outcome.problems) for outcome in outcomes),
        "processes": WORKERS * len(outcomes),
        "seconds": round(seconds, 1),
        "requests dispatched": sum(outcome.dispatched for outcome in outcomes),
        "lapses": sum(outcome.lapses for outcome in outcomes),
        "largest bill / ceiling": max((o.billed_usd / o.ceiling_usd for o in outcomes), default=0),
        **{f"  seeds with {name}": count for name, count in sorted(kinds.items())},
        **{f"  {name}": count for name, count in ended.most_common()},
    }


if __name__ == "__main__":
    sys.exit(main())
