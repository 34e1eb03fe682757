"""Log lines: one a message, whatever is in it."""

import json
import logging
from collections.abc import Iterator

import pytest

from spendtree_exporter.logs import LogFormat, log_to_stderr


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Give the root logger its handlers and level back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def said(
    capsys: pytest.CaptureFixture[str], format: LogFormat, message: str, level: str = "info"
) -> str:
    log_to_stderr(level, format)
    logging.getLogger("spendtree.exporter").warning("%s", message)
    return capsys.readouterr().err


NASTY = 'line one\nlevel=error msg="forged" \\ \x1b[31m ü'


def test_a_message_cannot_forge_another_line(capsys: pytest.CaptureFixture[str]) -> None:
    logfmt = said(capsys, "logfmt", NASTY)
    assert len(logfmt.splitlines()) == 1
    assert json.loads(logfmt.split(" msg=", 1)[1]) == NASTY
    assert " level=warn " in logfmt

    line = said(capsys, "json", NASTY)
    assert len(line.splitlines()) == 1
    assert json.loads(line)["msg"] == NASTY


def test_what_is_less_severe_than_the_level_is_not_logged(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said(capsys, "logfmt", "hello", level="error") == ""


def test_an_exception_is_a_field_of_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stderr("info", "json")
    try:
        raise ValueError("so it is")
    except ValueError:
        logging.getLogger("spendtree.exporter").exception("it failed")

    told = json.loads(capsys.readouterr().err)
    assert told["level"] == "error"
    assert told["exception"].endswith("ValueError: so it is")
