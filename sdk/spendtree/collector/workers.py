"""Workers: whether this process is one of several that serve one address, as far as it can know.

Nobody tells a process so. What is known: two variables of the environment, and, of gunicorn,
uvicorn and hypercorn, the objects that they have started this very process with. Where none of
them speaks up there may be several all the same: a child that was forked off with a collector shows
nothing, see `collecting`. Reads only, and loads no server.
"""

import os
import sys
import threading
from collections.abc import Iterator
from types import FrameType

_SERVERS = ("uvicorn", "hypercorn")
"""Servers that start their workers by multiprocessing, with their configuration as an argument."""


def why_many() -> str:
    """Return why several workers seem to serve one address, "" if nothing says so."""
    return next(_reasons(), "")


def _reasons() -> Iterator[str]:
    for name in ("PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"):
        if os.environ.get(name):
            yield f"{name} is set, so several processes share this application's metrics"
    told = os.environ.get("WEB_CONCURRENCY", "")
    if told.isdecimal() and int(told) > 1:
        yield (
            f"WEB_CONCURRENCY={told} asks servers for {told} worker processes (unset it where "
            "this process serves alone)"
        )
    for server, workers in (_of_multiprocessing(), _of_gunicorn()):
        if workers > 1:
            yield f"this is one of {workers} workers of {server}"


def _of_multiprocessing() -> tuple[str, int]:
    """Return server and number of workers, if multiprocessing started this process for one."""
    module = sys.modules.get("multiprocessing.process")
    if module is None:
        return "", 1
    config = getattr(module.current_process(), "_kwargs", {}).get("config")
    server = type(config).__module__.partition(".")[0]
    # uvicorn reloads one worker only, whatever number it was told.
    if server not in _SERVERS or getattr(config, "should_reload", False):
        return "", 1
    return server, _count(config)


def _of_gunicorn() -> tuple[str, int]:
    """Return the number of workers, if this process runs in or below gunicorn's arbiter.

    A worker is forked in the midst of the arbiter's code, which stays on the main thread's stack.
    """
    if "gunicorn.arbiter" not in sys.modules:
        return "", 1
    main = threading.main_thread().ident
    frame: FrameType | None = sys._current_frames().get(main or 0)
    while frame is not None:
        if frame.f_globals.get("__name__") == "gunicorn.arbiter":
            return "gunicorn", _count(getattr(frame.f_locals.get("self"), "cfg", None))
        frame = frame.f_back
    return "", 1


def _count(config: object) -> int:
    workers = getattr(config, "workers", 1)
    return workers if isinstance(workers, int) else 1
