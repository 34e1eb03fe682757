"""What runs through a stream: its usage is read, its last word awaited, an extra chunk hidden.

Pure: bytes in, bytes out. Works on events as they are sent, before any client parses them, so that
it is the same for every way in which a client hands a stream out.
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any

from spendtree.integrations.library import Endpoint

KEPT = 64
"""Events with usage that are kept beside the first: counts are cumulative, the last ones count.
Groq states each tool when it begins and when it ends, up to ten of them."""

# A usage, or what shows a fee: what OpenAI's search models cite, and tools that Groq executed.
_USAGE = re.compile(rb'"usage"\s*:\s*\{|"(?:annotations|executed_tools)"\s*:\s*\[\s*\{')
_FINISH = re.compile(rb'"finish_reason"\s*:\s*"')
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_ERROR = re.compile(rb'(?:^|[\r\n])(?:event:\s*error|data:\s*\{\s*"error")')
_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")


class Events:
    """Reads server-sent events as they pass.

    With `hides`, the event that only tells a usage that nobody asked for is taken out, and the one
    that ends a choice is passed on together with what follows it: a reader who stops there must
    not have missed the usage.
    """

    def __init__(self, endpoint: Endpoint, *, hides: bool) -> None:
        self._endpoint = endpoint
        self._hides = hides
        self._rest = b""
        self._held = b""
        self._last = b""
        self._first: bytes | None = None
        self._kept: deque[bytes] = deque(maxlen=KEPT)

    def feed(self, chunk: bytes) -> bytes:
        """Take what came; return what to pass on."""
        whole, self._rest = _split(self._rest + chunk if self._rest else chunk)
        if not whole:
            return b"" if self._hides else chunk
        self._last = whole
        if not self._hides:
            if _USAGE.search(whole):
                self._keep(whole)
            return chunk
        if not self._held and not _USAGE.search(whole) and not _FINISH.search(whole):
            return whole
        return self._sift(whole)

    def flush(self) -> bytes:
        """Return what is left when nothing more comes."""
        rest, self._rest = self._rest, b""
        if rest:
            self._last = rest
            if _USAGE.search(rest):
                self._keep(rest)
        held, self._held = self._held, b""
        return held + rest if self._hides else b""

    def release(self) -> bytes:
        """Return what was held back, where the stream breaks off before more came."""
        held, self._held = self._held, b""
        return held

    @property
    def statements(self) -> list[Any]:
        """Return the events that tell a usage: the first, and the last ones."""
        return [event for text in self._told if (event := _parsed(text)) is not None]

    @property
    def _told(self) -> list[bytes]:
        return [*(() if self._first is None else (self._first,)), *self._kept]

    @property
    def is_final(self) -> bool:
        """Tell whether there will be no other usage than what was seen, if any was."""
        if self._endpoint.done.search(self._last):
            return True
        told = self._told
        return bool(told and self._endpoint.final.search(told[-1]))

    @property
    def tells_error(self) -> bool:
        """Tell whether the last that came is the provider's report of a failure."""
        return bool(_ERROR.search(self._last))

    def _sift(self, whole: bytes) -> bytes:
        passed = []
        for event in _events(whole):
            passed.append(self._held)
            self._held = b""
            if _USAGE.search(event):
                self._keep(event)
                if _NO_CHOICES.search(event):
                    continue
            if _FINISH.search(event):
                self._held = event
            else:
                passed.append(event)
        return b"".join(passed)

    def _keep(self, whole: bytes) -> None:
        for event in _events(whole):
            if not _USAGE.search(event):
                continue
            text = b"".join(
                line.removeprefix(b"data:")
                for line in event.splitlines()
                if line.startswith(b"data:")
            )
            if self._first is None:
                self._first = text
            else:
                self._kept.append(text)


class Body:
    """Reads a body that comes in pieces and is no stream of events: JSON, or Bedrock's frames."""

    tells_error = False

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self.is_final = False

    def feed(self, chunk: bytes) -> bytes:
        """Take what came, and pass it on."""
        self._pieces.append(chunk)
        return chunk

    def release(self) -> bytes:
        """Return nothing: all was passed on."""
        return b""

    def flush(self) -> bytes:
        """Take note that it is whole."""
        self.is_final = True
        return b""

    @property
    def statements(self) -> list[Any]:
        """Return the body, if there is one."""
        body = b"".join(self._pieces)
        return [body] if body else []


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _split(data: bytes) -> tuple[bytes, bytes]:
    """Return what is whole events, and the beginning of one."""
    end = max(data.rfind(b"\n\n") + 2, data.rfind(b"\r\n\r\n") + 4, data.rfind(b"\r\r") + 2)
    # What was not found is -1, so it is at 1 or 3.
    return (data[:end], data[end:]) if end > 3 else (b"", data)


def _events(whole: bytes) -> Iterator[bytes]:
    start = 0
    for end in _EVENT_END.finditer(whole):
        yield whole[start : end.end()]
        start = end.end()
    if start < len(whole):
        yield whole[start:]
