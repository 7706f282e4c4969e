"""A headless browser with the network cut, and pages in it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from saetransfer.leaderboard.page.page import render
from saetransfer.leaderboard.record import Record
from tests.leaderboard.examples import DEFINITIONS

CHROMIUM = Path("/usr/bin/chromium")
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)

needs_chromium = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"no browser at {CHROMIUM}; .ci/run installs it")

_LOUD = ("error", "warning")


@dataclass
class Watch:
    """What a page did beside what it shows."""

    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """Console errors and warnings, uncaught errors, dialogs."""

    def elsewhere(self) -> list[str]:
        """Requests that would have left the machine or the file; blobs and data are in the file."""
        return [url for url in self.requests if not url.startswith(("file:", "blob:", "data:"))]


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, without anything that it does of its own accord."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(browser: Browser, file: Path, **settings: Any) -> Iterator[tuple[Page, Watch]]:
    """A page that has started, and what it did until now and does from now on."""
    context = browser.new_context(offline=True, **settings)
    page, watch = context.new_page(), Watch()
    page.set_default_timeout(10_000)
    page.on("request", lambda request: watch.requests.append(request.url))
    page.on("pageerror", lambda error: watch.complaints.append(str(error)))
    page.on("dialog", lambda dialog: watch.complaints.append(f"dialog: {dialog.message}"))
    page.on("console", lambda message: watch.complaints.append(message.text) if message.type in _LOUD else None)
    try:
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        yield page, watch
    finally:
        context.close()


def written(records: Iterable[Record], folder: Path) -> Path:
    """The page of some records, as a file."""
    file = folder / "page.html"
    file.write_text(render(records, DEFINITIONS), encoding="utf-8")
    return file


def column(page: Page, title: str) -> list[str]:
    """What the cells of a column of the table show, from top to bottom."""
    heads = page.locator("#table thead th .dt-column-title").all_inner_texts()
    place = next(place for place, text in enumerate(heads) if text.startswith(title)) + 1
    return page.locator(f"#table tbody tr > :nth-child({place})").all_inner_texts()


def hovered(page: Page, plot: str) -> str:
    """What a plot says when the mouse is on its first point."""
    page.locator(f"#{plot} .scatterlayer .point").first.hover(force=True)
    return page.locator(f"#{plot} .hoverlayer .hovertext").text_content() or ""
