"""promtool's verdict on the rules, in Debian's version and in a newer one: nothing that only one
of them accepts, and every alert in a firing, a just-before and a silent case."""

import re
import shutil
import subprocess
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from spendtree.cli import bundle
from tests.alerts.promql import ALERTS, alerts
from tests.programs import VERSIONS, program

RULES = sorted((ALERTS / "rules").glob("*.yml"))
TESTS = sorted((ALERTS / "tests").glob("*.yml"))

each_version = pytest.mark.parametrize("version", VERSIONS)


def promtool(version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("promtool", version), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@each_version
def test_promtool_has_nothing_to_say_against_the_rules(version: str) -> None:
    done = promtool(version, "check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))

    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("SUCCESS") == len(RULES)


@pytest.mark.slow
@each_version
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_the_rules_do_what_the_cases_say(version: str, path: Path) -> None:
    done = promtool(version, "test", "rules", str(path))

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_threshold_that_is_moved_is_noticed(tmp_path: Path) -> None:
    """The cases can fail: an exporter may lag for an hour, and its test says that it may not."""
    shutil.copytree(ALERTS / "tests", tmp_path / "tests")
    for name, text in bundle.files({"exporter_lag_seconds": Decimal(3600)}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    done = promtool("system", "test", "rules", str(tmp_path / "tests" / "exporter.yml"))

    assert done.returncode != 0
    assert "SpendtreeExporterLagging" in done.stdout + done.stderr


def cases() -> list[dict[str, Any]]:
    return [case for path in TESTS for case in yaml.safe_load(path.read_text("utf-8"))["tests"]]


def test_every_alert_has_a_firing_a_just_before_and_a_silent_case() -> None:
    firing: Counter[str] = Counter()
    quiet: Counter[str] = Counter()
    just_before: Counter[str] = Counter()
    for case in cases():
        name = case["alert_rule_test"][0]["alertname"] if "alert_rule_test" in case else ""
        just_before[name] += bool(re.search(r"just before|says nothing yet", case["name"]))
        for expected in case.get("alert_rule_test", ()):
            fired = bool(expected["exp_alerts"])
            (firing if fired else quiet)[expected["alertname"]] += 1

    for alert in alerts():
        name = alert["alert"]
        assert firing[name] >= 1, name
        assert just_before[name] >= 1, name
        assert quiet[name] >= 2, name


def test_every_case_is_named_by_a_sentence() -> None:
    names = [case["name"] for case in cases()]

    assert len(names) == len(set(names))
    assert all(len(name.split()) >= 4 and name[0].isupper() for name in names)


def test_a_firing_case_holds_the_whole_text_that_people_read() -> None:
    told = [
        alert["exp_annotations"]["description"]
        for case in cases()
        for expected in case.get("alert_rule_test", ())
        for alert in expected["exp_alerts"]
    ]

    assert told
    for text in told:
        assert not re.search(r"<no value>|<nil>|NaN|Inf|\{\{|  | \.|\( *\)", text), text
