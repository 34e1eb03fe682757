"""Codex' rollouts: `~/.codex/sessions/…/rollout-*.jsonl`, one object a line. Pure.

`token_count` events state the total of a session so far and the usage of its last call; they are
repeated whenever something else of them changes, and a file of a session that was resumed or forked
begins with the lines of the one before. So a total is one call, whichever file it is in. Cached
tokens are inside the input, reasoning inside the output.
"""

from collections.abc import Iterator, Mapping
from hashlib import sha1
from typing import Any

from spendtree.ingest import scalars
from spendtree.ingest.counts import INCLUSIVE, stated
from spendtree.ingest.scalars import mapping
from spendtree.ingest.span import Problem, SpanError, SpanRecord

TRACE = "codex"
_TYPES = frozenset(
    (
        *("session_meta", "turn_context", "event_msg", "response_item", "compacted"),
        *("world_state", "inter_agent_communication", "session_state"),
    )
)
_COUNTS = (
    *("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens"),
    "total_tokens",
)


def is_line(document: Mapping[str, Any]) -> bool:
    """Return whether a document is one line of a rollout."""
    kind = document.get("type")
    return isinstance(kind, str) and kind in _TYPES and isinstance(document.get("payload"), dict)


class Rollout:
    """What has been read of one file so far: its session, its model and its total."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._session = ""
        self._root = ""
        self._provider = ""
        self._agent = "codex"
        self._role = "coordinator"
        self._model = ""
        self._total: tuple[int, ...] = ()
        self._begun: int | None = None

    def __call__(
        self, line: Mapping[str, Any], where: str, file: str
    ) -> Iterator[SpanRecord | Problem]:
        """Return the call that a line completes, if it does."""
        try:
            found = self._line(line, line["payload"])
        except SpanError as error:
            yield Problem(file, where or "line 1", str(error))
            return
        if found is not None:
            yield found

    def _line(self, line: Mapping[str, Any], payload: Mapping[str, Any]) -> SpanRecord | None:
        kind = line["type"]
        if kind == "session_meta":
            self._meta(payload)
        elif kind == "turn_context":
            self._model = scalars.text(payload.get("model")) or self._model
        elif kind == "event_msg" and payload.get("type") == "token_count":
            return self._counted(line, mapping(payload.get("info")))
        elif kind == "event_msg" and payload.get("type") == "task_started":
            self._begun = scalars.micros(line.get("timestamp"), "timestamp")
        return None

    def _meta(self, payload: Mapping[str, Any]) -> None:
        id = scalars.text(payload.get("id"))
        # What is copied from a session before brings that one's own line with it.
        self._root = scalars.text(payload.get("forked_from_id")) or id
        if self._session:
            return
        self._session = id
        self._provider = scalars.text(payload.get("model_provider"))
        source = payload.get("source")
        if isinstance(source, dict) and "subagent" in source:
            told = source["subagent"]
            self._agent = scalars.text(told) if isinstance(told, str) else "subagent"
            self._role = "worker"

    def _counted(self, line: Mapping[str, Any], info: Mapping[str, Any]) -> SpanRecord | None:
        total = _counts(mapping(info.get("total_token_usage")))
        if not any(total) or total == self._total:
            return None
        before, self._total = self._total or (0,) * len(_COUNTS), total
        last = _counts(mapping(info.get("last_token_usage")))
        grown = tuple(now - then for now, then in zip(total, before, strict=True))
        # What grew is what was used, also where an event is missing; a total that fell began anew.
        used = grown if min(grown) >= 0 and before != (0,) * len(_COUNTS) else last
        if not any(used):
            used = last if any(last) else total
        usage = stated(dict(zip(_COUNTS, used, strict=True)), INCLUSIVE)
        if usage.usage is None:
            return None
        at = scalars.micros(line.get("timestamp"), "timestamp")
        start, self._begun = self._begun, at
        key = f"{self._root or self._file}|{total}"
        return SpanRecord(
            trace_id=TRACE,
            span_id=sha1(key.encode()).hexdigest()[:16],
            session=self._session or self._file,
            kind="LLM",
            name="token_count",
            agent=self._agent,
            role=self._role,
            provider=self._provider,
            model=self._model,
            start_us=start,
            end_us=at,
            status="ok",
            usage=usage.usage,
            unread=usage.unread,
        )


def _counts(usage: Mapping[str, Any]) -> tuple[int, ...]:
    return tuple(scalars.tokens(usage.get(name), name) or 0 for name in _COUNTS)
