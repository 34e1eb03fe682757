"""API: the JSON doors `/api/v1/…`, as `openapi.json` beside this file describes them.

Money is decimal text in dollars, times are ISO 8601 in UTC. What cannot be answered is told as
`application/problem+json` (RFC 9457) with the reason: 404, 422, 503.
"""

import json
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any
from urllib.parse import unquote

from starlette.concurrency import run_in_threadpool
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from spendtree.errors import StoreError
from spendtree.tree import iso
from spendtree_exporter.params import InvalidError, Params, cursor
from spendtree_exporter.queries import DIMENSIONS, SORTS, STATUSES, Filter, Queries

BASE = "/api/v1"

FILTERS = ("customer", "team", "agent", "status", "from", "to")
LIST = (*FILTERS, "sort", "limit", "after")
"""The parameters of a list of sessions."""

_REASONS = {404: "Not Found", 405: "Method Not Allowed", 422: "Unprocessable Content"}

Endpoint = Callable[[Request], Awaitable[Response]]


class NotFoundError(Exception):
    """There is nothing under a path; the message says what was looked for."""


class JsonResponse(Response):
    """JSON in ASCII: any text that a label can hold can be sent."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Return the body."""
        return json.dumps(content, separators=(",", ":")).encode()


class _ProblemResponse(JsonResponse):
    media_type = "application/problem+json"


class AnyConvertor(PathConvertor):
    """The rest of a path, whatever is in it: Starlette's own stops at a line break."""

    regex = r"[\s\S]*"


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Return the answer that something cannot be answered, with the reason."""
    title = _REASONS.get(status, "Service Unavailable")
    body = {"title": title, "status": status, "detail": detail}
    return _ProblemResponse(body, status, headers)


def routes(queries: Queries) -> list[Route]:
    """Return the doors; anything else below `/api/` is a 404 with a reason."""
    doors = _Doors(queries)
    register_url_convertor("any", AnyConvertor())
    return [
        Route(f"{BASE}/openapi.json", _told(doors.openapi)),
        Route(f"{BASE}/sessions", _told(doors.sessions)),
        Route(f"{BASE}/sessions/{{id:any}}", _told(doors.session)),
        Route(f"{BASE}/costs", _told(doors.costs)),
        Route("/api/{rest:any}", _told(doors.nothing)),
    ]


def list_query(params: Params) -> tuple[Filter, str, int]:
    """Return what a list of sessions is asked for: filter, sorting, length."""
    wanted = Filter(
        customer=params.text("customer"),
        team=params.text("team"),
        agent=params.text("agent"),
        status=params.one_of("status", STATUSES),
        since=params.time("from"),
        until=params.time("to"),
    )
    sort = params.one_of("sort", SORTS) or SORTS[0]
    return wanted, sort, params.count("limit", default=50, most=1_000)


def path_parts(request: Request, below: str) -> list[str]:
    """Return what stands below a path, in its parts: an id may hold any character, "/" too."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    rest = raw.decode("latin-1").removeprefix(f"{below}/")
    return [unquote(part) for part in rest.split("/")]


class _Doors:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def sessions(self, request: Request) -> Response:
        params = Params(request.query_params.multi_items(), LIST)
        wanted, sort, limit = list_query(params)
        after = params.place("after", sort)
        found = await run_in_threadpool(
            self._queries.sessions, wanted, sort=sort, limit=limit, after=after
        )
        rows = [row.to_dict() for row in found.rows]
        return JsonResponse({"sessions": rows, "next": cursor(sort, found.next)})

    async def session(self, request: Request) -> Response:
        """Answer `sessions/{id}` and `sessions/{id}/tree`."""
        Params(request.query_params.multi_items(), ())
        id, *rest = path_parts(request, f"{BASE}/sessions")
        if rest not in ([], ["tree"]):
            raise NotFoundError(f"there is no {'/'.join(rest)} of a session; there is tree")
        tree = await run_in_threadpool(self._queries.tree, id) if id else None
        if tree is None:
            raise NotFoundError(f"no session {id!r} is known in this store")
        told = await run_in_threadpool(tree.to_dict)
        if not rest:
            del told["roots"]
        return JsonResponse(told)

    async def costs(self, request: Request) -> Response:
        params = Params(request.query_params.multi_items(), ("by", "from", "to", "limit"))
        by = params.several_of("by", DIMENSIONS)
        since, until = params.time("from"), params.time("to")
        limit = params.count("limit", default=1_000, most=10_000)
        costs = await run_in_threadpool(
            self._queries.costs, by, since=since, until=until, limit=limit
        )
        return JsonResponse(
            {
                "by": by,
                "from": iso(since),
                "to": iso(until),
                "total": _sums(costs.total.to_dict()),
                "groups": [
                    dict(zip(by, key, strict=True)) | _sums(sums.to_dict())
                    for key, sums in costs.groups
                ],
                "truncated": costs.truncated,
            }
        )

    async def openapi(self, request: Request) -> Response:
        Params(request.query_params.multi_items(), ())
        text = files("spendtree_exporter").joinpath("openapi.json").read_bytes()
        return Response(text, media_type="application/json")

    async def nothing(self, request: Request) -> Response:
        raise NotFoundError(
            f"there is no {request.url.path}; {BASE}/openapi.json tells what there is"
        )


async def refused(request: Request, error: Exception) -> Response:
    """Answer what no door took: in the API as every other problem, elsewhere as plain text."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if request.url.path.startswith("/api/"):
        detail = f"{request.method} {request.url.path}: {error.detail}"
        return problem(error.status_code, detail, headers)
    return PlainTextResponse(f"{error.detail}\n", error.status_code, headers)


def _sums(sums: dict[str, Any]) -> dict[str, Any]:
    del sums["denied_calls"]  # not known from sums of calls
    return sums


def _told(endpoint: Endpoint) -> Endpoint:
    """Wrap an endpoint so that what it cannot answer is told with the reason."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except NotFoundError as error:
            return problem(404, str(error))
        except InvalidError as error:
            return problem(422, str(error))
        except StoreError as error:
            return problem(503, str(error), {"Retry-After": "5"})

    return answer
