"""Security: `--web.config.file`, in the form that Prometheus exporters share: TLS and basic auth.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md, without
`http_server_config` and `rate_limit`. Like there, the file and what it names are read again when
they change; a file that is wrong then changes nothing but the log.
"""

import base64
import binascii
import hmac
import logging
import os
import re
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from spendtree.errors import ConfigurationError

_LOOK_SECONDS = 1.0
"""How often, at most, the files are looked at."""

_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_HASH = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")

_NOBODY = "$2b$10$7OoZvb7NmDiRNnhFjTfQ.OHjOz.K3k/F2Qzg.r871XTDzw5QZCxgi"
"""What the password of an unknown user is compared with: the answer takes as long as for others."""

_REMEMBERED = 100
"""Right passwords that are known again without bcrypt, which takes some 50 ms each time."""

log = logging.getLogger("spendtree.exporter")


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """Certificate and key, whose clients are let in, and the versions spoken."""

    cert_file: Path
    key_file: Path
    client_ca_file: Path | None = None
    client_auth: ssl.VerifyMode = ssl.CERT_NONE
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    max_version: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files that are named."""
        files = (self.cert_file, self.key_file)
        return files if self.client_ca_file is None else (*files, self.client_ca_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """What a web configuration says: TLS or None, and users with the hashes of their passwords."""

    tls: TlsSettings | None = None
    users: Mapping[str, str] = field(default_factory=dict)


def read_web_config(file: Path) -> WebConfig:
    """Return what a file says. Raises ConfigurationError, which names the file and the key."""
    import yaml  # noqa: PLC0415 - only on use

    try:
        told = yaml.safe_load(file.read_text("utf-8"))
    except Exception as error:
        # PyYAML lets through whatever comes of making a date, a number or a deep list.
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{file}: cannot be read: {reason}") from None
    sections = _section(file, "", told, ("tls_server_config", "basic_auth_users"))
    tls = sections.get("tls_server_config")
    return WebConfig(
        tls=None if tls is None else _tls(file, tls),
        users=_users(file, sections.get("basic_auth_users")),
    )


def context_of(tls: TlsSettings) -> ssl.SSLContext:
    """Return the TLS context; raises ConfigurationError for files that cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = tls.min_version, tls.max_version
    try:
        context.load_cert_chain(tls.cert_file, tls.key_file)
        if tls.client_ca_file is not None:
            context.load_verify_locations(tls.client_ca_file)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        names = ", ".join(map(str, tls.files))
        raise ConfigurationError(f"TLS cannot be served with {names}: {error}") from None
    context.verify_mode = tls.client_auth
    return context


class Security:
    """One web configuration in force: a TLS context, and a guard around an application.

    Raises ConfigurationError for a file that is wrong at the start.
    """

    def __init__(self, file: Path, *, now: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._now = now
        self._lock = threading.Lock()
        self._looked_at = now()
        self._secret = os.urandom(32)
        self._right: dict[bytes, None] = {}
        self._files: tuple[Path, ...] = ()
        self._stamps: tuple[float, ...] = ()
        self._take(self._read())

    @property
    def tls(self) -> ssl.SSLContext | None:
        """Return the context to serve with, None for plain HTTP."""
        return self._context

    def guard(self, app: ASGIApp) -> ASGIApp:
        """Return an application that lets only those in whom the file names."""

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                self.look()
                header = dict(scope["headers"]).get(b"authorization", b"")
                if self._users and not await self._admits(header):
                    answer = PlainTextResponse(
                        "Unauthorized\n", 401, {"WWW-Authenticate": 'Basic realm="spendtree"'}
                    )
                    await answer(scope, receive, send)
                    return
            await app(scope, receive, send)

        return guarded

    def look(self) -> None:
        """Read the files again if one has changed, at most once a second."""
        with self._lock:
            if self._now() < self._looked_at + _LOOK_SECONDS:
                return
            self._looked_at = self._now()
            stamps = _stamps(self._files)
            if stamps == self._stamps:
                return
            self._stamps = stamps  # also of a file that is wrong: it is told once
            try:
                config = self._read()
                if (config.tls is None) != (self._context is None):
                    raise ConfigurationError(
                        f"{self._file}: TLS cannot be switched while serving: start again"
                    )
                self._take(config)
            except ConfigurationError as error:
                log.error("%s; access stays as it was", error)
            except Exception:
                # It would be the answer to a scrape, or end a handshake.
                log.exception("%s could not be read again; access stays as it was", self._file)
            else:
                log.info("%s read again", self._file)

    def _read(self) -> WebConfig:
        """Read the file; from before that on it and what it names are watched, if it is wrong too.

        What it names may come later than it.
        """
        stamps = _stamps((self._file,))
        config = read_web_config(self._file)
        named = config.tls.files if config.tls else ()
        self._files, self._stamps = (self._file, *named), (*stamps, *_stamps(named))
        return config

    def _take(self, config: WebConfig) -> None:
        if config.users:
            _bcrypt()
        context = None if config.tls is None else context_of(config.tls)
        if context is not None:
            context.sni_callback = self._handshake
        self._context: ssl.SSLContext | None = context
        self._users = dict(config.users)
        self._right.clear()

    def _handshake(self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext) -> None:
        """Go on with the certificates of now: uvicorn keeps the context that it began with."""
        self.look()
        if self._context is not None and connection.context is not self._context:
            connection.context = self._context

    async def _admits(self, header: bytes) -> bool:
        name, password = _credentials(header)
        known = self._users.get(name)
        proof = hmac.digest(
            self._secret, repr((name, known, password)).encode("utf-8", "replace"), "sha256"
        )
        if known is not None and proof in self._right:
            return True
        right = await run_in_threadpool(_matches, password, known or _NOBODY)
        if not right or known is None or self._users.get(name) != known:
            return False
        if len(self._right) >= _REMEMBERED:
            self._right.clear()
        self._right[proof] = None
        return True


def _section(file: Path, where: str, value: Any, known: tuple[str, ...]) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigurationError(f"{file}: {where or 'the file'} is no mapping")
    for key in value:
        if key not in known:
            there = f"{where}.{key}" if where else key
            raise ConfigurationError(f"{file}: unknown key {there}; known: {', '.join(known)}")
    return value


def _tls(file: Path, value: Any) -> TlsSettings:
    keys = "cert_file key_file client_ca_file client_auth_type min_version max_version"
    told = _section(file, "tls_server_config", value, tuple(keys.split()))
    paths = {key: _path(file, key, told.get(key)) for key in ("cert_file", "key_file")}
    ca = told.get("client_ca_file")
    fallback = "NoClientCert" if ca is None else "RequireAndVerifyClientCert"
    client_auth = _one_of(file, told, "client_auth_type", _CLIENT_AUTH, fallback)
    if client_auth != ssl.CERT_NONE and ca is None:
        raise ConfigurationError(
            f"{file}: tls_server_config.client_auth_type needs a client_ca_file"
        )
    newest = {**_VERSIONS, "": ssl.TLSVersion.MAXIMUM_SUPPORTED}
    return TlsSettings(
        **paths,
        client_ca_file=None if ca is None else _path(file, "client_ca_file", ca),
        client_auth=client_auth,
        min_version=_one_of(file, told, "min_version", _VERSIONS, "TLS12"),
        max_version=_one_of(file, told, "max_version", newest, ""),
    )


def _path(file: Path, key: str, value: Any) -> Path:
    """Return a path; one that is not full begins where the file is."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise ConfigurationError(f"{file}: tls_server_config.{key} must name a file")
    return file.parent / value


def _one_of(
    file: Path, told: Mapping[str, Any], key: str, allowed: Mapping[str, Any], default: str
) -> Any:
    value = told.get(key, default)
    if not isinstance(value, str) or value not in allowed:
        names = ", ".join(name for name in allowed if name)
        raise ConfigurationError(f"{file}: tls_server_config.{key} {value!r} is none of {names}")
    return allowed[value]


def _users(file: Path, value: Any) -> dict[str, str]:
    if value is not None and not isinstance(value, dict):
        raise ConfigurationError(f"{file}: basic_auth_users is no mapping of names to hashes")
    users = {}
    for name, hashed in (value or {}).items():
        if not isinstance(hashed, str) or not _HASH.fullmatch(hashed):
            raise ConfigurationError(
                f"{file}: basic_auth_users.{name} is no bcrypt hash; "
                f"make one with `htpasswd -nBC 10 {name}`"
            )
        users[str(name)] = hashed
    return users


def _stamps(files: tuple[Path, ...]) -> tuple[float, ...]:
    """Return when files changed last; 0 for one that is away."""
    found = []
    for file in files:
        try:
            found.append(file.stat().st_mtime_ns / 1e9)
        except (OSError, ValueError):  # ValueError: no system has a file of that name
            found.append(0.0)
    return tuple(found)


def _credentials(header: bytes) -> tuple[str, bytes]:
    """Return name and password of an Authorization header, empty ones where it has none."""
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() != b"basic":
        return "", b""
    try:
        name, _, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except binascii.Error:
        return "", b""
    return name.decode("utf-8", "replace"), password


def _matches(password: bytes, hashed: str) -> bool:
    try:
        return bool(_bcrypt().checkpw(password, hashed.encode()))
    except ValueError:  # longer than 72 bytes, or with a NUL: no hash is of such a password
        return False


def _bcrypt() -> Any:
    try:
        import bcrypt  # noqa: PLC0415 - an extra
    except ImportError:
        raise ConfigurationError(
            "basic_auth_users needs bcrypt: pip install 'spendtree[auth]'"
        ) from None
    return bcrypt
