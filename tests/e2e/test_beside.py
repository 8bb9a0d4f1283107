"""Beside the strip, in a real browser: a table and a chart that grow while turns go on, and a task called off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from lab import Kernel, Lab, browser_with, until_turn
from playwright.sync_api import Page, Playwright, expect

pytestmark = pytest.mark.e2e

ASKING = """
from asking_session import AskingSession, with_growing
from tml_widgets import LiveSession, Microphone
asks = {3: "grow", 6: "table bread three", 9: "timer one minute", 12: "list add bread", 15: "kitchen"}
asks |= {n: f"table bread three milk {n % 10}" for n in range(20, 400, 5)}
live = LiveSession(lambda: AskingSession(asks), Microphone(headphones=True), colleague=with_growing)
live
"""


@pytest.fixture(scope="module")
def live(playwright: Playwright, lab: Lab) -> Iterator[tuple[Page, Kernel]]:
    browser = browser_with(playwright)
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    lab.show(page, ASKING)
    with lab.kernel(page) as kernel:
        yield page, kernel
    browser.close()


def test_what_is_asked_for_grows_beside_the_talk_and_can_be_called_off(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    beside = page.get_by_label("Beside the conversation")
    expect(beside).to_contain_text("Nothing is running.")
    page.locator(".tml-start").click()
    task = beside.get_by_role("listitem").filter(has_text="grow")
    expect(task).to_contain_text("points", timeout=20_000)

    chart = beside.get_by_role("group", name="growing").get_by_role("img")
    before = chart.locator("circle").count()
    page.wait_for_function("(n) => document.querySelectorAll('.tml-chart circle').length > n + 3", arg=before)
    assert chart.get_attribute("aria-label").startswith("Chart growing: ")  # type: ignore[union-attr]

    table = beside.get_by_role("group", name="table").get_by_role("table")
    expect(table.get_by_role("row").first).to_contain_text("how many")
    expect(table.get_by_role("row").nth(1)).to_contain_text("bread")
    expect(table.get_by_role("row")).to_have_count(3, timeout=20_000)  # milk has come while turns went on
    seen = table.get_by_role("row").nth(2).inner_text()
    expect(table.get_by_role("row").nth(2)).not_to_have_text(seen, timeout=20_000)
    expect(beside.get_by_role("listitem").filter(has_text="kitchen")).to_have_count(0)  # there is no such tool

    cancel = page.get_by_role("button", name="Cancel grow")
    cancel.focus()  # by the keyboard
    turns = kernel.get("len(live.turns)")
    page.keyboard.press("Enter")
    expect(task).to_have_count(0)
    points = chart.locator("circle").count()
    until_turn(page, turns + 6, seconds=30.0)
    assert chart.locator("circle").count() == points and points > before
    assert kernel.get("live._worker.session.tasks[0].status") == "cancelled"


def test_a_timer_follows_the_turns_and_a_checklist_the_person(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    beside = page.get_by_label("Beside the conversation")
    timer = beside.get_by_role("timer")
    expect(timer).to_contain_text("0:")
    box = beside.get_by_role("checkbox", name="bread")
    expect(box).not_to_be_checked()
    box.press("Space")
    page.wait_for_function("() => document.querySelector('.tml-card input').checked")
    turn = kernel.get("len(live.turns)")
    until_turn(page, turn + 3, seconds=30.0)
    assert kernel.get("[e.done for item in live.panel if item.id == 'list' for e in item.entries]") == [True]
    page.locator(".tml-start").click()
    expect(page.locator(".tml-pill")).to_have_text("Stopped")
    shown = timer.inner_text()
    left = kernel.get(
        "[seconds_left(i, live.turns[-1].turn) for i in live.panel if i.kind == 'timer']",
        "from tml_lab.background.panel import seconds_left",
    )
    minutes, seconds = map(int, shown.split(":"))
    assert 0 <= 60 * minutes + seconds - left[0] < 1  # the stopped clock shows the last turn's
    assert kernel.get("len(live.recording.panel)") > 10


def test_it_can_be_read_in_light_and_dark_and_without_eyes(live: tuple[Page, Kernel]) -> None:
    page, _ = live
    headings = page.locator(".tml-beside :is(h3, h4)").all_inner_texts()
    assert headings[:2] == ["In the background", "Panel"] and "growing" in headings
    for theme, dark in (("JupyterLab Dark", True), ("JupyterLab Light", False)):
        page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
        expect(page.locator(".tml-live")).to_have_attribute("data-theme", "dark" if dark else "light")
        assert contrast(page, ".tml-time") > 4.5 and contrast(page, ".tml-beside td") > 4.5
        assert contrast(page, ".tml-chart text", "fill") > 4.5 and contrast(page, ".tml-chart circle", "fill") > 3


def contrast(page: Page, selector: str, colour: str = "color") -> float:
    """Of an element's colour against the widget's paper, as WCAG counts it."""
    return page.evaluate(
        """([selector, colour]) => {
            const light = (text) => {
                const part = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255);
                const [r, g, b] = part.map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
            };
            const one = light(getComputedStyle(document.querySelector(selector))[colour]);
            const two = light(getComputedStyle(document.querySelector(".tml-live")).backgroundColor);
            return (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        }""",
        [selector, colour],
    )
