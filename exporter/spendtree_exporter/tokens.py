"""Tokens: who may send spans, by a bearer token of the receiver's own (RFC 6750).

They stand in a file, one a line, which is read again when it changes: so a new one can be added
before the old one is taken out. A file that is wrong or empty then changes nothing.
"""

import hashlib
import hmac
import logging
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

from spendtree.errors import ConfigurationError
from spendtree_exporter.watch import Reloads, Watch, stamps_of, text_of

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_LENGTH_MIN = 16

log = logging.getLogger("spendtree.exporter")


class Tokens:
    """The tokens of one file, in force. Raises ConfigurationError for a file that is wrong."""

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
        self._digests = self._read(again=False)

    def admits(self, header: str) -> bool:
        """Tell whether an Authorization header carries one of the tokens."""
        self.look()
        scheme, _, token = header.partition(" ")
        given = _digest(token.strip())
        # All are compared, and digests instead of tokens: time says nothing of them.
        found = sum([hmac.compare_digest(given, each) for each in self._digests])
        return scheme.lower() == "bearer" and found > 0

    def look(self) -> None:
        """Read the file again if it has changed, at most once a second."""
        with self._lock:
            if not self._watch.changed():
                return
            try:
                self._digests = self._read(again=True)
            except ConfigurationError as error:
                log.error("%s; the tokens stay as they were", error)
                self._reloads.record("tokens", good=False)
            else:
                log.info("%s read again: %d token(s)", self._file, len(self._digests))
                self._reloads.record("tokens", good=True)

    def _read(self, *, again: bool) -> tuple[bytes, ...]:
        self._watch.keep((self._file,), stamps_of((self._file,)))
        return tuple(map(_digest, read_tokens(self._file, again=again)))


def read_tokens(file: Path, *, again: bool = False) -> list[str]:
    """Return the tokens in a file, in which empty lines and those that begin with # are skipped.

    Raises ConfigurationError, which names the file and the line, but never a token.
    """
    try:
        lines = text_of(file, again=again).splitlines()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{file}: cannot be read: {error}") from None
    tokens = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        if len(line) < _LENGTH_MIN or not _TOKEN.fullmatch(line):
            raise ConfigurationError(
                f"{file}:{number}: not a valid token: it takes at least {_LENGTH_MIN} letters, "
                "digits and ._~+/=- without spaces; make one with `openssl rand -hex 32`"
            )
        tokens.append(line)
    if not tokens:
        raise ConfigurationError(
            f"{file}: there is no token in it; make one with `openssl rand -hex 32`"
        )
    return tokens


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
