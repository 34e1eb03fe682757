"""Site: the doors of the session pages. What they show is made in `list_page` and `tree_page`."""

from html import escape

from starlette.concurrency import run_in_threadpool
from starlette.convertors import register_url_convertor
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from spendtree.errors import StoreError
from spendtree_exporter import list_page, tree_page
from spendtree_exporter.api import LIST, AnyConvertor, list_query, path_parts
from spendtree_exporter.layout import HEADERS, page
from spendtree_exporter.params import InvalidError, Params, cursor
from spendtree_exporter.queries import Found, Queries


def routes(queries: Queries) -> list[Route]:
    """Return the doors `/sessions` and `/sessions/{id}`."""
    register_url_convertor("any", AnyConvertor())
    doors = _Doors(queries)
    return [Route("/sessions", doors.list), Route("/sessions/{id:any}", doors.session)]


class _Doors:
    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def list(self, request: Request) -> Response:
        """Show sessions, as asked for by the parameters that the API has, too."""
        # A form sends what was not filled in, too: here that means any.
        given = [(name, value) for name, value in request.query_params.multi_items() if value]
        asked = dict(given)
        try:
            params = Params(given, LIST)
            wanted, sort, limit = list_query(params)
            after = params.place("after", sort)
            found = await run_in_threadpool(
                self._queries.sessions, wanted, sort=sort, limit=limit, after=after
            )
        except InvalidError as error:
            return _page(list_page.session_list([], asked, None, str(error)), 422)
        except StoreError as error:
            return _unavailable(error)
        return _page(await run_in_threadpool(_drawn, found, asked, sort))

    async def session(self, request: Request) -> Response:
        """Show the cost tree of one session."""
        id, *rest = path_parts(request, "/sessions")
        if not id and not rest:
            return await self.list(request)
        every_run = request.query_params.get("runs") == "every"
        try:
            tree = await run_in_threadpool(self._queries.tree, id) if not rest else None
        except StoreError as error:
            return _unavailable(error)
        if tree is None:
            return _page(tree_page.not_found("/".join([id, *rest])), 404)
        return _page(await run_in_threadpool(tree_page.session_tree, tree, every_run=every_run))


def _drawn(found: Found, asked: dict[str, str], sort: str) -> str:
    return list_page.session_list(found.rows, asked, cursor(sort, found.next))


def _page(html: str, status: int = 200) -> Response:
    # Ids and labels may hold lone surrogates, which no encoding has.
    return HTMLResponse(html.encode("utf-8", "replace"), status, HEADERS)


def _unavailable(error: StoreError) -> Response:
    return _page(
        page("Unavailable", f"<h1>The store cannot be read</h1><p>{escape(str(error))}</p>"), 503
    )
