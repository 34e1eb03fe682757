"""The suite notices the mistakes that matter: each is made in a copy, where its tests must fail.

The copy is a repository of its own (sources, tests, settings), so that nothing is written here.
"""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.sdk.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("sdk", "tests/sdk", "tests/conftest.py", "tests/processes.py", "pyproject.toml")
FAILED = 1
"""What pytest exits with where tests failed; an import or a collection that fails is another."""

GUARD = """
import spendtree
from hypothesis import Phase

settings.register_profile("mutants", deadline=None, derandomize=True, phases=(Phase.generate,))
settings.load_profile("mutants")

if not spendtree.__file__.startswith({copy!r}):
    raise ImportError(f"the tests would run on {{spendtree.__file__}}, which is not mutated")
"""

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Copy what the tests need; compiled files too, which saves a second each time."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    with open(tmp_path / "tests/conftest.py", "a") as conftest:
        conftest.write(GUARD.format(copy=str(tmp_path)))
    return tmp_path


def run(copy: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """Run some tests on the copy; return pytest's exit code and what it printed."""
    command = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider"]
    command += [f"tests/sdk/{test}" for test in tests]
    environment = {**os.environ, "PYTHONPATH": str(copy / "sdk")}
    environment.pop("PYTEST_ADDOPTS", None)
    done = subprocess.run(
        command, cwd=copy, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.returncode, done.stdout + done.stderr


def test_the_copy_without_a_mistake_passes(copy: Path) -> None:
    killers = dict.fromkeys(test for mutant in MUTANTS for test in mutant.killers)
    code, output = run(copy, tuple(killers))
    assert code == 0, output


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.mistake)
def test_a_mistake_is_noticed(copy: Path, mutant: Mutant) -> None:
    module = copy / "sdk" / "spendtree" / mutant.module
    source = module.read_text("utf-8")
    assert source.count(mutant.old) == 1, "the source has changed: bring this mutant up to date"
    module.write_text(source.replace(mutant.old, mutant.new), "utf-8")
    os.utime(module, (0, 0))  # another time than the copied compiled file knows
    code, output = run(copy, mutant.killers)
    assert code == FAILED, output
    for killer in mutant.killers:
        assert f"\nFAILED tests/sdk/{killer}" in output, f"{killer} does not notice:\n{output}"


def test_each_mistake_has_a_name_of_its_own() -> None:
    assert set(Counter(mutant.mistake for mutant in MUTANTS).values()) == {1}
