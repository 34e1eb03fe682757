"""ChatDev's text logs (version 1, 2023): phases, who speaks, and the usage of each call. Pure.

An entry begins with "[2023-22-10 15:41:24 INFO]": year, day, month, local time without a zone. A
phase is announced by a table under "**[chatting]**"; a call by "**[OpenAI_Usage_Info Receive]**"
and its counts; who has made it is said afterwards, by "Speaker: **A<->B on : Phase, turn n**", in
the order of the calls. Ids are hashes of session and ordinal, as in the compact records made from
these logs, so that both count once.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha1

from spendtree.ingest.scalars import dollars, micros, text, tokens
from spendtree.ingest.span import Problem, SpanError, SpanRecord
from spendtree.usage import Usage

_ENTRY = re.compile(r"\[(\d{4}-\d{2}-\d{2} \d{2}:\d{2}:\d{2}) (\w+)\] (.*)")
_SPEAKER = re.compile(r"(.+?): \*\*.+?<->.+? on : .+?, turn \d+\*\*")
_ROW = re.compile(r"\| \*\*(\w+)\*\* \| (.*?) ?\|?$")
_COUNT = re.compile(r"(prompt_tokens|completion_tokens|cost): \$?(\S+)$")
_PHASE, _CALL = "**[chatting]**", "**[OpenAI_Usage_Info Receive]**"

_COORDINATORS = frozenset(
    {"Chief Executive Officer", "Chief Product Officer", "Chief Technology Officer", "Counselor"}
)

_MODELS: dict[str, tuple[tuple[str, Decimal, Decimal], ...]] = {
    "GPT_3_5_TURBO": (
        ("gpt-3.5-turbo-16k", Decimal(3), Decimal(4)),
        ("gpt-3.5-turbo", Decimal("1.5"), Decimal(2)),
    ),
    "GPT_4": (("gpt-4", Decimal(30), Decimal(60)),),
    "GPT_4_32k": (("gpt-4-32k", Decimal(60), Decimal(120)),),
}
"""Model type -> (model, dollars per million tokens in, out): several models had one type.

The logged cost tells which one it was; without it, the first.
"""


@dataclass(slots=True)
class _Log:
    """What has been read of a log so far."""

    session: str
    trace: str
    file: str
    first: int | None = None
    last: int | None = None
    phases: list[dict[str, str]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    calls: list[SpanRecord] = field(default_factory=list)
    unnamed: list[int] = field(default_factory=list)
    refused: int = 0


def is_log(content: str) -> bool:
    """Return whether a text is one of these logs."""
    head = content[:5000]
    return _ENTRY.match(head) is not None and "ChatDev" in head


def read(content: str, file: str) -> Iterator[SpanRecord | Problem]:
    """Return the session, its phases and its calls. `file` names the session, less its endings."""
    session = _session(file, content)
    log = _Log(session, sha1(session.encode()).hexdigest()[:32], file)
    for number, stamp, level, title, body in _entries(content):
        try:
            at = _time(stamp)
            log.first = at if log.first is None else log.first
            log.last = at
            _entry(log, at, level, title, body)
        except SpanError as error:
            yield Problem(file, f"line {number}", str(error))
    yield from _spans(log)


def _entry(log: _Log, at: int, level: str, title: str, body: list[str]) -> None:
    speaker = _SPEAKER.match(title)
    if _CALL in title:
        log.unnamed.append(len(log.calls))
        log.calls.append(_call(log, at, body))
        log.refused = 0
    elif _PHASE in title:
        log.phases.append({m[1]: m[2] for line in body if (m := _ROW.match(line))})
        log.starts.append(at)
    elif speaker and log.unnamed:
        call = log.unnamed.pop(0)
        log.calls[call] = replace(log.calls[call], agent=text(speaker[1]), role=_role(speaker[1]))
    elif level == "WARNING" and "Rate limit reached" in title:
        log.refused += 1


def _call(log: _Log, at: int, body: list[str]) -> SpanRecord:
    stated = {m[1]: m[2] for line in body if (m := _COUNT.match(line.strip()))}
    if "prompt_tokens" not in stated or "completion_tokens" not in stated:
        raise SpanError("a call without its token counts")
    prompt = tokens(stated["prompt_tokens"], "prompt_tokens") or 0
    completion = tokens(stated["completion_tokens"], "completion_tokens") or 0
    cost = dollars(stated.get("cost"))
    phase = log.phases[-1] if log.phases else {}
    agent = phase.get("assistant_role_name", "")  # until the speaker is known
    return SpanRecord(
        trace_id=log.trace,
        span_id=_span_id(log, "LLM", len(log.calls) + 1),
        parent_span_id=_span_id(log, "PHASE", len(log.phases)) if log.phases else "",
        session=log.session,
        kind="LLM",
        name="chat.completions",
        agent=text(agent),
        role=_role(agent),
        model=_model(phase.get("model_type", ""), prompt, completion, cost),
        end_us=at,
        status="ok",
        usage=Usage(prompt, completion),
        reported_cost=cost,
        refused_before=log.refused,
    )


def _spans(log: _Log) -> Iterator[SpanRecord]:
    root = _span_id(log, "SESSION", 1)
    yield SpanRecord(
        trace_id=log.trace,
        span_id=root,
        session=log.session,
        kind="SESSION",
        name="chatdev.run",
        start_us=log.first,
        end_us=log.last,
    )
    for ordinal, (phase, start) in enumerate(zip(log.phases, log.starts, strict=True), 1):
        yield SpanRecord(
            trace_id=log.trace,
            span_id=_span_id(log, "PHASE", ordinal),
            parent_span_id=root,
            session=log.session,
            kind="CHAIN",
            name=text(phase.get("phase_name", "")),
            start_us=start,
        )
    yield from log.calls


def _entries(content: str) -> Iterator[tuple[int, str, str, str, list[str]]]:
    """Return (line, time, level, first line, the other lines) of each entry."""
    lines = content.splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith("[2") and _ENTRY.match(line)]
    for i, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        found = _ENTRY.match(lines[i])
        assert found is not None
        yield i + 1, found[1], found[2], found[3], lines[i + 1 : end]


def _time(stamp: str) -> int:
    try:
        moment = datetime.strptime(stamp, "%Y-%d-%m %H:%M:%S").replace(tzinfo=UTC)
    except ValueError:
        raise SpanError(f"{stamp!r} is no time (year-day-month is expected)") from None
    return micros(moment.isoformat(), "time") or 0


def _model(model_type: str, prompt: int, completion: int, cost: Decimal | None) -> str:
    models = _MODELS.get(model_type.removeprefix("ModelType."), ())
    for model, per_input, per_output in models:
        if cost is not None and prompt * per_input + completion * per_output == cost * 10**6:
            return model
    return models[0][0] if models else ""


def _session(file: str, content: str) -> str:
    """Return the session's name: the log's own file name, which other records call it by."""
    name = re.split(r"[/\\]", file)[-1].removesuffix(".gz").removesuffix(".log")
    if name:
        return text(name)
    started = re.search(r"\*\*Timestamp\*\*: (\w+)", content)
    return f"chatdev_{started[1]}" if started else "chatdev"


def _role(agent: str) -> str:
    return "coordinator" if agent in _COORDINATORS else "worker"


def _span_id(log: _Log, kind: str, ordinal: int) -> str:
    return sha1(f"{log.session}|{kind}|{ordinal}".encode()).hexdigest()[:16]
