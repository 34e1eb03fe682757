"""The whole chain on loopback: store, exporter, Prometheus, Alertmanager, receiver.

With the shipped rules, routes and templates; an hour of them is a minute here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alerts.receiver import Message, Receiver
from spendtree.store import open_store
from tests.alerts import running, shipped, shortened
from tests.programs import program

DIVISOR = 60

SETTINGS: dict[str, Any] = {
    # The defaults, divided; the birth hold has to last two scrapes.
    "metrics": {"birth_hold_seconds": 3, "linger_seconds": 15},
    # How old the installed price list is depends on the day that the test runs.
    "alerts": {"thresholds": {"price_catalogue_age_seconds": 1_000_000_000}},
}

Alert = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """Where the running programs are, and what the last of them has received."""

    store: str
    prometheus: str
    receiver: Receiver

    def texts(self) -> list[Message]:
        """Return the messages that people read, the oldest first."""
        return [one for one in self.receiver.messages() if one.door == "/slack"]

    def alerts(self) -> list[tuple[str, Alert]]:
        """Return receiver and alert of everything that programs were told, the oldest first."""
        return [
            (one.payload["receiver"], alert)
            for one in self.receiver.messages()
            if one.door == "/webhook"
            for alert in one.payload["alerts"]
        ]


@contextmanager
def stack(folder: Path, config: dict[str, Any], *, version: str = "system") -> Iterator[Stack]:
    """Run the chain over an empty store; `config` is the spendtree.yaml of its exporter."""
    store = f"sqlite:///{folder / 'spend.db'}"
    folder.mkdir(parents=True, exist_ok=True)
    open_store(store).close()
    settings = shipped.write(folder / "spendtree.yaml", {**SETTINGS, **config})
    prometheus = program("prometheus", version)
    alertmanager = program("prometheus-alertmanager", version)
    with (
        running.exporter(store, folder, "--config.file", str(settings)) as exporter,
        running.receiver() as receiver,
        running.alertmanager(
            alertmanager, shipped.local_alertmanager(folder, receiver.url, divisor=DIVISOR)
        ) as alerting,
        running.prometheus(prometheus, _prometheus(folder, exporter, alerting)) as url,
    ):
        yield Stack(store=store, prometheus=url, receiver=receiver)


def _prometheus(folder: Path, exporter: str, alertmanager: str) -> Path:
    """Write Prometheus' configuration: the shipped one, to these programs, every second."""
    for file in shipped.rule_files():
        short = shortened.rules(shipped.read(file), DIVISOR)
        shipped.write(folder / "rules" / file.name, short)
    document = shipped.read(shipped.PROMETHEUS)
    document["global"] = {
        "scrape_interval": "1s",
        "scrape_timeout": "1s",
        "evaluation_interval": "500ms",
    }
    (scrape,) = (one for one in document["scrape_configs"] if one["job_name"] == "spendtree")
    scrape |= {"scrape_interval": "1s", "scrape_timeout": "1s"}
    scrape["static_configs"] = [{"targets": [exporter.removeprefix("http://")]}]
    document["scrape_configs"] = [scrape]
    target = {"targets": [alertmanager.removeprefix("http://")]}
    document["alerting"]["alertmanagers"] = [{"static_configs": [target]}]
    return shipped.write(folder / "prometheus.yml", document)


FAILURES = re.compile(
    "Evaluating rule failed|Rule sample appending failed|Expanding alert template failed"
    "|Notify for alerts failed|notify retry canceled"
)
"""What may not stand in a log: of a rule, the text of an alert, or a message. A sample that comes
late may: a busy machine evaluates late, and that is no fault of a rule."""


def complaints(folder: Path) -> list[str]:
    """Return what Prometheus and Alertmanager could not do."""
    return [
        line
        for log in (folder / "prometheus.log", folder / "alertmanager.log")
        for line in log.read_text("utf-8").splitlines()
        if FAILURES.search(line)
    ]
