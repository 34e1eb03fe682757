"""Hosts: a page whose name was resolved to this host cannot read the exporter."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from spendtree.errors import ConfigurationError
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.hosts import answering, host_names
from spendtree_exporter.serve import serving
from tests.exporter.test_cli import refused, started

LOCAL = ["localhost", "LocalHost.", "127.0.0.1", "127.9.9.9:80", "[::1]", "[::1]:9797"]
OTHERS = [
    "evil.example",
    "evil.example:9797",
    "localhost.evil.example",
    "localhost@evil.example",
    "localhost:80.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "0.0.0.0",
    "[::2]:80",
    "",
    "exporter",
]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(create_app(MemoryStore())) as url:
        yield url


@pytest.mark.parametrize("host", [*LOCAL, "localhost:1"])
def test_this_host_by_any_of_its_own_names_is_answered(url: str, host: str) -> None:
    assert httpx.get(f"{url}/-/healthy", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/", "/api/v1/sessions", "/-/healthy", "/nothing"])
@pytest.mark.parametrize("host", OTHERS)
def test_any_other_name_is_refused_on_every_path(url: str, host: str, path: str) -> None:
    answer = httpx.get(f"{url}{path}", headers={"Host": host})

    assert answer.status_code == 421
    assert "localhost, 127.0.0.1, [::1]" in answer.text
    assert "--web.allowed-hosts" in answer.text


def test_one_wrong_name_of_several_is_enough(url: str) -> None:
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n")
        assert sock.recv(100).split(b" ")[1] in (b"400", b"421")


def test_without_the_header_there_is_no_browser(url: str) -> None:
    port = int(url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"GET /-/healthy HTTP/1.0\r\n\r\n")
        assert sock.recv(100).split(b" ")[1] == b"200"


@contextmanager
def known_as(sqlite_url: str, *names: str, address: str = "") -> Iterator[str]:
    """Start the command with names; yield its URL."""
    arguments = [f"--web.allowed-hosts={name}" for name in names]
    listen = [f"--web.listen-address={address}"] if address else []
    with started("--store", sqlite_url, *arguments, *listen) as (_, url):
        yield url.removesuffix("/metrics")


def statuses(url: str, *hosts: str) -> list[int]:
    return [httpx.get(f"{url}/-/healthy", headers={"Host": host}).status_code for host in hosts]


def test_names_that_are_given_are_answered_too(sqlite_url: str) -> None:
    with known_as(sqlite_url, "Spend.Example,other", "[fd00::1]") as url:
        known = ["spend.example:443", "other", "[fd00::1]:1", "localhost"]
        assert statuses(url, *known, "evil.example") == [200, 200, 200, 200, 421]


def test_a_star_answers_to_all(sqlite_url: str) -> None:
    with known_as(sqlite_url, "*") as url:
        assert statuses(url, "evil.example", "") == [200, 200]


@pytest.mark.parametrize("name", ["", "http://a", "a:80", "a b", "a/b", "[::1", "a,,b"])
def test_what_is_not_a_host_is_refused_at_the_start(sqlite_url: str, name: str) -> None:
    with pytest.raises(ConfigurationError, match="is not a host"):
        host_names([name])
    assert "is not a host" in refused("--store", sqlite_url, "--web.allowed-hosts", name)


def test_on_other_addresses_names_are_checked_only_where_some_are_given() -> None:
    app = create_app(MemoryStore())
    with serving(app, host="0.0.0.0") as url:
        assert statuses(url, "exporter:9797", "10.1.2.3") == [200, 200]
    with serving(answering(app, [], {"exporter"}), host="0.0.0.0") as url:
        assert statuses(url, "exporter:9797", "localhost", "10.1.2.3") == [200, 200, 421]


def test_unix_sockets_are_never_asked_for_a_name(sqlite_url: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with (
        known_as(sqlite_url, "exporter", address=f"unix:{path}"),
        httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client,
    ):
        assert client.get("http://anything/-/healthy").status_code == 200


def test_with_a_star_nothing_is_put_around_the_application() -> None:
    app = create_app(MemoryStore())
    assert answering(app, [], {"*"}) is app
