"""`make stack`: the whole of it runs on the shipped files, and nothing is left of it."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml

from tests.alerts.running import PATIENCE_SECONDS, until
from tests.programs import program
from tests.stack.files import ADDRESSES, ALERTS, CHANGED, local_files
from tests.stack.ports import HOST, PROGRAMS, ROOT, free

pytestmark = pytest.mark.slow

ROUND_SECONDS = 300.0
"""More than until the first round of every group: some have one in two minutes."""


class Raised(NamedTuple):
    """A stack that is up: where its programs are reached, and its processes."""

    urls: dict[str, str]
    pids: dict[str, int]


@contextmanager
def stack() -> Iterator[Raised]:
    """Run the command on free ports; interrupt it, and see that it has ended well."""
    for name in ("prometheus", "prometheus-alertmanager"):
        program(name)
    running = subprocess.Popen(
        [sys.executable, "-m", "tests.stack", "--free-ports", "--json"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert running.stdout
        told = running.stdout.readline()
        assert told, running.communicate()[1]
        yield Raised(**json.loads(told))
    finally:
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=PATIENCE_SECONDS)
    assert (running.returncode, said.splitlines()[-1]) == (0, "ended")


def test_the_whole_stack_runs_and_all_of_it_ends_when_it_is_interrupted() -> None:
    with stack() as raised:
        urls, pids = raised
        api = f"{urls['prometheus']}/api/v1"

        until(lambda: spent(api) > 0, what="spend of the workload in Prometheus")
        until(
            lambda: evaluated(api) == shipped_rules(),
            what="evaluation of every rule",
            seconds=ROUND_SECONDS,
        )
        until(lambda: alertmanagers(api), what="Alertmanager that Prometheus tells")
        assert alertmanagers(api) == [f"{urls['alertmanager']}/api/v2/alerts"]
        until(lambda: set(targets(api).values()) == {"up"}, what="scrape of every target")
        assert set(targets(api)) == {"spendtree", "prometheus", "alertmanager"}
        assert routed(urls["alertmanager"]) == receivers()
        assert httpx.get(urls["receiver"]).is_success
        assert alive(pids) == set(pids) == {"workload", *PROGRAMS}

    assert alive(pids) == set()


def test_a_message_arrives_where_it_can_be_seen() -> None:
    with stack() as raised:
        alert = {"labels": {"alertname": "SpendtreeTest", "severity": "critical"}}
        told = httpx.post(f"{raised.urls['alertmanager']}/api/v2/alerts", json=[alert])
        assert told.is_success

        def shown() -> bool:
            return "SpendtreeTest" in httpx.get(f"{raised.urls['receiver']}/api/messages").text

        until(shown, what="message of the alert", seconds=120)


def asked(url: str, **parameters: str) -> Any:
    answer = httpx.get(url, params=parameters)
    answer.raise_for_status()
    return answer.json()


def spent(api: str) -> float:
    # Counters begin at 0 and stay there for a while; a session's show their values at once.
    found = asked(f"{api}/query", query="sum(spendtree_session_cost_usd_total)")["data"]["result"]
    return float(found[0]["value"][1]) if found else 0.0


def evaluated(api: str) -> set[str]:
    """Return the rules that have been evaluated without an error."""
    groups = asked(f"{api}/rules")["data"]["groups"]
    return {rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "ok"}


def shipped_rules() -> set[str]:
    documents = [yaml.safe_load(path.read_text()) for path in (ALERTS / "rules").glob("*.yml")]
    return {
        rule.get("record") or rule["alert"]
        for document in documents
        for group in document["groups"]
        for rule in group["rules"]
    }


def alertmanagers(api: str) -> list[str]:
    active = asked(f"{api}/alertmanagers")["data"]["activeAlertmanagers"]
    return [one["url"] for one in active]


def targets(api: str) -> dict[str, str]:
    active = asked(f"{api}/targets")["data"]["activeTargets"]
    return {one["labels"]["job"]: one["health"] for one in active}


def routed(alertmanager: str) -> set[str]:
    return {one["name"] for one in asked(f"{alertmanager}/api/v2/receivers")}


def receivers() -> set[str]:
    shipped = yaml.safe_load((ALERTS / "alertmanager.yml").read_text("utf-8"))
    return {one["name"] for one in shipped["receivers"]}


def alive(pids: dict[str, int]) -> set[str]:
    return {name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()}


def test_only_addresses_differ_from_the_shipped_files(tmp_path: Path) -> None:
    ports = {name: 40_000 + number for number, name in enumerate(PROGRAMS)}

    local_files(tmp_path, ports)

    for name, programs in CHANGED.items():
        text = (tmp_path / name).read_text("utf-8")
        assert text != (ALERTS / name).read_text("utf-8")
        for one in programs:
            text = text.replace(f"{HOST}:{ports[one]}", ADDRESSES[one])
        assert text == (ALERTS / name).read_text("utf-8")
    for name in ("rules", "templates"):
        copied = {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()}
        assert copied == {path.name: path.read_bytes() for path in (ALERTS / name).iterdir()}


def test_a_port_that_is_taken_is_replaced_and_no_port_is_given_twice() -> None:
    taken = free({"one": 0})["one"]

    found = free({"one": taken, "other": taken, "third": 0})

    assert found["one"] == taken
    assert len(set(found.values())) == 3
