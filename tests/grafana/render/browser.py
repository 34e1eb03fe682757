"""Chromium, and the drawing of one dashboard in it.

A drawing says what became of each panel and what the console complained of; whether that is right
is for the tests to say.
"""

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, sync_playwright

from tests.grafana.render.bundle import missing

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)

WIDTH, HEIGHT = 1440, 900
"""A laptop's screen. The picture is as high as the dashboard."""

PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """One panel as the page tells of it; `asked.ts` says what each figure is."""

    id: int
    title: str
    type: str
    state: str
    errors: list[str]
    filled: list[str]
    rows: int
    text: str
    colored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A dashboard's panels, and everything that the page complained of."""

    panels: list[Drawn]
    complaints: list[str]
    picture: Path


@contextmanager
def chromium() -> Iterator[BrowserContext]:
    """Run Debian's Chromium with a profile of its own."""
    program = shutil.which("chromium")
    if program is None:
        missing("no chromium: install it, for instance: apt-get install -y chromium")
    with (
        tempfile.TemporaryDirectory() as profile,
        sync_playwright() as playwright,
    ):
        context = playwright.chromium.launch_persistent_context(
            profile,
            executable_path=program,
            args=list(FLAGS),
            viewport={"width": WIDTH, "height": HEIGHT},
        )
        try:
            yield context
        finally:
            context.close()


def draw(
    context: BrowserContext,
    url: str,
    *,
    dashboard: dict[str, Any],
    prometheus: str,
    now: float,
    theme: str,
    picture: Path,
    scrape_interval: str = "15s",
) -> Drawing:
    """Draw a dashboard as of a time, and keep its picture."""
    asked = {
        "dashboard": dashboard,
        "prometheus": prometheus,
        "theme": theme,
        "scrapeInterval": scrape_interval,
        "variables": {},
    }
    complaints: list[str] = []

    def hear(said: ConsoleMessage) -> None:
        if said.type == "error":
            complaints.append(said.text)

    page = context.new_page()
    try:
        page.on("console", hear)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.clock.set_fixed_time(now * 1000)
        page.add_init_script(f"window.spendtreeAsked = {json.dumps(asked)}")
        page.goto(url)
        _until_drawn(page, complaints)
        # A full page's picture would resize the page while it is taken, and empty its panels.
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": WIDTH, "height": height})
        panels = _until_drawn(page, complaints)
        picture.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=picture)
    finally:
        page.close()
    return Drawing(panels=panels, complaints=complaints, picture=picture)


def _until_drawn(page: Page, complaints: list[str]) -> list[Drawn]:
    """Wait until every panel has its data and two looks at the page are alike."""
    last: object = None
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        told = page.evaluate("window.spendtreeTold ? window.spendtreeTold() : null")
        if told and told == last:
            return [Drawn(**one) for one in told]
        last = told
        page.wait_for_timeout(300)
    raise AssertionError(f"not drawn after {PATIENCE_SECONDS:.0f} s: {last}, {complaints}")
