"""The page behind the link for a class, as a learner sees it: on a telephone, with a wrong token, with no server."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from lab import browser_with
from playwright.sync_api import Page, Playwright, expect

from tests.serve.loopback import served
from tml_lab.serve.contract import NoSessionError, SessionInfo
from tml_lab.serve.gate import Settings

pytestmark = pytest.mark.e2e
TOKEN = "a-token-for-this-class"


class Empty:
    """A server without sessions."""

    def info(self, id: str) -> SessionInfo:
        raise NoSessionError("there is no session of that name.")


@pytest.fixture(scope="module")
def page(playwright: Playwright) -> Iterator[Page]:
    browser = browser_with(playwright)
    page = browser.new_page(viewport={"width": 360, "height": 740})
    yield page
    browser.close()


def state(page: Page, words: str) -> None:
    expect(page.get_by_role("status").first).to_contain_text(words, timeout=15_000)


def test_a_learner_reads_what_to_write_and_whether_it_will_work(page: Page) -> None:
    waking = [True]
    with served(Empty(), Settings(tokens=(TOKEN,)), waking=lambda: waking[0]) as url:
        http = url.replace("ws", "http")
        page.goto(f"{http}/#token={TOKEN}")
        state(page, "The model is being loaded")
        waking[0] = False
        state(page, "The server runs.")
        assert f'Session.connect("{url}", token="{TOKEN}")' in page.locator("#code").inner_text()
        page.get_by_role("button", name="Copy").click()
        expect(page.locator("#copied")).to_have_text(re.compile("Copied|It is selected"))
        assert page.evaluate("() => document.documentElement.scrollWidth <= innerWidth"), "it is wider than a telephone"

        page.goto("about:blank")
        page.goto(f"{http}/#token=another-token")
        state(page, "this is not one of its tokens")
        page.goto("about:blank")
        page.goto(http)
        state(page, "This link has no token")
        assert "token" not in page.locator("#code").inner_text()
        page.goto("about:blank")
        page.route("**/health", lambda route: route.abort())
        page.goto(f"{http}/#token={TOKEN}")
        state(page, "The server does not answer now")
        page.unroute("**/health")
        state(page, "The server runs.")
