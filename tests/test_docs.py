"""The pages for people are true: their examples run, their links lead somewhere, their commands
exist, and nothing in the repository names the machine it was written on."""

import json
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *sorted((ROOT / "docs").glob("*.md"))]
BIN = Path(sys.executable).parent

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

page_of_the_docs = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def blocks(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text("utf-8"))
    return [text for language, text in found if language in languages]


def program(page: Path) -> str:
    """Return a page's Python blocks as one program, each on the lines where it stands."""
    text, lines, end = page.read_text("utf-8"), "", 0
    for block in FENCE.finditer(text):
        if block.group(1) == "python":
            lines += "\n" * text.count("\n", end, block.start(2)) + block.group(2)
            end = block.end(2)
    return lines


@pytest.mark.parametrize(
    "page", [page for page in PAGES if program(page)], ids=lambda page: page.name
)
def test_the_examples_of_a_page_run_one_after_another(page: Path, tmp_path: Path) -> None:
    """In a fresh interpreter and an empty directory, as a reader would try them."""
    run(page, tmp_path)


def test_the_readme_shows_what_its_example_prints(tmp_path: Path) -> None:
    (shown,) = blocks(ROOT / "README.md", "text")

    printed = run(ROOT / "README.md", tmp_path)

    assert re.sub("'[0-9a-f]{32}'", "'…'", printed) == shown


def run(page: Path, directory: Path) -> str:
    """Run a page's examples, as tests where they are some; return what they print."""
    code = program(page)
    holds_tests = "def test_" in code
    script = directory / ("test_page.py" if holds_tests else "page.py")
    script.write_text(code, "utf-8")
    runner = ["-m", "pytest", "-q", "-p", "no:cacheprovider"] if holds_tests else ["-W", "error"]
    done = subprocess.run(
        [sys.executable, *runner, script.name],
        cwd=directory,
        env={key: value for key, value in os.environ.items() if not key.startswith("SPENDTREE_")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{page.name}:\n{done.stdout}{done.stderr}"
    return done.stdout


def test_the_span_records_that_the_docs_show_can_be_imported(tmp_path: Path) -> None:
    (records,) = blocks(ROOT / "docs" / "import.md", "json")
    traces, store = tmp_path / "traces.jsonl", f"sqlite:///{tmp_path}/spend.db"
    traces.write_text(records, "utf-8")

    for command in (["import", str(traces)], ["sessions", "--json"]):
        done = subprocess.run(
            [str(BIN / "spendtree"), *command, "--store", store],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    (session,) = json.loads(done.stdout)
    assert (session["session"], session["calls"], session["cost_usd"]) == ("s1", 1, "0.006")


def test_an_example_keeps_the_line_numbers_of_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Title\n\n```python\nfirst\n```\n```sh\nls\n```\n\n```python\nsecond\n```\n")

    lines = program(page).split("\n")

    assert (lines[3], lines[10]) == ("first", "second")
    assert "ls" not in lines


@page_of_the_docs
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text("utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{page.name} links to {link}: no such heading"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


@page_of_the_docs
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    for command in commands(page, "make"):
        targets = [word for word in command[1:] if "=" not in word]
        assert set(targets) <= make_targets(), f"{page.name}: {shlex.join(command)}"


def make_targets() -> set[str]:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


@page_of_the_docs
@pytest.mark.parametrize("name", ["spendtree", "spendtree-exporter"])
def test_every_command_and_option_that_a_page_names_exists(page: Path, name: str) -> None:
    for command in commands(page, name):
        known = usage(name)
        words = command[1:]
        if name == "spendtree" and words and not words[0].startswith("-"):
            known = usage(name, words[0])
        for option in [word.partition("=")[0] for word in words if word.startswith("--")]:
            assert re.search(rf"{option}\b", known), f"{page.name}: {shlex.join(command)}"


@page_of_the_docs
def test_every_dotted_option_that_a_page_names_is_one_of_the_exporter(page: Path) -> None:
    named = set(re.findall(r"--(?:web|otlp|log|config)\.[a-z.-]+", page.read_text("utf-8")))

    assert named <= dotted_options(), page.name


def test_the_exporter_page_has_a_row_for_every_option() -> None:
    text = (ROOT / "docs" / "exporter.md").read_text("utf-8")

    assert dotted_options() <= set(re.findall(r"^\| `(--[a-z.-]+)` \|", text, re.MULTILINE))


def dotted_options() -> set[str]:
    return set(re.findall(r"--(?:web|otlp|log|config)\.[a-z.-]+", usage("spendtree-exporter")))


def test_the_security_page_names_every_condition_and_way_to_harden() -> None:
    """What a promise rests on is in one place, and each point says where to read on."""
    text = (ROOT / "docs" / "security.md").read_text("utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    subjects = "local disk, hard link, mount, cp, -shm, PID namespace, kill -9, clock, presumed"

    assert headings[1:] == [
        "What is promised",
        "What is not",
        "Under which conditions",
        "Hardening",
        "Reporting",
    ]
    assert not [each for each in subjects.split(", ") if each not in text]
    for option in ("--otlp.token-file", "--otlp.charge", "--web.allowed-hosts"):
        assert option in text
    assert "(docs/security.md)" in (ROOT / "README.md").read_text("utf-8")
    for page in ("budgets.md", "exporter.md"):
        assert "(security.md" in (ROOT / "docs" / page).read_text("utf-8"), page


@cache
def usage(*command: str) -> str:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:], "--help"],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{shlex.join(command)} --help: {done.stderr}"
    return done.stdout


def commands(page: Path, program: str) -> list[list[str]]:
    """Return the command lines of a page that start with a program, words split."""
    text = page.read_text("utf-8")
    lines = [line for block in blocks(page, "sh", "console", "") for line in block.split("\n")]
    lines += SPAN.findall(FENCE.sub("", text))
    cleaned = (re.sub(r"^\$ |\s#.*$|[|&<>].*$", "", line).strip() for line in lines)
    split = [shlex.split(line) for line in cleaned if line.startswith(f"{program} ")]
    return [words for words in split if words[0] == program]


def test_the_changelog_keeps_its_form() -> None:
    """Keep a Changelog: versions newest first, each with known kinds of change in list form."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    versions = re.findall(r"^## \[(.+?)\](.*)$", text, re.MULTILINE)
    kinds = re.findall(r"^### (.+)$", text, re.MULTILINE)

    assert text.startswith("# Changelog\n")
    assert versions
    for name, date in versions:
        numbered = re.fullmatch(r"\d+\.\d+\.\d+", name)
        assert name == "Unreleased" or numbered, name
        assert re.fullmatch(r"|( - (\d{4}-\d\d-\d\d|unreleased))", date), f"{name}{date}"
    numbers = [tuple(map(int, name.split("."))) for name, _ in versions if name != "Unreleased"]
    assert numbers == sorted(numbers, reverse=True)
    assert kinds
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_nothing_names_a_machine_or_a_package_registry() -> None:
    """The words are put together here, so that this file does not name them either."""
    places = [rf"(?<![\w.}}])/{name}/" for name in ("work", "root", "home")]
    hosts = ["pypi org", "pythonhosted org", "npmjs org", "npmjs com", "deb debian org"]
    forbidden = re.compile("|".join([*places, *(host.replace(" ", r"\.") for host in hosts)]))

    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in tracked()
        for match in forbidden.finditer(path.read_text("utf-8", "replace"))
    ]

    assert not found


def test_no_merge_was_left_half_done() -> None:
    left = re.compile(r"^(<{7} |>{7} )", re.M)

    found = [path for path in tracked() if left.search(path.read_text("utf-8", "replace"))]

    assert not found


def tracked() -> list[Path]:
    if not (ROOT / ".git").exists():
        pytest.skip("no git checkout: run from a clone of the repository")
    done = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    paths = [ROOT / name for name in done.stdout.split("\0") if name]
    return [path for path in paths if path.is_file()]
