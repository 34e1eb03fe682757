"""The page that draws dashboards: bundled from `src/` and npm's packages, and served on loopback.

What is missing (node, the packages) is a failure in CI; elsewhere the test skips, saying what to
do.
"""

import functools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HERE = Path(__file__).parent
INSTALLED = HERE / "node_modules"


def node() -> str:
    """Return the path of node, with the packages of the lock file installed beside it."""
    found = shutil.which("node")
    if found is None:
        missing("no node: install it, for instance: apt-get install -y nodejs npm")
    if not (INSTALLED / ".package-lock.json").exists():
        missing("no npm packages: run .ci/npm, as `make test` does")
    return str(found)


def missing(reason: str) -> None:
    """Fail in CI, skip elsewhere."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def run_node(*arguments: str) -> str:
    """Run node in this directory; return what it prints."""
    done = subprocess.run(
        [node(), *arguments],
        cwd=HERE,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Bundle the page into a directory, and serve it; yield its address."""
    run_node("build.mjs", str(directory))
    handler = functools.partial(_Quiet, directory=str(directory))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the browser tells what failed."""
