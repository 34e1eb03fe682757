"""Reading trace files: the only place of `ingest` that opens anything."""

import zlib
from collections.abc import Iterator
from pathlib import Path

from spendtree.ingest.parse import parse
from spendtree.ingest.span import Problem, SpanRecord

_GZIP = b"\x1f\x8b"


def read_file(path: Path) -> Iterator[SpanRecord | Problem]:
    """Return the spans of a file, gzip or not (told by its first bytes), and its problems."""
    file = str(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        yield Problem(file, "line 1", f"cannot be read: {error.strerror or error}")
        return
    if content.startswith(_GZIP):
        content, reason = _gunzipped(content)
        if reason:
            lines = content.count(b"\n") + 1
            yield Problem(file, f"line {lines}", f"{reason}; what stands before it is read")
    yield from parse(content, file=file)


def _gunzipped(content: bytes) -> tuple[bytes, str]:
    """Return as much as can be unpacked, and why the rest cannot ("" if there is none)."""
    parts: list[bytes] = []
    while content.startswith(_GZIP):
        member = zlib.decompressobj(wbits=31)
        try:
            parts.append(member.decompress(content))
        except zlib.error as error:
            return b"".join(parts), f"the gzip data is damaged ({error})"
        if not member.eof:
            return b"".join(parts), "the gzip data ends early"
        content = member.unused_data
    return b"".join(parts), ""
