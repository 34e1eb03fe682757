"""ASGI middleware: each request of a trusted caller goes on in the caller's scope.

Nothing but the ASGI protocol: for Starlette, FastAPI, Quart, Django and bare applications alike.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from spendtree.default import extract
from spendtree.tracker import Spendtree

Message = MutableMapping[str, Any]
Request = MutableMapping[str, Any]
"""What ASGI calls the connection's scope; that word is taken here."""
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Request, Receive, Send], Awaitable[None]]


class SpendtreeMiddleware:
    """Runs an application inside the scope that a request's headers name.

    Installing it is what makes inbound values count: put it where only your own services call, or
    give `accept`, which is asked with the ASGI connection whether its caller is trusted to spend
    for the session it names. A request that names none is served as if this were not here, and
    malformed headers are none. `tracker` is the Spendtree to spend in, else the default one.

        app = Starlette(middleware=[Middleware(SpendtreeMiddleware)])
    """

    def __init__(
        self,
        app: App,
        *,
        tracker: Spendtree | None = None,
        accept: Callable[[Request], bool] | None = None,
    ) -> None:
        self._app = app
        self._extract = extract if tracker is None else tracker.extract
        self._accept = accept

    async def __call__(self, scope: Request, receive: Receive, send: Send) -> None:
        """Serve one connection: HTTP or WebSocket; others (lifespan) pass through."""
        if scope["type"] not in ("http", "websocket") or not self._accepts(scope):
            await self._app(scope, receive, send)
            return
        async with self._extract(scope["headers"]):
            await self._app(scope, receive, send)

    def _accepts(self, scope: Request) -> bool:
        return self._accept is None or self._accept(scope)
