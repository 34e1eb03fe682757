"""Addresses, sockets, and serving beside the program's own work."""

import socket

import httpx
import pytest

from spendtree.errors import ConfigurationError
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.serve import listen, parse_address, serving, url_of


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9797", ("127.0.0.1", 9797)),
        (":9797", ("", 9797)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
        ("[::1]:9797", ("::1", 9797)),
        ("metrics.example:65535", ("metrics.example", 65535)),
    ],
)
def test_the_usual_forms_of_an_address_are_understood(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "9797", "localhost", "a:b", "::1:9797", ":65536", "h:-1"])
def test_other_forms_are_refused_with_the_forms_to_use(text: str) -> None:
    with pytest.raises(ConfigurationError, match="HOST:PORT"):
        parse_address(text)


def test_no_host_means_every_interface() -> None:
    with listen("", 0) as sock:
        port = sock.getsockname()[1]
        socket.create_connection(("127.0.0.1", port)).close()
        assert url_of(sock) == f"http://localhost:{port}"


def test_an_ipv6_address_is_served_and_named() -> None:
    try:
        sock = listen("::1", 0)
    except OSError as error:
        pytest.skip(f"this host has no IPv6 loopback ({error}); enable it to run this")
    with sock:
        assert url_of(sock).startswith("http://[::1]:")


def test_serving_beside_the_program_ends_with_its_block() -> None:
    with serving(create_app(MemoryStore())) as url:
        assert httpx.get(f"{url}/-/healthy").status_code == 200

    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/-/healthy")
