"""What is generated is what is committed: thresholds, the form for Kubernetes, the page."""

from decimal import Decimal

import pytest
import yaml

from spendtree.cli import alert_page, bundle
from spendtree.config.thresholds import THRESHOLDS
from tests.alerts.promql import ALERTS, alerts

AGAIN = "write it again: spendtree rules -o alerts"


@pytest.mark.parametrize("name", sorted(bundle.files()))
def test_a_file_of_the_bundle_is_as_it_would_be_written(name: str) -> None:
    assert (ALERTS / name).read_text("utf-8") == bundle.files()[name], AGAIN


def test_the_page_is_as_the_rules_say() -> None:
    page = (ALERTS.parent / "docs" / "alerts.md").read_text("utf-8")

    assert page == alert_page.page(), "python -m spendtree.cli.alert_page > docs/alerts.md"
    assert all(rule["alert"] in page for rule in alerts())


def test_kubernetes_gets_the_same_groups_of_rules() -> None:
    files = bundle.files()
    manifest = yaml.safe_load(files[bundle.PROMETHEUS_RULE])
    groups = [
        group
        for name in sorted(files)
        if name.startswith("rules/")
        for group in yaml.safe_load(files[name])["groups"]
    ]

    assert (manifest["apiVersion"], manifest["kind"]) == (
        "monitoring.coreos.com/v1",
        "PrometheusRule",
    )
    assert manifest["spec"]["groups"] == groups


def test_every_threshold_has_a_rule_with_its_default_and_its_reason() -> None:
    text = bundle.threshold_rules({})
    rules = yaml.safe_load(text)["groups"][0]["rules"]

    given = {rule["labels"]["name"]: rule["expr"] for rule in rules}

    for name, each in THRESHOLDS.items():
        assert given[name].endswith(f"or vector({each.default:f})")
        assert each.reason[1:] in text


def test_own_thresholds_change_the_rules_and_the_form_for_kubernetes_and_nothing_else() -> None:
    plain, own = bundle.files(), bundle.files({"store_errors": Decimal("7.50")})

    changed = {name for name in plain if plain[name] != own[name]}

    assert changed == {bundle.THRESHOLD_RULES, bundle.PROMETHEUS_RULE}
    assert 'name="store_errors"}) or vector(7.50)' in own[bundle.THRESHOLD_RULES]


def test_links_begin_where_the_user_says() -> None:
    files = bundle.files(runbooks="https://wiki.test/run/", grafana="https://grafana.test/")

    text = files["rules/alerts-exporter.yml"]
    assert "runbook_url: https://wiki.test/run/SpendtreeExporterDown.md" in text
    assert "dashboard_url: https://grafana.test/d/spendtree-exporter" in text
    assert bundle.RUNBOOKS not in text + files[bundle.PROMETHEUS_RULE]
