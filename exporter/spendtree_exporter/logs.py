"""Logs: one line a message on stderr, as logfmt or JSON, as other exporters write them."""

import json
import logging
import re
import sys
import time
from typing import Literal

LogFormat = Literal["logfmt", "json"]

_PLAIN = re.compile(r"[^\s\"=\\\x00-\x1f\x7f]+")
"""What logfmt writes without quotes."""

_LEVELS = {"warning": "warn", "critical": "error"}


def log_to_stderr(level: str, format: LogFormat) -> None:
    """Send what this process logs from `level` on to stderr, in place of where it went before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_FORMATTERS[format]())
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    # uvicorn tells its life in four lines; one of ours is enough.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


class _Formatter(logging.Formatter):
    def fields(self, record: logging.LogRecord) -> dict[str, str]:
        """Return the fields of a line, in their order."""
        level = record.levelname.lower()
        found = {
            "time": f"{self.formatTime(record, '%Y-%m-%dT%H:%M:%S')}.{int(record.msecs):03d}Z",
            "level": _LEVELS.get(level, level),
            "msg": record.getMessage(),
        }
        if record.exc_info:
            found["exception"] = self.formatException(record.exc_info)
        return found

    converter = staticmethod(time.gmtime)


class _Logfmt(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = self.fields(record).items()
        return " ".join(f"{name}={_quoted(value)}" for name, value in fields)


class _Json(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self.fields(record), ensure_ascii=False)


_FORMATTERS = {"logfmt": _Logfmt, "json": _Json}


def _quoted(value: str) -> str:
    """Return a value as logfmt writes it: whatever stands in it, one line and one field."""
    return value if _PLAIN.fullmatch(value) else json.dumps(value, ensure_ascii=False)
