"""The programs of the stack: started one after another, watched, and all of them ended.

The commands say the same as those of docker-compose.yml; a test holds them to that.
"""

import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.stack.files import local_files
from tests.stack.ports import HOST, ROOT, settings

DEMO_CONFIG = ROOT / "sdk" / "spendtree" / "cli" / "demo.yaml"

PATIENCE_SECONDS = 120.0
GRACE_SECONDS = 30.0
LOG_TAIL = 2_000

NAMES = {
    "prometheus": ("prometheus",),
    "alertmanager": ("alertmanager", "prometheus-alertmanager"),
}
"""Programs as everybody and as Debian calls them."""


class StackError(Exception):
    """A program of the stack that is missing, does not start or has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One program: its command, and what is true once it is up."""

    name: str
    command: Sequence[str]
    up: Callable[[], bool]


def installed(name: str) -> str:
    """Return the path of Prometheus or Alertmanager."""
    found = next(filter(None, map(shutil.which, NAMES[name])), None)
    if found is None:
        raise StackError(f"no {name} here; on Debian: apt-get install {NAMES[name][-1]}")
    return found


def programs(folder: Path, ports: Mapping[str, int]) -> list[Program]:
    """Return the programs in the order in which they start."""
    store = folder / "spendtree.db"
    python = [sys.executable, "-c"]
    return [
        Program(
            name="workload",
            command=[
                *(*python, "from spendtree.cli import main; main()", "demo", "--forever"),
                *("--store", f"sqlite:///{store}"),
            ],
            up=lambda: store.exists() and store.stat().st_size > 0,
        ),
        Program(
            name="exporter",
            command=[
                *(*python, "from spendtree_exporter.cli import main; main()"),
                *("--store", f"sqlite:///{store}"),
                f"--web.listen-address={HOST}:{ports['exporter']}",
                f"--config.file={DEMO_CONFIG}",
            ],
            up=_answers(ports["exporter"], "/-/ready"),
        ),
        Program(
            name="receiver",
            command=[
                *(sys.executable, str(ROOT / "alerts" / "receiver.py")),
                *("--listen", f"{HOST}:{ports['receiver']}"),
            ],
            up=_answers(ports["receiver"], "/-/healthy"),
        ),
        Program(
            name="alertmanager",
            command=[
                installed("alertmanager"),
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / 'alertmanager'}",
                f"--web.listen-address={HOST}:{ports['alertmanager']}",
                "--cluster.listen-address=",
            ],
            up=_answers(ports["alertmanager"], "/-/ready"),
        ),
        Program(
            name="prometheus",
            command=[
                installed("prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--storage.tsdb.retention.time={settings()['PROMETHEUS_RETENTION']}",
                f"--web.listen-address={HOST}:{ports['prometheus']}",
            ],
            up=_answers(ports["prometheus"], "/-/ready"),
        ),
    ]


def _answers(port: int, path: str) -> Callable[[], bool]:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    return answers


class Stack:
    """What is running."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def pids(self) -> dict[str, int]:
        """The process of each program."""
        return {name: process.pid for name, process in self._running.items()}

    def start(self, program: Program, ending: ExitStack) -> None:
        """Start a program, and return once it is up."""
        with self.log(program.name).open("wb") as output:
            process = subprocess.Popen(program.command, stdout=output, stderr=output)
        self._running[program.name] = process
        ending.callback(_end, process)
        pause, deadline = threading.Event(), time.monotonic() + PATIENCE_SECONDS
        while not program.up():
            self.check()
            if time.monotonic() > deadline:
                raise StackError(f"{program.name} is not up\n{self._said(program.name)}")
            pause.wait(0.1)

    def check(self) -> None:
        """Raise StackError if one has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise StackError(f"{name} has ended: {process.returncode}\n{self._said(name)}")

    def log(self, name: str) -> Path:
        """Return where the output of a program is."""
        return self._folder / f"{name}.log"

    def _said(self, name: str) -> str:
        return self.log(name).read_text("utf-8", "replace")[-LOG_TAIL:]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def raised(folder: Path, ports: Mapping[str, int]) -> Iterator[Stack]:
    """Raise the stack in a folder; everything that was started has ended after the block."""
    local_files(folder, ports)
    stack = Stack(folder)
    with ExitStack() as ending:
        for program in programs(folder, ports):
            stack.start(program, ending)
        yield stack
