"""Carrying the scope where contextvars do not reach by themselves: pools of threads."""

import contextvars
from collections.abc import Callable
from concurrent import futures
from typing import ParamSpec, TypeVar

from spendtree.scope.current import CURRENT

P = ParamSpec("P")
R = TypeVar("R")


class ThreadPoolExecutor(futures.ThreadPoolExecutor):
    """A `concurrent.futures.ThreadPoolExecutor` whose functions run in their submitter's scope.

    As an event loop's default executor it serves `loop.run_in_executor(None, …)`, too. The
    one-liner for any other pool: `pool.submit(scope.bind(function), …)`.
    """

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[R]:
        """Submit a function; `map` comes this way too."""
        context = contextvars.copy_context()
        if CURRENT not in context:
            context.run(CURRENT.set, None)  # no scope to carry is not a scope that was lost

        def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
            return context.run(fn, *args, **kwargs)

        return super().submit(in_context, *args, **kwargs)
