"""`spendtree backup`: a whole copy while others write, or none."""

import json
import os
import stat
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from spendtree.cli import main
from spendtree.event import Kind
from spendtree.store import backup as backups
from spendtree.store import open_store
from tests.sdk.test_store_identity import DEADLINE_SECONDS, WRITER, beside, call, opened
from tests.sdk.test_store_sqlite import sql


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spend.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "backups").mkdir()
    return tmp_path / "backups" / "spend.db"


def backup(path: Path, target: Path, *options: str) -> int:
    return main(["backup", str(target), "--store", f"sqlite:///{path}", *options])


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_backup_has_what_is_still_in_the_log_and_is_a_store(
    path: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(opened(path)) as store:
        for _ in range(3):
            call(store)
        assert backup(path, target, "--json") == 0
        done = told(capsys)
        call(store)
        id = store.id

    assert done == {
        "target": str(target),
        "id": id,
        "schema": done["schema"],
        "events": 4,
        "open_holds": 0,
        "size_bytes": target.stat().st_size,
    }
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert list(target.parent.iterdir()) == [target]
    with closing(open_store(f"sqlite:///{target}", create=False)) as copy:
        assert copy.id == id
        assert len(list(copy.events(kinds=[Kind.CALL]))) == 3
        call(copy)


def test_a_backup_ends_and_is_whole_while_others_write_all_the_time(
    path: Path, target: Path
) -> None:
    opened(path).close()
    command = [sys.executable, "-c", WRITER, str(path), "100000"]
    writers = [subprocess.Popen(command) for _ in range(2)]
    try:
        for number in range(3):
            copy = target.with_name(f"{number}.db")
            assert backup(path, copy) == 0
            (spent,) = sql(copy, "SELECT spent FROM account")[0]
            assert (spent // 7,) == sql(copy, "SELECT count(*) FROM event WHERE kind=5")[0]
        assert all(writer.poll() is None for writer in writers), "else this shows nothing"
    finally:
        for writer in writers:
            writer.kill()
            writer.wait(DEADLINE_SECONDS)


def test_people_are_told_what_was_copied(
    path: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(path).close()
    assert backup(path, target) == 0
    said = capsys.readouterr().out
    assert said.startswith("1 event of store ")
    assert f"copied to {target}" in said


def test_a_file_that_stands_there_is_replaced_only_by_force(
    path: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(path).close()
    target.write_text("mine")

    assert backup(path, target) == 1
    assert "--force" in capsys.readouterr().err
    assert target.read_text() == "mine"

    assert backup(path, target, "--force") == 0
    assert sql(target, "PRAGMA integrity_check") == [("ok",)]


@pytest.mark.parametrize("kind", ["itself", "symlink", "hard link", "log", "index", "dotted"])
def test_the_store_itself_is_no_target(
    path: Path, target: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(opened(path)) as store:
        named = {
            "itself": path,
            "log": beside(path, "-wal"),
            "index": beside(path, "-shm"),
            "dotted": path.parent / "backups" / ".." / path.name,
        }.get(kind, target)
        if kind == "symlink":
            target.symlink_to(path)
        elif kind == "hard link":
            os.link(path, target)

        assert backup(path, named, "--force") == 1
        assert "the store itself" in capsys.readouterr().err

        target.unlink(missing_ok=True)
        call(store)


def test_a_log_beside_the_target_would_be_taken_for_the_copys(
    path: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    opened(path).close()
    with closing(opened(target)):
        assert backup(path, target, "--force") == 1
    assert "spend.db-wal is there" in capsys.readouterr().err


def test_a_damaged_store_gives_no_backup(
    path: Path, target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(opened(path)) as store:
        for _ in range(50):
            call(store)
    with path.open("r+b") as file:
        file.seek(5 * 1024)
        file.write(b"\xff" * (path.stat().st_size - 5 * 1024))

    assert backup(path, target) == 1

    assert "damaged" in capsys.readouterr().err
    assert list(target.parent.iterdir()) == []


def test_an_interrupted_backup_leaves_nothing_and_no_older_one_is_lost(
    path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(path).close()
    target.write_text("older")

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(backups, "_sync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        backups.back_up(str(path), str(target), force=True)

    assert target.read_text() == "older"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("store", "target", "reason"),
    [
        ("memory:", "copy.db", "only a file"),
        ("sqlite:///{0}/missing.db", "copy.db", "missing.db"),
        ("sqlite:///{0}/empty.db", "copy.db", "empty"),
        ("sqlite:///{0}/spend.db", "no/copy.db", "no directory"),
        ("sqlite:///{0}/spend.db", "backups", "is a directory"),
    ],
)
def test_what_cannot_be_backed_up_says_why(
    path: Path,
    tmp_path: Path,
    store: str,
    target: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    opened(path).close()
    (tmp_path / "empty.db").touch()
    (tmp_path / "backups").mkdir()

    assert main(["backup", str(tmp_path / target), "--store", store.format(tmp_path)]) == 1

    assert reason in capsys.readouterr().err
    assert not (tmp_path / "copy.db").exists()
