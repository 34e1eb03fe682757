"""Processes in PID namespaces of their own, as containers have: `unshare`, which needs root."""

import os
import shutil
import subprocess
import sys

import pytest

ALONE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""A new PID namespace with a /proc of its own; the command is its process 1."""

WITHOUT_PROC = ("unshare", "--pid", "--fork", "--kill-child")
"""A new PID namespace in which /proc still tells of the old one's processes."""

SHELL = ("sh", "-c", 'true; true; "$@"; exit $?', "sh")
"""What runs as process 1 in front of a command, so that two commands have different pids."""


def _refusal() -> str:
    """Return why no namespaces can be made here, "" if they can."""
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return "needs Linux and unshare (package util-linux)"
    if os.geteuid() != 0:
        return "needs root, which may make PID namespaces: run it as root, as CI does"
    tried = subprocess.run([*ALONE, "true"], capture_output=True, timeout=60, check=False)
    return tried.stderr.decode(errors="replace").strip() if tried.returncode else ""


def needs_namespaces() -> pytest.MarkDecorator:
    """Return the mark of tests that make PID namespaces."""
    refusal = _refusal()
    return pytest.mark.skipif(bool(refusal), reason=refusal or "namespaces can be made")
