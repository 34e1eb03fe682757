"""The command, as a process: what it serves, how it ends, and what it says when it cannot."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from spendtree.errors import ConfigurationError, StoreError
from spendtree.event import Kind
from spendtree.store import open_store
from spendtree_exporter import cli
from spendtree_exporter.cli import _check_path
from tests.exporter.conftest import Load
from tests.exporter.test_app import value
from tests.exporter.test_otlp import call, request
from tests.processes import rest_of

COMMAND = [sys.executable, "-c", "from spendtree_exporter.cli import main; main()"]


ADDRESS = "--web.listen-address=127.0.0.1:0"


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def started(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start the command; yield the process and the URL of its metrics, as its log tells it."""
    process = subprocess.Popen(
        [*COMMAND, "--web.listen-address", "127.0.0.1:0", *arguments],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stderr is not None
            told = process.stderr.readline()
            match = re.search(r"serving (\S+)", told)
            assert match, told
            yield process, match[1]
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_a_store_until_a_signal_ends_it_gracefully(
    sqlite_url: str, load: Load, number: signal.Signals
) -> None:
    store = open_store(sqlite_url)
    load(store, 0, 3)
    store.close()

    with started("--store", sqlite_url) as (process, url):
        assert url.endswith("/metrics")
        assert "spendtree_calls_total{" in httpx.get(url).text
        process.send_signal(number)
        _, rest = rest_of(process)

    assert process.returncode == 0
    assert rest.splitlines()[-1].endswith("stopped")
    assert "Traceback" not in rest


def test_store_and_path_can_be_chosen(sqlite_url: str) -> None:
    with started("--web.telemetry-path", "/m", SPENDTREE_STORE=sqlite_url) as (_, url):
        assert url.endswith("/m")
        assert httpx.get(url).status_code == 200
        assert 'href="/m"' in httpx.get(url.removesuffix("/m")).text


def refused(*arguments: str) -> str:
    """Run the command; return the one line that it says before it ends with exit code 1."""
    result = run(*arguments)
    assert result.returncode == 1, result
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert result.stderr.startswith("spendtree-exporter: ")
    return result.stderr


def test_a_missing_store_is_named_and_not_created(tmp_path: Path) -> None:
    path = tmp_path / "missing.db"

    assert str(path) in refused("--store", f"sqlite:///{path}")
    assert not path.exists()


def test_a_file_that_is_no_store_is_named(tmp_path: Path) -> None:
    path = tmp_path / "letter.db"
    path.write_text("Dear reader, " * 1_000)

    assert str(path) in refused("--store", f"sqlite:///{path}")


def test_a_url_of_no_known_kind_is_refused() -> None:
    assert "nowhere://" in refused("--store", "nowhere://x")


def test_a_port_that_is_taken_is_named(sqlite_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = refused("--store", sqlite_url, "--web.listen-address", address)

    assert address in said
    assert "in use" in said


@pytest.mark.parametrize("path", ["metrics", "/", "/-/ready", "/sessions", "/api/v1/costs"])
def test_a_telemetry_path_that_cannot_be_is_refused(sqlite_url: str, path: str) -> None:
    said = refused("--store", sqlite_url, "--web.telemetry-path", path)

    assert repr(path) in said


@pytest.mark.parametrize(
    "path", ["/{x}", "/{x:foo}", "/m}", "/m?x=1", "/m#x", "//m", "/m//n", "/api"]
)
def test_a_telemetry_path_that_would_be_something_else_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(repr(path))):
        _check_path(path)


@pytest.mark.parametrize("path", ["/metrics", "/m", "/a/b/", "/apis", "/m-1.x~y", "/-"])
def test_other_telemetry_paths_are_taken(path: str) -> None:
    _check_path(path)


def test_an_address_that_is_none_is_refused(sqlite_url: str) -> None:
    assert "HOST:PORT" in refused("--store", sqlite_url, "--web.listen-address", "9797")


def test_help_shows_every_flag_with_its_default() -> None:
    told = run("--help").stdout

    for text in (
        *("--store", "sqlite:///spendtree.db", "SPENDTREE_STORE"),
        *("--web.listen-address", "127.0.0.1:9797", "--web.telemetry-path", "/metrics"),
        *("--log.level", "info", "--log.format", "logfmt", "--version"),
        *("--web.config.file", "--web.enable-otlp-receiver", "--config.file"),
        *("--state-file", "beside the store"),
    ):
        assert text in told


def test_version_tells_the_version() -> None:
    assert run("--version").stdout == f"spendtree-exporter {version('spendtree')}\n"


def test_an_unknown_flag_ends_with_exit_code_2() -> None:
    assert run("--nonsense").returncode == 2


def test_several_addresses_are_served_a_unix_socket_among_them(
    sqlite_url: str, tmp_path: Path
) -> None:
    path = tmp_path / "exporter.sock"
    with started("--store", sqlite_url, "--web.listen-address", f"unix:{path}") as (process, url):
        assert process.stderr is not None
        assert f"serving unix:{path}/metrics" in process.stderr.readline()
        assert httpx.get(url).status_code == 200
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport) as client:
            assert client.get("http://exporter/-/healthy").text == "healthy\n"
        process.terminate()
        assert process.wait(30) == 0

    assert not path.exists()


def test_one_address_that_is_taken_ends_all(sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "exporter.sock"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        flags = [f"--web.listen-address={each}" for each in (f"unix:{path}", address)]
        assert address in refused("--store", sqlite_url, *flags)

    assert not path.exists(), "what was opened before is closed again"


@pytest.mark.parametrize("format", ["logfmt", "json"])
def test_the_log_is_one_line_a_message_in_the_format_that_was_asked_for(
    sqlite_url: str, format: str
) -> None:
    process = subprocess.Popen(
        [*COMMAND, f"--store={sqlite_url}", f"--log.format={format}", ADDRESS],
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stderr is not None
        first = process.stderr.readline()
        match = re.search(r"http://\S+", first)
        assert match
        assert httpx.get(match[0]).status_code == 200
        process.terminate()
        rest = rest_of(process)[1].splitlines()

    assert process.returncode == 0
    if format == "json":
        told = [json.loads(line) for line in (first, *rest)]
        assert [entry["level"] for entry in told] == ["info"] * len(told)
        assert told[0]["msg"].startswith("serving http://127.0.0.1:")
        assert told[-1]["msg"] == "stopped"
    else:
        stamp = r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
        assert re.fullmatch(stamp + r' level=info msg="serving http://127\S+ for \S+"\n', first)
        assert re.fullmatch(stamp + " level=info msg=stopped", rest[-1])


def test_a_signal_before_it_serves_ends_it_as_well(sqlite_url: str) -> None:
    for _ in range(3):
        with subprocess.Popen(
            [*COMMAND, f"--store={sqlite_url}", ADDRESS], stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert "serving" in process.stderr.readline()
            process.terminate()
            assert "Traceback" not in rest_of(process)[1]
        assert process.returncode == 0


def test_a_restart_takes_up_the_state_kept_beside_the_store(sqlite_url: str, load: Load) -> None:
    store = open_store(sqlite_url)
    load(store, 0, 30)
    store.close()
    told = []
    for flags in ((), (), ("--state-file", "")):
        with started("--store", sqlite_url, *flags) as (process, url):
            assert "spendtree_calls_total{" in httpx.get(url).text
            process.terminate()
            _, rest = rest_of(process)
        told.append("took up the state after 30 events" in rest)

    assert told == [False, True, False]
    assert Path(f"{sqlite_url.removeprefix('sqlite:///')}-exporter-state").exists()


@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "-journal", "-exporter"])
def test_a_state_file_that_belongs_to_the_store_is_refused(sqlite_url: str, suffix: str) -> None:
    path = Path(sqlite_url.removeprefix("sqlite:///"))
    before = path.read_bytes()
    link = path.with_name("link")
    link.symlink_to(f"{path}{suffix}")

    for state_file in (f"{path}{suffix}", f"{path.parent}/./{path.name}{suffix}", str(link)):
        said = refused("--store", sqlite_url, "--state-file", state_file)
        assert f"{Path(state_file)} belongs to the store" in said
    assert path.read_bytes() == before


def test_a_state_file_that_is_somebody_elses_is_refused_and_left_alone(
    sqlite_url: str, tmp_path: Path
) -> None:
    letter = tmp_path / "letter"
    letter.write_text("Dear reader")
    hard_link = tmp_path / "hard link"
    hard_link.hardlink_to(sqlite_url.removeprefix("sqlite:///"))

    assert f"{letter} is there and is no state" in refused(
        "--store", sqlite_url, "--state-file", str(letter)
    )
    assert letter.read_text() == "Dear reader"
    assert "belongs to the store" in refused("--store", sqlite_url, "--state-file", str(hard_link))
    assert "is no state" in refused("--store", sqlite_url, "--state-file", str(tmp_path))


def test_a_state_file_in_no_directory_is_refused(sqlite_url: str, tmp_path: Path) -> None:
    said = refused("--store", sqlite_url, "--state-file", str(tmp_path / "missing" / "state"))

    assert f"{tmp_path / 'missing'} is no directory" in said


@pytest.mark.parametrize("text", ["", '{"snapshot":"spendtree","form":"0-0"'])
def test_a_state_file_that_is_empty_or_torn_is_written_anew(
    sqlite_url: str, load: Load, tmp_path: Path, text: str
) -> None:
    with closing(open_store(sqlite_url)) as store:
        load(store, 0, 3)
    file = tmp_path / "state"
    file.write_text(text)
    with started("--store", sqlite_url, "--state-file", str(file)) as (process, url):
        assert httpx.get(url).status_code == 200
        process.terminate()
        assert process.wait(30) == 0

    assert file.read_bytes().startswith(b'{"snapshot":"spendtree","form":')
    assert len(file.read_text().splitlines()) > 2


def test_spans_that_were_taken_survive_a_kill_and_are_booked_once(
    sqlite_url: str, tmp_path: Path
) -> None:
    options = ("--store", sqlite_url, "--web.enable-otlp-receiver")
    body = request(call(2, parent=1), call(3, parent=1))
    with started(*options) as (process, url):
        assert httpx.post(url.replace("/metrics", "/v1/traces"), json=body).json() == {}
        process.kill()
        process.wait()
    kept = list(tmp_path.glob("*-spans.*"))
    assert len(kept) == 1
    assert kept[0].stat().st_mode & 0o777 == 0o600

    with started(*options) as (process, url):
        assert value(httpx.get(url).text, "spendtree_exporter_pending_spans") == 2
        process.terminate()
        assert process.wait(timeout=30) == 0

    with closing(open_store(sqlite_url)) as store:
        assert len(list(store.events(kinds=[Kind.CALL]))) == 2
    assert list(tmp_path.glob("*-spans.*")) == []


def test_the_command_takes_spans_where_it_is_told_to(sqlite_url: str) -> None:
    body: dict[str, list[str]] = {"resourceSpans": []}
    with started("--store", sqlite_url, "--web.enable-otlp-receiver") as (_, url):
        traces = url.replace("/metrics", "/v1/traces")
        assert httpx.post(traces, json=body).json() == {}
    with started("--store", sqlite_url) as (_, url):
        assert httpx.post(url.replace("/metrics", "/v1/traces"), json=body).status_code == 404


def test_a_store_that_cannot_be_written_here_is_opened_to_be_read(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cli, "is_writable", lambda _: False)
    with closing(cli._open(sqlite_url)) as store:
        assert list(store.events()) == []
        with pytest.raises(StoreError, match="to be read"):
            store.prune(1)
    assert "read-only" in caplog.text
