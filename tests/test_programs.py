"""Newer programs are fetched where that can be done, and their absence is told, loudly in CI."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests import programs

NEWER = Path(__file__).resolve().parents[1] / ".ci" / "newer"


def newer(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `.ci/newer` where there is bash and nothing else: no apt-get."""
    tools = folder / "tools"
    tools.mkdir()
    bash = shutil.which("bash")
    assert bash
    return subprocess.run(
        [bash, str(NEWER), str(folder / "newer")],
        env={"PATH": str(tools), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_where_nothing_can_be_fetched_it_is_told_what_to_do(tmp_path: Path) -> None:
    done = newer(tmp_path)

    assert done.returncode == 0
    assert f"so that {tmp_path}/newer/usr/bin has prometheus" in done.stderr
    assert "will skip" in done.stderr
    assert not (tmp_path / "newer").exists()


def test_in_ci_it_is_a_failure(tmp_path: Path) -> None:
    done = newer(tmp_path, CI="true")

    assert done.returncode == 1
    assert "no apt-get here" in done.stderr


@pytest.mark.parametrize("version", programs.VERSIONS)
def test_a_test_without_its_program_skips_saying_how_to_get_it(
    version: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "NEWER", tmp_path / "newer" / "usr" / "bin")
    monkeypatch.delenv("CI", raising=False)

    remedy = (
        "apt-get install -y prometheus-alertmanager" if version == "system" else "run .ci/newer"
    )
    with pytest.raises(pytest.skip.Exception, match=remedy):
        programs.program("amtool", version)


def test_in_ci_a_missing_program_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CI", "true")

    with pytest.raises(pytest.fail.Exception, match="no amtool"):
        programs.program("amtool")


def test_the_newer_programs_are_newer_than_those_of_debian_12() -> None:
    """Otherwise the tests against them would prove nothing."""
    least = {"prometheus": (3, 5), "promtool": (3, 5), "amtool": (0, 28)}
    for name, version in least.items():
        done = subprocess.run(
            [programs.program(name, "newer"), "--version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        told = (done.stdout + done.stderr).split("version ")[1].split(".")
        assert (int(told[0]), int(told[1])) >= version, f"{name}: {done.stdout}"
