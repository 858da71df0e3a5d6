"""The machine's Chromium, to see the page as a reader does."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")


@dataclass
class Opened:
    """A page with what it wrote to the console and asked of the network."""

    page: Page
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def opened(file: Path) -> Iterator[Opened]:
    """The file in a window of 1280 x 900 pixels, all charts drawn."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    assert program, f"none of {', '.join(NAMES)} is on PATH; install one: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        found = Opened(browser.new_page(viewport={"width": 1280, "height": 900}))
        found.page.on(
            "console",
            lambda said: (
                found.errors.append(said.text) if said.type in ("error", "warning") else None
            ),
        )
        found.page.on("pageerror", lambda error: found.errors.append(str(error)))
        found.page.on("request", lambda request: found.requests.append(request.url))
        found.page.goto(file.as_uri())
        found.page.wait_for_selector("body[data-drawn]", timeout=60_000)
        yield found
        browser.close()
