"""The index of a SQLite write-ahead log, read as SQLite documents it: how much of the log counts.

https://sqlite.org/walformat.html, sections 2 and 4: the header is in the host's byte order, and
written twice; the log's own numbers are big-endian. Nothing is written here.
"""

import os
import struct
from typing import NamedTuple

_WAL_HEADER, _FRAME_HEADER = 32, 24
_IS_INITIALISED, _SIZES = 12, 14


class WalIndex(NamedTuple):
    """How many frames of a log count, and the size of a page; 0 frames while nothing is in it."""

    frames: int
    page_size: int

    @classmethod
    def read(cls, descriptor: int) -> "WalIndex":
        """Read the header from the open index; right only while nobody writes."""
        header = os.pread(descriptor, 20, 0)
        if len(header) < 20 or not header[_IS_INITIALISED]:
            return cls(0, 0)
        size, frames = struct.unpack_from("=HI", header, _SIZES)
        # 64 kB do not fit 16 bits: the lowest one stands for them.
        return cls(frames, (size & 0xFE00) + ((size & 1) << 16))

    @property
    def needed(self) -> int:
        """Return how many bytes the log has at least."""
        if not self.frames:
            return 0
        return _WAL_HEADER + self.frames * (_FRAME_HEADER + self.page_size)

    def pages(self, wal: str) -> set[int]:
        """Return the numbers of the pages that the log at that path holds."""
        if not self.frames:
            return set()
        # SQLite takes no locks on the log itself: closing it here gives up none.
        with open(wal, "rb") as file:
            found = set()
            for frame in range(self.frames):
                file.seek(_WAL_HEADER + frame * (_FRAME_HEADER + self.page_size))
                found.add(int.from_bytes(file.read(4), "big"))
        return found
