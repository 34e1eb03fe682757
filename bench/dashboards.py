"""Measures what opening each dashboard costs a real Prometheus: the time of all its queries.

Six hours of scrapes of an exporter with 50,000 series, 20,000 of them of single sessions, and what
the recording rules make of them, in a server's blocks. Each dashboard is opened three times. What
Prometheus itself says that its queries took is added up, and the median counts: Grafana asks
several at a time, so a user waits for less.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bench import fold as log
from bench.figure import Figure
from spendtree.account import Account, Balance, payer_account
from spendtree.metrics import Fold, Limits
from spendtree_exporter.render import TEXT, render
from tests.grafana import boards, prometheus, recorded
from tests.grafana.filled import RULES

SERIES, SESSION_SERIES = 50_000, 20_000
HOURS = 6
CUSTOMERS, PERIOD = 400, "2026-11"
END = 1_794_409_200
STEP = 60
BLOCK = 7_200
OPENED = 3
JOB = '{instance="exporter:9797",job="spendtree",store='


def figures(quick: bool = False) -> list[Figure]:
    """Return the seconds of each dashboard; `quick` takes a tenth of the series and an hour."""
    series, hours = (SERIES // 10, 1) if quick else (SERIES, HOURS)
    with TemporaryDirectory() as directory:
        data = Path(directory)
        shown = _fill(data, series, hours)
        _record(data, hours)
        with prometheus.serving(data) as url:
            return [
                Figure(
                    f"queries of {file.stem}, {shown:,} series",
                    _opened(url, boards.read(file)),
                    "s",
                    2,
                )
                for file in boards.FILES
            ]


def _opened(url: str, board: dict[str, object]) -> float:
    """Return the median seconds of all queries of a dashboard."""
    took = []
    for _ in range(OPENED):
        spent = 0.0
        for target in boards.targets(board):
            query = boards.asked(target, end=END, scrape_seconds=STEP)
            start = None if target.instant else query.start
            spent += prometheus.seconds_of(
                url, query.expr, start=start, end=query.end, step=query.step
            )
        took.append(spent)
    return median(took)


def _fill(data: Path, series: int, hours: int) -> int:
    """Write the scrapes into blocks; return how many series each has."""
    samples = _samples(series)
    for first in range(END - hours * 3_600, END + 1, BLOCK):
        file = data / "scrapes.om"
        with file.open("w", encoding="utf-8") as output:
            for at in range(first, min(first + BLOCK, END + 1), STEP):
                # Everything grows a thousandth of itself from scrape to scrape.
                growth = 1 + (at - END) / STEP / 1_000
                output.writelines(f"{head} {value * growth:.9g} {at}\n" for head, value in samples)
            output.write("# EOF\n")
        prometheus.import_file(file, data)
        file.unlink()
    return len(samples)


def _samples(series: int) -> list[tuple[str, float]]:
    """Return the samples of a scrape: name and labels, and the value at the end."""
    limits = Limits(
        series=series,
        session_series=series * SESSION_SERIES // SERIES,
        customers=CUSTOMERS,
        models=100,
    )
    fold = Fold("bench", limits=limits, linger_us=10**15, birth_hold_us=0)
    fold.apply(log.events(3 * series))
    fold.apply(log.standing(2 * series))
    fold.tick(10**12)
    fold.set_balances([*map(_account, fold.live_accounts), *_periods()])
    lines = render(fold, TEXT).decode().splitlines()
    return [_sample(line) for line in lines if line and not line.startswith("#")][:series]


def _account(id: str) -> tuple[Account, Balance]:
    """Return a live account of a session or an envelope, half spent."""
    kind, session, *agent = id.split("/")
    number = int(session.removeprefix("s-"))
    account = Account(id, kind, session, "/".join(agent), f"customer-{number % 50}")
    return account, Balance(10**12, 5 * 10**11, 10**9, 10**10)


def _periods() -> Iterator[tuple[Account, Balance]]:
    """Yield the month's budgets of the customers."""
    for number in range(CUSTOMERS):
        name = f"customer-{number:03d}"
        account = payer_account("customer", name, PERIOD)
        yield account, Balance(10**14, number * 10**12)


def _sample(line: str) -> tuple[str, float]:
    head, _, value = line.rpartition(" ")
    return head.replace("{store=", JOB, 1), float(value)


def _record(data: Path, hours: int) -> None:
    """Add what the recording rules make of it."""
    rules = [rule for rule in recorded.read_rules(RULES) if not rule.is_alert]
    times = recorded.Range(END - hours * 3_600, END, STEP)
    for level in recorded.in_levels(rules):
        file = data / "recorded.om"
        with prometheus.serving(data) as url:
            count = recorded.write(url, level, times, file)
        if count:
            _import_in_blocks(file, data)


def _import_in_blocks(file: Path, data: Path) -> None:
    """Import a file block by block: promtool would read all of it once for each."""
    parts: dict[int, list[str]] = {}
    with file.open(encoding="utf-8") as lines:
        for line in _kept(lines):
            at = int(line.rpartition(" ")[2])
            parts.setdefault(at - at % BLOCK, []).append(line)
    for part in parts.values():
        file.write_text("".join([*part, "# EOF\n"]), "utf-8")
        prometheus.import_file(file, data)
    file.unlink()


def _kept(lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    return (line for line in lines if not line.startswith("#"))
