"""Set aside: received spans that can never be recorded, and damaged lines of the journal.

Each goes into one file beside the store, with the reason, as a line of JSON, and is counted. The
file is for people: nothing reads it again, and it is never longer than a limit.
"""

import json
import logging
import os
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

log = logging.getLogger("spendtree.exporter")

FILE_BYTES = 16 * 2**20
"""Of the file at most; what comes then is counted and logged only."""

LINE_BYTES = 2**16
"""Kept of a damaged line."""

_TOLD_TIMES = 20
"""How often each kind is told in the log: somebody may send them by the thousand."""

SPAN, LINE = "span", "journal_line"


class SetAside:
    """The file, and the counts by what was set aside; without a path only the counts."""

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter({SPAN: 0, LINE: 0})
        self._times: Counter[str] = Counter()

    @property
    def counts(self) -> Mapping[str, int]:
        """Return how many spans and lines were set aside."""
        return self._counts

    def spans(self, reason: str, spans: Sequence[Mapping[str, Any]]) -> None:
        """Set spans of one trace aside, each as the journal has it."""
        self._put(SPAN, len(spans), reason, {"spans": list(spans)})

    def line(self, reason: str, line: bytes) -> None:
        """Set a damaged line of the journal aside, or as much of it as is kept."""
        self._put(LINE, 1, reason, {"line": line[:LINE_BYTES].decode("utf-8", "backslashreplace")})

    def _put(self, what: str, count: int, reason: str, content: Mapping[str, Any]) -> None:
        with self._lock:
            self._counts[what] += count
            self._times[what] += 1
            kept = self._kept(reason, content)
            if self._times[what] <= _TOLD_TIMES:
                log.error("%d %s(s) set aside (%s): %s", count, what, kept, reason)

    def _kept(self, reason: str, content: Mapping[str, Any]) -> str:
        """Write a line; answer where it is, or why it is nowhere. Never raises."""
        if not self._path:
            return "in no file, since the store has none"
        at = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            line = json.dumps({"at": at, "reason": reason, **content}, default=str).encode() + b"\n"
            # 0600 like the store: it says who spends.
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
            file = os.open(self._path, flags, 0o600)
            try:
                if os.fstat(file).st_size + len(line) > FILE_BYTES:
                    return f"not kept: {self._path} is full, move it away"
                os.write(file, line)
            finally:
                os.close(file)
        except (OSError, ValueError) as error:
            return f"not kept: {error}"
        return f"kept in {self._path}"
