"""The configuration of `alerts/` as it is, but for the addresses: this machine has no names for them.

In compose the programs know each other by the names of their services; here each is a port of the
loopback interface. Nothing else is changed: a test compares what is left.
"""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.stack.ports import HOST, ROOT

ALERTS = ROOT / "alerts"

ADDRESSES = {
    "exporter": "exporter:9797",
    "prometheus": "localhost:9090",
    "alertmanager": "alertmanager:9093",
    "receiver": "receiver:9095",
}
"""Each program as the shipped files name it."""

CHANGED = {
    "prometheus.yml": ("exporter", "prometheus", "alertmanager"),
    "alertmanager.yml": ("receiver",),
}
"""The files that name programs, and which."""


def local_files(folder: Path, ports: Mapping[str, int]) -> None:
    """Copy the configuration into a folder, with the addresses of these ports."""
    for name in ("rules", "templates"):
        shutil.copytree(ALERTS / name, folder / name)
    for name, programs in CHANGED.items():
        text = (ALERTS / name).read_text("utf-8")
        for program in programs:
            written = ADDRESSES[program]
            assert written in text, f"{name} does not name {written}"
            text = text.replace(written, f"{HOST}:{ports[program]}")
        (folder / name).write_text(text, "utf-8")
