"""Monitors: the scrape of prometheus.yml as the Prometheus operator takes it.

Values to text: what is scraped how is said in `alerts/prometheus.yml` alone. A key of it that has
no translation here is an error, so that none is lost silently.
"""

from collections.abc import Mapping
from typing import Any

from spendtree.errors import SpendtreeError

SERVICE_MONITOR = "kubernetes/servicemonitor.yaml"
POD_MONITOR = "kubernetes/podmonitor.yaml"

JOB = "spendtree"
"""The job that the rules know the exporter by."""

PORT = "metrics"
"""The name of the port in the Service or the Pod."""

ENDPOINT_KEYS = {
    "metrics_path": "path",
    "scheme": "scheme",
    "scrape_interval": "interval",
    "scrape_timeout": "scrapeTimeout",
    "honor_labels": "honorLabels",
}
SPEC_KEYS = {
    "sample_limit": "sampleLimit",
    "label_limit": "labelLimit",
    "label_name_length_limit": "labelNameLengthLimit",
    "label_value_length_limit": "labelValueLengthLimit",
}
RELABEL_KEYS = {
    "source_labels": "sourceLabels",
    "separator": "separator",
    "target_label": "targetLabel",
    "regex": "regex",
    "modulus": "modulus",
    "replacement": "replacement",
    "action": "action",
}
RELABELINGS = {"relabel_configs": "relabelings", "metric_relabel_configs": "metricRelabelings"}
"""The names that the operator has for Prometheus' keys, by where they stand."""

OWN_KEYS = {"job_name", "static_configs"}
"""What is said otherwise there: the job by relabelling, the targets by the selector."""

_SERVICE_HEAD = """\
# The exporter behind a Service, as the Prometheus operator scrapes it. Written by `spendtree rules`
# from prometheus.yml. The operator looks for the labels in its serviceMonitorSelector: add yours
# (often `release`). The Service has the label below, and a port named metrics.
"""
_POD_HEAD = """\
# The exporter as a container beside the agents that write its store, without a Service. Written by
# `spendtree rules` from prometheus.yml. The operator looks for the labels in its
# podMonitorSelector: add yours. The Pod has the label below, and a container port named metrics.
"""


class UntranslatedKeyError(SpendtreeError):
    """A key of the scrape configuration that the operator's form is not written for."""


def service_monitor(prometheus: str) -> str:
    """Return the ServiceMonitor of the text of a prometheus.yml."""
    return _manifest(_SERVICE_HEAD, "ServiceMonitor", "endpoints", prometheus)


def pod_monitor(prometheus: str) -> str:
    """Return the PodMonitor of the text of a prometheus.yml."""
    return _manifest(_POD_HEAD, "PodMonitor", "podMetricsEndpoints", prometheus)


def _manifest(head: str, kind: str, endpoints: str, prometheus: str) -> str:
    import yaml  # noqa: PLC0415 - heavy, loaded on use

    scrape = _scrape(yaml.safe_load(prometheus))
    labels = {"app.kubernetes.io/name": "spendtree-exporter"}
    manifest = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": kind,
        "metadata": {"name": "spendtree", "labels": {"app.kubernetes.io/name": "spendtree"}},
        "spec": {
            "selector": {"matchLabels": labels},
            **_renamed(scrape, SPEC_KEYS),
            endpoints: [_endpoint(scrape)],
        },
    }
    return head + str(yaml.safe_dump(manifest, sort_keys=False))


def _scrape(document: Mapping[str, Any]) -> dict[str, Any]:
    (scrape,) = (one for one in document["scrape_configs"] if one["job_name"] == JOB)
    unknown = set(scrape) - {*ENDPOINT_KEYS, *SPEC_KEYS, *RELABELINGS, *OWN_KEYS}
    if unknown:
        raise UntranslatedKeyError(f"prometheus.yml: no form for {', '.join(sorted(unknown))}")
    return dict(scrape)


def _endpoint(scrape: Mapping[str, Any]) -> dict[str, Any]:
    # The operator names jobs after the Service or the monitor; the rules ask for this one.
    job = {"targetLabel": "job", "replacement": scrape["job_name"]}
    relabelings = {
        name: [_relabeling(one) for one in scrape.get(key, [])] for key, name in RELABELINGS.items()
    }
    relabelings["relabelings"].append(job)
    return {
        "port": PORT,
        **_renamed(scrape, ENDPOINT_KEYS),
        **{name: steps for name, steps in relabelings.items() if steps},
    }


def _relabeling(step: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(step) - set(RELABEL_KEYS)
    if unknown:
        raise UntranslatedKeyError(f"prometheus.yml: no form for {', '.join(sorted(unknown))}")
    return _renamed(step, RELABEL_KEYS)


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {name: values[key] for key, name in names.items() if key in values}
