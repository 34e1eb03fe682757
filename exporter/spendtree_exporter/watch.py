"""Watch: files that are read again when they change, and whether the last reading was good.

What protects may be changed in this way but not taken away: who reads decides that. Nothing here
knows what the files say.
"""

import os
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

TEXT_MAX = 1 * 2**20
"""Bytes of a file of settings; longer ones are something else."""

_LOOK_SECONDS = 1.0
"""How often, at most, the files are looked at."""

Stamp = tuple[int, ...]
"""What tells one state of a file from another; () for a file that is away."""


class Reloads:
    """Which of the files that were read again last are in force; for several threads."""

    def __init__(self) -> None:
        self._refused: set[str] = set()
        self._lock = threading.Lock()

    def record(self, what: str, *, good: bool) -> None:
        """Record that a file, named by what it is for, was taken or refused."""
        with self._lock:
            if good:
                self._refused.discard(what)
            else:
                self._refused.add(what)

    @property
    def good(self) -> bool:
        """Tell whether all files are in force as they were last read."""
        return not self._refused


class Watch:
    """Some files and how they were when they were read; `is_due` alone is for any thread."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._looked_at = now()
        self._files: tuple[Path, ...] = ()
        self._stamps: tuple[Stamp, ...] = ()

    def keep(self, files: tuple[Path, ...], stamps: tuple[Stamp, ...]) -> None:
        """Watch these files from now on, which had these stamps before they were read."""
        self._files, self._stamps = files, stamps

    @property
    def is_due(self) -> bool:
        """Tell whether it is time to look again."""
        return self._now() >= self._looked_at + _LOOK_SECONDS

    def changed(self) -> bool:
        """Tell, at most once a second and once per change, whether a file is another than before.

        The change counts as seen, also if what is read then is refused.
        """
        if not self.is_due:
            return False
        self._looked_at = self._now()
        stamps = stamps_of(self._files)
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        return True


def stamps_of(files: tuple[Path, ...]) -> tuple[Stamp, ...]:
    """Return the stamps of files. A copy that keeps its times has another inode or change time."""
    found: list[Stamp] = []
    for file in files:
        try:
            status = os.stat(file)
        except (OSError, ValueError):  # ValueError: no system has a file of that name
            found.append(())
            continue
        place = (status.st_dev, status.st_ino, stat.S_IFMT(status.st_mode))
        times = (status.st_mtime_ns, status.st_ctime_ns, status.st_size)
        found.append((*place, *times) if stat.S_ISREG(status.st_mode) else place)
    return tuple(found)


def text_of(file: Path, *, again: bool) -> str:
    """Return a file's text. Raises OSError or ValueError, for one of another encoding, too.

    `again` is whether it was read before: then it must be a regular file, since the serving thread
    would wait for whoever writes to a pipe.
    """
    if again and not stat.S_ISREG(os.stat(file).st_mode):
        raise ValueError("it is not a regular file any more")
    with open(file, "rb") as source:
        content = source.read(TEXT_MAX + 1)
    if len(content) > TEXT_MAX:
        raise ValueError(f"it is longer than {TEXT_MAX} bytes")
    return content.decode("utf-8")
