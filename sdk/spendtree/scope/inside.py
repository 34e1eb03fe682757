"""Being inside a scope for as long as a function runs: `bind` and the decorators."""

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

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

    __slots__ = ("_inside", "_outside", "scope")

    def __init__(self, scope: "Scope") -> None:
        self.scope = scope
        self._inside: Scope | None = scope
        self._outside: Scope | None = None

    @classmethod
    def opened(cls, scope: "Scope") -> Self:
        """Open a scope without making it current yet."""
        outer = current()
        scope.open()
        scope._outer = outer
        return cls(scope)

    def __enter__(self) -> None:
        self._outside = CURRENT.get()
        CURRENT.set(self._inside)

    def __exit__(self, *_: object) -> None:
        self._inside = CURRENT.get()
        CURRENT.set(self._outside)


def bound(scope: "Scope", function: Callable[P, R]) -> Callable[P, R]:
    """Return the function so that it runs inside a scope."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            with Inside(scope):
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", coroutine)

    @functools.wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> R:
        with Inside(scope):
            return function(*args, **kwargs)

    return plain


def decorated(make: Callable[[], "Scope"], function: Callable[P, R]) -> Callable[P, R]:
    """Return the function so that each call opens a scope of its own."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:
            async with make():
                return await function(*args, **kwargs)

        return cast("Callable[P, R]", coroutine)
    if inspect.isasyncgenfunction(function):

        @functools.wraps(function)
        async def async_generator(*args: P.args, **kwargs: P.kwargs) -> AsyncGenerator[Any, Any]:
            inside = Inside.opened(make())
            steps, step, value = function(*args, **kwargs), "asend", None
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
                inside.scope.close(error)
                if not inside.scope._swallows(error):
                    raise
            inside.scope.close()

        return cast("Callable[P, R]", async_generator)
    if inspect.isgeneratorfunction(function):

        @functools.wraps(function)
        def generator(*args: P.args, **kwargs: P.kwargs) -> Generator[Any, Any, Any]:
            inside = Inside.opened(make())
            steps, step, value, result = function(*args, **kwargs), "send", None, None
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
                inside.scope.close(error)
                if not inside.scope._swallows(error):
                    raise
            inside.scope.close()
            return result

        return cast("Callable[P, R]", generator)

    @functools.wraps(function)
    def plain(*args: P.args, **kwargs: P.kwargs) -> R:
        with make():
            return function(*args, **kwargs)

    return plain
