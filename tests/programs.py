"""Where the programs are that judge us: the system's, and the newer ones that `make test` fetches.

A program that is missing is a failure in CI. Elsewhere the test skips, saying what to do.
"""

import os
import shutil
import sys
from pathlib import Path

import pytest

NEWER = Path(sys.prefix) / "newer" / "usr" / "bin"
"""What `.ci/newer` unpacks: a newer Prometheus and Alertmanager, beside the system's."""

PACKAGES = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}
"""The programs by Debian's names, and the packages that have them."""

VERSIONS = ("system", "newer")

OTHER_NAMES = {"prometheus-alertmanager": "alertmanager"}
"""How everybody but Debian calls them."""


def program(name: str, version: str = "system") -> str:
    """Return a program's path."""
    if version == "newer":
        found = shutil.which(name, path=str(NEWER))
        remedy = f"run .ci/newer {NEWER.parents[1]}, as `make test` does"
    else:
        found = shutil.which(name) or shutil.which(OTHER_NAMES.get(name, name))
        remedy = f"install {PACKAGES[name]}, for instance: apt-get install -y {PACKAGES[name]}"
    if found is None:
        reason = f"no {name} ({version}): {remedy}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found
