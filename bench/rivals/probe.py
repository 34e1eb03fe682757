"""What another tracker adds to a call of the openai client; run in that tracker's own environment.

`python bench/rivals/probe.py NAME URL CALLS` prints the microseconds added, as JSON. Nothing of
ours is imported. What it records goes to the same loopback provider, which counts and forgets it; a
tracker that sends nothing there does not work in this environment, and is not measured.
"""

import http.client
import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

MODEL = "bench-model"
BODY: Any = {
    "model": MODEL,
    "messages": [
        {"role": "system", "content": "You answer in one sentence."},
        {"role": "user", "content": "Which heat pumps are quiet enough for a house? " * 12},
    ],
    "max_tokens": 400,
}
TURN = 10
WARM_UP_TURNS = 2

RECORDED = "/bench/recorded"
"""Where the loopback provider tells how often a tracker sent it something, and counts anew."""

Ask = Callable[[], object]


def in_turn(one: Ask, other: Ask, calls: int) -> tuple[list[float], list[float]]:
    """Return the microseconds of each, in pairs: they take turns, so both see the same machine.

    Turns of several calls, the first of each left out: what a tracker does behind its caller shall
    weigh on its own next call, not on the bare one.
    """
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(-(-calls // TURN) + WARM_UP_TURNS):
        for ask, into in zip((one, other), taken, strict=True):
            ask()
            for _ in range(TURN):
                start = time.perf_counter()
                ask()
                if turn >= WARM_UP_TURNS:  # connections and caches are warm by then
                    into.append((time.perf_counter() - start) * 1e6)
    return taken


def median_added(without: list[float], tracked: list[float]) -> float:
    """Return the median of what a call took longer than the one before it without tracking."""
    added = sorted(one - other for one, other in zip(tracked, without, strict=True))
    return added[len(added) // 2]


def langfuse(url: str) -> None:
    os.environ |= {
        "LANGFUSE_PUBLIC_KEY": "pk-lf-bench",
        "LANGFUSE_SECRET_KEY": "sk-lf-bench",
        "LANGFUSE_HOST": url,
        "LANGFUSE_BASE_URL": url,
    }
    __import__("langfuse.openai")


def traceloop(url: str) -> None:
    sdk: Any = __import__("traceloop.sdk", fromlist=["Traceloop"])
    sdk.Traceloop.init(app_name="bench", api_endpoint=url, api_key="bench", telemetry_enabled=False)


def openlit(url: str) -> None:
    tracker: Any = __import__("openlit")
    tracker.init(otlp_endpoint=url)


def agentops(url: str) -> None:
    tracker: Any = __import__("agentops")
    tracker.init(api_key="bench", endpoint=url, exporter_endpoint=f"{url}/v1/traces")


TRACKERS: dict[str, Callable[[str], None]] = {
    "langfuse": langfuse,
    "traceloop-sdk": traceloop,
    "openlit": openlit,
    "agentops": agentops,
}
"""Name of the package -> what switches it on, as its quickstart says."""

NEEDS = {
    "agentops": ("opentelemetry-sdk<1.38", "opentelemetry-exporter-otlp-proto-http<1.38"),
    "traceloop-sdk": ("httpx",),
}
"""What a tracker needs beside its newest version to record anything."""

SENDS_WITHIN_SECONDS = 30


def check_sends(url: str) -> None:
    """Raise SystemExit unless the provider has received what a tracker recorded."""
    host = url.removeprefix("http://")
    for _ in range(SENDS_WITHIN_SECONDS):
        connection = http.client.HTTPConnection(host)
        connection.request("POST", RECORDED, b"{}", {"Content-Type": "application/json"})
        recorded = json.loads(connection.getresponse().read())["recorded"]
        connection.close()
        if recorded:
            return
        time.sleep(1)
    raise SystemExit("it sends nothing of what it records")


def main(name: str, url: str, calls: int) -> float:
    """Return the microseconds that a tracker adds to the median call."""
    completions: Any = __import__("openai.resources.chat.completions", fromlist=["Completions"])
    bare = completions.Completions.create  # before it is replaced
    TRACKERS[name](url)
    openai: Any = __import__("openai")
    clients = [openai.OpenAI(base_url=f"{url}/v1", api_key="bench") for _ in range(2)]
    without, tracked = in_turn(
        lambda: bare(clients[0].chat.completions, **BODY),
        lambda: clients[1].chat.completions.create(**BODY),
        calls,
    )
    check_sends(url)
    return median_added(without, tracked)


if __name__ == "__main__":
    added = main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.stdout.write(json.dumps({"added_us": added}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # their exporters' threads need not be waited for
