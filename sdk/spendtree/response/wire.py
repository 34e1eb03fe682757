"""From what a connection carries to what it says: JSON bodies, SSE and NDJSON streams, AWS frames.

Text and bytes come whole or in pieces, cut wherever the network or a client cut them. Pure; which
key means what is not known here.
"""

import base64
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from struct import unpack_from
from typing import Any, NamedTuple

_LINE_END = re.compile(r"\r\n|\n|\r")
"""Only these end a line of an event stream: `splitlines` would cut a text at U+2028, too."""

_RAW = (str, bytes, bytearray, memoryview)

_PRELUDE = 12
_STRING = 7
"""The type of a header's value that Bedrock sends ("Event stream encoding")."""


class _Parsed(NamedTuple):
    """A text's events, and whether nothing was left over that should have been one."""

    events: list[Any]
    is_clean: bool


def events_of(response: Any) -> list[Any]:
    """Return the events of a response that is text or bytes, or a collection.

    A collection of nothing but text and bytes is one text in pieces: lines with or without their
    ends, events, chunks or frames as they came. Another one's items are events, parsed or not.
    A body is one event. What is broken is left out.
    """
    if isinstance(response, _RAW):
        return _unwrapped(_read([_octets(response)]))
    if response and all(isinstance(piece, _RAW) for piece in response):
        return _unwrapped(_read([_octets(piece) for piece in response]))
    return [
        each
        for event in response
        for each in (events_of(event) if isinstance(event, _RAW) else _unwrapped([event]))
    ]


def _unwrapped(events: list[Any]) -> list[Any]:
    """Return events, those that wrap their text as what that text says.

    Bedrock's InvokeModelWithResponseStream wraps it as `chunk.bytes`, readers of SSE as `data`.
    """
    found = []
    for event in events:
        chunk = _at(event, "chunk")
        for text in (_at(chunk, "bytes"), _at(event, "data")):
            said = json_of(text) if isinstance(text, (str, bytes)) else None
            if said is not None:
                event = said
                break
        found.append(event)
    return found


def _at(thing: Any, key: str) -> Any:
    return thing.get(key) if isinstance(thing, Mapping) else getattr(thing, key, None)


def json_of(text: str | bytes) -> Any:
    """Return the value that a text is, None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _octets(piece: str | bytes | bytearray | memoryview) -> bytes:
    return piece.encode("utf-8", "replace") if isinstance(piece, str) else bytes(piece)


def _read(pieces: list[bytes]) -> list[Any]:
    whole = b"".join(pieces)
    if _is_framed(whole):
        return list(_frames(whole))
    joined = _events(whole.decode("utf-8", "replace"))
    if len(pieces) == 1 or (joined.events and joined.is_clean):
        return joined.events
    # Lines whose ends were taken off: a client that iterates over lines does that.
    lines = _events(b"\n".join(pieces).decode("utf-8", "replace"))
    better = lines.is_clean or len(lines.events) > len(joined.events)
    return lines.events if better else joined.events


def _events(text: str) -> _Parsed:
    text = text.removeprefix("\ufeff")
    body = json_of(text)
    if body is not None:
        return _Parsed(body if isinstance(body, list) else [body], True)
    events: list[Any] = []
    is_clean = True
    for block in _blocks(text):
        found = [json_of("\n".join(block))]
        if found == [None]:  # several events without the empty line between them
            found = [json_of(line) for line in block]
        told = [event for event in found if event is not None]
        events += told
        is_clean = is_clean and len(told) == len(found)
    return _Parsed(events, is_clean)


def _blocks(text: str) -> Iterator[list[str]]:
    """Yield the data of each event, as the lines that it came in."""
    block: list[str] = []
    for line in _LINE_END.split(text):
        if line.startswith("data:"):
            data = line.removeprefix("data:").removeprefix(" ")
            if data.strip() not in ("", "[DONE]"):
                block.append(data)
            continue
        if block:
            yield block
            block = []
        if line.lstrip()[:1] in ("{", "["):
            yield [line]
    if block:
        yield block


# `application/vnd.amazon.eventstream`: length, length of the headers, checksum of both; headers;
# payload; checksum of all ("Event stream encoding" in the Transcribe guide).


def _is_framed(data: bytes) -> bool:
    return len(data) > _PRELUDE and zlib.crc32(data[:8]) == int.from_bytes(data[8:_PRELUDE], "big")


def _frames(data: bytes) -> Iterator[Any]:
    """Yield each frame that is whole as boto3 gives it: its event's name, and its content."""
    while _is_framed(data):
        length, headers_length = unpack_from(">II", data)
        frame, data = data[:length], data[length:]
        if len(frame) < length or zlib.crc32(frame[:-4]) != int.from_bytes(frame[-4:], "big"):
            return
        start = _PRELUDE + headers_length
        content = json_of(frame[start:-4])
        if isinstance(content, dict):
            yield {_event_type(frame[_PRELUDE:start]): _decoded(content)}


def _decoded(content: dict[str, Any]) -> dict[str, Any]:
    """Return the content; InvokeModel's is text in bytes in base64."""
    octets = content.get("bytes")
    if not isinstance(octets, str):
        return content
    try:
        return {"bytes": base64.b64decode(octets, validate=True)}
    except ValueError:
        return {}


def _event_type(headers: bytes) -> str:
    while headers:
        name_end = 1 + headers[0]
        name = headers[1:name_end]
        if headers[name_end : name_end + 1] != bytes([_STRING]) or len(headers) < name_end + 3:
            return ""
        start = name_end + 3
        end = start + int.from_bytes(headers[name_end + 1 : start], "big")
        if name == b":event-type":
            return headers[start:end].decode("utf-8", "replace")
        headers = headers[end:]
    return ""
