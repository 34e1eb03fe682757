"""`python -m tests.soak [--minutes M] [--hostile] [PROMETHEUS …]`: scrape a busy exporter.

Prints what was seen, and exits with 1 if a server has anything to complain of. Without paths, the
`prometheus` that is found.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.soak.watching import MEMORY_BYTES, Suffered, soak


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="how long (10)")
    parser.add_argument("--hostile", action="store_true", help="attack the exporter meanwhile")
    parser.add_argument("programs", nargs="*", metavar="PROMETHEUS", help="paths of servers")
    options = parser.parse_args(arguments)
    programs = options.programs or [shutil.which("prometheus") or "prometheus"]
    with TemporaryDirectory(prefix="spendtree-soak-") as folder:
        suffered: list[Suffered] = []
        hostile = suffered if options.hostile else None
        calls, seen = soak(programs, options.minutes * 60, Path(folder), hostile=hostile)
    print(f"{calls:,} calls in the ledger")
    for counts, peak in suffered:
        print(f"attacked: {counts}; the exporter took {peak / 2**20:.0f} MB at most")
    for each in seen:
        print(
            f"Prometheus {each.version}: {each.scrapes:,} scrapes, least up {each.up:g}, "
            f"{each.samples:,} samples in the last, longest {each.seconds:.3f} s, "
            f"{each.calls:,} calls counted; {'; '.join(each.complaints) or 'no complaint'}"
        )
    fine = all(each.up == 1 and each.calls == calls and not each.complaints for each in seen)
    fine = fine and all(each.peak_bytes <= MEMORY_BYTES for each in suffered)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
