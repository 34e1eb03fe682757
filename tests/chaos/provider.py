"""The provider: answers or fails as told, and keeps its own bill of whatever reached it.

Nothing of spendtree's arithmetic is used. One O_APPEND write per request, before anybody hears of
an answer, so that the bill outlives a caller that is killed, and is whole at any moment.
"""

import os
import struct
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.plan import PICO_PER_TOKEN

_RECORD = struct.Struct("<16sqHH")


class Billed(NamedTuple):
    """One request that arrived: the caller's id, the pico-dollars charged (0: nothing), and whose
    it was: the numbers of the worker and of the role."""

    id: bytes
    pico: int
    worker: int
    role: int


class Provider:
    """One process' door to the provider."""

    def __init__(self, bill: Path) -> None:
        self._file = os.open(bill, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)

    def arrived(self, id: str, worker: int, role: int, model: str, tokens: int) -> int:
        """Take a request to be charged for so many tokens; return the charge in pico-dollars."""
        pico = tokens * PICO_PER_TOKEN[model]
        record = _RECORD.pack(bytes.fromhex(id), pico, worker, role)
        assert os.write(self._file, record) == _RECORD.size
        return pico

    def some_request(self, where: float) -> Billed | None:
        """Return a request from the bill so far, at a fraction of it; None if it is empty."""
        count = os.fstat(self._file).st_size // _RECORD.size
        if not count:
            return None
        found = os.pread(self._file, _RECORD.size, int(where * count) * _RECORD.size)
        return Billed(*_RECORD.unpack(found))

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


def answer(model: str, input_tokens: int, output_tokens: int | None) -> dict[str, Any]:
    """Return a body in the shape of OpenAI's chat completions; None: it states no usage."""
    body: dict[str, Any] = {"object": "chat.completion", "model": model, "choices": []}
    if output_tokens is not None:
        body["usage"] = {
            "prompt_tokens": input_tokens,
            "completion_tokens": output_tokens,
            "total_tokens": input_tokens + output_tokens,
        }
    return body


def read_bill(path: Path) -> list[Billed]:
    """Return every request on the bill."""
    return [Billed(*fields) for fields in _RECORD.iter_unpack(path.read_bytes())]
