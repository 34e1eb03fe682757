"""Who is told what: the shipped routes, inhibition and time intervals, judged by Alertmanager.

Both Debian's version and a newer one have to accept and do the same.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts.receiver import Receiver
from tests.alerts import running, shipped
from tests.alerts.running import until
from tests.programs import VERSIONS, program

Labels = dict[str, str]

MANY = 12
"""Alerts that belong together; more than a message tells one by one."""

NOT_NOW = "route is not within active time"
"""What Alertmanager logs, at level debug, when it keeps a message for later."""

in_both_versions = pytest.mark.parametrize("version", VERSIONS)


def amtool(*arguments: str, version: str = "system") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("amtool", version), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@in_both_versions
def test_amtool_accepts_the_configuration_and_its_templates(version: str) -> None:
    checked = amtool("check-config", str(shipped.ALERTMANAGER), version=version)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "1 templates" in checked.stdout
    assert "level=warn" not in checked.stderr.lower()


@in_both_versions
def test_the_receivers_that_are_commented_out_work_as_they_stand(
    version: str, tmp_path: Path
) -> None:
    """Each takes the place of the stack's receiver above it, by taking away its `#`."""
    text = shipped.ALERTMANAGER.read_text("utf-8")
    head, receivers = text.split("\nreceivers:\n")
    kept = []
    for block in re.split(r"(?m)^(?=  - name: )", receivers):
        own = re.sub(r"(?m)^    (webhook|slack)_configs:\n(?:^      .*\n)+", "", block)
        kept.append(re.sub(r"(?m)^    # ", "    ", own))
    config = tmp_path / "alertmanager.yml"
    config.write_text(f"{head}\nreceivers:\n{''.join(kept)}", "utf-8")
    (tmp_path / "templates").symlink_to(shipped.ALERTS / "templates")

    checked = amtool("check-config", str(config), version=version)

    assert checked.returncode == 0, checked.stdout + checked.stderr
    kinds = {
        kind
        for receiver in shipped.read(config)["receivers"]
        for kind in receiver
        if kind.endswith("_configs")
    }
    assert kinds == {"webhook_configs", "slack_configs", "email_configs", "pagerduty_configs"}
    assert shipped.RECEIVER not in config.read_text("utf-8").split("receivers:\n")[1]


def test_no_secret_is_in_the_configuration() -> None:
    """Whatever is secret is named as a file."""
    text = shipped.ALERTMANAGER.read_text("utf-8")

    secrets = r"(routing_key|service_key|auth_password|auth_secret|credentials|bearer_token):"
    assert not re.search(secrets, text)
    assert set(re.findall(r"api_url: (\S+)", text)) == {f"{shipped.RECEIVER}/slack"}


def test_every_template_that_a_receiver_uses_exists() -> None:
    """Also those that are commented out: Alertmanager would only find out when it has to tell."""
    used = set(re.findall(r'template "([\w.]+)"', shipped.ALERTMANAGER.read_text("utf-8")))
    defined = {
        name
        for file in (shipped.ALERTS / "templates").glob("*.tmpl")
        for name in re.findall(r'define "([\w.]+)"', file.read_text("utf-8"))
    }

    assert used
    assert used <= defined


def test_every_alert_that_inhibition_names_is_shipped() -> None:
    text = shipped.ALERTMANAGER.read_text("utf-8")
    named = set(re.findall(r"\bSpendtree\w+", text)) - {"Spendtree"}

    assert named
    assert named <= shipped.alert_names()


ROUTES: dict[str, tuple[Labels, list[str]]] = {
    "critical of nobody in particular: a person is called, and the channel knows": (
        {"severity": "critical"},
        ["pager", "spend"],
    ),
    "a warning of nobody in particular": ({"severity": "warning"}, ["spend"]),
    "an info": ({"severity": "info"}, ["digest"]),
    "critical of a team: a person is called, and the team knows": (
        {"severity": "critical", "team": "search"},
        ["pager", "team-search"],
    ),
    "a warning of a team": ({"severity": "warning", "team": "search"}, ["team-search"]),
    "an info of a team does not come into its channel": (
        {"severity": "info", "team": "search"},
        ["digest"],
    ),
    "a warning of a team without a channel": (
        {"severity": "warning", "team": "legal"},
        ["spend"],
    ),
    "critical of a customer with somebody of its own": (
        {"severity": "critical", "customer": "acme"},
        ["pager", "account-acme", "spend"],
    ),
    "a warning of such a customer": (
        {"severity": "warning", "customer": "acme"},
        ["account-acme", "spend"],
    ),
    "an info of such a customer": ({"severity": "info", "customer": "acme"}, ["digest"]),
    "a warning of a customer like any other": (
        {"severity": "warning", "customer": "globex"},
        ["spend"],
    ),
    "critical of team and customer: all three": (
        {"severity": "critical", "team": "search", "customer": "acme"},
        ["pager", "account-acme", "team-search"],
    ),
    "an alert of somebody else's rules without severity": ({"alertname": "Other"}, ["spend"]),
}


@in_both_versions
@pytest.mark.parametrize(("labels", "told"), ROUTES.values(), ids=ROUTES)
def test_an_alert_goes_to_whom_it_concerns(version: str, labels: Labels, told: list[str]) -> None:
    routed = amtool(
        *("config", "routes", "test", f"--config.file={shipped.ALERTMANAGER}"),
        f"--verify.receivers={','.join(told)}",
        *(f"{name}={value}" for name, value in labels.items()),
        version=version,
    )

    assert routed.returncode == 0, routed.stdout + routed.stderr


def test_the_routes_that_are_tested_reach_every_receiver() -> None:
    names = {one["name"] for one in shipped.read(shipped.ALERTMANAGER)["receivers"]}

    assert {name for _, told in ROUTES.values() for name in told} == names


def test_nobody_is_told_once_per_session_or_agent() -> None:
    def grouping(route: dict[str, Any]) -> Iterator[list[str]]:
        yield route.get("group_by", ["alertname"])
        for child in route.get("routes", []):
            yield from grouping(child)

    for labels in grouping(shipped.read(shipped.ALERTMANAGER)["route"]):
        assert "alertname" in labels
        assert not {"session", "agent", "..."} & set(labels)


@contextmanager
def alerting(folder: Path, version: str, **options: Any) -> Iterator[tuple[str, Receiver]]:
    """Run Alertmanager by the shipped configuration, and a receiver for it."""
    with running.receiver() as receiver:
        config = shipped.local_alertmanager(folder, receiver.url, divisor=60, **options)
        with running.alertmanager(program("prometheus-alertmanager", version), config) as url:
            yield url, receiver


def fire(url: str, *alerts: Labels) -> None:
    """Tell Alertmanager of firing alerts, as Prometheus does."""
    now = datetime.now(UTC)
    body = [
        {
            "labels": {"severity": "warning", **labels},
            "annotations": {"summary": f"Summary of {labels['alertname']}"},
            "startsAt": now.isoformat(),
            "endsAt": (now + timedelta(hours=1)).isoformat(),
        }
        for labels in alerts
    ]
    httpx.post(f"{url}/api/v2/alerts", json=body).raise_for_status()


def identity(labels: Labels) -> tuple[str, str]:
    """Return an alert's name, and the session, period or exporter that it is about."""
    about = next((labels[key] for key in ("session", "period", "instance") if key in labels), "")
    return labels["alertname"].removeprefix("Spendtree"), about


def silenced(url: str) -> set[tuple[str, str]]:
    """Return the alerts that inhibition keeps back."""
    answer = httpx.get(f"{url}/api/v2/alerts", params={"inhibited": "true", "active": "false"})
    answer.raise_for_status()
    return {identity(one["labels"]) for one in answer.json() if one["status"]["inhibitedBy"]}


def told(receiver: Receiver) -> set[tuple[str, str]]:
    """Return the alerts that have come."""
    return {
        identity(alert["labels"])
        for message in receiver.messages()
        if message.door == "/webhook"
        for alert in message.payload["alerts"]
    }


def session(name: str, session: str) -> Labels:
    return {"alertname": f"Spendtree{name}", "session": session, "customer": "acme"}


def budget(name: str, period: str, kind: str = "customer") -> Labels:
    return {
        "alertname": f"Spendtree{name}",
        "kind": kind,
        "period": period,
        kind: "acme",
        "store": "5f2a",
    }


def of_an_exporter(name: str, instance: str) -> Labels:
    return {"alertname": f"Spendtree{name}", "instance": instance, "job": "spendtree"}


INHIBITION: dict[str, tuple[list[Labels], set[tuple[str, str]]]] = {
    "a session over its ceiling is not told to be near it, or fast; another session is": (
        [
            session("SessionOverCeiling", "a"),
            session("SessionNearCeiling", "a"),
            session("SessionBurningFast", "a"),
            session("SessionRunaway", "a"),
            session("SessionNearCeiling", "b"),
            session("SessionBurningFast", "b"),
        ],
        {("SessionNearCeiling", "a"), ("SessionBurningFast", "a")},
    ),
    "a budget that is gone is not told to be near its end; the one of the day and of a team is": (
        [
            budget("BudgetExhausted", "2026-11"),
            budget("BudgetNearLimit", "2026-11"),
            budget("BudgetProjectedToExceed", "2026-11"),
            budget("BudgetNearLimit", "2026-11-26"),
            budget("BudgetProjectedToExceed", "2026-11-27", kind="team"),
        ],
        {("BudgetNearLimit", "2026-11"), ("BudgetProjectedToExceed", "2026-11")},
    ),
    "of an exporter that is down nothing else is told; of its twin and of money it is": (
        [
            of_an_exporter("ExporterDown", "exporter:9797"),
            of_an_exporter("ScrapeSlow", "exporter:9797"),
            of_an_exporter("ExporterDown", "twin:9797"),
            of_an_exporter("ScrapeSlow", "third:9797"),
            {"alertname": "SpendtreeExporterLagging", "store": "5f2a"},
            budget("BudgetExhausted", "2026-11"),
        ],
        {("ScrapeSlow", "exporter:9797")},
    ),
    "without any exporter nothing of ours is told but that; others' alerts are": (
        [
            {"alertname": "SpendtreeExporterAbsent"},
            {"alertname": "SpendtreeExporterLagging", "store": "5f2a"},
            session("SessionNearCeiling", "a"),
            budget("BudgetExhausted", "2026-11"),
            {"alertname": "SomebodyElses"},
        ],
        {
            ("ExporterLagging", ""),
            ("SessionNearCeiling", "a"),
            ("BudgetExhausted", "2026-11"),
        },
    ),
}


@in_both_versions
@pytest.mark.parametrize(("alerts", "kept"), INHIBITION.values(), ids=INHIBITION)
def test_what_follows_from_an_alert_is_not_told_beside_it(
    version: str, alerts: list[Labels], kept: set[tuple[str, str]], tmp_path: Path
) -> None:
    others = {identity(alert) for alert in alerts} - kept

    with alerting(tmp_path, version) as (url, receiver):
        fire(url, *alerts)
        until(lambda: told(receiver) >= others, what=f"message of {others - told(receiver)}")
        assert silenced(url) == kept

    assert told(receiver) == others


@in_both_versions
def test_many_sessions_of_a_customer_are_one_message(version: str, tmp_path: Path) -> None:
    alerts = [session("SessionRunaway", f"s-{number}") for number in range(MANY)]

    with alerting(tmp_path, version) as (url, receiver):
        fire(url, *alerts)
        until(lambda: len(receiver.messages()) >= 4, what="text and payload for both receivers")
        messages = receiver.messages()

    texts = [one for one in messages if one.door == "/slack"]
    assert told(receiver) == set(map(identity, alerts))
    assert sorted(one.channel for one in texts) == ["#account-acme", "#spend"]
    assert all(f"({MANY} firing)" in one.title for one in texts)


@in_both_versions
def test_at_night_infos_are_kept_until_office_hours_and_nothing_else_is(
    version: str, tmp_path: Path
) -> None:
    """Office hours are another day of the week here: it is night whenever the test runs."""
    day = (datetime.now(UTC) + timedelta(days=3)).strftime("%A").lower()
    alerts = [
        {"alertname": "SpendtreeUnpricedCalls", "severity": "info"},
        {"alertname": "SpendtreeOverruns", "severity": "warning"},
    ]

    with alerting(tmp_path, version, intervals=[{"weekdays": [day]}]) as (url, receiver):
        fire(url, *alerts)
        log = tmp_path / "alertmanager.log"
        until(lambda: NOT_NOW in log.read_text(), what="notification that is held back")
        until(lambda: told(receiver), what="message of the warning")

    assert told(receiver) == {("Overruns", "")}


@in_both_versions
def test_in_office_hours_infos_are_told(version: str, tmp_path: Path) -> None:
    alert = {"alertname": "SpendtreeUnpricedCalls", "severity": "info"}

    with alerting(tmp_path, version) as (url, receiver):
        fire(url, alert)
        until(lambda: told(receiver) == {identity(alert)}, what="message in office hours")
