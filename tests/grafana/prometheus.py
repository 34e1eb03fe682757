"""Prometheus as the tests run it: a server on a free port of loopback, and blocks made of files."""

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Event
from typing import Any

import httpx

READY_SECONDS = 120


class MissingProgramError(Exception):
    """A program that the tests need is not installed; the message says how to get it."""


def program(name: str) -> str:
    """Return the path of a program; MissingProgramError without it."""
    found = shutil.which(name)
    if found is None:
        raise MissingProgramError(
            f"install prometheus ({name}), for instance: apt-get install -y prometheus"
        )
    return found


@contextmanager
def serving(data: Path) -> Iterator[str]:
    """Run Prometheus on a directory of blocks; yield its URL. It scrapes and evaluates nothing."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = data / "prometheus.yml"
    config.write_text("global: {}\n")
    log = data / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                program("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={data}",
                f"--web.listen-address={address}",
                # The blocks are of the past, and stay as they are.
                "--storage.tsdb.retention.time=100y",
                "--storage.tsdb.min-block-duration=2h",
                "--storage.tsdb.max-block-duration=2h",
                "--query.timeout=2m",
                "--web.cors.origin=.*",
            ],
            stdout=output,
            stderr=output,
        )
        try:
            _wait_until_ready(f"http://{address}", process)
            yield f"http://{address}"
        except BaseException as error:
            error.add_note(log.read_text()[-2_000:])
            raise
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    pause, deadline = Event(), time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"{url}/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass  # it is still starting
        pause.wait(0.05)
    raise TimeoutError(f"Prometheus at {url} was not ready in {READY_SECONDS} s")


def import_file(file: Path, data: Path) -> None:
    """Put the samples of an OpenMetrics file into blocks below `data`."""
    subprocess.run(
        [program("promtool"), "tsdb", "create-blocks-from", "openmetrics", "-q", file, data],
        check=True,
        stdout=subprocess.DEVNULL,
    )


class QueryError(Exception):
    """A query that Prometheus refused, with its reason."""


def query(url: str, expr: str, *, at: float) -> list[dict[str, Any]]:
    """Return the series of an instant query."""
    return _asked(f"{url}/api/v1/query", query=expr, time=f"{at}")


def query_range(
    url: str, expr: str, *, start: float, end: float, step: float
) -> list[dict[str, Any]]:
    """Return the series of a range query."""
    return _asked(
        f"{url}/api/v1/query_range", query=expr, start=f"{start}", end=f"{end}", step=f"{step}"
    )


def label_values(url: str, selector: str, label: str, *, start: float, end: float) -> list[str]:
    """Return the values of a label that series have in a time, as a variable's query does."""
    address = f"{url}/api/v1/label/{label}/values"
    parameters = {"match[]": selector, "start": f"{start}", "end": f"{end}"}
    body = _client().get(address, params=parameters).json()
    found: list[str] = body["data"]
    return found


def seconds_of(
    url: str, expr: str, *, start: float | None = None, end: float, step: float = 60
) -> float:
    """Return how long Prometheus itself says that a query took; an instant one without start."""
    if start is None:
        data = _data(f"{url}/api/v1/query", query=expr, time=f"{end}", stats="all")
    else:
        times = {"start": f"{start}", "end": f"{end}", "step": f"{step}"}
        data = _data(f"{url}/api/v1/query_range", query=expr, stats="all", **times)
    return float(data["stats"]["timings"]["execTotalTime"])


def _data(address: str, **parameters: str) -> Any:
    body = _client().post(address, data=parameters).json()
    if body["status"] != "success":
        raise QueryError(f"{body.get('error')}\n  in {parameters['query']}")
    return body["data"]


@cache
def _client() -> httpx.Client:
    """Return one client for all: making one takes longer than most queries."""
    return httpx.Client(timeout=150)


def _asked(address: str, **parameters: str) -> list[dict[str, Any]]:
    data = _data(address, **parameters)
    result: Any = data["result"]
    if data["resultType"] == "scalar":
        return [{"metric": {}, "value": result}]
    found: list[dict[str, Any]] = result
    return found
