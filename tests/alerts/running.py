"""Real programs on loopback: started on a free port, ready when yielded, ended after the block.

Each listens on port 0 and says in its log which one it was given, so that no two tests can want the
same port.
"""

import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from alerts.receiver import Receiver

PATIENCE_SECONDS = 60.0
"""More than any machine needs: reaching it is a failure, not a slow day."""

Result = TypeVar("Result")


def until(
    ask: Callable[[], Result | None], *, what: str, seconds: float = PATIENCE_SECONDS
) -> Result:
    """Return the first true answer; the question is repeated while the answer is none yet."""
    pause, end = threading.Event(), time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, f"in {seconds:.0f} s there was no {what}"
        pause.wait(0.1)
    return answer


@contextmanager
def process(command: Sequence[str], log: Path, told: str, ready: str) -> Iterator[str]:
    """Run a program that tells its address in its log by the pattern `told`; yield its URL."""
    with log.open("wb") as output:
        running = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        url = until(lambda: _address(running, log, told), what=f"address in {log.name}")
        until(lambda: _is_ready(f"{url}{ready}"), what=f"readiness of {log.stem}")
        yield url
    except BaseException as error:
        error.add_note(f"the end of {log.name}:\n{log.read_text()[-3_000:]}")
        raise
    finally:
        running.terminate()
        running.wait(timeout=PATIENCE_SECONDS)


def _address(running: subprocess.Popen[bytes], log: Path, told: str) -> str | None:
    if found := re.search(told, log.read_text()):
        return f"http://{found[1]}"
    assert running.poll() is None, f"it has ended with {running.returncode}: {log.read_text()}"
    return None


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@contextmanager
def prometheus(program: str, config: Path, *arguments: str) -> Iterator[str]:
    """Run Prometheus with a configuration, its data and log beside that file."""
    command = [
        program,
        f"--config.file={config}",
        f"--storage.tsdb.path={config.parent / 'tsdb'}",
        "--web.listen-address=127.0.0.1:0",
        "--web.external-url=http://prometheus.test",
        "--web.route-prefix=/",
        *arguments,
    ]
    told = r'msg="Listening on".*?address=(\S+)'
    with process(command, config.parent / "prometheus.log", told, "/-/ready") as url:
        yield url


@contextmanager
def alertmanager(program: str, config: Path) -> Iterator[str]:
    """Run Alertmanager with a configuration, its data and log beside that file."""
    command = [
        program,
        f"--config.file={config}",
        f"--storage.path={config.parent / 'alertmanager'}",
        "--web.listen-address=127.0.0.1:0",
        "--web.external-url=http://alertmanager.test",
        "--web.route-prefix=/",
        "--cluster.listen-address=",
        "--log.level=debug",
    ]
    told = r'msg="Listening on".*?address=(\S+)'
    with process(command, config.parent / "alertmanager.log", told, "/-/ready") as url:
        yield url


@contextmanager
def exporter(store: str, folder: Path, *arguments: str) -> Iterator[str]:
    """Run the exporter on a store; yield its address."""
    command = [
        *(sys.executable, "-c", "from spendtree_exporter.cli import main; main()"),
        *("--store", store, "--web.listen-address", "127.0.0.1:0", *arguments),
    ]
    with process(command, folder / "exporter.log", r"serving http://([^/\s]+)", "/-/ready") as url:
        yield url


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Serve the receiver that shows messages."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def asked(prometheus_url: str, query: str) -> list[dict[str, Any]]:
    """Return the samples that an instant query answers now."""
    answer = httpx.get(f"{prometheus_url}/api/v1/query", params={"query": query})
    answer.raise_for_status()
    found: list[dict[str, Any]] = answer.json()["data"]["result"]
    return found
