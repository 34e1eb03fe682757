"""What is installed: versions, our extras and what is missing for them."""

import platform
import re
import sqlite3
from importlib import metadata

import spendtree
from spendtree.cli.doctor.finding import Section
from spendtree.store.database import SQLITE_NEEDED

_REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[(?P<extras>[^\]]*)\])?\s*(?:\(?>=\s*(?P<least>[0-9.]+))?"
)
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")

OWN = "spendtree"
ALL = "all"


def look() -> Section:
    """Look at Python, SQLite, our own libraries and our extras."""
    section = Section(name="installation", title="Installation")
    versions = {
        "spendtree": spendtree.__version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
    }
    section.ok(
        f"spendtree {versions['spendtree']} on Python {versions['python']} "
        f"with SQLite {versions['sqlite']}"
    )
    if sqlite3.sqlite_version_info < SQLITE_NEEDED:
        needed = ".".join(map(str, SQLITE_NEEDED))
        section.fail(f"SQLite {needed} or newer is needed", "use a Python that is built with it")
    needs = requirements()
    libraries = _libraries(section, needs.pop("", {}))
    section.facts = {
        "versions": versions,
        "libraries": libraries,
        "extras": _extras(section, needs),
    }
    return section


def requirements() -> dict[str, dict[str, str]]:
    """Return what each extra ("" is the plain install) needs: distribution -> least version."""
    found: dict[str, dict[str, str]] = {}
    try:
        lines = metadata.requires(OWN) or []
    except metadata.PackageNotFoundError:  # run from a source tree that was never installed
        return found
    for line in lines:
        requirement, _, marker = line.partition(";")
        extra = _EXTRA.search(marker)
        match = _REQUIREMENT.match(requirement.strip())
        if match is not None and _is_for_here(marker):
            needs = found.setdefault(extra[1] if extra else "", {})
            needs[match["name"].lower()] = match["least"] or ""
    return found


def missing(needs: dict[str, str]) -> list[str]:
    """Return what is not there, or too old, of some distributions with their least versions."""
    lacking = []
    for name, least in needs.items():
        version = installed(name)
        if version is None:
            lacking.append(name)
        elif _numbers(version) < _numbers(least):
            lacking.append(f"{name} {least} ({version} is older)")
    return lacking


def installed(name: str) -> str | None:
    """Return the version of a distribution, None if it is not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _libraries(section: Section, needs: dict[str, str]) -> dict[str, str | None]:
    versions = {name: installed(name) for name in needs}
    lacking = missing(needs)
    if lacking:
        section.fail(f"missing: {', '.join(lacking)}", "pip install --upgrade spendtree")
    known = [f"{name} {version}" for name, version in versions.items() if version]
    if known:
        section.ok(", ".join(known))
    return versions


def _extras(section: Section, extras: dict[str, dict[str, str]]) -> dict[str, list[str]]:
    """Return what each extra lacks."""
    lacks = {name: missing(needs) for name, needs in sorted(extras.items()) if name != ALL}
    complete = [name for name, lacking in lacks.items() if not lacking]
    if complete:
        section.ok(f"extras: {', '.join(complete)}")
    for name, lacking in lacks.items():
        if lacking:
            section.note(
                f"extra {name} is not installed: it needs {', '.join(lacking)}",
                f"pip install 'spendtree[{name}]', if you want it",
            )
    return lacks


def _is_for_here(marker: str) -> bool:
    """Tell whether a requirement is for this interpreter; its other conditions are beside us."""
    return "platform_python_implementation" not in marker or platform.machine() in marker


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
