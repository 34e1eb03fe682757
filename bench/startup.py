"""How long `import spendtree` takes in a fresh interpreter, its bytecode cached."""

import os
import statistics
import subprocess
import sys

from bench.figure import Figure

TIMED = (
    "import time; start = time.perf_counter(); import spendtree; print(time.perf_counter() - start)"
)


def figures(quick: bool = False) -> list[Figure]:
    seconds = [_import() for _ in range(6 if quick else 21)][1:]
    return [Figure("import spendtree", statistics.median(seconds) * 1e3, "ms", 80)]


def _import() -> float:
    # Where bytecode may not be written, the first run would have cached nothing for the others.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", TIMED], capture_output=True, check=True, env=env)
    return float(done.stdout)
