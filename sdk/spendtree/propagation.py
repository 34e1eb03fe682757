"""Carrying the scope where contextvars do not reach by themselves: pools of threads.

Across processes a session is continued by its id.
"""

import contextvars
from collections.abc import Callable
from concurrent import futures
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class ThreadPoolExecutor(futures.ThreadPoolExecutor):
    """A `concurrent.futures.ThreadPoolExecutor` whose functions run in their submitter's scope.

    The one-liner for any other pool: `pool.submit(scope.bind(function), …)`.
    """

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> futures.Future[R]:
        """Submit a function; `map` comes this way too."""
        context = contextvars.copy_context()

        def in_context(*args: P.args, **kwargs: P.kwargs) -> R:
            return context.run(fn, *args, **kwargs)

        return super().submit(in_context, *args, **kwargs)
