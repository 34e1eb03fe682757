"""What `pip install spendtree` gives: the contents of wheel and sdist, their metadata, the door."""

import email
import inspect
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path

import pytest

import spendtree
from spendtree.cli import bundle

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"spendtree": ROOT / "sdk", "spendtree_exporter": ROOT / "exporter"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build wheel and sdist once, with the build backend as it is installed here."""
    target = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-d", str(target)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
    return email.message_from_string(wheel.read(name).decode("utf-8"))


def sources() -> set[str]:
    """Return every file of both packages, as the wheel names it."""
    return {
        path.relative_to(root).as_posix()
        for package, root in PACKAGES.items()
        for path in (root / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_holds_every_file_of_both_packages_the_bundle_and_nothing_else(
    wheel: zipfile.ZipFile,
) -> None:
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert packed == sources() | {f"spendtree/alerts/{name}" for name in bundle.files()}


def test_the_alerting_bundle_can_be_written_from_an_installed_wheel(
    wheel: zipfile.ZipFile, tmp_path: Path
) -> None:
    """What is installed is what the wheel unpacks to, before anything else on the path."""
    site, out = tmp_path / "site-packages", tmp_path / "out"
    wheel.extractall(site)

    done = subprocess.run(
        [sys.executable, "-m", "spendtree.cli", "rules", "-o", str(out)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    paths = (path for path in out.rglob("*") if path.is_file())
    texts = {path.relative_to(out).as_posix(): path.read_text("utf-8") for path in paths}
    assert texts == bundle.files()


def test_both_packages_are_marked_as_typed(wheel: zipfile.ZipFile) -> None:
    assert {"spendtree/py.typed", "spendtree_exporter/py.typed"} <= set(wheel.namelist())


def test_the_schema_of_the_store_is_in_the_wheel(wheel: zipfile.ZipFile) -> None:
    schema = [name for name in wheel.namelist() if name.startswith("spendtree/store/schema/")]

    assert schema
    assert all(name.endswith(".sql") for name in schema)


def test_the_sdist_builds_without_the_repository_around_it(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}

    code = {f"{PACKAGES[name.partition('/')[0]].name}/{name}" for name in sources()}
    assert code | {f"alerts/{name}" for name in bundle.files()} <= packed
    assert {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "NOTICE",
        "CHANGELOG.md",
        "PKG-INFO",
    } <= packed
    assert not [name for name in packed if name.startswith(("tests/", "bench/", "docs/"))]


def test_the_commands_are_installed(wheel: zipfile.ZipFile) -> None:
    (name,) = [name for name in wheel.namelist() if name.endswith("entry_points.txt")]

    assert wheel.read(name).decode().split() == [
        *("[console_scripts]", "spendtree", "=", "spendtree.cli:main"),
        *("spendtree-exporter", "=", "spendtree_exporter.cli:main"),
    ]


def test_the_metadata_says_who_may_use_it_and_what_it_needs(metadata: Message) -> None:
    assert metadata["Name"] == "spendtree"
    assert metadata["Version"] == spendtree.__version__ == PROJECT["version"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_payload() == (ROOT / "README.md").read_text("utf-8")
    assert requirements(metadata, "") == {"prometheus-client", "genai-prices", "pyyaml"}


def test_the_extras_are_cli_exporter_with_cli_and_all_with_everything(metadata: Message) -> None:
    extras = set(metadata.get_all("Provides-Extra", []))

    assert {"cli", "exporter", "all"} <= extras
    assert requirements(metadata, "cli") == {"typer", "rich", "orjson"}
    assert requirements(metadata, "exporter") > requirements(metadata, "cli")
    assert {"starlette", "uvicorn"} <= requirements(metadata, "exporter")
    for extra in extras:
        assert requirements(metadata, extra) <= requirements(metadata, "all")


def test_the_door_lists_its_names_sorted_and_lists_all_of_them() -> None:
    exposed = {
        name
        for name, thing in vars(spendtree).items()
        if not name.startswith("_") and not inspect.ismodule(thing)
    }

    assert spendtree.__all__ == sorted(spendtree.__all__)
    assert set(spendtree.__all__) == exposed


@pytest.mark.parametrize("name", spendtree.__all__)
def test_every_listed_name_is_there_and_says_what_it_is(name: str) -> None:
    thing = getattr(spendtree, name)

    if callable(thing):
        assert thing.__doc__, f"spendtree.{name} has no docstring"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        getattr(spendtree, "no_such_name")  # noqa: B009 -- mypy knows that it is not there


def requirements(metadata: Message, extra: str) -> set[str]:
    """Return the projects that one extra requires, "" for the plain install."""
    found = set()
    for line in metadata.get_all("Requires-Dist", []):
        needed, _, marker = line.partition(";")
        asked = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        if (asked.group(1) if asked else "") == extra:
            found.add(re.split(r"[^\w.-]", needed.strip())[0].lower())
    return found
