"""`python -m facts`: fetch the sources' newest wheels and write the table. Needs the network."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from facts import table
from facts.statements import (
    LITELLM,
    PROFILES,
    Statement,
    of_price_list,
    of_profiles,
    read_price_list,
    read_profiles,
)
from spendtree import pricing
from spendtree.pricing.catalogue import Catalogue
from spendtree.pricing.limits import TABLE

FETCH_SECONDS = 600

PATH = Path(pricing.__file__).with_name(TABLE)


def main() -> None:
    """Write the table into the package."""
    with tempfile.TemporaryDirectory() as directory:
        wheels = fetch([LITELLM, *PROFILES], Path(directory))
        made = table.rows(statements(wheels), find_in(Catalogue()))
        written = table.text(made, sources(wheels, f"{datetime.now(UTC):%Y-%m-%d}"))
    PATH.write_text(written, "utf-8")
    disputed = sum(row.disputed for row in made.values())
    print(f"{PATH.name}: {len(made)} rows, {disputed} of which the sources dispute")


def fetch(packages: list[str], directory: Path) -> dict[str, Path]:
    """Return the wheel of each package, fetched and not installed."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    subprocess.run([*pip, "-d", str(directory), *packages], check=True, timeout=FETCH_SECONDS)
    wheels = {}
    for package in packages:
        (wheels[package],) = directory.glob(f"{package.replace('-', '_')}-*.whl")
    return wheels


def statements(wheels: dict[str, Path]) -> Iterator[Statement]:
    """Yield what all the sources state."""
    yield from of_price_list(read_price_list(wheels[LITELLM]))
    for package, provider in PROFILES.items():
        yield from of_profiles(provider, read_profiles(wheels[package]))


def sources(wheels: dict[str, Path], day: str) -> dict[str, str]:
    """Return what each letter means: the source, its version and the day it was read."""
    versions = {package: wheel.name.split("-")[1] for package, wheel in wheels.items()}
    profiles = ", ".join(f"{package} {versions[package]}" for package in PROFILES)
    return {
        "L": f"LiteLLM {versions[LITELLM]} of {day}",
        "M": f"models.dev of {day} in {profiles}",
    }


def find_in(catalogue: Catalogue) -> table.Find:
    """Return the look-up in a price catalogue."""

    def find(model: str, provider: str) -> table.Found | None:
        identity = catalogue.identify(model, provider)
        return identity and (identity, catalogue.context_window(model, provider))

    return find


if __name__ == "__main__":
    main()
