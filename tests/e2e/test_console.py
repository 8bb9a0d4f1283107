"""The presenter's console in JupyterLab: its keys, its fall-back, and what goes wrong on a stage."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from lab import Kernel, Lab, browser_with, until_turn, write_camera, write_microphone
from playwright.sync_api import Page, Playwright, expect

pytestmark = pytest.mark.e2e

CONSOLE = """
from echo_session import EchoSession
from tml_widgets import Clip, Console, Microphone
console = Console(EchoSession, Microphone(headphones=True), save_to="saved", fallback="fallback.wav")
console
"""
# Keeps what the browser gives to the page, so that a test can take it away again.
KEEP = """
window.kept = { tracks: [], contexts: [] };
const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const stream = await ask(wanted);
  kept.tracks.push(...stream.getTracks());
  return stream;
};
window.AudioContext = class extends AudioContext {
  constructor(options) { super(options); kept.contexts.push(this); }
};
"""
TURNS = "len(console.turns)"


def focus(page: Page) -> None:
    page.locator(".tml-console").focus()


def press(page: Page, *keys: str) -> None:
    focus(page)
    for key in keys:
        page.keyboard.press(key)


def press_anew(page: Page, key: str) -> None:
    """Long enough after the last press not to count as the same key, held."""
    page.wait_for_timeout(700)
    press(page, key)


def pill(page: Page, words: str) -> None:
    expect(page.locator(".tml-pill")).to_have_text(words, timeout=30_000)


def wait_for_own_turn(page: Page, n: int) -> None:
    """Until the strip shows turn `n` of the recording."""
    page.locator(".tml-console[data-recorded=true]").wait_for()
    until_turn(page, n)


def shown(page: Page) -> int:
    """The turn that the strip shows."""
    return int(page.locator(".tml-strip").first.get_attribute("aria-valuenow") or -1)


@pytest.fixture(scope="module")
def opened(
    playwright: Playwright, lab: Lab, tones: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Page, Kernel]]:
    """A console that is stopped, its fall-back rehearsed."""
    media = tmp_path_factory.mktemp("media")
    write_microphone(media / "microphone.wav", tones)
    write_camera(media / "camera.y4m")
    write_microphone(lab.folder / "fallback.wav", tones[: 2 * 16_000])
    browser = browser_with(playwright, media / "microphone.wav", media / "camera.y4m", loop=True)
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(KEEP)
    lab.show(page, CONSOLE, ready=".tml-console")
    expect(page.locator(".tml-fallback")).to_have_attribute("title", "fallback", timeout=30_000)
    with lab.kernel(page) as kernel:
        yield page, kernel
    browser.close()


@pytest.fixture
def live(opened: tuple[Page, Kernel]) -> Iterator[tuple[Page, Kernel]]:
    """A console whose session is live, whatever the test before left behind."""
    page, kernel = opened
    if page.locator(".tml-help").is_visible():
        page.keyboard.press("Escape")
    if page.locator(".tml-pill").text_content() == "Recorded session":
        press(page, "f")
    if page.locator(".tml-pill").text_content() != "Listening":
        press_anew(page, " ")
    pill(page, "Listening")
    until_turn(page, shown(page) + 2)
    yield page, kernel


def test_space_starts_pauses_and_goes_on_with_the_same_session(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    press_anew(page, " ")
    pill(page, "Waiting")
    before = kernel.get(TURNS)
    page.wait_for_timeout(1500)
    assert kernel.get(TURNS) - before <= 2, "turns went on while the session waited"
    before = kernel.get(TURNS)
    press(page, " ")
    pill(page, "Listening")
    until_turn(page, shown(page) + 3)
    assert kernel.get(TURNS) > before
    assert kernel.get(f"[row.missed for row in console.turns[{before}:{before} + 3]]") == [0, 0, 0]


def test_a_double_click_starts_once(live: tuple[Page, Kernel]) -> None:
    page, _ = live
    press_anew(page, " ")
    pill(page, "Waiting")
    page.locator(".tml-start").dblclick()
    pill(page, "Listening")
    until_turn(page, shown(page) + 3)
    pill(page, "Listening")


def test_f_plays_the_recording_in_the_same_place_and_goes_back(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    press_anew(page, " ")
    pill(page, "Waiting")
    place, at = page.locator(".tml-strip").bounding_box(), shown(page)
    press(page, "f")
    pill(page, "Recorded session")
    wait_for_own_turn(page, 6)
    assert shown(page) < 10 < at, "the recording has a time of its own"
    turns = kernel.get(TURNS)
    box = page.locator(".tml-strip").bounding_box()
    assert place and box and (box["x"], box["width"]) == (place["x"], place["width"])
    expect(page.locator(".tml-notice")).to_contain_text("A recorded session: fallback.")
    press(page, "b")
    expect(page.locator(".tml-notice")).to_contain_text("This is the recording")
    assert kernel.get("console.bookmarks") == []
    press(page, "f")
    pill(page, "Waiting")
    assert shown(page) >= at, "the live session is where it was"
    press_anew(page, " ")
    pill(page, "Listening")
    until_turn(page, at + 4)
    assert kernel.get(TURNS) > turns
    assert kernel.get("[row.missed for row in console.turns[-3:]]") == [0, 0, 0]  # the recording is no gap


def test_the_recording_ends_by_itself_and_says_how_to_go_on(live: tuple[Page, Kernel]) -> None:
    page, _ = live
    press(page, "f")
    pill(page, "Recorded session")
    expect(page.locator(".tml-notice")).to_contain_text("The recording is over. Space goes on", timeout=20_000)
    pill(page, "Waiting")


def test_captions_say_what_the_model_says(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    page.wait_for_function("() => document.querySelector('[data-who=\"own voice\"]')")
    said = page.locator('[data-who="own voice"] .tml-said').last.text_content() or ""
    words = kernel.get("[word for row in console.turns for word in row.words]")
    assert said and set(said.split()) <= {*words, *(f"w{n}" for n in range(40))}  # the last ones: of the recording
    press(page, "c")
    expect(page.locator(".tml-captions")).to_be_hidden()
    press(page, "c")
    expect(page.locator(".tml-captions")).to_be_visible()


def test_keys_move_nothing_in_the_notebook(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    cells = page.locator(".jp-Cell").count()
    at = shown(page)
    press(page, "b", "d", "+", "-", "?")
    expect(page.locator(".tml-help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".tml-help")).to_be_hidden()
    kernel.until("console.bookmarks")
    (mark,) = kernel.get("console.bookmarks")
    assert at <= mark <= at + 10
    press(page, "1")
    assert shown(page) == mark
    press(page, "b", "Escape")
    kernel.until("console.bookmarks == []")
    assert page.locator(".jp-Cell").count() == cells
    assert page.locator(".tml-console").get_attribute("data-theme") == "dark"
    press(page, "d")


def test_letters_typed_to_the_model_are_no_keys(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    press(page, "t")
    page.keyboard.type("fbw")
    page.keyboard.press("Enter")
    until_turn(page, shown(page) + 3)
    pill(page, "Listening")
    assert kernel.get("[row.typed for row in console.turns if row.typed]")[-1] == "fbw"
    assert kernel.get("console.bookmarks") == []


def test_enter_in_the_what_if_form_submits_it(live: tuple[Page, Kernel]) -> None:
    """JupyterLab would prevent it, if it saw the key."""
    page, kernel = live
    kernel.get("console._handlers.update(whatif=lambda content, _: console.browser.update(asked=content))")
    press(page, "ArrowLeft", "Shift+ArrowRight", "x")
    page.get_by_label("Words typed instead").fill("two")
    page.keyboard.press("Enter")
    kernel.until("console.browser.get('asked', {}).get('typed') == 'two'")
    page.get_by_label("Words typed instead").fill("three")
    page.locator(".tml-run").focus()
    page.keyboard.press("Enter")
    kernel.until("console.browser['asked']['typed'] == 'three'")
    press(page, "Escape", "Escape")


def test_an_unplugged_microphone_lets_the_session_wait(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    page.evaluate("() => kept.tracks.at(-1).dispatchEvent(new Event('ended'))")
    expect(page.locator(".tml-notice")).to_contain_text("unplugged")
    expect(page.locator(".tml-offer")).to_be_visible()
    before = kernel.get(TURNS)
    press(page, " ")
    pill(page, "Listening")
    until_turn(page, shown(page) + 3)
    assert kernel.get(TURNS) >= before + 3


def test_sound_that_the_browser_stops_comes_back(live: tuple[Page, Kernel]) -> None:
    page, _ = live
    page.evaluate("() => kept.contexts.at(-1).suspend()")  # it is resumed at once
    until_turn(page, shown(page) + 4)
    page.evaluate("() => { const c = kept.contexts.at(-1); c.resume = () => new Promise(() => {}); c.suspend(); }")
    expect(page.locator(".tml-notice")).to_contain_text("The browser has stopped the sound")
    pill(page, "Waiting")
    page.evaluate("() => { delete kept.contexts.at(-1).resume; }")
    press(page, " ")
    pill(page, "Listening")
    until_turn(page, shown(page) + 3)


def test_a_kernel_that_does_not_answer_is_said_and_the_recording_plays_without_it(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    process = kernel.get("__import__('os').getpid()")
    os.kill(process, signal.SIGSTOP)
    try:
        expect(page.locator(".tml-notice")).to_contain_text("is busy", timeout=15_000)
        page.locator(".tml-offer").click()
        pill(page, "Recorded session")
        wait_for_own_turn(page, 5)
    finally:
        os.kill(process, signal.SIGCONT)
    press(page, "f")
    pill(page, "Listening")
    until_turn(page, shown(page) + 4)


def test_a_second_view_shows_the_same_and_sends_nothing_twice(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    page.evaluate(
        """async () => {
            const panel = window.jupyterapp.shell.currentWidget;
            panel.content.activeCellIndex = 0;
            await window.jupyterapp.commands.execute('notebook:create-output-view');
        }"""
    )
    expect(page.locator(".tml-console")).to_have_count(2, timeout=20_000)
    before = kernel.get("[len(console.turns), console.turns[-1].seq]")
    page.wait_for_timeout(2000)
    after = kernel.get("[len(console.turns), console.turns[-1].seq]")
    assert 5 <= after[0] - before[0] <= 14 and after[0] - before[0] == after[1] - before[1]
    expect(page.locator(".tml-pill").nth(1)).to_have_text("Listening")
    page.evaluate("() => window.jupyterapp.commands.execute('application:close')")
    page.evaluate(
        """() => {
            const { shell } = window.jupyterapp;
            shell.activateById([...shell.widgets("main")].find((widget) => widget.sessionContext).id);
        }"""
    )
    expect(page.locator(".tml-console:visible")).to_have_count(1)


def test_a_session_that_cannot_be_run_again_says_so(live: tuple[Page, Kernel]) -> None:
    page, _ = live
    press(page, "w")
    expect(page.locator(".tml-sentence")).to_contain_text("was not made from a checkpoint")
    page.keyboard.press("Escape")
    expect(page.locator(".tml-sheet")).to_be_hidden()


def test_a_page_that_is_loaded_anew_takes_the_session_up_again(live: tuple[Page, Kernel]) -> None:
    page, kernel = live
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    before = kernel.get(TURNS)
    page.reload()
    page.wait_for_selector(".tml-console", timeout=60_000)
    expect(page.locator(".tml-notice")).to_contain_text("press Go on", timeout=30_000)
    assert shown(page) >= before - 2, "the strip does not show what was before"
    press(page, " ")
    pill(page, "Listening")
    until_turn(page, shown(page) + 4)
    assert kernel.get(TURNS) > before
    assert kernel.get("[row.missed for row in console.turns[-3:]]") == [0, 0, 0]


def test_a_restarted_kernel_is_said(live: tuple[Page, Kernel]) -> None:
    page, _ = live
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()")
    expect(page.locator(".tml-notice")).to_contain_text("The kernel was restarted", timeout=30_000)
    press(page, "f")  # which needs no kernel
    pill(page, "Recorded session")
    wait_for_own_turn(page, 3)


def test_a_refused_microphone_offers_the_recording(playwright: Playwright, lab: Lab, tones: np.ndarray) -> None:
    write_microphone(lab.folder / "fallback.wav", tones[: 2 * 16_000])
    browser = browser_with(playwright, allow=False)
    page = browser.new_page()
    lab.show(page, CONSOLE, ready=".tml-console")
    expect(page.locator(".tml-fallback")).to_have_attribute("title", "fallback", timeout=30_000)
    press(page, " ")
    expect(page.locator(".tml-notice")).to_contain_text("The microphone was refused")
    page.locator(".tml-offer").click()
    pill(page, "Recorded session")
    until_turn(page, 4)
    browser.close()
