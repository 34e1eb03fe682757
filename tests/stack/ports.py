"""Where each program of the stack is reached: the ports of `.env` where they are free."""

import socket
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"

PROGRAMS = ("exporter", "prometheus", "alertmanager", "receiver")


def settings() -> dict[str, str]:
    """Return the variables of `.env`."""
    lines = (ROOT / ".env").read_text("utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}


def defaults() -> dict[str, int]:
    """Return the port of each program as `.env` has it."""
    return {name: int(settings()[f"{name.upper()}_PORT"]) for name in PROGRAMS}


def free(wanted: Mapping[str, int]) -> dict[str, int]:
    """Return the ports that are wanted, and others instead of those that are taken; 0 is any.

    All are held until the last one is found, so that no two programs are given the same.
    """
    with ExitStack() as held:
        return {name: _free(port, held) for name, port in wanted.items()}


def _free(port: int, held: ExitStack) -> int:
    try:
        listening = socket.create_server((HOST, port))
    except OSError:
        listening = socket.create_server((HOST, 0))
    return int(held.enter_context(listening).getsockname()[1])
