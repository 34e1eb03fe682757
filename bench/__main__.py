"""`python -m bench [--json FILE] [--quick] [NAME …]`: run the benchmarks and print their figures.

A benchmark is a module of this package with `figures() -> list[Figure]`, or plain tuples of the
same order; `figures(quick=True)` may take less time and measure less exactly. It runs several
times, and each figure is the median of its values.
"""

import argparse
import importlib
import inspect
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bench.figure import Figure

REPEATS: dict[str, int] = {
    "startup": 1,
    "pricing": 3,
    "ledger": 1,
    "fanout": 1,
    "clients": 1,
    "waiting": 3,
    "fold": 3,
    "scrape": 1,
    "dashboards": 1,
    "restart": 1,
    "ingest": 3,
    "pruning": 1,
    "rules": 1,
}
"""Every benchmark, in the order of running, and how often: 1 where the module repeats by itself."""

TARGETS: dict[str, dict[str, float]] = {
    "pricing": {"pricing a call, sheet cached": 3},
    "fold": {"fold": 150_000, "render, times faster than prometheus_client": 50},
}
"""What is to be reached, for benchmarks that only measure: name of a figure -> target."""

STATES = {None: "", True: "ok", False: "over"}


def measure(name: str, *, quick: bool) -> list[Figure]:
    """Return the medians of one benchmark's figures over its repeats."""
    figures = importlib.import_module(f"bench.{name}").figures
    options: dict[str, Any] = {"quick": quick} if takes_quick(figures) else {}
    runs = 1 if quick else REPEATS[name]
    measured = medians(Figure(*row) for _ in range(runs) for row in figures(**options))
    return aimed(measured, TARGETS.get(name, {}))


def takes_quick(figures: Any) -> bool:
    return "quick" in inspect.signature(figures).parameters


def medians(rows: Iterable[Figure]) -> list[Figure]:
    """Merge the rows of one name: the median value, and the median of their own ratios."""
    by_name: dict[str, list[Figure]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    return [merged(same) for same in by_name.values()]


def merged(same: Sequence[Figure]) -> Figure:
    ratios = [row.ratio for row in same if row.ratio is not None]
    return same[0]._replace(
        value=median(row.value for row in same), ratio=median(ratios) if ratios else None
    )


def aimed(figures: Sequence[Figure], targets: dict[str, float]) -> list[Figure]:
    """Give the figures their targets; a target for a figure that is not there is a mistake."""
    missing = set(targets) - {figure.name for figure in figures}
    if missing:
        raise LookupError(f"no figure {', '.join(sorted(missing))}: was it renamed?")
    return [row._replace(target=targets.get(row.name, row.target)) for row in figures]


def line(figure: Figure) -> str:
    ratio = "" if figure.compared is None else f"{figure.compared:.2f}"
    target = "" if figure.target is None else f"{figure.target:,.6g}"
    return (
        f"{figure.name:<56} {figure.value:>12,.6g} {figure.unit:<12} "
        f"{target:>10} {ratio:>7} {STATES[figure.reached]}"
    ).rstrip()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks named, or all; 0 whatever they measured, since machines differ."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").strip())
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(REPEATS)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write them, a row each")
    parser.add_argument("--quick", action="store_true", help="one repeat, smaller workloads")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(REPEATS)
    if unknown:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(REPEATS)}")

    print(f"{'figure':<56} {'median':>12} {'unit':<12} {'target':>10} {'ratio':>7}", flush=True)
    rows: list[dict[str, object]] = []
    for name in options.names or REPEATS:
        for figure in measure(name, quick=options.quick):
            print(line(figure), flush=True)
            row = {"name": figure.name, "value": figure.value, "unit": figure.unit}
            rows.append({**row, "ratio": figure.compared})
    if options.json:
        lines = ",\n".join(json.dumps(row) for row in rows)
        options.json.write_text(f"[\n{lines}\n]\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
