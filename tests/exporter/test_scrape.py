"""Bodies: shared by those who ask together, compressed once, and never in the loop's way."""

import asyncio
import gzip
import socket
import threading
import zlib
from typing import Any

import httpx
import pytest

from spendtree.metrics import Fold
from spendtree.store.memory import MemoryStore
from spendtree_exporter import scrape as scrape_module
from spendtree_exporter.app import create_app
from spendtree_exporter.follow import Follower
from spendtree_exporter.render import OPENMETRICS, TEXT, Format, render_pieces
from spendtree_exporter.scrape import Scrapes
from spendtree_exporter.serve import listen_on, serving
from tests.exporter.conftest import Load


def followed(load: Load, count: int = 50) -> Follower:
    store = MemoryStore()
    load(store, 0, count)
    follower = Follower(store)
    follower.step()
    return follower


class Counted:
    """The library of zlib's functions, and how often something was compressed with it."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.packers = 0

    def compressobj(self, *arguments: int) -> Any:
        self.packers += 1
        return self._library.compressobj(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._library, name)


def spend(body: bytes) -> list[bytes]:
    """Return the lines that do not tell how the exporter itself is doing."""
    own = (b"spendtree_exporter", b"process_", b"python_")
    return [line for line in body.splitlines() if not line.startswith((b"#", *own))]


@pytest.mark.parametrize("format", [TEXT, OPENMETRICS], ids=["text", "openmetrics"])
@pytest.mark.parametrize("fastest", [True, False], ids=["isal", "zlib"])
def test_a_zipped_body_is_one_gzip_member_that_says_what_the_plain_one_says(
    load: Load, monkeypatch: pytest.MonkeyPatch, format: Format, fastest: bool
) -> None:
    if fastest:
        pytest.importorskip("isal", reason="isal is not installed: pip install isal")
    else:
        monkeypatch.setattr(scrape_module, "_zlib", lambda: zlib)
    scrapes = Scrapes(followed(load), dict)

    async def both() -> tuple[bytes, bytes]:
        return await scrapes.body(format, zipped=False), await scrapes.body(format, zipped=True)

    plain, zipped = asyncio.run(both())

    member = zlib.decompressobj(wbits=31)
    told = member.decompress(zipped) + member.flush()
    assert member.eof
    assert member.unused_data == b""
    assert spend(told) == spend(plain)
    assert len(spend(told)) > 50
    assert told.endswith(format.end)
    assert told.count(b"# EOF") == bool(format.end)
    assert gzip.decompress(zipped) == told


def test_nothing_is_compressed_again_while_nothing_changes_but_the_exporter_tells_on(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Counted(zlib)
    monkeypatch.setattr(scrape_module, "_zlib", lambda: library)
    follower = followed(load)
    scrapes = Scrapes(follower, dict)

    async def run() -> list[bytes]:
        bodies = [await scrapes.body(TEXT, zipped=True) for _ in range(3)]
        load(follower.store, 50, 1)
        follower.step()
        return [*bodies, await scrapes.body(TEXT, zipped=True)]

    first, second, third, changed = map(gzip.decompress, asyncio.run(run()))

    assert library.packers == 2, "once at first, once after the change"
    assert spend(first) == spend(second) == spend(third) != spend(changed)
    assert first != second, "what the exporter tells about itself is of now"


def test_those_who_ask_together_get_one_rendering(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrapes, renderings, go = Scrapes(followed(load), dict), list[Format](), threading.Event()

    def slow(fold: Fold, format: Format, own: Any = None) -> list[bytes]:
        go.wait(10)
        renderings.append(format)
        return render_pieces(fold, format, own)

    monkeypatch.setattr(scrape_module, "render_pieces", slow)

    async def run() -> list[bytes]:
        asking = [asyncio.create_task(scrapes.body(TEXT, zipped=True)) for _ in range(20)]
        await asyncio.sleep(0)
        gone = asyncio.create_task(scrapes.body(TEXT, zipped=True))
        await asyncio.sleep(0)
        gone.cancel()
        go.set()
        return await asyncio.gather(*asking)

    bodies = asyncio.run(run())

    assert len(renderings) == 2, "the two parts of one body"
    assert len(set(bodies)) == 1


def test_a_failed_rendering_fails_those_who_waited_for_it_and_nobody_later(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    scrapes = Scrapes(followed(load), dict)

    def broken(*_: Any) -> list[bytes]:
        raise ZeroDivisionError

    async def run() -> bytes:
        with monkeypatch.context() as patch:
            patch.setattr(scrape_module, "render_pieces", broken)
            with pytest.raises(ZeroDivisionError):
                await scrapes.body(TEXT, zipped=False)
        return await scrapes.body(TEXT, zipped=False)

    assert b"spendtree_calls_total" in asyncio.run(run())


def test_the_exporters_own_process_is_told_under_the_usual_names(load: Load) -> None:
    store = MemoryStore()
    load(store, 0, 5)
    with serving(create_app(store)) as url:
        bodies = [
            httpx.get(f"{url}/metrics", headers={"Accept": format.content_type}).text
            for format in (TEXT, OPENMETRICS)
        ]

    for body in bodies:
        for name in (
            "process_cpu_seconds_total",
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_start_time_seconds",
            "python_info{",
        ):
            assert f"\n{name}" in body


def test_a_scrape_is_sent_without_waiting_for_acknowledgements() -> None:
    """Head and body are two writes: with Nagle's algorithm the second waits some 40 ms."""
    with listen_on("127.0.0.1:0") as listener:
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("coding", ["gzip", "identity"])
def test_bodies_are_made_beside_the_event_loop(
    load: Load, monkeypatch: pytest.MonkeyPatch, coding: str
) -> None:
    """How long the loop waits all the same is shown by `make bench`."""
    makers: set[int] = set()

    def watched(*arguments: Any, **options: Any) -> list[bytes]:
        makers.add(threading.get_ident())
        return render_pieces(*arguments, **options)

    monkeypatch.setattr(scrape_module, "render_pieces", watched)
    store = MemoryStore()
    load(store, 0, 200)

    async def scraped() -> int:
        transport = httpx.ASGITransport(app := create_app(store))
        async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport) as web:
            answer = await web.get("http://here/metrics", headers={"accept-encoding": coding})
            assert answer.status_code == 200
            return threading.get_ident()

    loop = asyncio.run(scraped())

    assert makers
    assert loop not in makers
