"""A service of its own process, for the tests: an ASGI application behind the middleware.

Run it with the store's URL; it says its port on stdout, and serves until its stdin ends.
"""

import socket
import sys
import threading
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

import spendtree
from spendtree.integrations.asgi import SpendtreeMiddleware

PRICES = {"m": {"input_usd_per_mtok": "10", "output_usd_per_mtok": "10"}}
"""A hundred tokens in and a hundred out cost 0.2 cents."""


def spend() -> None:
    with spendtree.call("m", input_tokens=100, max_output_tokens=100) as call:
        call.record(spendtree.Usage(100, 100))


async def ask() -> None:
    async with spendtree.call("m", input_tokens=100, max_output_tokens=100) as call:
        call.record(spendtree.Usage(100, 100))


async def direct(request: Request) -> JSONResponse:
    """Spend as the caller itself."""
    await ask()
    return said()


async def reader(request: Request) -> JSONResponse:
    """Spend as a sub-agent of the caller, and refuse as a service does that is out of money."""
    try:
        async with spendtree.agent("reader"):
            await ask()
    except spendtree.BudgetExceededError as error:
        return JSONResponse({"refused": error.account}, status_code=402)
    return said()


async def cycles(request: Request) -> JSONResponse:
    async with spendtree.cycle():
        await ask()
    return said()


def in_thread(request: Request) -> JSONResponse:
    """Spend in the framework's pool, where plain functions are served."""
    spend()
    return said()


async def threads(request: Request) -> JSONResponse:
    await run_in_threadpool(spend)
    return said()


async def stream(request: Request) -> StreamingResponse:
    async def chunks() -> Any:
        for _ in range(2):
            await ask()
            yield "chunk\n"

    return StreamingResponse(chunks())


async def websocket(socket: WebSocket) -> None:
    await socket.accept()
    await ask()
    await socket.send_json({"session": _session()})
    await socket.close()


def said() -> JSONResponse:
    scope = spendtree.current()
    run = None if scope is None or scope.run is None else scope.run.name
    return JSONResponse({"session": _session(), "run": run})


def _session() -> str | None:
    scope = spendtree.current()
    return None if scope is None else scope.session.id


def application() -> Starlette:
    spenders = [direct, reader, cycles, in_thread, threads, stream]
    routes = [Route(f"/{each.__name__}", each, methods=["POST"]) for each in spenders]
    return Starlette(
        routes=[*routes, WebSocketRoute("/websocket", websocket)],
        middleware=[Middleware(SpendtreeMiddleware)],
    )


def main(store: str) -> None:
    spendtree.configure(store, config={"prices": PRICES})
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(application(), log_level="warning", lifespan="off"))
    threading.Thread(target=_end_with_stdin, args=(server,), daemon=True).start()
    print(listening.getsockname()[1], flush=True)
    server.run(sockets=[listening])


def _end_with_stdin(server: uvicorn.Server) -> None:
    sys.stdin.read()
    server.should_exit = True


if __name__ == "__main__":
    main(sys.argv[1])
