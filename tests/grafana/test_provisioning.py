"""The provisioning is what Grafana reads, and agrees with what it is put beside."""

from pathlib import Path
from typing import Any

import yaml

from tests.grafana.boards import ROOT

PROVISIONING = ROOT / "grafana" / "provisioning"


def loaded(path: Path) -> Any:
    return yaml.safe_load(path.read_text("utf-8"))


def test_the_folders_are_those_that_grafana_looks_into() -> None:
    assert {path.name for path in PROVISIONING.iterdir()} == {"datasources", "dashboards"}
    for file in PROVISIONING.rglob("*.*"):
        assert file.suffix == ".yaml"
        assert loaded(file)["apiVersion"] == 1


def test_the_data_source_is_told_how_often_prometheus_scrapes() -> None:
    """Else `$__rate_interval` is too short, and graphs have holes."""
    (source,) = loaded(PROVISIONING / "datasources" / "prometheus.yaml")["datasources"]
    scraping = loaded(ROOT / "alerts" / "prometheus.yml")["global"]

    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    assert source["jsonData"]["timeInterval"] == scraping["scrape_interval"]


def test_compose_puts_prometheus_and_the_dashboards_where_they_are_looked_for() -> None:
    services = loaded(ROOT / "docker-compose.yml")["services"]
    (source,) = loaded(PROVISIONING / "datasources" / "prometheus.yaml")["datasources"]
    (provider,) = loaded(PROVISIONING / "dashboards" / "spendtree.yaml")["providers"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])

    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    assert mounts["./grafana/dashboards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"


def test_nothing_in_it_is_secret() -> None:
    for file in PROVISIONING.rglob("*.yaml"):
        text = file.read_text("utf-8").lower()
        assert not [word for word in ("password", "secure", "token", "apikey") if word in text]
