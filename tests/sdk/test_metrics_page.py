"""The page about the metrics is the catalogue's, and its example queries are PromQL."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from spendtree.metrics import CATALOGUE, PREFIX
from spendtree.metrics.page import page

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_in_the_docs_is_what_the_catalogue_says_now() -> None:
    written = (ROOT / "docs" / "metrics.md").read_text("utf-8")

    assert written == page(), "run: python -m spendtree.metrics > docs/metrics.md"


def test_every_family_says_what_it_means_what_counts_and_how_to_ask_for_it() -> None:
    text = page()
    for each in CATALOGUE:
        assert each.help.endswith("."), each.name
        assert each.counts.endswith("."), each.name
        assert each.full_name in each.query, each.name
        section = text.partition(f"### {each.full_name}\n")[2].partition("\n### ")[0]
        for part in (each.help, each.counts, each.query, each.kind, each.unit, *each.labels):
            assert part in section, f"{each.name}: {part}"


def test_example_queries_name_only_families_and_labels_that_there_are() -> None:
    names = {each.full_name: each for each in CATALOGUE}
    for each in CATALOGUE:
        for found in re.findall(rf"{PREFIX}\w+", each.query):
            name = found.removesuffix("_bucket")
            assert name in names, f"{each.name}: {found}"
            assert (found != name) == bool(names[name].buckets), f"{each.name}: {found}"
        labels = {"store", "part", "le", *each.labels}
        for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", each.query):
            assert set(group.split(", ")) <= labels, each.name


def test_example_queries_are_taken_by_prometheus(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        reason = "install prometheus (promtool), for instance: apt-get install -y prometheus"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    rules = "".join(
        f"  - record: example:{number}\n    expr: {each.query}\n"
        for number, each in enumerate(CATALOGUE)
    )
    file = tmp_path / "rules.yml"
    file.write_text(f"groups:\n- name: examples\n  rules:\n{rules}".replace("example:", "x:e"))

    checked = subprocess.run(
        [promtool, "check", "rules", file], capture_output=True, text=True, timeout=60, check=False
    )

    assert checked.returncode == 0, checked.stderr
    assert f"{len(CATALOGUE)} rules found" in checked.stdout
