"""How large a write-ahead log may become, by the space that there is on its volume."""

import os

WAL_LIMIT = 16 << 20
SMALLEST_LIMIT = 128 << 10


def wal_limit(free: int, size: int, most: int) -> int:
    """Return the bytes above which a log of `size` bytes is to be emptied.

    Writing it back needs room in the file before any comes back from the log: so it takes at most a
    quarter of what there is, and no more than `most`.
    """
    return min(most, max((free + size) // 4, SMALLEST_LIMIT))


def free_bytes(path: str) -> int:
    """Return the bytes that are free for this user on the volume of a file."""
    try:
        volume = os.statvfs(path)
    except (OSError, AttributeError):  # no such call on this system
        return 1 << 62
    return volume.f_bavail * volume.f_frsize
