"""The forms for Kubernetes scrape as prometheus.yml does: made from it, they lead back to it."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from spendtree.cli import bundle, monitors
from tests.alerts import shipped
from tests.programs import VERSIONS, program

FORMS = {
    "ServiceMonitor": (shipped.ALERTS / monitors.SERVICE_MONITOR, "endpoints"),
    "PodMonitor": (shipped.ALERTS / monitors.POD_MONITOR, "podMetricsEndpoints"),
}

each_form = pytest.mark.parametrize(("path", "endpoints"), FORMS.values(), ids=FORMS)


def scrape() -> dict[str, Any]:
    (found,) = (
        one
        for one in shipped.read(shipped.PROMETHEUS)["scrape_configs"]
        if one["job_name"] == "spendtree"
    )
    return dict(found)


def snake(name: str) -> str:
    """Return Prometheus' name of a key of the operator, which writes them together."""
    other = {"path": "metrics_path", "interval": "scrape_interval"}
    others = {"relabelings": "relabel_configs", "metricRelabelings": "metric_relabel_configs"}
    together = re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", name)
    return {**other, **others}.get(name, together)


def back(manifest: dict[str, Any], endpoints: str) -> dict[str, Any]:
    """Return the scrape configuration that the operator makes of a form, without its targets."""
    spec = dict(manifest["spec"])
    (endpoint,) = spec.pop(endpoints)
    del spec["selector"], endpoint["port"]
    config = {snake(key): value for key, value in {**spec, **endpoint}.items()}
    for key in ("relabel_configs", "metric_relabel_configs"):
        if key in config:
            config[key] = [{snake(name): v for name, v in step.items()} for step in config[key]]
    return config


@each_form
def test_a_form_is_what_the_scrape_configuration_gives(path: Path, endpoints: str) -> None:
    """Whoever changes prometheus.yml writes them again: spendtree rules -o alerts."""
    assert bundle.files()[path.relative_to(shipped.ALERTS).as_posix()] == path.read_text("utf-8")


@each_form
def test_a_form_leads_back_to_the_scrape_configuration(path: Path, endpoints: str) -> None:
    """By another way than it was made: names are taken apart, not looked up."""
    own = scrape()
    del own["static_configs"]
    job = {"target_label": "job", "replacement": own.pop("job_name")}

    assert back(shipped.read(path), endpoints) == {**own, "relabel_configs": [job]}


@each_form
@pytest.mark.parametrize("version", VERSIONS)
def test_prometheus_accepts_what_the_operator_makes_of_a_form(
    version: str, path: Path, endpoints: str, tmp_path: Path
) -> None:
    made = {"job_name": "serviceMonitor/default/spendtree/0", **back(shipped.read(path), endpoints)}
    config = shipped.write(tmp_path / "prometheus.yml", {"scrape_configs": [made]})

    checked = subprocess.run(
        [program("promtool", version), "check", "config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert checked.returncode == 0, checked.stderr


@each_form
def test_a_form_finds_what_is_labelled_as_the_documentation_says(
    path: Path, endpoints: str
) -> None:
    manifest = shipped.read(path)

    assert manifest["apiVersion"] == "monitoring.coreos.com/v1"
    assert manifest["spec"]["selector"] == {
        "matchLabels": {"app.kubernetes.io/name": "spendtree-exporter"}
    }
    assert manifest["spec"][endpoints][0]["port"] == "metrics"


def test_relabelling_comes_along() -> None:
    steps = [{"source_labels": ["session"], "regex": ".+", "action": "drop"}]
    text = yaml.safe_dump(
        {"scrape_configs": [{"job_name": "spendtree", "metric_relabel_configs": steps}]}
    )

    manifest = yaml.safe_load(monitors.pod_monitor(text))

    assert back(manifest, "podMetricsEndpoints")["metric_relabel_configs"] == steps


@pytest.mark.parametrize(
    "scrapes",
    [
        {"job_name": "spendtree", "body_size_limit": "1MB"},
        {"job_name": "spendtree", "relabel_configs": [{"no_such_key": 1}]},
    ],
)
def test_what_has_no_form_is_an_error_and_not_left_out(scrapes: dict[str, Any]) -> None:
    text = yaml.safe_dump({"scrape_configs": [scrapes]})

    with pytest.raises(monitors.UntranslatedKeyError, match=r"body_size_limit|no_such_key"):
        monitors.service_monitor(text)
