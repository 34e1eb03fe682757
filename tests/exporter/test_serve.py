"""Addresses, sockets, and serving beside the program's own work."""

import socket
from pathlib import Path

import httpx
import pytest

from spendtree.errors import ConfigurationError
from spendtree.store.memory import MemoryStore
from spendtree_exporter.app import create_app
from spendtree_exporter.serve import (
    closing_socket,
    listen,
    listen_on,
    parse_address,
    serving,
    url_of,
)


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


def test_a_unix_socket_is_served_and_its_file_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "exporter.sock"
    with closing_socket(listen_on(f"unix:{path}")) as sock:
        assert url_of(sock) == f"unix:{path}"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))

    assert not path.exists()


def test_a_unix_socket_in_use_is_refused_and_one_left_behind_is_replaced(tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/exporter.sock"
    with (
        listen_on(address),
        pytest.raises(OSError, match=r"exporter\.sock: Address already in use"),
    ):
        listen_on(address)

    with closing_socket(listen_on(address)) as sock:
        assert url_of(sock) == address


def test_a_file_that_is_no_socket_is_never_replaced(tmp_path: Path) -> None:
    letter = tmp_path / "letter"
    letter.write_text("Dear reader")

    with pytest.raises(OSError, match="in use"):
        listen_on(f"unix:{letter}")
    assert letter.read_text() == "Dear reader"


def test_a_unix_socket_has_a_full_path() -> None:
    with pytest.raises(ConfigurationError, match="full path"):
        listen_on("unix:exporter.sock")
