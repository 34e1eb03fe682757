"""TLS and basic auth, with real certificates, and what a wrong file says."""

import asyncio
import itertools
import os
import shutil
import ssl
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from starlette.types import ASGIApp

from spendtree.errors import ConfigurationError
from spendtree.store.memory import MemoryStore
from spendtree_exporter import passwords as passwords_module
from spendtree_exporter import security as security_module
from spendtree_exporter.app import create_app
from spendtree_exporter.security import Security
from spendtree_exporter.serve import serving
from spendtree_exporter.watch import Reloads
from spendtree_exporter.webconfig import context_of, read_web_config
from tests.exporter.test_app import value
from tests.exporter.test_cli import refused, started

bcrypt = pytest.importorskip("bcrypt", reason="bcrypt is not installed: pip install bcrypt")

OPENSSL = shutil.which("openssl")
needs_openssl = pytest.mark.skipif(OPENSSL is None, reason="no openssl to make certificates with")


def hashed(password: str) -> str:
    return str(bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode())


def certificate(directory: Path, name: str) -> tuple[Path, Path]:
    """Make a self-signed certificate for this host; return it and its key."""
    cert, key = directory / f"{name}.crt", directory / f"{name}.key"
    assert OPENSSL is not None
    subprocess.run(
        [
            *(OPENSSL, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-keyout", key, "-out", cert, "-subj", f"/CN={name}"),
            *("-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        ],
        check=True,
        capture_output=True,
    )
    return cert, key


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "web.yml"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def guarded(file: Path, clock: Clock | None = None) -> tuple[Security, ASGIApp]:
    security = Security(file, now=clock or Clock())
    return security, security.guard(create_app(MemoryStore()))


def test_only_those_who_know_a_password_get_in_anywhere(file: Path) -> None:
    file.write_text(f"basic_auth_users:\n  alice: {hashed('secret')}\n  bob: {hashed('ü' * 30)}\n")
    with serving(guarded(file)[1]) as url:
        for path in ("/metrics", "/", "/-/healthy", "/api/v1/sessions", "/nothing"):
            answer = httpx.get(f"{url}{path}")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"].startswith("Basic ")
        for auth, status in (
            (("alice", "secret"), 200),
            (("alice", "secret"), 200),
            (("bob", "ü" * 30), 200),
            (("alice", "Secret"), 401),
            (("alice", ""), 401),
            (("alice", "x" * 100), 401),
            (("carol", "secret"), 401),
            (("", ""), 401),
        ):
            assert httpx.get(f"{url}/metrics", auth=auth).status_code == status, auth


@pytest.mark.parametrize(
    "header", ["Basic", "Basic !!!", "Bearer x", "Basic YWxpY2U=", "Basic Og=="]
)
def test_a_header_that_is_none_lets_nobody_in(file: Path, header: str) -> None:
    file.write_text(f"basic_auth_users: {{alice: '{hashed('secret')}'}}")
    with serving(guarded(file)[1]) as url:
        answer = httpx.get(f"{url}/metrics", headers={"Authorization": header})

    assert answer.status_code == 401


def test_a_right_password_is_known_again_without_the_slow_hash(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(f"basic_auth_users: {{alice: '{hashed('secret')}'}}")
    checked: list[bytes] = []
    real = bcrypt.checkpw

    def checkpw(password: bytes, hash: bytes) -> bool:
        checked.append(password)
        return bool(real(password, hash))

    monkeypatch.setattr(bcrypt, "checkpw", checkpw)
    with serving(guarded(file)[1]) as url:
        for _ in range(3):
            assert httpx.get(f"{url}/metrics", auth=("alice", "secret")).status_code == 200
        assert httpx.get(f"{url}/metrics", auth=("nobody", "secret")).status_code == 401

    assert checked == [b"secret", b"secret"], "and an unknown name takes as long as a known one"


def test_users_are_read_again_when_the_file_changes(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    file.write_text(f"basic_auth_users: {{alice: '{hashed('one')}'}}")
    with serving(guarded(file, clock)[1]) as url:
        assert httpx.get(url, auth=("alice", "one")).status_code == 200
        file.write_text(f"basic_auth_users: {{alice: '{hashed('two')}'}}")
        clock.now += 2
        assert httpx.get(url, auth=("alice", "one")).status_code == 401
        assert httpx.get(url, auth=("alice", "two")).status_code == 200

        file.write_text("basic_auth_users: {alice: plain}")
        clock.now += 2
        assert httpx.get(url, auth=("alice", "two")).status_code == 200
        assert "is no bcrypt hash" in caplog.text
        assert "access stays as it was" in caplog.text

        file.unlink()
        clock.now += 2
        assert httpx.get(url).status_code == 401, "a file that is away opens nothing"


@pytest.mark.parametrize("text", ["basic_auth_users: {alice: 2026-13-45}", "[" * 5_000, "- x"])
def test_a_file_that_becomes_wrong_changes_nothing_and_is_told_once(
    file: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    file.write_text(f"basic_auth_users: {{alice: '{hashed('one')}'}}")
    with serving(guarded(file, clock)[1]) as url:
        file.write_text(text)
        for _ in range(3):
            clock.now += 2
            assert httpx.get(url, auth=("alice", "one")).status_code == 200
            assert httpx.get(url).status_code == 401

    assert caplog.text.count("access stays as it was") == 1


def test_whatever_goes_wrong_with_reading_again_changes_nothing(
    file: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    file.write_text(f"basic_auth_users: {{alice: '{hashed('one')}'}}")

    def broken(_: Path, *, again: bool) -> None:
        raise ZeroDivisionError

    with serving(guarded(file, clock)[1]) as url:
        monkeypatch.setattr(security_module, "read_web_config", broken)
        file.write_text("")
        for _ in range(3):
            clock.now += 2
            assert httpx.get(url, auth=("alice", "one")).status_code == 200

    assert caplog.text.count("access stays as it was") == 1


CUT_OFF = {
    "empty": b"",
    "key only": b"basic_auth_users:\n",
    "comment": b"# users\n",
    "dashes": b"---\n",
    "null": b"null",
    "zeros": b"\0" * 50,
    "list": b"[]",
    "mapping": b"{}",
    "no users": b"basic_auth_users: {}\n",
    "half a key": b"basic_auth_us",
    "half a hash": b"basic_auth_users:\n  alice: $2b$04$abc",
    "too long": b"#" * 2**20 + b"\n{}",
}
"""What a copy that was interrupted, a full disk or a template without its values leaves."""


@pytest.mark.parametrize("content", CUT_OFF.values(), ids=CUT_OFF.keys())
def test_a_file_that_is_emptied_or_cut_off_lets_nobody_in_and_is_reported(
    file: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    clock, reloads = Clock(), Reloads()
    users = f"basic_auth_users:\n  alice: {hashed('one')}\n"
    file.write_text(users)
    security = Security(file, reloads=reloads, now=clock)
    app = security.guard(create_app(MemoryStore(), reloads=reloads))
    good = "spendtree_exporter_config_last_reload_successful"
    with serving(app) as url:
        file.write_bytes(content)
        for _ in range(3):
            clock.now += 2
            assert httpx.get(f"{url}/metrics").status_code == 401
            told = httpx.get(f"{url}/metrics", auth=("alice", "one"))
            assert told.status_code == 200
            assert value(told.text, good) == 0
        assert caplog.text.count("access stays as it was") == 1

        file.write_text(users)
        clock.now += 2
        told = httpx.get(f"{url}/metrics", auth=("alice", "one"))
        assert value(told.text, good) == 1
        assert httpx.get(f"{url}/metrics").status_code == 401


def test_a_file_that_becomes_a_directory_or_a_pipe_changes_and_stops_nothing(file: Path) -> None:
    clock = Clock()
    file.write_text(f"basic_auth_users: {{alice: '{hashed('one')}'}}")
    with serving(guarded(file, clock)[1]) as url:
        for make in (Path.mkdir, os.mkfifo, str):
            file.rmdir() if file.is_dir() else file.unlink()
            make(file)
            clock.now += 2
            assert httpx.get(url).status_code == 401
            assert httpx.get(url, auth=("alice", "one")).status_code == 200


def test_a_file_that_is_replaced_by_one_of_the_same_time_and_length_is_read(file: Path) -> None:
    clock = Clock()
    file.write_text(f"basic_auth_users: {{alice: '{hashed('one')}'}}")
    times = file.stat()
    with serving(guarded(file, clock)[1]) as url:
        other = file.with_suffix(".new")
        other.write_text(f"basic_auth_users: {{alice: '{hashed('two')}'}}")
        os.utime(other, ns=(times.st_atime_ns, times.st_mtime_ns))
        other.rename(file)
        clock.now += 2
        assert httpx.get(url, auth=("alice", "one")).status_code == 401
        assert httpx.get(url, auth=("alice", "two")).status_code == 200


def test_one_user_of_several_can_be_taken_out(file: Path) -> None:
    clock = Clock()
    alice, bob = (f"  {name}: {hashed(name)}\n" for name in ("alice", "bob"))
    file.write_text(f"basic_auth_users:\n{alice}{bob}")
    with serving(guarded(file, clock)[1]) as url:
        assert httpx.get(url, auth=("bob", "bob")).status_code == 200
        file.write_text(f"basic_auth_users:\n{alice}")
        clock.now += 2
        assert httpx.get(url, auth=("bob", "bob")).status_code == 401
        assert httpx.get(url, auth=("alice", "alice")).status_code == 200


def test_a_burst_of_wrong_passwords_keeps_no_right_one_waiting(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No check of theirs ends before the right scrapes were answered."""
    file.write_text(f"basic_auth_users: {{alice: '{hashed('secret')}'}}")
    go = threading.Event()
    real = passwords_module.matches

    def slow(password: bytes, hash: str) -> bool:
        assert password == b"secret" or go.wait(30)
        return real(password, hash)

    monkeypatch.setattr(passwords_module, "matches", slow)
    limits = httpx.Limits(max_connections=200)

    async def burst(url: str) -> list[int]:
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
            assert (await client.get(url, auth=("alice", "secret"))).status_code == 200
            guesses = [
                asyncio.create_task(client.get(url, auth=("alice", f"wrong {number}")))
                for number in range(200)
            ]
            try:
                ended = asyncio.as_completed(guesses, timeout=60)
                for answer in itertools.islice(ended, 150):
                    assert (await answer).status_code == 429, "refused, and not kept waiting"
                for _ in range(3):
                    right = await client.get(url, auth=("alice", "secret"))
                    assert right.status_code == 200
            finally:
                go.set()
            answers = await asyncio.gather(*guesses)
        assert {each.headers.get("retry-after") for each in answers} == {None, "1"}
        return [each.status_code for each in answers]

    with serving(guarded(file)[1]) as url:
        statuses = asyncio.run(burst(url))

    assert set(statuses) == {401, 429}


@needs_openssl
@pytest.mark.parametrize(
    ("text", "lacks"),
    [
        ("{}", "no tls_server_config"),
        ("tls_server_config:\n", "tls_server_config is empty"),
        ("tls_server_config: {cert_file: a.crt, key_file: a.key}", "client_auth_type"),
        (
            "tls_server_config: {cert_file: a.crt, key_file: a.key, client_ca_file: a.crt}",
            "min_version is lower",
        ),
        (
            "tls_server_config: {cert_file: a.crt, key_file: a.key, client_ca_file: empty, "
            "min_version: TLS13}",
            "TLS cannot be served",
        ),
    ],
)
def test_neither_tls_nor_what_it_asks_for_is_taken_away_while_serving(
    tmp_path: Path, file: Path, text: str, lacks: str, caplog: pytest.LogCaptureFixture
) -> None:
    certificate(tmp_path, "a")
    (tmp_path / "empty").touch()
    file.write_text(
        "tls_server_config: {cert_file: a.crt, key_file: a.key, client_ca_file: a.crt, "
        "min_version: TLS13}\n"
    )
    clock, reloads = Clock(), Reloads()
    security = Security(file, reloads=reloads, now=clock)
    served = security.tls
    assert served is not None
    file.write_text(text)
    for _ in range(3):
        clock.now += 2
        security.look()

    assert security.tls is served
    assert served.verify_mode == ssl.CERT_REQUIRED
    assert served.minimum_version == ssl.TLSVersion.TLSv1_3
    assert caplog.text.count("access stays as it was") == 1
    assert lacks in caplog.text
    assert not reloads.good


@needs_openssl
def test_a_pair_of_which_one_half_is_new_is_not_served(
    tmp_path: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate(tmp_path, "a")
    later = tmp_path / "later"
    later.mkdir()
    new = certificate(later, "a")
    file.write_text("tls_server_config: {cert_file: a.crt, key_file: a.key}\n")
    clock = Clock()
    security = Security(file, now=clock)
    assert security.tls is not None
    before = _served(security.tls)
    new[0].rename(tmp_path / "a.crt")
    for _ in range(2):
        clock.now += 2
        assert _served(security.tls) == before
    assert caplog.text.count("access stays as it was") == 1
    new[1].rename(tmp_path / "a.key")
    clock.now += 2

    assert _served(security.tls) != before


@needs_openssl
def test_client_certificates_that_are_asked_for_from_now_on_are_asked_for(
    tmp_path: Path, file: Path
) -> None:
    """A connection keeps what it was made under: none may be let in under the terms before."""
    certificate(tmp_path, "a")
    file.write_text("tls_server_config: {cert_file: a.crt, key_file: a.key}\n")
    clock = Clock()
    security = Security(file, now=clock)
    assert security.tls is not None
    assert _served(security.tls)
    file.write_text(
        "tls_server_config: {cert_file: a.crt, key_file: a.key, client_ca_file: a.crt}\n"
    )
    clock.now += 2

    for _ in range(2):
        with pytest.raises(ssl.SSLError):
            _served(security.tls)


@needs_openssl
def test_the_command_serves_tls(sqlite_url: str, tmp_path: Path, file: Path) -> None:
    cert, _ = certificate(tmp_path, "server")
    file.write_text(
        "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
        f"basic_auth_users: {{alice: '{hashed('secret')}'}}\n"
    )
    with started("--store", sqlite_url, "--web.config.file", str(file)) as (_, url):
        assert url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=str(cert))
        assert httpx.get(url, verify=trust, auth=("alice", "secret")).status_code == 200
        assert httpx.get(url, verify=trust).status_code == 401
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, verify=ssl.create_default_context())


@needs_openssl
def test_only_clients_with_a_known_certificate_get_in(
    sqlite_url: str, tmp_path: Path, file: Path
) -> None:
    cert, _ = certificate(tmp_path, "server")
    client, key = certificate(tmp_path, "client")
    file.write_text(
        "tls_server_config:\n"
        "  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: client.crt\n"
    )
    with started("--store", sqlite_url, "--web.config.file", str(file)) as (_, url):
        trust = ssl.create_default_context(cafile=str(cert))
        with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
            httpx.get(url, verify=trust)
        trust.load_cert_chain(client, key)
        assert httpx.get(url, verify=trust).status_code == 200


@needs_openssl
def test_a_new_certificate_is_served_without_a_restart(tmp_path: Path, file: Path) -> None:
    certificate(tmp_path, "server")
    file.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
    clock = Clock()
    security = Security(file, now=clock)
    server = security.tls
    assert server is not None
    before = _served(server)
    certificate(tmp_path, "server")
    assert _served(server) == before, "not looked at again within the same second"
    clock.now += 2

    assert _served(server) != before


def _served(server: ssl.SSLContext) -> bytes:
    """Shake hands in memory; return the certificate that the client was shown."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    client = trust.wrap_bio(to_client, to_server, server_hostname="localhost")
    other = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, other):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return shown


@needs_openssl
def test_a_certificate_that_comes_after_the_file_that_names_it_is_served(
    tmp_path: Path, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate(tmp_path, "a")
    later = tmp_path / "later"
    later.mkdir()
    cert, key = certificate(later, "b")
    file.write_text("tls_server_config: {cert_file: a.crt, key_file: a.key}\n")
    clock = Clock()
    security = Security(file, now=clock)
    server = security.tls
    assert server is not None
    before = _served(server)

    file.write_text("tls_server_config: {cert_file: b.crt, key_file: b.key}\n")
    for _ in range(3):
        clock.now += 2
        assert _served(server) == before
    assert caplog.text.count("access stays as it was") == 1

    for each in (key, cert):
        each.rename(tmp_path / each.name)
        clock.now += 2
        shown = _served(server)
    assert shown == ssl.PEM_cert_to_DER_cert((tmp_path / "b.crt").read_text())


@needs_openssl
def test_versions_and_client_authentication_are_as_the_file_says(
    tmp_path: Path, file: Path
) -> None:
    certificate(tmp_path, "server")
    file.write_text(
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"
        "  client_ca_file: server.crt\n  client_auth_type: VerifyClientCertIfGiven\n"
        "  min_version: TLS13\n"
    )
    tls = read_web_config(file).tls
    assert tls is not None
    context = context_of(tls)

    assert context.minimum_version == ssl.TLSVersion.TLSv1_3
    assert context.verify_mode == ssl.CERT_OPTIONAL


def test_an_empty_file_means_plain_http_for_everybody(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_text("")
    security, app = guarded(file)
    assert "everybody is let in" in caplog.text

    assert security.tls is None
    with serving(app) as url:
        assert httpx.get(url).status_code == 200


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("basic_auth_users: {alice: secret}", "basic_auth_users.alice is no bcrypt hash"),
        ("basic_auth_users: [alice]", "no mapping"),
        ("basic_auth_users:", "basic_auth_users is empty"),
        ("tls_server_config:", "tls_server_config is empty"),
        (f"basic_auth_users: {{a: $2b$31${'a' * 53}}}", "a bcrypt cost of 31: 4 to 15"),
        ("tls_server_config: {cert_file: a}", "key_file must name a file"),
        ("tls_server_config: {cert_file: a, key_file: b}", "No such file"),
        ("tls_server_config: {cert: a}", "unknown key tls_server_config.cert; known: cert_file"),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: TLS10}", "none of TLS12"),
        (
            "tls_server_config: {cert_file: a, key_file: b, client_auth_type: "
            "RequireAndVerifyClientCert}",
            "needs a client_ca_file",
        ),
        ("users: {}", "unknown key users"),
        ("- a", "is no mapping"),
        ("a: [\n- b", "cannot be read"),
        ("basic_auth_users: {prom: 2026-13-45}", "cannot be read: month must be in 1..12"),
        ("[" * 5_000, "cannot be read"),
        ("a: !!bool x", "cannot be read"),
        ("tls_server_config: {cert_file: a, key_file: b, min_version: [TLS12]}", "min_version ['T"),
        ("tls_server_config: {cert_file: a, key_file: b, max_version: {}}", "max_version {} is"),
        ('tls_server_config: {cert_file: "a\\0b", key_file: b}', "cert_file must name a file"),
        ('tls_server_config: {cert_file: "a\\uD800", key_file: b}', "TLS cannot be served with"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_one_line(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=r"web\.yml|a\S?, ") as told:
        Security(file)

    assert reason in str(told.value)
    assert "\n" not in str(told.value)


def test_the_command_ends_with_the_reason_for_a_file_that_is_wrong(
    sqlite_url: str, file: Path
) -> None:
    assert str(file) in refused("--store", sqlite_url, "--web.config.file", str(file))
