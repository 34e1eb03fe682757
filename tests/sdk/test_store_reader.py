"""A store is read where nothing can be written, and reading never makes or changes one."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from spendtree.cli import main
from spendtree.errors import StoreError, StoreUnavailableError
from spendtree.event import Kind
from spendtree.store import database, health, open_store, reader
from spendtree.store.identity import IdentityError, Seen, Trio
from spendtree.store.reader import IMMUTABLE, READ_ONLY, READ_WRITE, way
from tests.sdk.test_store_identity import beside, call, opened
from tests.sdk.test_store_sqlite import sql

FILE, FULL, INDEX = Seen(1, 1, 1, 9), Seen(1, 2, 1, 9), Seen(1, 3, 1, 9)
EMPTY = FULL._replace(size=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "spend.db"


@pytest.fixture
def unwritable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the store's place taken for one that cannot be written, which root needs a mount for."""
    monkeypatch.setattr(reader, "is_writable", lambda _: False)
    monkeypatch.setattr(database, "is_writable", lambda _: False)


@pytest.mark.parametrize(
    ("writable", "wal", "shm", "chosen"),
    [
        (True, None, None, READ_WRITE),
        (True, FULL, INDEX, READ_WRITE),
        (False, None, None, IMMUTABLE),
        (False, EMPTY, None, IMMUTABLE),
        (False, None, INDEX, IMMUTABLE),
        (False, EMPTY, INDEX, READ_ONLY),
        (False, FULL, INDEX, READ_ONLY),
        (False, FULL, None, ""),
    ],
)
def test_how_a_file_is_opened_follows_from_what_is_beside_it(
    writable: bool, wal: Seen | None, shm: Seen | None, chosen: str
) -> None:
    assert way(writable, Trio(FILE, wal, shm)) == chosen


@pytest.fixture
def mounted(path: Path, tmp_path: Path) -> Iterator[Callable[[], Path]]:
    """Return what mounts the store's folder a second time, read-only; answers the file there."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("needs root, to mount a folder read-only; CI has it")
    target = tmp_path / "mounted"
    target.mkdir()
    done = subprocess.run(
        ["mount", "--bind", path.parent, target], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.decode()}")

    def mount() -> Path:
        subprocess.run(["mount", "-o", "remount,ro,bind", target], check=True)
        return target / path.name

    yield mount
    subprocess.run(["umount", target], check=True)


def test_a_read_only_folder_is_read_while_a_writer_comes_and_goes(
    path: Path, mounted: Callable[[], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    opened(path).close()
    there = mounted()
    url = f"sqlite:///{there}"
    with closing(open_store(url, read_only=True)) as store:

        def calls() -> int:
            return len(list(store.events(kinds=[Kind.CALL])))

        assert calls() == 0
        with closing(opened(path)) as writer:
            call(writer)
            assert calls() == 1
            call(writer)
            assert calls() == 2
        assert calls() == 2
        with closing(opened(path)) as writer:
            call(writer)
            assert calls() == 3
        with pytest.raises(StoreUnavailableError, match="to be read"):
            call(store)

    for command in (["sessions"], ["tree"]):
        assert main([*command, "--json", "--store", url]) == 0, capsys.readouterr().err
    assert health.examine(str(there)).events == 4


def test_a_log_that_cannot_be_read_in_a_read_only_folder_is_named(
    path: Path, mounted: Callable[[], Path]
) -> None:
    with closing(opened(path)):
        size = beside(path, "-wal").stat().st_size
        beside(path, "-shm").unlink()
        url = f"sqlite:///{mounted()}"
        with pytest.raises(StoreError, match=f"{size:,} bytes.*cannot be written"):
            open_store(url, read_only=True)


def test_an_older_schema_is_upgraded_where_it_can_be_and_refused_where_not(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = database.schema_steps()
    with monkeypatch.context() as older:
        older.setattr(database, "schema_steps", lambda: steps[:1])
        open_store(f"sqlite:///{path}").close()
    with monkeypatch.context() as unwritable:
        unwritable.setattr(reader, "is_writable", lambda _: False)
        unwritable.setattr(database, "is_writable", lambda _: False)
        with pytest.raises(StoreError, match=f"version 1, this Spendtree reads {len(steps)}"):
            open_store(f"sqlite:///{path}", read_only=True)
    assert sql(path, "PRAGMA user_version") == [(1,)]

    open_store(f"sqlite:///{path}", read_only=True).close()

    assert sql(path, "PRAGMA user_version") == [(len(steps),)]


@pytest.mark.usefixtures("unwritable")
def test_without_a_log_nothing_is_made_beside_the_file(path: Path) -> None:
    opened(path).close()

    with closing(open_store(f"sqlite:///{path}", read_only=True)) as store:
        assert len(list(store.events())) == 1
        assert not [each for each in path.parent.iterdir() if each.name.endswith(("wal", "shm"))]


def test_a_file_that_is_replaced_is_noticed_and_read_after_closing(path: Path) -> None:
    opened(path).close()
    with closing(open_store(f"sqlite:///{path}", read_only=True)) as store:
        path.rename(path.with_name("old.db"))
        with closing(opened(path)) as other:
            call(other)
            with pytest.raises(IdentityError, match="replaced"):
                list(store.events())
            store.close()
            assert len(list(store.events())) == 2


@pytest.mark.parametrize("command", ["sessions", "tree", "doctor", "prune"])
def test_no_command_that_reads_makes_a_store_of_an_empty_file(
    path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path.touch()
    age = ["--older-than", "1d"] if command == "prune" else []

    assert main([command, "--store", f"sqlite:///{path}", *age]) == 1

    said = capsys.readouterr()
    assert "the file is empty" in said.out + said.err
    assert [(each.name, each.stat().st_size) for each in path.parent.iterdir()] == [("spend.db", 0)]


@pytest.mark.parametrize("command", ["sessions", "tree"])
def test_a_command_that_reads_leaves_the_file_byte_for_byte(path: Path, command: str) -> None:
    opened(path).close()
    before = path.read_bytes()

    assert main([command, "--json", "--store", f"sqlite:///{path}"]) == 0

    assert path.read_bytes() == before
    assert not [each for each in path.parent.iterdir() if each.name.endswith(("wal", "shm"))]
