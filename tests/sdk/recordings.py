"""The recorded responses of ../shared/data/providers, as clients without an SDK have them."""

import base64
import functools
import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

RECORDED = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "providers"


def index() -> list[dict[str, Any]]:
    if not (RECORDED / "index.jsonl").is_file():
        return []
    lines = (RECORDED / "index.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


ROWS = index()
needs_recordings = pytest.mark.skipif(
    not ROWS, reason="needs the recorded responses of ../shared/data/providers"
)


def units_are_priced() -> bool:
    """Return whether a price sheet knows prices of units beside text tokens."""
    from spendtree import Usage  # noqa: PLC0415
    from spendtree.pricing import PriceBook  # noqa: PLC0415

    sheet = PriceBook().sheet("gpt-audio", "openai")
    assert sheet is not None
    return sheet.cost(Usage(0, 0, units={"input_audio": 1}), 0) != 0


def frames(raw: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """Decode `application/vnd.amazon.eventstream`: lengths, headers, payload, checksums."""
    while raw:
        length, headers_length, prelude_crc = struct.unpack_from(">III", raw)
        frame, raw = raw[:length], raw[length:]
        assert zlib.crc32(frame[:8]) == prelude_crc
        assert zlib.crc32(frame[:-4]) == struct.unpack(">I", frame[-4:])[0]
        headers, rest = {}, frame[12 : 12 + headers_length]
        while rest:
            name, rest = rest[1 : 1 + rest[0]].decode(), rest[1 + rest[0] :]
            kind, size = struct.unpack_from(">BH", rest)
            assert kind == 7  # a string: the only kind that Bedrock sends
            headers[name], rest = rest[3 : 3 + size].decode(), rest[3 + size :]
        yield headers, frame[12 + headers_length : -4]


def bedrock_events(raw: bytes) -> list[Any]:
    """Return what boto3 iterates over: an event by its name, InvokeModel's chunks in bytes."""
    events: list[Any] = []
    for headers, payload in frames(raw):
        content = json.loads(payload)
        if "bytes" in content:
            content = {"bytes": base64.b64decode(content["bytes"])}
        events.append({headers[":event-type"]: content})
    return events


@functools.cache
def recorded(file: str) -> Any:
    """Return a recorded response as a client without an SDK has it: a body, or a list of events."""
    record = json.loads((RECORDED / file).read_text(encoding="utf-8"))
    response = record["response"]
    if "body_json" in response:
        return response["body_json"]
    if "body_b64" in response:
        return bedrock_events(base64.b64decode(response["body_b64"]))
    lines = [line for line in response["body_text"].splitlines() if line.strip()]
    if record["body_kind"] == "ndjson":
        return [json.loads(line) for line in lines]
    data = [line.removeprefix("data:") for line in lines if line.startswith("data:")]
    return [json.loads(text) for text in data if text.strip() != "[DONE]"]


def raw(file: str) -> bytes:
    """Return the body of a recorded response as it came over the connection."""
    response = json.loads((RECORDED / file).read_text(encoding="utf-8"))["response"]
    if "body_b64" in response:
        return base64.b64decode(response["body_b64"])
    if "body_json" in response:
        return json.dumps(response["body_json"], ensure_ascii=False, indent=1).encode()
    text: str = response["body_text"]
    return text.encode()
