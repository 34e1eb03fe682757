"""The httpx hook: the scope goes to services of one's own, and to no provider."""

import asyncio
import importlib
import re
import subprocess
import sys
from typing import Any

import httpx
import pytest
from genai_prices.data_snapshot import get_snapshot

from spendtree import ConfigurationError, Spendtree
from spendtree.integrations.httpx import async_request_hook, propagate, request_hook
from spendtree.pricing import PriceBook
from spendtree.pricing.hosts import SUFFIXES, is_api


def noted(seen: list[httpx.Request]) -> httpx.MockTransport:
    """Return a transport that answers everything, and notes what came."""

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    return httpx.MockTransport(answer)


PROVIDERS = [
    "https://api.openai.com/v1/chat/completions",
    "https://eu.api.openai.com/v1/responses",
    "https://api.anthropic.com/v1/messages",
    "https://mine.openai.azure.com/openai/deployments/x/chat/completions",
    "https://mine.services.ai.azure.com/models/chat/completions",
    "https://generativelanguage.googleapis.com/v1beta/models/gemini:generateContent",
    "https://europe-west4-aiplatform.googleapis.com/v1/projects/p",
    "https://bedrock-runtime.eu-central-1.amazonaws.com/model/x/converse",
    "https://bedrock-runtime-fips.us-gov-west-1.amazonaws.com/model/x/invoke",
    "https://bedrock-runtime.cn-north-1.amazonaws.com.cn/model/x/invoke",
    "https://openrouter.ai/api/v1/chat/completions",
    "https://api.deepseek.com/chat/completions",
    "https://api.groq.com/openai/v1/chat/completions",
    "https://api.mistral.ai/v1/chat/completions",
    "https://api.cohere.com/v2/chat",
    "https://api.x.ai/v1/chat/completions",
    "https://api.together.xyz/v1/chat/completions",
    "https://router.huggingface.co/v1/chat/completions",
    "https://ollama.com/api/chat",
    "HTTPS://API.OPENAI.COM/v1/models",
    "https://api.openai.com./v1/models",
    "http://api.openai.com/v1/models",
    "https://api.openai.com:443/v1/models",
]

OWN = [
    "http://127.0.0.1:8000/run",
    "http://localhost/run",
    "http://researcher.svc.cluster.local/run",
    "https://agents.example.com/openai.com",
    "https://notopenai.com/",
    "https://api.openai.com.example.com.internal/",
    "https://lb-1.eu-central-1.elb.amazonaws.com/run",
    "http://[::1]:8000/",
]


def seen_by(url: str, **options: Any) -> httpx.Headers:
    """Return the headers that reach a URL from inside a session."""
    seen: list[httpx.Request] = []
    tracker = Spendtree("memory:")
    with propagate(httpx.Client(transport=noted(seen)), **options) as client, tracker.session("s"):
        client.get(url, headers={"accept": "text/plain"})
    return seen[0].headers


def test_services_of_ones_own_are_told() -> None:
    for url in OWN[:5] + OWN[6:]:
        headers = seen_by(url)
        assert headers["baggage"] == "spendtree.session=s", url
        assert "traceparent" in headers


@pytest.mark.parametrize("url", PROVIDERS)
def test_providers_are_never_told(url: str) -> None:
    assert not {"baggage", "traceparent"} & seen_by(url).keys()
    assert not {"baggage", "traceparent"} & seen_by(url, hosts=["*"]).keys()


def test_every_host_of_the_table_and_of_the_catalogue_counts_as_a_providers() -> None:
    book, compared = PriceBook(), 0
    for suffix in SUFFIXES:
        assert is_api(suffix)
        assert is_api(f"api.{suffix}")
        assert book.sells_at(suffix)
        assert not is_api(f"x{suffix}.example")
    for url in (provider.api_pattern.replace("\\", "") for provider in get_snapshot().providers):
        if re.fullmatch(r"https://[a-z.-]+[a-z](/[a-z-]+)*", url):
            listed = httpx.URL(url)
            assert book.sells_at(listed.host, listed.path), url
            compared += 1
    assert compared >= 20


def test_only_the_hosts_that_are_given_are_told() -> None:
    hosts = ["*.internal", "127.0.0.1"]
    for url in ("http://researcher.internal/", "http://127.0.0.1:8000/", "http://A.INTERNAL/x"):
        assert "baggage" in seen_by(url, hosts=hosts)
    for url in ("http://internal/", "http://api.weather.example/", "http://10.0.0.1/"):
        assert "baggage" not in seen_by(url, hosts=hosts)
    assert "baggage" not in seen_by("http://localhost/", hosts=[])


@pytest.mark.parametrize(
    "target", ["https://api.openai.com/v1/models", "http://elsewhere.example/"]
)
def test_a_redirect_takes_nothing_to_whom_nothing_is_told(target: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        moved = request.url.host == "mine.internal"
        return httpx.Response(307, headers={"location": target}) if moved else httpx.Response(200)

    tracker = Spendtree("memory:")
    client = httpx.Client(transport=httpx.MockTransport(answer), follow_redirects=True)
    with propagate(client, hosts=["*.internal"]), tracker.session("s"):
        client.get("http://mine.internal/", headers={"baggage": "theirs=1"})

    first, second = seen
    assert first.headers["baggage"] == "theirs=1,spendtree.session=s"
    assert second.headers["baggage"] == "theirs=1"
    assert "traceparent" not in second.headers


def test_copied_inbound_headers_do_not_reach_a_provider_either() -> None:
    seen: list[httpx.Request] = []
    tracker = Spendtree("memory:")
    with tracker.session("s"):
        inbound = dict(tracker.inject())
    with propagate(httpx.Client(transport=noted(seen))) as client:
        client.get("https://api.openai.com/v1/models", headers=inbound)
    assert not {"baggage", "traceparent"} & seen[0].headers.keys()


def test_outside_any_scope_a_request_is_left_as_it_is() -> None:
    seen: list[httpx.Request] = []
    with propagate(httpx.Client(transport=noted(seen))) as client:
        client.get("http://localhost/", headers={"baggage": "theirs=1"})
    assert seen[0].headers["baggage"] == "theirs=1"
    assert "traceparent" not in seen[0].headers


@pytest.fixture(params=["httpx", "httpx2"])
def library(request: pytest.FixtureRequest) -> Any:
    """Return each of the two libraries: newer clients of providers come with httpx2."""
    return importlib.import_module(request.param)


def test_a_client_of_either_library_tells_the_scope_and_no_provider(library: Any) -> None:
    seen: dict[str, Any] = {}

    def answer(request: Any) -> Any:
        seen[request.url.host] = request.headers
        return library.Response(200)

    tracker = Spendtree("memory:")
    client = library.Client(transport=library.MockTransport(answer))
    with propagate(client), tracker.session("s"):
        client.get("http://localhost/run")
        client.get("https://api.openai.com/v1/models")

    assert seen["localhost"]["baggage"] == "spendtree.session=s"
    assert "baggage" not in seen["api.openai.com"]


def test_what_is_no_client_of_theirs_is_refused() -> None:
    stranger: Any = object()
    with pytest.raises(ConfigurationError, match=r"of httpx or httpx2, not object.*inject"):
        propagate(stranger)


def test_each_task_of_an_async_client_tells_its_own_scope(library: Any) -> None:
    seen: dict[str, str] = {}

    def answer(request: Any) -> Any:
        seen[request.url.path] = request.headers["baggage"]
        return library.Response(200)

    async def both() -> None:
        tracker = Spendtree("memory:")
        transport = library.MockTransport(answer)
        async with propagate(library.AsyncClient(transport=transport)) as client:

            async def one(name: str) -> None:
                async with tracker.session(name):
                    await client.get(f"http://localhost/{name}")

            await asyncio.gather(one("a"), one("b"))

    asyncio.run(both())
    assert seen == {"/a": "spendtree.session=a", "/b": "spendtree.session=b"}


WITHOUT = """
import sys
sys.modules["httpx"] = sys.modules["httpx2"] = None
import spendtree
try:
    import spendtree.integrations.httpx
except ModuleNotFoundError as missing:
    print(missing)
"""


def test_without_httpx_the_extra_is_named() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.strip() == (
        "spendtree.integrations.httpx needs 'httpx': pip install 'spendtree[httpx]'"
    )


def test_hooks_stand_beside_the_clients_own_and_tell_one_trackers_scope_if_it_is_given() -> None:
    order: list[str] = []
    tracker, other = Spendtree("memory:"), Spendtree("memory:")
    hook = request_hook(tracker=tracker)
    client = httpx.Client(
        transport=httpx.MockTransport(
            lambda request: httpx.Response(200, json=dict(request.headers))
        ),
        event_hooks={"request": [lambda request: order.append("mine"), hook]},
    )
    with client, tracker.session("outer"), other.session("inner"):
        told = client.get("http://localhost/").json()
    assert order == ["mine"]
    assert told["baggage"] == "spendtree.session=outer"
    request = httpx.Request("GET", "http://localhost/")
    with tracker.session("s"):
        asyncio.run(async_request_hook()(request))  # type: ignore[arg-type]
    assert request.headers["baggage"] == "spendtree.session=s"
