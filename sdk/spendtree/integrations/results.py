"""What an attempt brought: a parsed object, an unread response, or a stream; and when it settles.

A response that is still to be read settles when it is read, closed, cut off or dropped. The reading
methods of that one response object are replaced for it; all of a client's ways (events, lines, raw
bytes, helpers) go through them.
"""

import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

from spendtree.integrations.asked import Asked, ClientCall
from spendtree.integrations.streams import Body, Events

CLOSED = "closed before its end"


def note(options: Any, call: ClientCall) -> Any:
    """Return options whose parser notes the response before it looks at what was asked for.

    A structured output that does not fit raises in there, after it was paid for.
    """
    parser = options.post_parser
    if callable(parser):

        def noting(parsed: Any) -> Any:
            if not hasattr(parsed, "http_response"):
                _record(call, parsed)
            return parser(parsed)

        options.post_parser = noting
    return options


def hand_over(result: Any, asked: Asked, call: ClientCall, guard: object) -> Any:
    """Return an attempt's result to its caller; settle it, or see to it that it will be.

    Whoever has the guard of the call keeps it open: a response that is still to be read.
    """
    response = _unparsed(result, asked)
    if response is None:
        _record(call, result)
        call.__exit__(None, None, None)
    elif response.is_stream_consumed:
        _record(call, response.content)
        call.__exit__(None, None, None)
        if asked.adds_usage:
            _sift(response, asked)
    else:
        _follow(response, asked, call, guard)
    return result


def _sift(response: Any, asked: Asked) -> None:
    """Take the usage that nobody asked for out of a stream that a hook has read already."""
    events = Events(asked.endpoint, hides=True)
    passed = events.feed(response.content)
    response._content = passed + events.flush()


def _record(call: ClientCall, response: Any) -> None:
    if call._usage is None:
        call.record(response)


def _unparsed(result: Any, asked: Asked) -> Any:
    """Return the HTTP response of a result that nobody has parsed, None if it is parsed."""
    if hasattr(type(result), "model_fields"):
        return None  # a model of pydantic's: a parsed body
    response = getattr(result, "http_response", None)  # with_raw_response, with_streaming_response
    if response is None and asked.streams:
        response = getattr(result, "response", None)
    if response is None and hasattr(result, "iter_bytes"):
        response = result  # the caller asked for the HTTP response itself
    return response


class Reading:
    """A response that is being read, and the call that settles with it. Keeps neither alive."""

    def __init__(self, asked: Asked, call: ClientCall, *, events: bool) -> None:
        self._call = call
        self.passing: Events | Body = (
            Events(asked.endpoint, hides=asked.adds_usage) if events else Body()
        )
        self.in_read = False
        self.guard: object = None

    def end(self) -> None:
        """Settle what was read to its end."""
        self._settle(None)

    def cut(self, reason: str = CLOSED, error: BaseException | None = None) -> None:
        """Settle what was not: by its usage if that was final, else its hold is presumed spent."""
        if not self._call._open:
            return
        if self.passing.is_final:
            self._settle(error)
        else:
            self._call.lapse(reason)
            self._exit(error)

    def _settle(self, error: BaseException | None) -> None:
        if not self._call._open:
            return
        statements = self.passing.statements
        if self.passing.tells_error:
            self._call.lapse("the stream told of an error")
        if statements:
            self._call.record(statements)
        self._exit(error)

    def _exit(self, error: BaseException | None) -> None:
        self._call.__exit__(type(error) if error else None, error, None)


def _follow(response: Any, asked: Asked, call: ClientCall, guard: object) -> None:
    kind = response.headers.get("content-type", "")
    reading = Reading(asked, call, events="event-stream" in kind or (asked.streams and not kind))
    reading.guard = guard
    if hasattr(response, "aiter_bytes") and not _is_sync(response):
        _follow_async(response, reading)
    else:
        _follow_sync(response, reading)
    # One that is dropped unread settles, too; holds that outlive the program are found by others.
    weakref.finalize(response, reading.cut, "dropped before its end").atexit = False


def _is_sync(response: Any) -> bool:
    return hasattr(response.stream, "__iter__")


def _follow_sync(response: Any, reading: Reading) -> None:
    read, close = response.iter_bytes, response.close

    def iter_bytes(chunk_size: int | None = None) -> Iterator[bytes]:
        passing, pieces = reading.passing, read(chunk_size)
        try:
            while True:
                reading.in_read = True  # at its end, it closes the response itself
                try:
                    piece = next(pieces)
                except StopIteration:
                    break
                except Exception:
                    reading.in_read = False
                    held = passing.release()
                    if held:  # without us, who stops here would not have met the error
                        yield held
                    raise
                finally:
                    reading.in_read = False
                passed = passing.feed(piece)
                if passed:
                    yield passed
            rest = passing.flush()
            if rest:
                yield rest
            reading.end()
        except BaseException as error:
            reading.cut(error=None if isinstance(error, GeneratorExit) else error)
            raise

    def closed() -> None:
        try:
            close()
        finally:
            if not reading.in_read:
                reading.cut()

    response.iter_bytes, response.close = iter_bytes, closed


def _follow_async(response: Any, reading: Reading) -> None:
    read, close = response.aiter_bytes, response.aclose

    async def aiter_bytes(chunk_size: int | None = None) -> AsyncIterator[bytes]:
        passing, pieces = reading.passing, read(chunk_size)
        try:
            while True:
                reading.in_read = True
                try:
                    piece = await anext(pieces)
                except StopAsyncIteration:
                    break
                except Exception:
                    reading.in_read = False
                    held = passing.release()
                    if held:
                        yield held
                    raise
                finally:
                    reading.in_read = False
                passed = passing.feed(piece)
                if passed:
                    yield passed
            rest = passing.flush()
            if rest:
                yield rest
            reading.end()
        except BaseException as error:
            reading.cut(error=None if isinstance(error, GeneratorExit) else error)
            raise

    async def closed() -> None:
        try:
            await close()
        finally:
            if not reading.in_read:
                reading.cut()

    response.aiter_bytes, response.aclose = aiter_bytes, closed
