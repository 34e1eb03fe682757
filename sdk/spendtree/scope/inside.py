"""Being inside a scope for as long as a function runs: `bind` and the decorators."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Token
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

from spendtree.exit_guard import guarded
from spendtree.scope.current import CURRENT, current

if TYPE_CHECKING:
    from spendtree.scope.base import Scope

P = ParamSpec("P")
R = TypeVar("R")


class Inside:
    """Makes a scope current for as long as something of it runs, and not a step longer.

    A generator shares its consumer's context: left current, its scope would be charged with what
    the consumer does between two items. What the generator itself entered is current again at its
    next step.
    """

    __slots__ = ("_guard", "_inside", "_leave", "_outside", "_owns", "_stage", "_token", "scope")

    def __init__(self, scope: "Scope", *, owns: bool = False) -> None:
        self.scope = scope
        self._owns = owns
        self._inside: Scope | None = scope
        self._outside: Scope | None = None
        self._token: Token[Scope | None] | None = None
        self._stage = 0
        self._guard: Any = None
        self._leave: object = None

    @classmethod
    def opened(cls, scope: "Scope") -> Self:
        """Open a scope without making it current yet; `end` closes it."""
        outer = current()
        inside = cls(scope, owns=True)
        # Fetched before, as a `with` does: if it goes without `end`, the scope ends all the same.
        inside._leave = scope.__exit__
        scope.open()
        scope._outer = outer
        return inside

    def end(self, error: BaseException | None = None) -> bool:
        """Close the scope if it was opened for this; tell whether the error ends here quietly."""
        if not self._owns:
            return False
        self.scope.close(error)
        return self.scope._swallows(error)

    def __enter__(self) -> None:
        self._outside = CURRENT.get()
        self._token = CURRENT.set(self._inside)

    @guarded
    def __exit__(self, *_: object) -> None:
        self._inside = CURRENT.get()
        self._was_left()

    def _was_left(self, guard: object = None) -> None:
        token, self._token = self._token, None
        if token is not None:
            try:
                CURRENT.reset(token)  # a thread that had no scope is as if it never had one
            except ValueError:  # left in another context than it was entered in
                CURRENT.set(self._outside)
        self._guard = None


def bound(scope: "Scope", function: Callable[P, R]) -> Callable[P, R]:
    """Return the function so that it runs inside a scope; a generator, in each of its steps."""
    if _is_any(inspect.isasyncgenfunction, function):
        return _async_generator(lambda: Inside(scope), function)
    if _is_any(inspect.isgeneratorfunction, function):
        return _generator(lambda: Inside(scope), function)
    if _is_any(inspect.iscoroutinefunction, function):

        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            return await _awaited(
                scope, cast("Coroutine[Any, Any, Any]", function(*args, **kwargs))
            )

        return _named(function, coroutine)

    def plain(*args: P.args, **kwargs: P.kwargs) -> Any:
        with Inside(scope):
            result = function(*args, **kwargs)
        # A lambda around a coroutine function: what it returns runs when it is awaited.
        return _awaited(scope, result) if inspect.iscoroutine(result) else result

    return _named(function, plain)


def decorated(make: Callable[[], "Scope"], function: Callable[P, R]) -> Callable[P, R]:
    """Return the function so that each call opens a scope of its own."""
    if _is_any(inspect.isasyncgenfunction, function):
        return _async_generator(lambda: Inside.opened(make()), function)
    if _is_any(inspect.isgeneratorfunction, function):
        return _generator(lambda: Inside.opened(make()), function)
    if _is_any(inspect.iscoroutinefunction, function):

        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            async with make():
                return await cast("Coroutine[Any, Any, Any]", function(*args, **kwargs))

        return _named(function, coroutine)

    def plain(*args: P.args, **kwargs: P.kwargs) -> Any:
        inside = Inside.opened(make())
        try:
            with inside:
                result = function(*args, **kwargs)
        except BaseException as error:
            if not inside.end(error):
                raise
            return None
        if inspect.iscoroutine(result):  # from below another decorator: it has yet to run
            return _finished(inside, result)
        inside.end()
        return result

    return _named(function, plain)


async def _finished(inside: Inside, running: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in the scope that was opened for it, and end both."""
    result = None
    try:
        with inside:
            result = await running
    except BaseException as error:
        if not inside.end(error):
            raise
    else:
        inside.end()
    finally:
        await inside.scope._told()
    return result


async def _awaited(scope: "Scope", running: Coroutine[Any, Any, Any]) -> Any:
    with Inside(scope):
        return await running


def _async_generator(enter: Callable[[], Inside], function: Callable[P, R]) -> Callable[P, R]:
    async def async_generator(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
        steps: Any = function(*args, **kwargs)  # first: wrong arguments must open nothing
        inside = enter()
        step, value = "asend", None
        try:
            while True:
                try:
                    with inside:
                        item = await getattr(steps, step)(value)
                except StopAsyncIteration:
                    break
                try:
                    step, value = "asend", (yield item)
                except GeneratorExit:
                    with inside:
                        await steps.aclose()
                    raise
                except BaseException as thrown:
                    step, value = "athrow", thrown
        except BaseException as error:
            if not inside.end(error):
                raise
        else:
            inside.end()
        finally:
            await inside.scope._told()

    return _named(function, async_generator)


def _generator(enter: Callable[[], Inside], function: Callable[P, R]) -> Callable[P, R]:
    def generator(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
        steps: Any = function(*args, **kwargs)  # first: wrong arguments must open nothing
        inside = enter()
        step, value, result = "send", None, None
        try:
            while True:
                try:
                    with inside:
                        item = getattr(steps, step)(value)
                except StopIteration as end:
                    result = end.value
                    break
                try:
                    step, value = "send", (yield item)
                except GeneratorExit:
                    with inside:
                        steps.close()
                    raise
                except BaseException as thrown:
                    step, value = "throw", thrown
        except BaseException as error:
            if not inside.end(error):
                raise
        inside.end()
        return result

    return _named(function, generator)


def _is_any(kind: Callable[[Any], bool], function: Callable[..., Any]) -> bool:
    """Tell whether a function, or an object that is called like one, is of a kind."""
    return kind(function) or kind(type(function).__call__)


def _named(function: Callable[P, R], wrapper: Callable[..., Any]) -> Callable[P, R]:
    return cast("Callable[P, R]", functools.wraps(function)(wrapper))
