"""`python -m tests.soak [--minutes M] [PROMETHEUS …]`: scrape a busy exporter, print what was seen.

Exits with 1 if a server has anything to complain of. Without paths, the `prometheus` that is found.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.soak.watching import soak


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, metavar="M", help="how long (10)")
    parser.add_argument("programs", nargs="*", metavar="PROMETHEUS", help="paths of servers")
    options = parser.parse_args(arguments)
    programs = options.programs or [shutil.which("prometheus") or "prometheus"]
    with TemporaryDirectory(prefix="spendtree-soak-") as folder:
        calls, seen = soak(programs, options.minutes * 60, Path(folder))
    print(f"{calls:,} calls in the ledger")
    for each in seen:
        print(
            f"Prometheus {each.version}: {each.scrapes:,} scrapes, least up {each.up:g}, "
            f"{each.samples:,} samples in the last, longest {each.seconds:.3f} s, "
            f"{each.calls:,} calls counted; {'; '.join(each.complaints) or 'no complaint'}"
        )
    fine = all(each.up == 1 and each.calls == calls and not each.complaints for each in seen)
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
