"""httpx and httpx2: requests to services of your own carry the scope that they are made in.

Providers' hosts never see it: what names your customers is none of their business. Both libraries
have the same clients, and the client that is given says which one it is of; none is imported here.
"""

import inspect
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any, Protocol, TypeVar

from spendtree.errors import ConfigurationError
from spendtree.pricing import PriceBook
from spendtree.propagation.carrier import erase
from spendtree.scope import current
from spendtree.tracker import Spendtree

if not (find_spec("httpx") or find_spec("httpx2")):
    raise ModuleNotFoundError(
        "spendtree.integrations.httpx needs 'httpx': pip install 'spendtree[httpx]'", name="httpx"
    )


class Request(Protocol):
    """What a hook is called with: `httpx.Request` or `httpx2.Request`."""

    @property
    def headers(self) -> MutableMapping[str, str]:
        """The headers that will be sent."""

    @property
    def url(self) -> Any:
        """Where they will be sent, with its `host` and its `path`."""


class Client(Protocol):
    """A synchronous or asynchronous client of either library."""

    @property
    def event_hooks(self) -> dict[str, list[Callable[..., Any]]]:
        """The functions to call, by the event."""

    @property
    def send(self) -> Callable[..., Any]:
        """Sends a request: a coroutine function for an asynchronous client."""


AnyClient = TypeVar("AnyClient", bound=Client)


def propagate(
    client: AnyClient, *, hosts: Sequence[str] | None = None, tracker: Spendtree | None = None
) -> AnyClient:
    """Have a client's requests carry the current scope, redirects included; return the client.

    `hosts` are patterns ("*.internal", "10.0.*") of the hosts to tell; without them all are told
    but the known hosts of providers, which never are. Give them where the client talks to others.
    Raises ConfigurationError for what is no client of httpx or httpx2.
    """
    if not isinstance(getattr(client, "event_hooks", None), dict):
        raise ConfigurationError(
            f"propagate() takes a client of httpx or httpx2, not {type(client).__qualname__}; with "
            "other libraries put spendtree.inject() into each request's headers"
        )
    make = async_request_hook if inspect.iscoroutinefunction(client.send) else request_hook
    client.event_hooks["request"].append(make(hosts=hosts, tracker=tracker))
    return client


def request_hook(
    *, hosts: Sequence[str] | None = None, tracker: Spendtree | None = None
) -> Callable[[Request], None]:
    """Return an event hook for `httpx.Client(event_hooks={"request": […]})`; see `propagate`."""
    told = _Told(hosts)

    def hook(request: Request) -> None:
        # What a redirect brought along from another host goes first.
        erase(request.headers)
        if not told.includes(request.url):
            return
        spender = tracker or _tracker()
        if spender is not None:
            spender.inject(request.headers)

    return hook


def async_request_hook(
    *, hosts: Sequence[str] | None = None, tracker: Spendtree | None = None
) -> Callable[[Request], Awaitable[None]]:
    """Return an event hook for `httpx.AsyncClient`; see `propagate`."""
    hook = request_hook(hosts=hosts, tracker=tracker)

    async def async_hook(request: Request) -> None:
        hook(request)

    return async_hook


def _tracker() -> Spendtree | None:
    scope = current()
    return None if scope is None else scope.tracker


class _Told:
    """The hosts that are told: those of the patterns, and never a provider's."""

    def __init__(self, hosts: Sequence[str] | None) -> None:
        self._patterns = None if hosts is None else [host.lower() for host in hosts]
        self._prices = PriceBook()
        self._prices.sells_at("localhost")  # loads the list now, not in the first request

    def includes(self, url: Any) -> bool:
        host = url.host.lower()
        if self._patterns is not None and not any(fnmatchcase(host, p) for p in self._patterns):
            return False
        return not self._prices.sells_at(host, url.path)
