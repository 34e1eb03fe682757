"""Where each program of the stack is reached: the ports of `.env` where they are free."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOST = "127.0.0.1"

LOWEST, SPAN = 10_240, 20_000

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
    for candidate in (*([port] if port else []), *_others()):
        try:
            listening = socket.create_server((HOST, candidate))
        except OSError:
            continue
        held.enter_context(listening)
        return candidate
    raise OSError(f"no port of {LOWEST} to {LOWEST + SPAN} is free")


def _others() -> Iterator[int]:
    """Yield ports that nobody is given by chance before a program listens there.

    The system gives higher ones to clients' connections and to who asks for any; and each process
    that looks here begins at a place of its own.
    """
    own = os.getpid() * len(PROGRAMS)
    return (LOWEST + (own + step) % SPAN for step in range(SPAN))
