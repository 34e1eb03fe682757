"""The image: small, not root, and built from what the context has."""

import fnmatch
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.stack.ports import ROOT, settings

DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
IGNORE = (ROOT / ".dockerignore").read_text("utf-8").splitlines()


def stages() -> list[str]:
    return re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]


def test_the_tools_that_build_it_are_not_in_it() -> None:
    built, image = stages()

    assert built.splitlines()[0].endswith(" AS build")
    assert "pip install" in built
    assert "pip" not in image
    assert "COPY --from=build" in image


def test_it_runs_as_nobody_in_particular_and_tells_whether_it_is_well() -> None:
    image = stages()[-1]

    assert "\nUSER 10001:10001\n" in image
    assert "HEALTHCHECK" in image
    assert image.index("\nUSER ") < image.index("\nCMD ")


def test_it_is_built_on_the_version_of_python_that_the_stack_names() -> None:
    (version,) = re.findall(r"^ARG PYTHON_VERSION=(\S+)$", DOCKERFILE, re.MULTILINE)

    assert version == settings()["PYTHON_VERSION"]
    assert all(stage.startswith("python:${PYTHON_VERSION}") for stage in stages())


def test_the_context_has_everything_that_the_package_is_built_from(tmp_path: Path) -> None:
    """The wheel of the context is the wheel of the repository."""
    context = tmp_path / "context"
    context.mkdir()
    for name in taken():
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, context / name)

    assert names(context, tmp_path / "one") == names(ROOT, tmp_path / "other")


def taken() -> list[str]:
    """Return what .dockerignore lets through: it forbids everything first."""
    assert next(line for line in IGNORE if line and not line.startswith("#")) == "*"
    return [line.removeprefix("!") for line in IGNORE if line.startswith("!")]


def names(directory: Path, target: Path) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (wheel,) = target.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


def test_nothing_private_is_taken_into_the_context() -> None:
    private = ["spend.db", ".git/config", ".venv/bin/python", ".env", "notes.txt"]

    assert not [path for path in private if any(fnmatch.fnmatch(path, name) for name in taken())]
