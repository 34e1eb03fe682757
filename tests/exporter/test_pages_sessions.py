"""The session pages: what they show, and that nothing from outside runs or loads in them."""

from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import quote, urljoin, urlsplit

import httpx
import pytest

from spendtree import Spendtree, Usage
from spendtree.event import Context, Event, Kind
from spendtree.store.memory import MemoryStore
from spendtree.tree import build
from spendtree_exporter import tree_page
from spendtree_exporter.app import create_app
from spendtree_exporter.serve import serving
from tests.exporter.test_api import Away, book

PRICES = {"prices": {"m": {"input_usd_per_mtok": "1000", "output_usd_per_mtok": "2000"}}}
EVIL = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;"


class Reader(HTMLParser):
    """Collects a page's tags, links and text, and notes a tag that is closed in the wrong place."""

    VOID = ("meta", "br", "input", "link", "img")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""
        self.attributes: set[str] = set()
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert self._open == [], "every tag is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open[-1:] != ["style"]:
            self.text += data


@pytest.fixture(scope="module")
def site() -> Iterator[httpx.Client]:
    """A store with one rich session, thirty small ones and one that means harm."""
    tracker = Spendtree("memory:", config=PRICES)
    with tracker.session("rich", customer="acme", team="search", ceiling="100") as session:
        with session.cycle(), tracker.agent("coordinator", task="answer it"):
            _call(tracker)
            for number in range(6):
                try:
                    with tracker.agent("researcher", task=f"find {number}"):
                        _call(tracker)
                        if number == 3:
                            raise RuntimeError("no such page")
                except RuntimeError:
                    pass
        with session.cycle(), tracker.agent("coordinator"):
            _call(tracker)
    for number in range(30):
        book(tracker.store, f"small-{number:02d}", number * 10**6, {"a": 10**12})
    evil = {EVIL: 10**9}
    book(tracker.store, EVIL, 99 * 10**6, evil, customer=EVIL, team=EVIL, status="failed")
    with (
        serving(create_app(tracker.store, session_idle_seconds=10**9)) as url,
        httpx.Client(base_url=url) as client,
    ):
        yield client


def _call(tracker: Spendtree) -> None:
    with tracker.call("m", input_tokens=100, max_output_tokens=50) as call:
        call.record(Usage(100, 50))


def read(site: httpx.Client, path: str) -> Reader:
    answer = site.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    return Reader(answer.text)


def evil_path() -> str:
    return f"/sessions/{quote(EVIL, safe='')}"


def test_the_list_shows_each_session_with_its_cost_and_links_its_tree(site: httpx.Client) -> None:
    page = read(site, "/sessions")

    for text in ("rich", "acme", "search", "succeeded", "$1.60", "small-29"):
        assert text in page.text
    assert "/sessions/rich" in page.links


def test_the_list_is_filtered_and_sorted_by_a_form(site: httpx.Client) -> None:
    page = read(site, "/sessions?customer=&team=search&agent=researcher&status=&sort=-cost")

    assert "rich" in page.text
    assert "small" not in page.text
    answer = site.get("/sessions?status=failed&agent=<b>")
    assert '<option value="failed" selected>' in answer.text
    assert 'name="agent" value="&lt;b&gt;"' in answer.text
    assert "No session was found" in answer.text


def test_the_list_goes_on_page_by_page_with_the_same_filter(site: httpx.Client) -> None:
    path, found = "/sessions?team=search&limit=10", []
    while path:
        page = read(site, path)
        sessions = [link for link in page.links if link.startswith("/sessions/")]
        found += sessions
        path = next((link for link in page.links if "after=" in link), "")
        assert not path or "team=search" in path

    assert len(found) == len(set(found)) == 31


def test_the_list_is_also_where_a_slash_follows(site: httpx.Client) -> None:
    assert site.get("/sessions/?team=search").text == site.get("/sessions?team=search").text
    assert ">small<" not in site.get("/sessions/?team=search&agent=researcher").text
    assert site.get("/sessions//").status_code == 404


def test_a_filter_that_cannot_be_meant_is_told_on_the_page(site: httpx.Client) -> None:
    answer = site.get("/sessions?limit=many")

    assert answer.status_code == 422
    assert "is not a whole number" in answer.text
    assert "No session was found" not in answer.text, "nobody has looked"
    Reader(answer.text)


def test_a_session_is_shown_with_its_cycles_agents_and_failed_runs(site: httpx.Client) -> None:
    page = read(site, "/sessions/rich")

    for text in (
        *("$1.60", "$100.00", "ceiling", "cycle 1", "cycle 2", "coordinator", "answer it"),
        *("6 runs", "5 succeeded", "1 failed"),
    ):
        assert text in page.text
    assert "bad" in site.get("/sessions/rich").text
    assert page.text.count("researcher") == 2, "one row among the agents, one in the tree"


def test_every_run_can_be_shown_and_says_why_it_failed(site: httpx.Client) -> None:
    folded, every = read(site, "/sessions/rich"), read(site, "/sessions/rich?runs=every")

    assert "/sessions/rich?runs=every" in folded.links
    assert "/sessions/rich" in every.links
    for number in range(6):
        assert f"find {number}" in every.text
    assert "no such page" in every.text or "RuntimeError" in every.text


def test_a_session_that_is_not_known_is_a_404(site: httpx.Client) -> None:
    for path in ("/sessions/nobody", "/sessions//", "/sessions/rich/more", evil_path() + "x"):
        answer = site.get(path)
        assert answer.status_code == 404
        assert "script" not in Reader(answer.text).tags


@pytest.mark.parametrize(
    "path", ["/", "/sessions", "/sessions/rich", evil_path(), f"/sessions?team={quote(EVIL)}"]
)
def test_nothing_from_outside_becomes_markup_and_nothing_is_loaded(
    site: httpx.Client, path: str
) -> None:
    page = read(site, path)

    assert {"script", "img", "iframe", "object", "link"}.isdisjoint(page.tags)
    assert not [name for name in page.attributes if name.startswith("on")]
    for link in page.links:
        there = urlsplit(urljoin(str(site.base_url), link))
        assert there.scheme == "http"
        assert there.netloc == urlsplit(str(site.base_url)).netloc
        assert site.get(link).status_code == 200, link


def test_what_means_harm_is_shown_as_the_text_that_it_is(site: httpx.Client) -> None:
    for path in ("/sessions", evil_path()):
        assert EVIL in read(site, path).text


def test_a_store_out_of_reach_is_told_on_a_page() -> None:
    with serving(create_app(Away())) as url:
        for path in ("/sessions", "/sessions/x"):
            answer = httpx.get(f"{url}{path}")
            assert answer.status_code == 503
            assert "the disk is away" in Reader(answer.text).text


def test_a_tree_too_large_for_a_browser_is_cut_and_says_so() -> None:
    runs = [
        Event(0, Kind.RUN_OPENED, 1, b"", Context("s", agent=f"a{n}", run=f"{n:032x}", level=1))
        for n in range(tree_page.ROWS_MAX + 7)
    ]

    page = Reader(tree_page.session_tree(build(runs), every_run=True))

    assert page.tags.count("tr") < tree_page.ROWS_MAX + 50
    assert "and 7 more" in page.text


def test_a_deep_tree_is_shown_to_its_end() -> None:
    runs = [
        Event(
            0, Kind.RUN_OPENED, 1, b"",
            Context("s", agent=f"a{n}", run=f"{n:032x}", parent=f"{n - 1:032x}" * bool(n), level=n),
        )
        for n in range(90)
    ]  # fmt: skip

    assert "a89" in Reader(tree_page.session_tree(build(runs))).text


def test_an_empty_store_has_an_empty_list() -> None:
    with serving(create_app(MemoryStore())) as url:
        assert "No session was found" in httpx.get(f"{url}/sessions").text
