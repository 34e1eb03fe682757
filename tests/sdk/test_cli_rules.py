"""`spendtree rules`: the bundle in a folder, with one's own thresholds, and again over it."""

import json
from pathlib import Path

import pytest
import yaml

from spendtree.cli import bundle
from spendtree.cli.app import run
from spendtree.config.thresholds import THRESHOLDS


def written(folder: Path) -> set[str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in paths}


def vector(folder: Path, name: str) -> str:
    """Return what the written rules give as a threshold where the configuration says nothing."""
    rules = yaml.safe_load((folder / bundle.THRESHOLD_RULES).read_text("utf-8"))
    (rule,) = [rule for rule in rules["groups"][0]["rules"] if rule["labels"]["name"] == name]
    return str(rule["expr"]).rpartition(" or ")[2]


def test_it_writes_the_whole_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "folder"

    assert run(["rules", "-o", str(folder)]) == 0

    assert written(folder) == set(bundle.files())
    assert {"rules/alerts-budgets.yml", "alertmanager.yml", "prometheus.yml"} <= written(folder)
    assert "with default thresholds" in capsys.readouterr().out


def test_a_threshold_of_ones_own_is_in_it(tmp_path: Path) -> None:
    given = ["--threshold", "cost_amplification_ratio=3", "--threshold", "store_errors = 0.50"]

    assert run(["rules", "-o", str(tmp_path), *given]) == 0

    assert vector(tmp_path, "cost_amplification_ratio") == "vector(3)"
    assert vector(tmp_path, "store_errors") == "vector(0.50)"
    assert vector(tmp_path, "budget_near_ratio") == "vector(0.8)"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("cost_amplification=3", "did you mean cost_amplification_ratio?"),
        ("zzz=3", "`spendtree rules` lists them"),
        ("store_errors", "'' is no number of 0 or more"),
        ("store_errors=many", "'many' is no number"),
        ("store_errors=-1", "'-1' is no number of 0 or more"),
        ("store_errors=NaN", "'NaN' is no number"),
        ("store_errors=1e30", "'1e30' is too large; give at most 1000000000000000"),
        ("store_errors=inf", "'inf' is no number"),
    ],
)
def test_a_threshold_that_is_none_is_refused_and_nothing_written(
    given: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rules", "-o", str(tmp_path), "--threshold", given]) == 2

    shown = capsys.readouterr().err
    assert said in shown
    assert "Invalid value for --threshold" in shown
    assert not written(tmp_path)


def test_written_again_it_keeps_what_is_ones_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["rules", "-o", str(tmp_path)])
    mine, rules = tmp_path / "alertmanager.yml", tmp_path / "rules" / "alerts-exporter.yml"
    mine.write_text("route: {receiver: mine}\n")
    rules.write_text("groups: []\n")
    capsys.readouterr()

    assert run(["rules", "-o", str(tmp_path)]) == 0

    assert mine.read_text() == "route: {receiver: mine}\n"
    assert rules.read_text("utf-8") == bundle.files()["rules/alerts-exporter.yml"]
    assert "alertmanager.yml is there already and was left as it is" in capsys.readouterr().out

    assert run(["rules", "-o", str(tmp_path), "--force"]) == 0

    assert mine.read_text("utf-8") == bundle.files()["alertmanager.yml"]


def test_a_file_of_ones_own_need_not_be_utf_8(tmp_path: Path) -> None:
    mine = tmp_path / "alertmanager.yml"
    mine.write_bytes(b"# f\xfcr mich\n")

    assert run(["rules", "-o", str(tmp_path)]) == 0

    assert mine.read_bytes() == b"# f\xfcr mich\n"


@pytest.mark.parametrize("option", ["--runbook-base", "--grafana-base"])
@pytest.mark.parametrize("given", ["x: y", "https://a.test/x: y", "https://a.test\n", "ftp://a"])
def test_a_link_that_is_no_url_is_refused_and_nothing_written(
    option: str, given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rules", "-o", str(tmp_path), option, given]) == 2

    said = capsys.readouterr().err
    assert option in said
    assert "is no URL" in said
    assert not written(tmp_path)


def test_a_folder_without_a_name_is_refused_and_nothing_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run(["rules", "-o", ""]) == 2

    assert "the folder's name is empty" in capsys.readouterr().err
    assert not written(tmp_path)


def test_links_begin_where_they_are_said_to(tmp_path: Path) -> None:
    links = ["--runbook-base", "https://wiki.test", "--grafana-base", "https://grafana.test"]

    assert run(["rules", "-o", str(tmp_path), *links]) == 0

    text = (tmp_path / "rules" / "alerts-exporter.yml").read_text("utf-8")
    assert "https://wiki.test/SpendtreeExporterDown.md" in text
    assert "https://grafana.test/d/spendtree-exporter" in text


def test_without_a_folder_it_lists_thresholds_with_their_reasons(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")

    assert run(["rules", "--threshold", "store_errors=7"]) == 0

    shown = capsys.readouterr().out
    assert all(name in shown for name in THRESHOLDS)
    assert "in 15 minutes; a busy moment makes one or two" in shown
    assert "store_errors" in shown
    (line,) = [line for line in shown.splitlines() if line.startswith("store_errors ")]
    assert line.split()[1] == "7"


def test_thresholds_can_be_had_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "--json", "--threshold", "store_errors=7"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found.keys() == THRESHOLDS.keys()
    assert (found["store_errors"]["value"], found["store_errors"]["default"]) == ("7", "5")


def test_what_was_written_can_be_had_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["rules", "--json", "-o", str(tmp_path)]) == 0

    said = json.loads(capsys.readouterr().out)
    assert set(said["written"]) == written(tmp_path)
    assert said["kept"] == []


def test_an_installation_without_the_bundle_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "sdk" / "spendtree" / "__init__.py"
    monkeypatch.setattr("spendtree.cli.bundle.spendtree.__file__", str(package))

    assert run(["rules", "-o", str(tmp_path / "out")]) == 1

    assert "the alerting bundle is missing" in capsys.readouterr().err
