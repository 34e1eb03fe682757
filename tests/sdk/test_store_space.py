"""A volume that was full goes on by itself once there is space, and a small one never fills up."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spendtree import Spendtree, Usage
from spendtree.store.space import SMALLEST_LIMIT, free_bytes, wal_limit
from tests.sdk.test_store_identity import CONFIG, beside, call, opened, sound

MB = 1 << 20


@pytest.mark.parametrize(
    ("free", "size", "limit"),
    [
        (10**12, 0, 16 * MB),
        (10**12, 10**9, 16 * MB),
        (40 * MB, 0, 10 * MB),
        (30 * MB, 10 * MB, 10 * MB),
        (0, 2 * MB, MB // 2),
        (0, 0, SMALLEST_LIMIT),
    ],
)
def test_a_log_takes_a_quarter_of_a_small_volume(free: int, size: int, limit: int) -> None:
    assert wal_limit(free, size, 16 * MB) == limit


def test_what_is_free_is_known(tmp_path: Path) -> None:
    assert free_bytes(str(tmp_path)) > 0
    assert free_bytes(str(tmp_path / "missing")) > 2**60


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A volume of 2 MB."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small volume; CI has it")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "none", tmp_path],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.decode()}")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill(volume: Path) -> Path:
    hog = volume / "hog"
    with hog.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return hog


def test_a_small_volume_is_not_filled_by_the_log(small: Path) -> None:
    path = small / "spend.db"
    with closing(opened(path)) as store:
        for _ in range(800):
            call(store)
            assert beside(path, "-wal").stat().st_size < MB
    assert sound(path) == ("ok", 800)


def test_a_volume_that_was_full_goes_on_when_there_is_space(small: Path) -> None:
    path = small / "spend.db"
    tracker = Spendtree(f"sqlite:///{path}", CONFIG)
    made = 0
    with tracker.session("s"):
        for _ in range(3):
            hog = fill(small)
            for _ in range(60):
                with tracker.call("m", input_tokens=500, max_output_tokens=500) as each:
                    each.record(Usage(500, 500))
                made += 1
            assert tracker.unrecorded_calls
            hog.unlink()
            for _ in range(60):
                with tracker.call("m", input_tokens=500, max_output_tokens=500) as each:
                    each.record(Usage(500, 500))
                made += 1
            assert not tracker.unsettled
        recorded = made - tracker.unrecorded_calls
        assert recorded >= 180
    tracker.close()

    assert sound(path) == ("ok", recorded)
