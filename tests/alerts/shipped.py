"""The shipped files of `alerts/`, and copies of them that work on one machine.

A copy differs in what has to differ: where programs are reached, and how long they wait.
"""

from pathlib import Path
from typing import Any

import yaml

from tests.alerts import shortened

ALERTS = Path(__file__).resolve().parents[2] / "alerts"
ALERTMANAGER = ALERTS / "alertmanager.yml"
PROMETHEUS = ALERTS / "prometheus.yml"
RECEIVER = "http://receiver:9095"
"""Where the shipped receivers send to, in the stack."""


def read(path: Path) -> dict[str, Any]:
    """Return a YAML file's mapping."""
    document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    return document


def rule_files() -> list[Path]:
    """Return the shipped files of rules."""
    return sorted((ALERTS / "rules").glob("*.yml"))


def alert_names() -> set[str]:
    """Return the names of all shipped alerts."""
    groups = [group for file in rule_files() for group in read(file)["groups"]]
    return {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def local_alertmanager(
    folder: Path, receiver_url: str, *, divisor: int = 1, intervals: list[Any] | None = None
) -> Path:
    """Write Alertmanager's configuration with another receiver and shorter waits.

    `intervals` are what office hours are instead; all hours, unless given.
    """
    document = yaml.safe_load(ALERTMANAGER.read_text("utf-8").replace(RECEIVER, receiver_url))
    document["templates"] = [str(ALERTS / "templates" / "*.tmpl")]
    document["route"] = shortened.route(document["route"], divisor)
    document["time_intervals"] = [
        {"name": one["name"], "time_intervals": intervals or [{"months": ["1:12"]}]}
        for one in document["time_intervals"]
    ]
    return write(folder / "alertmanager.yml", document)


def write(path: Path, document: dict[str, Any]) -> Path:
    """Write a mapping as YAML; return where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    return path
