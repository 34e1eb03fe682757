"""The command line as a whole: exit codes, help, errors as one line, extras that are missing."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import spendtree
from spendtree.cli import main

COMMANDS = ("demo", "doctor", "explain", "import", "prune", "sessions", "tree")


def test_version_says_which(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"spendtree {spendtree.__version__}\n"


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_is_everywhere_and_tells_the_store(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    assert "Usage: spendtree" in text
    assert "--store" in text
    assert max(map(len, text.splitlines())) <= 80


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--help"])
    text = capsys.readouterr().out
    assert all(f"\n  {command} " in text for command in COMMANDS)
    assert "..." not in text.partition("Commands:")[2], "a command's first sentence is cut"


@pytest.mark.parametrize(
    "arguments", [["tree", "--colour"], ["report-all"], ["sessions", "--limit", "many"], ["import"]]
)
def test_wrong_usage_is_exit_code_2_and_said_on_stderr(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr()
    assert "Error: " in said.err
    assert said.out == ""


@pytest.mark.parametrize("command", ["sessions", "tree"])
def test_a_missing_store_is_one_clear_line_and_is_not_made(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/none.db"
    assert main([command, "--store", url]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("spendtree: ")
    assert "none.db" in said.err
    assert said.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_no_store_is_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.db").write_text(
        "not a database, but long enough to look like a header\n" * 9
    )
    assert main(["sessions", "--store", f"sqlite:///{tmp_path}/notes.db"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_the_store_comes_from_the_environment_unless_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPENDTREE_STORE", f"sqlite:///{tmp_path}/from-environment.db")
    main(["sessions"])
    assert "from-environment.db" in capsys.readouterr().err
    main(["sessions", "--store", f"sqlite:///{tmp_path}/given.db"])
    assert "given.db" in capsys.readouterr().err


def test_without_a_store_named_it_is_the_one_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPENDTREE_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    assert main(["sessions"]) == 1
    assert "spendtree.db" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_the_extra_one_line_says_what_to_install(library: str) -> None:
    done = python(f"""
        import sys

        class Absent:
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == {library!r}:
                    raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

        sys.meta_path.insert(0, Absent())
        from spendtree.cli import main
        sys.exit(main(["sessions"]))
    """)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "pip install 'spendtree[cli]'" in done.stderr


def test_importing_the_package_loads_neither_typer_nor_rich() -> None:
    done = python("""
        import sys, spendtree.cli
        print(*sorted({"typer", "rich", "click"} & set(sys.modules)))
    """)
    assert done.stdout == "\n"


def test_a_reader_that_leaves_early_causes_no_traceback(tmp_path: Path) -> None:
    """`spendtree … | head -0`: the pipe is closed before anything is written."""
    url = f"sqlite:///{tmp_path}/spend.db"
    main(["demo", "--sessions", "1", "--json", "--store", url])
    command = [sys.executable, "-m", "spendtree.cli", "sessions", "--json", "--store", url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
        process.wait(timeout=60)
    assert "Traceback" not in said


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_causes_no_traceback(closed: str, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/spend.db"
    main(["demo", "--sessions", "1", "--json", "--store", url])
    command = f'exec "$0" -m spendtree.cli sessions --store "$1" {closed}'

    done = subprocess.run(
        ["sh", "-c", command, sys.executable, url], capture_output=True, timeout=60, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")


def python(code: str) -> "subprocess.CompletedProcess[str]":
    """Run code in a fresh interpreter."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_error_sends_no_control_character_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "spendtree.yaml"
    file.write_text(r'customers: {"a\nb\e[31m": {budgets_usd: {day: x}}}')

    for arguments in (["check", str(file)], ["sessions", "--store", "sqlite:////x\n\x1b[31my.db"]):
        assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "\x1b" not in said
