"""The web configuration: TLS and basic auth, in the form that Prometheus exporters share.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md, without
`http_server_config` and `rate_limit`. What a file says, and how two of them differ; what is done
about it is in `security`.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spendtree.errors import ConfigurationError
from spendtree_exporter.watch import text_of

_CLIENT_AUTH = {
    "NoClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
_VERSIONS = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_HASH = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")

_COST_MIN, _COST_MAX = 4, 15
"""bcrypt's cost: each step doubles the time; 10 takes some 50 ms, 15 more than a second."""


_BRACKETS_MAX = 200
"""What one opens within another takes PyYAML time by the square of its depth: 2.5 s for 5,000."""


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


def read_web_config(file: Path, *, again: bool = False) -> WebConfig:
    """Return what a file says. Raises ConfigurationError, which names the file and the key.

    `again` is whether it was read before: then only a regular file will do.
    """
    import yaml  # noqa: PLC0415 - only on use

    try:
        text = text_of(file, again=again)
        if text.count("[") + text.count("{") > _BRACKETS_MAX:
            raise ValueError(f"it has more than {_BRACKETS_MAX} brackets")
        told = yaml.safe_load(text)
    except Exception as error:
        # PyYAML lets through whatever comes of making a date, a number or a deep list.
        reason = " ".join(str(error).split())
        raise ConfigurationError(f"{file}: cannot be read: {reason}") from None
    sections = _section(file, "", told, ("tls_server_config", "basic_auth_users"))
    for name, section in sections.items():
        if section is None:  # as a file is that was cut off
            raise ConfigurationError(f"{file}: {name} is empty: fill it in, or leave it out")
    tls = sections.get("tls_server_config")
    return WebConfig(
        tls=None if tls is None else _tls(file, tls),
        users=_users(file, sections.get("basic_auth_users")),
    )


def weakened(old: WebConfig, new: WebConfig) -> str:
    """Return which protection of the old configuration the new one lacks, "" for none.

    A file that was emptied or cut off says less than before, and what it says is often valid: so
    while serving protection may be changed, and added to, but not taken away.
    """
    if old.users and not new.users:
        return "it names no users any more"
    if old.tls is None:
        return ""
    if new.tls is None:
        return "it has no tls_server_config any more"
    if new.tls.client_auth < old.tls.client_auth:
        return "its client_auth_type asks for less than before"
    if new.tls.min_version < old.tls.min_version:
        return "its min_version is lower than before"
    return ""


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
        match = _HASH.fullmatch(hashed) if isinstance(hashed, str) else None
        if match is None:
            raise ConfigurationError(
                f"{file}: basic_auth_users.{name} is no bcrypt hash; "
                f"make one with `htpasswd -nBC 10 {name}`"
            )
        if not _COST_MIN <= int(match[1]) <= _COST_MAX:
            raise ConfigurationError(
                f"{file}: basic_auth_users.{name} has a bcrypt cost of {match[1]}: "
                f"{_COST_MIN} to {_COST_MAX} are possible, and 10 to 12 usual, "
                "since a scrape has to wait for it"
            )
        users[str(name)] = match[0]
    return users
