"""Other trackers, each in an environment of its own that is made on first use and kept.

They are no dependencies of ours. One that does not install in time is told and left out.
"""

import json
import subprocess
import sys
from pathlib import Path

from bench.rivals.probe import NEEDS, TRACKERS

ROOT = Path(__file__).resolve().parents[2]
PLACE = ROOT / ".venv" / "rivals"
INSTALL_SECONDS = 180


def added(url: str, calls: int) -> dict[str, float]:
    """Return the microseconds that each tracker adds to the median call of the openai client."""
    found = {name: _measure(name, url, calls) for name in TRACKERS}
    return {name: value for name, value in found.items() if value is not None}


def _measure(name: str, url: str, calls: int) -> float | None:
    python = _environment(name)
    if python is None:
        return None
    command = [str(python), str(ROOT / "bench" / "rivals" / "probe.py"), name, url, str(calls)]
    try:
        # In their own place, since some write files into the working directory.
        done = subprocess.run(
            command, cwd=PLACE, capture_output=True, text=True, timeout=120, check=True
        )
        return float(json.loads(done.stdout.splitlines()[-1])["added_us"])
    except (subprocess.SubprocessError, LookupError, ValueError) as error:
        _tell(f"{name} does not run here: {_reason(error)}")
        return None


def _environment(name: str) -> Path | None:
    """Return the interpreter of a tracker's environment; None where it cannot be made."""
    place = PLACE / name
    python, failed = place / "bin" / "python", PLACE / f"{name}.failed"
    if (place / "installed").exists():
        return python
    if failed.exists():
        _tell(f"{name} did not install here; to try again remove {failed.relative_to(ROOT)}")
        return None
    PLACE.mkdir(parents=True, exist_ok=True)
    try:
        uv = _uv()
        _run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)])
        packages = [name, "openai", *NEEDS.get(name, ())]
        _run([uv, "pip", "install", "--quiet", "--python", str(python), *packages])
    except subprocess.SubprocessError as error:
        failed.write_text(f"{error}\n", "utf-8")
        _tell(f"{name} does not install here: {_reason(error)}")
        return None
    (place / "installed").touch()
    return python


def _uv() -> str:
    """Return uv, in a place of its own: pip tries versions of their many parts for an hour."""
    place = PLACE / "uv"
    if not (place / "bin" / "uv").exists():
        _run([sys.executable, "-m", "venv", "--clear", str(place)])
        _run([str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", "uv"])
    return str(place / "bin" / "uv")


def _run(command: list[str]) -> None:
    subprocess.run(command, capture_output=True, timeout=INSTALL_SECONDS, check=True)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"not within {error.timeout:.0f} s"
    told = getattr(error, "stderr", None) or str(error)
    text = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
    return text.strip().splitlines()[-1] if text.strip() else type(error).__name__


def _tell(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
