"""Ids from the system's randomness and the clock, not from process state: forks repeat nothing."""

import os
import time

_RANDOM = (1 << 62) - 1
_TWELVE = (1 << 12) - 1
_FORTY_EIGHT = (1 << 48) - 1


def new_id(ns: int | None = None) -> bytes:
    """Return a UUIDv7 (RFC 9562) as 16 bytes, for the time `ns` (nanoseconds since 1970; now).

    Time-ordered, so that an index grows at its end however many events it holds.
    """
    if ns is None:
        ns = time.time_ns()
    random = int.from_bytes(os.urandom(10), "big")
    return (
        (ns // 1_000_000 & _FORTY_EIGHT) << 80
        | 0x7 << 76
        | (random >> 62 & _TWELVE) << 64
        | 0x2 << 62
        | random & _RANDOM
    ).to_bytes(16, "big")
