"""`spendtree doctor`: what is found, what it says to do, and when the exit code says so."""

import fcntl
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from spendtree import Spendtree, Usage, uninstrument
from spendtree.cli import main
from spendtree.cli.doctor import installation as installing
from spendtree.cli.doctor import storage as storing
from spendtree.cli.doctor.finding import LEVELS
from spendtree.pricing import PriceBook
from spendtree.store.database import schema_steps

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPENDTREE_STORE", "SPENDTREE_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tracker() -> Spendtree:
    return Spendtree("sqlite:///spendtree.db", {"prices": PRICES})


def spend(tracker: Spendtree, model: str = "m") -> None:
    with tracker.call(model, input_tokens=100, max_output_tokens=100) as call:
        call.record(Usage(100, 100))


def examined(capsys: Capture, *arguments: str, code: int = 0) -> dict[str, Any]:
    """Return what `--json` says."""
    assert main(["doctor", "--json", *arguments]) == code
    said = capsys.readouterr()
    assert said.err == ""
    found: dict[str, Any] = json.loads(said.out)
    return found


def told(report: dict[str, Any], section: str, level: str) -> dict[str, str]:
    """Return the findings of one level, each with what to do about it."""
    found = report[section]["findings"]
    return {each["text"]: each["fix"] for each in found if each["level"] == level}


def shown(capsys: Capture, monkeypatch: pytest.MonkeyPatch, *arguments: str, code: int = 0) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["doctor", *arguments]) == code
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


# The whole.


def test_where_nothing_is_yet_nothing_is_wrong_and_nothing_is_made(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = shown(capsys, monkeypatch)

    assert "spendtree.db is not there yet\n    the first session or call makes it" in out
    assert "none: the defaults hold" in out
    assert out.endswith("\nAll is well.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_sound_store_is_well(
    tracker: Spendtree, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracker.session():
        spend(tracker)

    out = shown(capsys, monkeypatch)

    assert [line for line in out.splitlines() if line and line[0] != " "] == [
        *("Installation", "Clients", "Store", "Log", "Exporter", "Prices", "Configuration"),
        "All is well.",
    ]
    sound = f"sound, schema {len(schema_steps())}, store id {tracker.store.id}"
    assert f"  ✓ {sound}\n  ✓ no open holds\n" in out
    assert "  ✓ 3 events, the last at 20" in out


def test_each_warning_stands_with_what_to_do_and_is_counted(
    tracker: Spendtree, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(tracker)
    spend(tracker, "new-model")

    out = shown(capsys, monkeypatch)

    assert "  ! 2 calls of $0.002 were made outside any session, the last at " in out
    assert "    → open a spendtree.session around what makes them" in out
    assert "  ! 1 call of unknown price, which cost extra: new-model\n" in out
    assert "    → give the models a price under `prices:` in spendtree.yaml\n" in out
    assert out.endswith("\n2 warnings to look at.\n")


def test_json_has_every_finding_and_its_figures(tracker: Spendtree, capsys: Capture) -> None:
    spend(tracker)
    report = examined(capsys)

    sections = set(report) - {"summary"}
    assert sections == {
        *("installation", "clients", "store", "log", "exporter", "prices", "configuration"),
    }
    levels = [each["level"] for name in sections for each in report[name]["findings"]]
    assert report["summary"] == {level: levels.count(level) for level in LEVELS}
    assert report["summary"]["warning"] == 1
    store = report["store"]
    assert (store["id"], store["mode"], store["faults"]) == (tracker.store.id, "0600", [])
    assert store["schema"] == store["known_schema"]
    assert store["bytes"] > 0
    assert store["free_bytes"] > 0
    (stray,) = report["log"]["unattributed"]
    assert (stray["reason"], stray["calls"], stray["cost_usd"]) == ("no_scope", 1, "0.002")


def test_control_characters_of_the_log_reach_no_terminal(
    tracker: Spendtree, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(tracker, "evil\x1b[31m")
    assert "\x1b" not in shown(capsys, monkeypatch)


# The store.


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///no/such/spend.db", "there is no directory"),
        ("postgres://x", "the URL is"),
        ("sqlite:///", "name a file"),
        ("sqlite:///spend.db?fast=1", "the only option"),
        ("sqlite:///.", "is a directory"),
    ],
)
def test_a_store_that_cannot_be_is_a_problem(capsys: Capture, url: str, text: str) -> None:
    report = examined(capsys, "--store", url, code=1)
    (problem,) = told(report, "store", "problem")
    assert text in problem
    assert "log" not in report


def test_memory_is_nothing_to_look_at(capsys: Capture) -> None:
    report = examined(capsys, "--store", "memory:")
    assert list(told(report, "store", "note")) == ["memory: is gone with its process"]


def test_a_file_that_others_may_read_is_told_with_the_command_that_helps(
    tracker: Spendtree, capsys: Capture, tmp_path: Path
) -> None:
    os.chmod(tmp_path / "spendtree.db", 0o640)
    ((text, fix),) = told(examined(capsys), "store", "warning").items()
    assert text == "its mode is 0640: others on this host may see who spends what"
    assert subprocess.run(["/bin/sh", "-c", fix], check=True).returncode == 0
    assert told(examined(capsys), "store", "warning") == {}


def test_damage_is_a_problem(tracker: Spendtree, capsys: Capture, tmp_path: Path) -> None:
    with tracker.session():
        for _ in range(200):
            spend(tracker)
    tracker.close()
    with (tmp_path / "spendtree.db").open("r+b") as file:
        file.seek(20 * 1024)
        file.write(b"\x55" * 8 * 1024)
    report = examined(capsys, code=1)
    assert len(told(report, "store", "problem")) == 1
    assert "log" not in report


def test_another_programs_database_is_a_problem(capsys: Capture) -> None:
    with sqlite3.connect("theirs.db") as connection:
        connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    report = examined(capsys, "--store", "sqlite:///theirs.db", code=1)
    assert "no store of Spendtree's" in next(iter(told(report, "store", "problem")))


@pytest.mark.parametrize(("version", "level"), [(1, "note"), (99, "problem")])
def test_a_schema_of_another_version_is_told(
    tracker: Spendtree, capsys: Capture, version: int, level: str
) -> None:
    tracker.close()
    with sqlite3.connect("spendtree.db") as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    report = examined(capsys, code=int(level == "problem"))
    (text,) = [text for text in told(report, "store", level) if "schema" in text]
    assert text.startswith(f"its schema is version {version}")


DIES = """
import os
from spendtree import Spendtree
tracker = Spendtree("sqlite:///spendtree.db", {"prices": {"m": {
    "input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}})
tracker.call("m", input_tokens=100, max_output_tokens=100).__enter__()
os._exit(0)
"""


def test_holds_of_the_dead_are_a_warning_and_those_of_the_living_are_not(
    tracker: Spendtree, capsys: Capture
) -> None:
    died = subprocess.Popen([sys.executable, "-c", DIES])
    assert died.wait(60) == 0
    with tracker.call("m", input_tokens=100, max_output_tokens=100):
        report = examined(capsys)

    (warning,) = told(report, "store", "warning")
    assert warning.startswith(f"process {died.pid} is dead and has 1 hold of $0.002, the oldest")
    assert "1 hold of $0.002 open, of 1 process" in told(report, "store", "ok")
    assert [each["dead"] for each in report["store"]["holds"]] == [True, False]


def test_a_network_file_system_a_full_disk_and_an_endless_wal_are_told(
    tracker: Spendtree, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(storing, "file_system", lambda directory: "nfs4")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=1000))
    monkeypatch.setattr(storing, "LARGE_WAL", 1)
    spend(tracker)

    report = examined(capsys, code=1)

    (problem,) = told(report, "store", "problem")
    assert "nfs4, a network file system" in problem
    texts = " ".join(told(report, "store", "warning"))
    assert "only 1.0 kB are free" in texts
    assert "reads without an end" in texts


# What was recorded.


def test_calls_that_lost_their_scope_are_told_apart(tracker: Spendtree, capsys: Capture) -> None:
    with tracker.session():
        thread = threading.Thread(target=spend, args=(tracker,))
        thread.start()
        thread.join()
    ((text, fix),) = told(examined(capsys), "log", "warning").items()
    assert text.startswith("1 call of $0.002 lost the scope on the way into a thread")
    assert "ThreadPoolExecutor" in fix


def test_stated_costs_far_from_the_price_list_are_a_warning_and_near_ones_are_not(
    tracker: Spendtree, capsys: Capture
) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 1000, "total_tokens": 2000}
    for cost in ("0.0201", "0.09"):
        with tracker.call("m", provider="acme", input_tokens=1000, max_output_tokens=1000) as call:
            call.record({"usage": {**usage, "cost": cost}})
        if cost == "0.0201":
            near = examined(capsys)

    far = examined(capsys)
    assert not told(near, "log", "warning").keys() & set(told(far, "log", "warning"))
    assert near["log"]["stated"][0]["difference_usd"] == "0.0001"
    (text,) = [text for text in told(far, "log", "warning") if "price list" in text]
    assert text == (
        "acme m: 2 calls counted $0.1101, and the stated costs are $0.0701 more than the price "
        "list says"
    )


def test_imported_calls_without_a_session_are_only_noted(capsys: Capture, tmp_path: Path) -> None:
    span = {
        "span_id": "a",
        "kind": "LLM",
        "model": "gpt-4o",
        "start": "2026-01-01T00:00:00Z",
        "usage": {"input_tokens": 10, "output_tokens": 10},
    }
    traces = tmp_path / "traces.jsonl"
    traces.write_text(json.dumps(span) + "\n")
    assert main(["import", str(traces)]) == 0
    capsys.readouterr()

    report = examined(capsys)

    assert [each["reason"] for each in report["log"]["unattributed"]] == ["imported"]
    assert any("imported without a session" in text for text in told(report, "log", "note"))


# What stands around it.


def test_the_exporter_that_writes_is_named(tracker: Spendtree, capsys: Capture) -> None:
    assert "no exporter is running" in next(iter(told(examined(capsys), "exporter", "note")))
    with open("spendtree.db-exporter", "w+") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        report = examined(capsys)
    assert report["exporter"]["writer"] == "process 4711"
    assert "no exporter" in next(iter(told(examined(capsys), "exporter", "note")))


def test_an_old_price_list_is_a_warning(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    recent = examined(capsys)["prices"]
    assert recent["age_days"] >= 0
    monkeypatch.setattr(PriceBook, "catalogue_timestamp", 1_700_000_000)
    ((text, fix),) = told(examined(capsys), "prices", "warning").items()
    assert text.startswith("the price list is of 2023-11-14, ")
    assert fix == "pip install -U genai-prices"
    monkeypatch.setattr(PriceBook, "catalogue_timestamp", None)
    assert examined(capsys)["prices"]["age_days"] is None


def test_the_configuration_is_reviewed_as_check_does(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "spendtree.yaml"
    file.write_text("session:\n  ceiling_usd: 1\nagents:\n  a: {envelope_usd: 2}\n")
    monkeypatch.setenv("SPENDTREE_CONFIG", str(file))

    report = examined(capsys)

    ((text, fix),) = told(report, "configuration", "warning").items()
    odd = "agents.a.envelope_usd: $2.00 is above session.ceiling_usd, $1.00: that binds first"
    assert text == f"{file}:4: {odd}"
    assert fix == f"see `spendtree check {file}`"


@pytest.mark.parametrize("content", ["session: {cieling_usd: 1}", None])
def test_a_configuration_that_is_wrong_or_missing_is_a_problem(
    capsys: Capture, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "wrong.yaml"
    if content is not None:
        file.write_text(content)
    report = examined(capsys, "--config", str(file), code=1)
    (problem,) = told(report, "configuration", "problem")
    assert "wrong.yaml" in problem


# What is installed.


def test_versions_libraries_and_extras_are_those_of_the_installation(capsys: Capture) -> None:
    report = examined(capsys)["installation"]
    assert report["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert set(report["libraries"]) == {"prometheus-client", "genai-prices", "pyyaml"}
    assert {"cli", "exporter", "otlp", "auth", "httpx"} <= set(report["extras"])
    assert report["extras"]["cli"] == []


def test_what_is_missing_or_too_old_is_told_with_the_extra(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = installing.installed
    changed: dict[str, str | None] = {"bcrypt": None, "starlette": "0.9.1", "pyyaml": None}
    monkeypatch.setattr(
        installing,
        "installed",
        lambda name: changed[name] if name in changed else known(name),
    )

    report = examined(capsys, code=1)

    notes = told(report, "installation", "note")
    (auth,) = [text for text in notes if text.startswith("extra auth is not installed: it needs")]
    assert "bcrypt" in auth
    assert notes[auth] == "pip install 'spendtree[auth]', if you want it"
    assert any("starlette 0.40 (0.9.1 is older)" in note for note in notes)
    assert list(told(report, "installation", "problem")) == ["missing: pyyaml"]


APPLICATION = """
import spendtree
spendtree.instrument("openai")
"""


def test_what_a_module_instruments_is_seen_once_it_is_imported(
    capsys: Capture, tmp_path: Path
) -> None:
    pytest.importorskip("openai", reason="needs openai: pip install 'spendtree[openai]'")
    (tmp_path / "tracked_application.py").write_text(APPLICATION)
    (tmp_path / "bare_application.py").write_text("")
    (tmp_path / "broken_application.py").write_text("1 / 0")

    notes = told(examined(capsys), "clients", "note")
    assert any(text.startswith("openai ") and "can be instrumented" in text for text in notes)
    warnings = told(examined(capsys, "--import", "bare_application"), "clients", "warning")
    assert any(text.startswith("openai ") for text in warnings)
    problem = told(examined(capsys, "--import", "broken_application", code=1), "clients", "problem")
    assert "ZeroDivisionError" in next(iter(problem))
    try:
        tracked = examined(capsys, "--import", "tracked_application")["clients"]
    finally:
        uninstrument("openai")
    assert tracked["instrumented"] == ["openai"]


def test_models_that_are_held_at_their_whole_window_are_named(
    tmp_path: Path, capsys: Capture
) -> None:
    windowed = {**PRICES["m"], "context_window": 5000}
    tracker = Spendtree("sqlite:///spendtree.db", {"prices": {"m": windowed}})
    spend(tracker)
    spend(tracker, "gpt-4o")
    own = tmp_path / "own.yaml"
    own.write_text(json.dumps({"prices": {"m": windowed}}))

    report = examined(capsys, "--config", str(own))

    assert report["prices"]["held_at_window"] == [
        {"provider": "", "model": "m", "context_window": 5000}
    ]
    notes = told(report, "prices", "note")
    assert any("m (5,000 tokens)" in text and "gpt-4o" not in text for text in notes)

    own.write_text(json.dumps({"prices": {"m": windowed}, "session": {"max_output_tokens": 100}}))
    assert examined(capsys, "--config", str(own))["prices"]["held_at_window"] == []
