"""docker-compose.yml as docker compose itself reads it, without an engine."""

import json
import os
import shutil
import subprocess
from functools import cache
from typing import Any

import pytest

from tests.programs import NEWER
from tests.stack.ports import ROOT

COMPOSE = ROOT / "docker-compose.yml"

UNPACKED = NEWER.parent / "libexec" / "docker" / "cli-plugins"
"""Where `.ci/newer` leaves the compose plugin, which is a program of its own."""


def program() -> str:
    """Return the path of docker compose: the one that `make test` fetches, or the system's."""
    found = shutil.which("docker-compose", path=str(UNPACKED)) or shutil.which("docker-compose")
    if found is None:
        reason = f"no docker-compose: run .ci/newer {NEWER.parents[1]}, as `make test` does"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def compose(*arguments: str) -> str:
    """Run docker compose on the file, with the variables of `.env` alone; return what it prints."""
    done = subprocess.run(
        [program(), "--file", str(COMPOSE), *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@cache
def services() -> dict[str, dict[str, Any]]:
    """Return the services with everything filled in."""
    found: dict[str, dict[str, Any]] = json.loads(compose("config", "--format", "json"))["services"]
    return found
