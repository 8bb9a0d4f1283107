"""The timeline's own module in a real browser, with its Python half: cursor, selection, zoom, sound, keys, looks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect
from widget_page import COLOURS, WidgetPage, plot_fixtures

from tml_lab.plot.decision import lens_track
from tml_widgets import Timeline

pytestmark = pytest.mark.e2e

ROOT = "document.querySelector('.tml-timeline')"
PLACE = """([name, seconds]) => {
  const canvas = document.querySelector(`[data-lane="${name}"] canvas`).getBoundingClientRect();
  const [from, to] = window.view ?? [0, 4.2];
  return [canvas.left + ((seconds - from) / (to - from)) * canvas.width, canvas.top + canvas.height / 2];
}"""


@pytest.fixture
def shown(browser: Browser, tmp_path: Path) -> Iterator[WidgetPage]:
    recording = plot_fixtures()._recording()
    line = Timeline(recording, lens_track(np.linspace(-3, 3, 80).reshape(4, 20)), save_to=tmp_path, theme="light")
    page = browser.new_page(viewport={"width": 1200, "height": 1000})
    shown = WidgetPage(page, line)
    page.wait_for_selector(".tml-stage")
    yield shown
    page.close()
    assert shown.wrong == []


def click(page: Page, lane: str, seconds: float, **how: object) -> None:
    page.mouse.click(*page.evaluate(PLACE, [lane, seconds]), **how)


def until(shown: WidgetPage, true: str) -> None:
    shown.page.wait_for_function(f"() => {true}")


@pytest.mark.parametrize("lane", ["heard", "decision", "decision lens: <speak> less <silent>", "own voice"])
def test_the_cursor_goes_both_ways(shown: WidgetPage, lane: str) -> None:
    click(shown.page, lane, 1.3)
    until(shown, "document.querySelector('.tml-readout').textContent.startsWith('turn 6 ·')")
    assert shown.widget.t == pytest.approx(1.3, abs=0.01) and shown.widget.turn == 6
    assert "hears 1.2 s to 1.4 s · plays 1.4 s to 1.6 s" in shown.page.locator(".tml-readout").inner_text()
    assert "says five" in shown.page.locator(".tml-readout").inner_text()
    shown.widget.turn = 12
    until(shown, "document.querySelector('.tml-stage').getAttribute('aria-valuenow') === '2.4'")
    assert shown.page.locator('[data-lane="p(speak)"] .tml-value').inner_text() == "0.9"


def test_every_lane_is_painted(shown: WidgetPage) -> None:
    click(shown.page, "heard", 1.3)
    for lane in ("heard", "heard: spectrogram", "heard: dMel", "typed", "decision", "p(speak)", "attention L5H1",
                 "looked back", "decision lens: <speak> less <silent>", "said", "own voice"):  # fmt: skip
        shown.page.wait_for_function(f"(name) => ({COLOURS})(name) >= 3", arg=lane)


def reaches_python(shown: WidgetPage, holds: Callable[[], bool]) -> None:
    """Let the page's messages through until something holds, for five seconds at most."""
    for _ in range(250):
        if holds():
            return
        shown.page.wait_for_timeout(20)


def test_a_selection_reaches_python(shown: WidgetPage) -> None:
    page, seen = shown.page, []
    shown.widget.on_select(seen.append)
    page.mouse.move(*page.evaluate(PLACE, ["heard", 1.0]))
    page.mouse.down()
    page.mouse.move(*page.evaluate(PLACE, ["heard", 1.7]), steps=4)
    assert seen == []  # while the hand still moves
    page.mouse.up()
    until(shown, "true")
    assert shown.widget.selection == (pytest.approx(1.0, abs=0.01), pytest.approx(1.7, abs=0.01)) and len(seen) == 1
    assert list(shown.widget.selected().turns) in ([4, 5, 6, 7, 8], [5, 6, 7, 8])
    click(page, "said", 1.5, click_count=2)  # a word
    until(shown, "true")
    assert shown.widget.selection == (1.4, 1.8)
    page.keyboard.press("Escape")
    until(shown, "true")
    assert shown.widget.selection is None


def test_keys(shown: WidgetPage) -> None:
    page, line = shown.page, shown.widget
    click(page, "heard", 1.3)
    for key, t in (("ArrowRight", 1.4), ("ArrowRight", 1.6), ("ArrowLeft", 1.4), ("n", 2.6), ("n", 2.7), ("p", 2.6),
                   ("Home", 0.0), ("End", 4.2), ("p", 2.7)):  # fmt: skip
        page.keyboard.press(key)
        reaches_python(shown, lambda t=t: line.t == pytest.approx(t, abs=1e-6))
        assert line.t == pytest.approx(t, abs=1e-6), key
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    until(shown, "true")
    assert line.selection == (pytest.approx(2.7), pytest.approx(3.0))
    page.keyboard.press("Enter")
    until(shown, "document.querySelector('.tml-words') !== null")
    page.wait_for_timeout(350)  # the view is told five times a second
    assert line.view == (pytest.approx(2.676), pytest.approx(3.024))
    page.keyboard.press("0")
    page.keyboard.press("?")
    assert page.locator(".tml-keys").is_visible() and "Space" in page.locator(".tml-keys").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator(".tml-keys").is_visible()


def test_python_zooms_to_a_turn(shown: WidgetPage) -> None:
    shown.widget.zoom(turn=6, around=0.3)
    shown.page.evaluate("window.view = [0.9, 1.7]")
    click(shown.page, "heard", 1.25)
    until(shown, "true")
    assert shown.widget.t == pytest.approx(1.25, abs=0.005)


def test_playing_moves_the_cursor_and_python_hears_of_it(shown: WidgetPage) -> None:
    page, line = shown.page, shown.widget
    told: list[float] = []
    line.observe(lambda change: told.append(change["new"]), "t")
    click(page, "heard", 0.5)
    page.keyboard.press(" ")
    until(shown, "Number(document.querySelector('.tml-stage').getAttribute('aria-valuenow')) > 1.4")
    page.keyboard.press(" ")
    assert page.locator('[data-act="play"]').get_attribute("aria-label") == "play"
    until(shown, "true")
    assert 1.3 < line.t < 3.5 and told == sorted(told) and 3 <= len(told) < 15  # not at every frame
    line.selection = (2.0, 2.4)
    page.keyboard.press("l")
    page.keyboard.press("s")
    page.keyboard.press(" ")
    at = "Number(document.querySelector('.tml-stage').getAttribute('aria-valuenow'))"
    until(shown, f"{at} > 2.25")
    until(shown, f"{at} < 2.15")  # round again
    page.keyboard.press(" ")
    assert all(2.0 - 1e-6 <= t <= 2.4 + 1e-6 for t in told[-3:])


def test_light_dark_and_for_a_projector(shown: WidgetPage) -> None:
    page = shown.page
    paper = f"getComputedStyle({ROOT}).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    name = f"getComputedStyle({ROOT}.querySelector('.tml-name')).fontSize"
    small = float(page.evaluate(name)[:-2])
    shown.widget.theme, shown.widget.size = "dark", "projector"
    assert page.evaluate(paper) == "rgb(21, 24, 28)"
    assert float(page.evaluate(name)[:-2]) > 1.4 * small
    page.locator('[data-menu="look"] summary').click()
    page.locator('[data-act="theme"]').select_option("light")
    until(shown, "true")
    assert shown.widget.theme == "light" and page.evaluate(paper) == "rgb(255, 255, 255)"


def test_in_words_for_those_who_cannot_see(shown: WidgetPage) -> None:
    page = shown.page
    stage = page.locator(".tml-stage")
    assert stage.get_attribute("role") == "slider" and "five at 1.4 seconds" in str(stage.get_attribute("aria-label"))
    page.locator(".tml-words summary").click()
    expect(page.locator(".tml-words tr[data-at]")).not_to_have_count(0)
    rows = page.locator(".tml-words tr[data-at]").all_inner_texts()
    assert [row.split("\t")[-1] for row in rows if "said" in row] == ["five", "two", "three"]
    assert 'say <b>"five"</b> </script>' in rows[1]
    page.locator(".tml-words tr[data-at]").last.press("Enter")
    until(shown, "true")
    assert shown.widget.t == pytest.approx(2.7)
    page.keyboard.press("c")  # a row has the focus: the key is not the timeline's
    assert not page.locator(".tml-captions").is_visible()
    stage.press("c")
    assert page.locator('[data-of="out"]').inner_text() == "five two three"


def test_lanes_are_pinned_and_hidden(shown: WidgetPage) -> None:
    page = shown.page
    page.locator('[data-lane="p(speak)"]').hover()
    page.get_by_label("pin on top: p(speak)").click()
    assert page.locator(".tml-pins [data-lane]").get_attribute("data-lane") == "p(speak)"
    page.get_by_label("pin on top: p(speak)").click()
    lanes = page.locator(".tml-lanes [data-lane]").evaluate_all("(all) => all.map((one) => one.dataset.lane)")
    assert lanes[4:6] == ["decision", "p(speak)"]  # back in its place
    page.locator('[data-menu="lanes"] summary').click()
    page.get_by_label("own voice: spectrogram", exact=True).check()
    assert page.locator('[data-lane="own voice: spectrogram"]').is_visible()


def test_the_menu_writes_files(shown: WidgetPage, tmp_path: Path) -> None:
    page = shown.page
    page.locator('[data-menu="export"] summary').click()
    threading.Thread.start, start = (lambda thread: thread.run()), threading.Thread.start  # answers before it returns
    try:
        page.get_by_role("button", name="TextGrid").click()
        until(shown, "/Written: .*timeline.TextGrid/.test(document.querySelector('.tml-status').textContent)")
    finally:
        threading.Thread.start = start
    assert (tmp_path / "timeline.TextGrid").read_text().startswith('File type = "ooTextFile"')
