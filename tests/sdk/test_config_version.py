"""Which of two configurations is newer."""

import os
from pathlib import Path
from typing import Any

import pytest

from spendtree.config import load_config
from spendtree.config.describing import describe
from spendtree.config.version import is_newer, of_time
from spendtree.errors import ConfigurationError


def order(version: Any) -> int:
    found = load_config({"version": version}).order
    assert found is not None
    return found


def test_numbers_come_before_dates_and_both_after_what_states_none() -> None:
    ascending = [
        of_time(0, "file of").order,
        of_time(2**62, "file of").order,
        order(0),
        order("7"),
        order(10),
        order(20261201),
        order("2026-12-01"),
        order("2026-12-01T00:00:01"),
        order("2026-12-02T01:00:00+02:00"),
        order("2026-12-02"),
    ]
    assert ascending == sorted(set(ascending))
    assert all(-(2**63) <= each < 2**63 for each in ascending), "a column of SQLite holds it"


@pytest.mark.parametrize(
    "value", ["", "new", "-1", -1, 1.5, "1.5", True, None, "9" * 16, "2000-01-01", "2300-01-01", []]
)
def test_what_is_not_a_version_is_refused_with_what_is(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"version: .* is not a version; give a whole"):
        load_config({"version": value})


def test_a_file_that_states_none_is_as_new_as_its_last_change(tmp_path: Path) -> None:
    file = tmp_path / "spendtree.yaml"
    file.write_text("mode: warn\n")
    os.utime(file, ns=(0, 1_800_000_000 * 10**9))
    config = load_config(file)
    assert config.order == of_time(1_800_000_000 * 10**9, "").order
    assert config.dated is not None
    assert config.dated.text == f"{file} of 2027-01-15 08:00:00 UTC"
    file.write_text("version: 3\n")
    assert load_config(file).order == 3


def test_a_mapping_that_states_none_has_no_place_among_others() -> None:
    assert load_config({"mode": "warn"}).order is None
    assert not is_newer(None, None)
    assert is_newer(1, None)
    assert not is_newer(1, 1)


@pytest.mark.parametrize("version", [3, "2026-12-01"])
def test_a_version_is_described_as_it_was_stated(version: int | str) -> None:
    config = load_config({"version": version})
    assert describe(config)["version"] == str(version)
    assert load_config(describe(config)).version == config.version
    assert "version" not in describe(load_config({}))
