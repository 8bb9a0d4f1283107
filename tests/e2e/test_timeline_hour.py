"""An hour opens, zooms, pans and plays: nothing keeps the page busy for long."""

from __future__ import annotations

import pytest
from hour import fare, hour
from lab import browser_with
from playwright.sync_api import Playwright

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
MOST = 100.0  # ms of the processor; above that a person feels it


def test_an_hour(playwright: Playwright) -> None:
    browser = browser_with(playwright)
    found = fare(browser, *hour())
    browser.close()
    for what in ("open", "zoom", "pan", "play"):
        assert found[what]["cpu"], "the trace lacks the page's tasks"
        assert found[what]["cpu"][0] < MOST, (what, found[what]["cpu"][:5])
