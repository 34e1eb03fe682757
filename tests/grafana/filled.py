"""`python -m tests.grafana.filled`: a Prometheus full of the demo's last eight days.

It holds the exporter's scrapes, what the shipped recording rules made of them, and the alerts that
were pending or fired, as if all had run. The history ends at `Filled.end`, on a day of its own:
ask for times before it, not for now. Making it takes some minutes, once per version of the code:
the blocks are kept below .pytest_cache.

The command prints one line of JSON with the URL and the end, and serves until it is interrupted.
"""

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import NamedTuple

from tests.grafana import history, prometheus, recorded

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".pytest_cache" / "filled"
RULES = sorted((ROOT / "alerts" / "rules").glob("*.yml"))

OLD_STEP = 240
"""Seconds between evaluations of what is read by the week: less than Prometheus looks back."""


class Filled(NamedTuple):
    """A Prometheus with a history: its URL, and the times of the first and the last scrape.

    `scrape_interval` is what its data source is to be told, for `$__rate_interval`; `whole_from` is
    when more than the costs begin.
    """

    url: str
    start: int = history.START
    whole_from: int = history.WHOLE_FROM
    end: int = history.END
    scrape_interval: str = f"{history.SCRAPE_SECONDS}s"
    scrape_seconds: int = history.SCRAPE_SECONDS

    @property
    def now(self) -> int:
        """Return the time at which the dashboards are to be looked at, in seconds since 1970.

        Sessions are open then, and no name of an hour stands on the edge of a graph.
        """
        return self.end - 210


@contextmanager
def filled() -> Iterator[Filled]:
    """Run the Prometheus; raises prometheus.MissingProgramError where it is not installed."""
    blocks = made()
    with TemporaryDirectory() as directory:
        data = Path(directory) / "data"
        shutil.copytree(blocks, data)
        with prometheus.serving(data) as url:
            yield Filled(url)


def made() -> Path:
    """Return the directory of the blocks, made by whoever comes first."""
    prometheus.program("prometheus")
    prometheus.program("promtool")
    KEPT.mkdir(parents=True, exist_ok=True)
    with (KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        scrapes = KEPT / f"scrapes-{_digest(_sources())}"
        if not scrapes.exists():
            _make(scrapes, _make_scrapes)
        everything = KEPT / f"all-{_digest([*_sources(), *RULES, Path(recorded.__file__)])}"
        if not everything.exists():
            _make(everything, lambda target: _make_all(scrapes, target))
        for other in KEPT.iterdir():
            if other.is_dir() and other not in (scrapes, everything):
                shutil.rmtree(other)  # of other versions of the code
    return everything


def _sources() -> list[Path]:
    own = [Path(history.__file__), ROOT / "tests" / "grafana" / "virtual.py"]
    code = [
        path
        for package in ("sdk/spendtree", "exporter/spendtree_exporter")
        for path in (ROOT / package).rglob("*")
        if path.suffix in (".py", ".sql", ".yaml")
    ]
    return [*own, *sorted(code)]


def _digest(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _make(target: Path, make: object) -> None:
    """Make a directory so that it is there whole or not at all."""
    unfinished = target.with_name(f"unfinished-{target.name}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    assert callable(make)
    make(unfinished)
    unfinished.rename(target)


def _make_scrapes(target: Path) -> None:
    """Live through the history, in a process whose clock is its own."""
    with TemporaryDirectory() as directory:
        subprocess.run(
            [sys.executable, "-W", "error", "-m", "tests.grafana.history", directory],
            cwd=ROOT,
            check=True,
        )
        for file in sorted(Path(directory).glob("*.om")):
            prometheus.import_file(file, target)


def _make_all(scrapes: Path, target: Path) -> None:
    """Add what the rules make of the scrapes, one level of them after the other."""
    shutil.copytree(scrapes, target, dirs_exist_ok=True)
    rules = recorded.read_rules(RULES)
    old = recorded.weekly(rules)
    for level in recorded.in_levels(rules):
        with TemporaryDirectory() as directory:
            files = []
            with prometheus.serving(target) as url:
                for number, (names, times) in enumerate(_work(level, old)):
                    file = Path(directory) / f"{number}.om"
                    if names and recorded.write(url, names, times, file):
                        files.append(file)
            for file in files:
                prometheus.import_file(file, target)


def _work(
    level: list[recorded.Rule], old: set[str]
) -> Iterator[tuple[list[recorded.Rule], recorded.Range]]:
    recent = recorded.Range(history.WHOLE_FROM, history.END, history.SCRAPE_SECONDS)
    before = recorded.Range(history.START, history.WHOLE_FROM - 1, OLD_STEP)
    yield [rule for rule in level if rule.name in old], before
    yield level, recent


def main() -> None:
    """Serve until interrupted."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with suppress(KeyboardInterrupt), filled() as found:
        sys.stdout.write(json.dumps(found._asdict()) + "\n")
        sys.stdout.flush()
        Event().wait()


if __name__ == "__main__":
    main()
