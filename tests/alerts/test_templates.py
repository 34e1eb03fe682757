"""A message tells what, who, how much and how fast, what to do, and where to look.

Rendered by amtool, whose templates are Alertmanager's own, in two versions.
"""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.alerts import shipped
from tests.programs import VERSIONS, program

TEMPLATES = shipped.ALERTS / "templates"

in_both_versions = pytest.mark.parametrize("version", VERSIONS)

Alert = dict[str, Any]

SESSION = "0198c5e2-4a77-7d31-9a55-3f2a8c1e6b70"


def overrun(session: str = SESSION, status: str = "firing") -> Alert:
    """An alert as the rules write it."""
    return {
        "status": status,
        "labels": {
            "alertname": "SpendtreeSessionOverCeiling",
            "severity": "warning",
            "customer": "acme",
            "team": "search",
            "session": session,
        },
        "annotations": {
            "summary": "A session has spent more than its ceiling.",
            "description": f"Session {session} of customer acme is $0.0312 over its ceiling.",
            "runbook_url": "https://example.com/runbooks/SpendtreeSessionOverCeiling.md",
            "dashboard_url": f"/d/spendtree-sessions?var-session={session}",
        },
        "startsAt": "2026-11-26T02:13:05Z",
        "endsAt": "2026-11-26T02:40:17Z" if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": "00",
    }


def common(alerts: list[Alert], key: str) -> dict[str, str]:
    """Return the labels or annotations that all alerts have alike, as Alertmanager finds them."""
    first, *others = (alert[key] for alert in alerts)
    return {k: v for k, v in first.items() if all(one.get(k) == v for one in others)}


def render(
    template: str, alerts: list[Alert], folder: Path, version: str, kind: str = "text"
) -> str:
    firing = any(alert["status"] == "firing" for alert in alerts)
    data = {
        "receiver": "pager",
        "status": "firing" if firing else "resolved",
        "alerts": alerts,
        "groupLabels": {"alertname": alerts[0]["labels"]["alertname"]},
        "commonLabels": common(alerts, "labels"),
        "commonAnnotations": common(alerts, "annotations"),
        "externalURL": "http://localhost:9093",
    }
    file = folder / "data.json"
    file.write_text(json.dumps(data), "utf-8")
    rendered = subprocess.run(
        [
            *(program("amtool", version), "template", "render"),
            f"--template.glob={TEMPLATES / '*.tmpl'}",
            f'--template.text={{{{ template "spendtree.{template}" . }}}}',
            f"--template.type={kind}",
            f"--template.data={file}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert rendered.returncode == 0, rendered.stderr
    return rendered.stdout


@in_both_versions
def test_a_message_says_everything_that_is_needed_at_night(version: str, tmp_path: Path) -> None:
    title = render("title", [overrun()], tmp_path, version)
    text = render("text", [overrun()], tmp_path, version)

    assert title == "[WARNING] A session has spent more than its ceiling · acme · team search"
    what, *steps = text.split("\nTo do: ")
    assert what == (
        f"• customer acme, team search, session {SESSION}\n"
        f"  Session {SESSION} of customer acme is $0.0312 over its ceiling.\n"
        "  since Nov 26, 02:13 UTC\n"
        f"  http://localhost:9797/sessions/{SESSION}\n"
        f"  spendtree tree {SESSION}"
    )
    assert re.fullmatch(
        r"nothing more is granted to the session .*\n"
        rf"Dashboard: http://localhost:3000/d/spendtree-sessions\?var-session={SESSION}\n"
        r"Runbook: https://example\.com/runbooks/SpendtreeSessionOverCeiling\.md\n"
        r"Alertmanager \(silence it there\): http://localhost:9093",
        steps[0],
    )


@in_both_versions
def test_many_alerts_are_ten_told_and_all_counted(version: str, tmp_path: Path) -> None:
    alerts = [overrun(f"s-{number}") for number in range(23)]

    title = render("title", alerts, tmp_path, version)
    text = render("text", alerts, tmp_path, version)

    assert title.endswith("· acme · team search (23 firing)")
    assert text.count("• customer acme") == 10
    assert "… ten of 23 are shown." in text
    assert text.count("To do: ") == 1


@in_both_versions
def test_each_alert_leads_to_its_own_dashboard_where_they_differ(
    version: str, tmp_path: Path
) -> None:
    text = render("text", [overrun("s-1"), overrun("s-2")], tmp_path, version)

    assert re.findall(r"Dashboard: (\S+)", text) == [
        "http://localhost:3000/d/spendtree-sessions?var-session=s-1",
        "http://localhost:3000/d/spendtree-sessions?var-session=s-2",
    ]


@in_both_versions
def test_what_is_over_says_since_when_and_how_long_it_was(version: str, tmp_path: Path) -> None:
    alerts = [overrun(status="resolved")]

    assert render("title", alerts, tmp_path, version).startswith("[RESOLVED] A session has spent")
    assert render("text", alerts, tmp_path, version).splitlines()[0] == (
        f"• customer acme, team search, session {SESSION}: over at Nov 26, 02:40 UTC, after 27m12s"
    )
    assert "silence" not in render("text", alerts, tmp_path, version)
    assert render("color", alerts, tmp_path, version) == "good"
    assert render("title", [*alerts, *alerts], tmp_path, version).endswith("team search (2 over)")


@in_both_versions
def test_a_message_tells_apart_what_goes_on_and_what_is_over(version: str, tmp_path: Path) -> None:
    alerts = [overrun("s-1"), overrun("s-2", "resolved")]

    title = render("title", alerts, tmp_path, version)
    goes_on, over = render("text", alerts, tmp_path, version).split("\nOver:\n")

    assert title.endswith("(1 firing, 1 over)")
    assert title.startswith("[WARNING]")
    assert "session s-1" in goes_on
    assert "session s-2" not in goes_on
    assert "session s-2: over at" in over


@in_both_versions
@pytest.mark.parametrize(
    ("severity", "color"), [("critical", "danger"), ("warning", "warning"), ("info", "#5794f2")]
)
def test_severity_can_be_seen_in_color_and_title(
    severity: str, color: str, version: str, tmp_path: Path
) -> None:
    alert = overrun()
    alert["labels"]["severity"] = severity

    assert render("color", [alert], tmp_path, version) == color
    assert render("severity", [alert], tmp_path, version) == severity
    assert render("title", [alert], tmp_path, version).startswith(f"[{severity.upper()}] ")


@in_both_versions
def test_an_alert_of_somebody_elses_rules_is_told_as_far_as_it_goes(
    version: str, tmp_path: Path
) -> None:
    alert = {**overrun(), "labels": {"alertname": "DiskFull"}, "annotations": {}}

    assert render("title", [alert], tmp_path, version) == "[ALERT] DiskFull"
    assert render("text", [alert], tmp_path, version).splitlines() == [
        "• DiskFull",
        "  since Nov 26, 02:13 UTC",
        "To do: follow its runbook.",
        "Alertmanager (silence it there): http://localhost:9093",
    ]
    assert render("link", [alert], tmp_path, version) == "http://localhost:9093"


@in_both_versions
def test_alerts_of_several_kinds_in_one_message_each_say_what_to_do(
    version: str, tmp_path: Path
) -> None:
    """Nobody groups so here, but users may."""
    other = overrun("s-2")
    other["labels"]["alertname"] = "SpendtreeSessionRunaway"
    other["annotations"]["summary"] = "Another summary."

    assert render("title", [overrun(), other], tmp_path, version).startswith(
        "[WARNING] Several alerts · acme"
    )
    assert render("text", [overrun(), other], tmp_path, version).count("To do: ") == 2


@in_both_versions
def test_mail_is_the_same_text_and_nothing_in_it_becomes_markup(
    version: str, tmp_path: Path
) -> None:
    alert = overrun()
    alert["labels"]["customer"] = '<img src=x onerror="alert(1)">'

    mail = render("html", [alert], tmp_path, version, kind="html")

    assert mail.startswith("<pre ")
    assert "<img" not in mail
    assert "customer &lt;img src=x onerror=" in mail
    assert f"sessions/{SESSION}" in mail


def test_every_shipped_alert_has_a_first_thing_to_do_and_no_other_has() -> None:
    text = (TEMPLATES / "actions.tmpl").read_text("utf-8")

    told = re.findall(r'eq \. "(\w+)" -}}\n(.+)\n', text)

    assert {name for name, _ in told} == shipped.alert_names()
    assert len(told) == len(shipped.alert_names())
    assert all(20 < len(action) < 200 and action.endswith(".") for _, action in told)


def test_the_base_addresses_are_in_one_file() -> None:
    others = [path for path in TEMPLATES.glob("*.tmpl") if path.name != "links.tmpl"]

    assert others
    assert not [path.name for path in others if "http://" in path.read_text("utf-8")]
