"""The browser that tests of the studio's page share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Not for the whole session: while Playwright is started, no test of this process could run a loop of its own."""
    from playwright.sync_api import sync_playwright
    from tests.e2e.studio_browser import launch

    with sync_playwright() as playwright:
        browser = launch(playwright)
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    from tests.e2e.studio_browser import PATIENCE

    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="dark")
    context.set_default_timeout(PATIENCE)
    yield context
    context.close()
