"""Events as rows of the `event` table and back. No SQL is run here."""

import json
from typing import Any

from spendtree.event import STATUSES, Context, Event, Request
from spendtree.store.text import storable

STATUS_NUMBERS = {status: number for number, status in enumerate(STATUSES)}

COLUMNS = (
    "kind, at, id, context, request, cost, held, input, output, cache_read, cache_write, "
    "cache_write_1h, reasoning, status, duration, data"
)
INSERT_EVENT = f"INSERT INTO event ({COLUMNS}) VALUES ({','.join('?' * 16)})"
SELECT_EVENT = f"SELECT seq, {COLUMNS} FROM event"


def from_event(event: Event, context: int, request: int) -> tuple[Any, ...]:
    """Return the row of an event, without its place in the log."""
    started = event.started
    data = event.data
    return (
        event.kind,
        event.at,
        event.id,
        context,
        request,
        *event[6:14],
        STATUS_NUMBERS[event.status],
        event.at - started if started else None,
        json.dumps(data, separators=(",", ":")) if data else None,
    )


def as_stored(event: Event) -> Event:
    """Return the event as it will be read: what a repetition must be compared with."""
    data = event.data
    return event._replace(
        context=stored_context(event.context),
        data=json.loads(json.dumps(data)) if data else None,
    )


def stored_context(context: Context) -> Context:
    """Return a context as it will be read."""
    names = [storable(field) if isinstance(field, str) else field for field in context]
    return Context._make(names)


def stored_request(request: Request) -> Request:
    """Return a request as it will be read."""
    return Request._make(map(storable, request))


def to_events(
    rows: list[tuple[Any, ...]], contexts: dict[int, Context], requests: dict[int, Request]
) -> list[Event]:
    """Return the events of rows as SELECT_EVENT gives them."""
    return [
        Event(
            seq,
            kind,
            at,
            id,
            contexts[context],
            requests[request],
            cost,
            held,
            input_tokens,
            output_tokens,
            cache_read,
            cache_write,
            cache_write_1h,
            reasoning,
            STATUSES[status],
            0 if duration is None else at - duration,
            None if data is None else json.loads(data),
        )
        for (
            seq,
            kind,
            at,
            id,
            context,
            request,
            cost,
            held,
            input_tokens,
            output_tokens,
            cache_read,
            cache_write,
            cache_write_1h,
            reasoning,
            status,
            duration,
            data,
        ) in rows
    ]
