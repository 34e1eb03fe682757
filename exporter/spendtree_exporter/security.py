"""Security: a web configuration in force: TLS, and a guard that asks for passwords.

As with other exporters the file and what it names are read again when they change. A file that is
wrong then, or lacks protection that is in force, changes nothing but the log and a metric.
"""

import base64
import binascii
import logging
import ssl
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from spendtree.errors import ConfigurationError
from spendtree_exporter.passwords import BusyError, Passwords, bcrypt_library, nobody, peer_of
from spendtree_exporter.watch import Reloads, Watch, stamps_of
from spendtree_exporter.webconfig import WebConfig, context_of, read_web_config, weakened

log = logging.getLogger("spendtree.exporter")


class Security:
    """One web configuration in force: a TLS context, and a guard around an application.

    Raises ConfigurationError for a file that is wrong at the start. `reloads` is told whether the
    file could be taken when it changed.
    """

    def __init__(
        self,
        file: Path,
        *,
        reloads: Reloads | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file = file
        self._reloads = reloads or Reloads()
        self._lock = threading.Lock()
        self._watch = Watch(now)
        self._passwords = Passwords(now=now)
        self._config = WebConfig()
        self._users = self._config.users
        """Those of whom passwords are known again; only of the event loop."""
        self._context: ssl.SSLContext | None = None
        self._served: ssl.SSLContext | None = None
        self._take(self._read(again=False))
        self._served = self._context
        if not self._config.users and self._config.tls is None:
            log.warning("%s names neither users nor TLS: everybody is let in", file)

    @property
    def tls(self) -> ssl.SSLContext | None:
        """Return the context to serve with, None for plain HTTP."""
        return self._served

    def guard(self, app: ASGIApp, *, except_for: Collection[str] = ()) -> ASGIApp:
        """Return an application that lets only those in whom the file names.

        `except_for` are paths whose own guard asks for something else.
        """

        async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                if self._watch.is_due:  # in a thread: no other request waits for the files
                    await run_in_threadpool(self.look)
                if self._config.users and scope["path"] not in except_for:
                    refusal = await self._refusal(scope)
                    if refusal is not None:
                        await refusal(scope, receive, send)
                        return
            await app(scope, receive, send)

        return guarded

    def look(self) -> None:
        """Read the files again if one has changed, at most once a second."""
        with self._lock:
            if not self._watch.changed():
                return
            try:
                config = self._read(again=True)
                if lacking := weakened(self._config, config):
                    raise ConfigurationError(
                        f"{self._file}: {lacking}: to take protection away, start again"
                    )
                if config.tls is not None and self._served is None:
                    raise ConfigurationError(
                        f"{self._file}: TLS cannot be switched on while serving: start again"
                    )
                self._take(config)
            except ConfigurationError as error:
                log.error("%s; access stays as it was", error)
                self._reloads.record("web", good=False)
            except Exception:
                # It would be the answer to a scrape, or end a handshake.
                log.exception("%s could not be read again; access stays as it was", self._file)
                self._reloads.record("web", good=False)
            else:
                log.info("%s read again", self._file)
                self._reloads.record("web", good=True)

    def _read(self, *, again: bool) -> WebConfig:
        """Read the file; from before that on it and what it names are watched, if it is wrong too.

        What it names may come later than it.
        """
        stamps = stamps_of((self._file,))
        config = read_web_config(self._file, again=again)
        named = config.tls.files if config.tls else ()
        self._watch.keep((self._file, *named), (*stamps, *stamps_of(named)))
        return config

    def _take(self, config: WebConfig) -> None:
        """Put a configuration in force, whole or, with an error, not at all."""
        if config.users:
            bcrypt_library()
        context = None if config.tls is None else context_of(config.tls)
        if context is not None:
            context.sni_callback = self._handshake
            if self._served is not None:
                # A connection takes these from the context that uvicorn began with, and only
                # the certificates and the authority from the one that it is given later.
                self._served.verify_mode = context.verify_mode
                self._served.maximum_version = context.maximum_version
                self._served.minimum_version = context.minimum_version
        self._context, self._config = context, config

    def _handshake(
        self, connection: ssl.SSLObject, _name: str | None, _: ssl.SSLContext
    ) -> int | None:
        """Go on with the certificates of now: uvicorn keeps the context that it began with."""
        before = _terms(self._context)
        self.look()
        if _terms(self._context) != before:
            # This connection was made under the terms before; the next one is under those of now.
            return int(ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR)
        if self._context is not None and connection.context is not self._context:
            connection.context = self._context
        return None

    async def _refusal(self, scope: Scope) -> Response | None:
        """Return the answer for who does not give a right password, None for who does."""
        found = _credentials(dict(scope["headers"]).get(b"authorization", b""))
        if found is None:
            return _unauthorized()
        name, password = found
        users = self._config.users
        if users != self._users:
            self._passwords.forget()
            self._users = users
        known = users.get(name)
        hashed = known or nobody(users.values())
        try:
            right = await self._passwords.is_right(
                name, password, hashed, peer=peer_of(scope.get("client"))
            )
        except BusyError:
            return PlainTextResponse(
                "Too many passwords are being checked: send this again in a second\n",
                429,
                {"Retry-After": "1"},
            )
        # The users may be others by now.
        if right and known is not None and self._config.users.get(name) == known:
            return None
        return _unauthorized()


def _unauthorized() -> Response:
    return PlainTextResponse("Unauthorized\n", 401, {"WWW-Authenticate": 'Basic realm="spendtree"'})


def _terms(context: ssl.SSLContext | None) -> tuple[int, ...]:
    """Return what a connection keeps of the context that it was made under."""
    if context is None:
        return ()
    return context.verify_mode, context.minimum_version, context.maximum_version


def _credentials(header: bytes) -> tuple[str, bytes] | None:
    """Return name and password of an Authorization header, None where it has none."""
    scheme, _, rest = header.partition(b" ")
    if scheme.lower() != b"basic":
        return None
    try:
        name, _, password = base64.b64decode(rest.strip(), validate=True).partition(b":")
    except binascii.Error:
        return None
    return name.decode("utf-8", "replace"), password
