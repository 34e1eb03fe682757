"""What another tracker adds to a call of the openai client; run in that tracker's own environment.

`python bench/rivals/probe.py NAME URL CALLS` prints the microseconds added, as JSON. Nothing of
ours is imported. What it records goes to the same loopback provider, which accepts and forgets it.
"""

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
WARM_UP = 20

Ask = Callable[[], object]


def in_turn(one: Ask, other: Ask, calls: int) -> tuple[list[float], list[float]]:
    """Return the microseconds of each, in pairs: they take turns, so both see the same machine."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(calls + WARM_UP):
        for ask, into in zip((one, other), taken, strict=True):
            start = time.perf_counter()
            ask()
            if turn >= WARM_UP:  # connections and caches are warm by then
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
    return median_added(without, tracked)


if __name__ == "__main__":
    added = main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    sys.stdout.write(json.dumps({"added_us": added}) + "\n")
    sys.stdout.flush()
    os._exit(0)  # their exporters' threads need not be waited for
