"""The table of benchmarks: medians, targets, ratios. What they measure is not tested here."""

import json
import sys
import types
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench.figure import Figure


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Return a benchmark `fake` in the table, to be given its `figures`; it runs three times."""
    fake = types.ModuleType("bench.fake")
    monkeypatch.setitem(sys.modules, "bench.fake", fake)
    monkeypatch.setitem(bench.REPEATS, "fake", 3)
    return fake


def test_a_figure_is_the_median_of_its_repeats(module: types.ModuleType) -> None:
    values = iter([3.0, 1.0, 2.0])
    module.__dict__["figures"] = lambda: [("a call", next(values), "us")]

    assert bench.measure("fake", quick=False) == [Figure("a call", 2.0, "us")]


def test_quick_runs_once_and_tells_the_benchmark_if_it_asks(module: types.ModuleType) -> None:
    asked: list[bool] = []

    def figures(quick: bool = False) -> list[Figure]:
        asked.append(quick)
        return [Figure("a call", 1.0, "us")]

    module.__dict__["figures"] = figures
    bench.measure("fake", quick=True)

    assert asked == [True]


def test_a_time_is_to_stay_below_its_target_and_a_rate_above() -> None:
    assert Figure("a call", 59, "us", target=60).reached is True
    assert Figure("a call", 61, "us", target=60).reached is False
    assert Figure("import", 21_000, "spans/s", target=20_000).reached is True
    assert Figure("import", 19_000, "spans/s", target=20_000).reached is False
    assert Figure("render", 40, "x", target=50).reached is False
    assert Figure("a call", 61, "us").reached is None


def test_the_ratio_is_the_figures_own_or_value_to_target() -> None:
    assert Figure("a call", 30, "us", target=60).compared == 0.5
    assert Figure("a call", 30, "us", target=60, ratio=1.1).compared == 1.1
    assert Figure("a call", 30, "us").compared is None


def test_a_target_for_a_figure_that_is_not_there_is_a_mistake() -> None:
    with pytest.raises(LookupError, match="a cal"):
        bench.aimed([Figure("a call", 1, "us")], {"a cal": 60})


def test_the_json_file_has_a_row_for_each_figure(
    module: types.ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    module.__dict__["figures"] = lambda: [Figure("a call", 30.0, "us", target=60)]
    target = tmp_path / "figures.json"

    assert bench.main(["fake", "--json", str(target)]) == 0

    rows = json.loads(target.read_text("utf-8"))
    assert rows == [{"name": "a call", "value": 30.0, "unit": "us", "ratio": 0.5}]
    assert capsys.readouterr().out.endswith("ok\n")


def test_an_unknown_benchmark_is_refused_naming_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit):
        bench.main(["nope"])

    assert "there are startup, pricing" in capsys.readouterr().err


def test_every_benchmark_of_the_table_is_a_module() -> None:
    modules = {path.stem for path in Path(bench.__file__).parent.glob("*.py")}

    assert set(bench.REPEATS) == modules - {"__init__", "__main__", "figure"}
    assert set(bench.TARGETS) <= set(bench.REPEATS)
