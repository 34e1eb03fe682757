"""docker-compose.yml is accepted, keeps to itself, and runs what `make stack` runs."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.render.bundle import HERE as RENDER
from tests.stack import local
from tests.stack.compose import COMPOSE, compose, services
from tests.stack.files import ADDRESSES
from tests.stack.ports import PROGRAMS, ROOT, settings

SERVICES = ("workload", "exporter", "receiver", "alertmanager", "prometheus", "grafana")

of_every_service = pytest.mark.parametrize("name", SERVICES)


def test_the_specification_of_compose_accepts_it() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", str(COMPOSE)),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_docker_compose_accepts_it() -> None:
    compose("config", "--quiet")

    assert set(services()) == set(SERVICES)


def binds() -> Iterator[tuple[str, dict[str, Any]]]:
    for name, service in services().items():
        for volume in service.get("volumes", []):
            if volume["type"] == "bind":
                yield name, volume


def test_every_path_that_is_mounted_exists_and_cannot_be_written() -> None:
    mounts = list(binds())

    assert {name for name, _ in mounts} >= {"exporter", "receiver", "prometheus", "grafana"}
    for name, volume in mounts:
        assert Path(volume["source"]).exists(), f"{name}: {volume['source']}"
        assert Path(volume["source"]).is_relative_to(ROOT)
        assert volume["read_only"], f"{name}: {volume['target']}"


@of_every_service
def test_no_service_is_root_writes_its_image_or_may_more_than_it_needs(name: str) -> None:
    service = services()[name]

    assert re.fullmatch(r"[1-9]\d*:\d+", service["user"])
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service


@of_every_service
def test_a_service_is_reached_from_this_machine_alone(name: str) -> None:
    for port in services()[name].get("ports", []):
        assert port["host_ip"] == "127.0.0.1"


@of_every_service
def test_every_image_has_a_version_of_its_own(name: str) -> None:
    image = services()[name]["image"]

    assert re.fullmatch(r"spendtree:local|[\w./-]+:v?\d+\.\d+\.\d+", image), image


@of_every_service
def test_every_service_tells_whether_it_is_well(name: str) -> None:
    """The exporter by the image's own check, which is made for it."""
    dockerfile = (ROOT / "Dockerfile").read_text("utf-8")
    checked = services()[name].get("healthcheck", {}).get("test")

    assert checked or (name == "exporter" and "\nHEALTHCHECK " in dockerfile)


def test_nothing_starts_before_what_it_needs_is_well() -> None:
    needed = {name: service.get("depends_on", {}) for name, service in services().items()}

    assert set(needed["exporter"]) == {"workload"}
    assert set(needed["alertmanager"]) == {"receiver"}
    assert set(needed["prometheus"]) == {"exporter", "alertmanager"}
    assert set(needed["grafana"]) == {"prometheus"}
    conditions = {
        (name, other): wanted["condition"]
        for name, others in needed.items()
        for other, wanted in others.items()
    }
    assert conditions.pop(("receiver", "workload")) == "service_started"  # it shares its image
    assert set(conditions.values()) == {"service_healthy"}


def test_there_is_no_secret_in_any_file() -> None:
    secret = re.compile(r"(?i)password|secret|token|api_?key|credential")
    named = {name for name in settings() if secret.search(name)}
    for service in services().values():
        named |= {name for name in service.get("environment") or {} if secret.search(name)}
        assert not service.get("secrets")

    assert named == set()


def test_grafana_is_looked_at_without_signing_in_and_has_no_administrator() -> None:
    environment = services()["grafana"]["environment"]

    assert environment["GF_AUTH_ANONYMOUS_ENABLED"] == "true"
    assert environment["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"
    assert environment["GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION"] == "true"
    home = environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert any(
        (Path(volume["source"]) / Path(home).relative_to(volume["target"])).is_file()
        for name, volume in binds()
        if name == "grafana" and home.startswith(volume["target"])
    )


def test_grafana_is_the_version_that_the_dashboards_are_drawn_with() -> None:
    drawn_with = (RENDER / "package.json").read_text("utf-8")

    assert f'"@grafana/ui": "{settings()["GRAFANA_VERSION"]}"' in drawn_with


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_addresses_in_the_configuration_are_those_of_the_services(program: str) -> None:
    host, _, port = ADDRESSES[program].partition(":")
    targets = {one["target"] for one in services()[program]["ports"]}

    assert host in (program, "localhost")
    assert targets == {int(port)}


@pytest.mark.parametrize("name", ["workload", "exporter", "receiver", "alertmanager", "prometheus"])
def test_make_stack_runs_a_program_with_the_same_options(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "installed", lambda program: program)
    ports = dict.fromkeys(PROGRAMS, 1)
    (here,) = [one for one in local.programs(tmp_path, ports) if one.name == name]

    own_to_one = {
        # How a link in a message is written, where the program cannot know it.
        "--web.external-url",
        # A variable of the image says it.
        "--store",
        # Loopback, or every interface of a container of its own: the default of both programs.
        "--web.listen-address",
    }
    assert options(here.command) - own_to_one == options(services()[name]["command"]) - own_to_one


def options(command: Any) -> set[str]:
    return {word.partition("=")[0] for word in command if word.startswith("--")}
