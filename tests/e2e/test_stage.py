"""What a page says when something goes wrong on a stage: one sentence, the last one, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect
from stage_page import Stage

from tml_widgets import Console, LiveSession

pytestmark = pytest.mark.e2e


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.new_page(viewport={"width": 1024, "height": 768})
    yield page
    page.close()


def open_tracks(page: Page) -> int:
    return page.evaluate("() => tracks.filter((track) => track.readyState === 'live').length")


def notice(page: Page, words: str | re.Pattern[str]) -> None:
    expect(page.locator(".tml-notice")).to_contain_text(words, timeout=15_000)


def test_what_goes_wrong_after_a_save_is_said(page: Page) -> None:
    stage = Stage(page)
    stage.go_live()
    stage.turn(0)
    stage.press("s")
    assert len(stage.sent("save")) == 1
    stage.tell(kind="saved", path="recordings/live-1.tml.zip")
    notice(page, "Saved as recordings/live-1.tml.zip")
    stage.turn(1)
    notice(page, "Saved as recordings/live-1.tml.zip")
    page.evaluate("() => tracks.at(-1).dispatchEvent(new Event('ended'))")
    notice(page, "The microphone was unplugged or taken away. Plug it in and press Go on.")
    assert stage.sent("pause")[-1]["notice"].startswith("The microphone was unplugged")
    assert stage.wrong == []


def test_after_a_restart_every_key_says_that_the_kernel_is_another_one(page: Page) -> None:
    stage = Stage(page)
    stage.go_live()
    stage.turn(0)
    page.evaluate("() => window.fire('comm_live_update')")
    notice(page, "The kernel was restarted")
    assert open_tracks(page) == 0
    sent = page.evaluate("() => window.sent.length")
    for key in (" ", "n", "w", "s"):
        page.wait_for_timeout(700)  # a second press at once counts as a double click
        stage.press(key)
        notice(page, "run its cell again")
        expect(page.locator(".tml-pill")).to_have_text("Not running")
    assert page.evaluate("() => window.sent.length") == sent and open_tracks(page) == 0
    assert stage.wrong == []


def test_a_pause_in_another_window_closes_the_microphone_here(page: Page) -> None:
    stage = Stage(page)
    stage.go_live()
    stage.status("paused", "The page was loaded anew, so the session waits: press Go on.", held="")
    assert open_tracks(page) == 1, "another window only came; this one goes on"
    stage.status("live")
    stage.status("paused", "The session waits.", held="another page")
    assert open_tracks(page) == 0
    expect(page.locator(".tml-pill")).to_have_text("Waiting")
    chunks = len(stage.sent("chunk"))
    page.locator(".tml-start").click()
    stage.wait_for("resume")
    assert stage.sent("resume")[-1]["seq"] == chunks
    assert stage.wrong == []


def test_a_pause_that_is_told_late_does_not_close_the_microphone_that_is_open_again(page: Page) -> None:
    stage = Stage(page)
    stage.go_live()
    stage.turn(0)
    page.wait_for_timeout(700)  # a second press at once counts as a double click
    stage.press(" ")
    stage.wait_for("pause")
    page.wait_for_timeout(700)
    stage.press(" ")
    stage.wait_for("resume")
    stage.status("paused", held=stage.sent("pause")[-1]["page"])
    stage.status("live")
    stage.tell(kind="ready", seq=stage.sent("resume")[-1]["seq"])
    stage.wait_for("chunk", len(stage.sent("chunk")) + 2)
    assert stage.wrong == []


@pytest.mark.parametrize(("elsewhere", "said"), [(False, "The kernel is busy"), (True, "or the network is away")])
def test_no_answer_is_said_in_the_plain_widget_too(page: Page, elsewhere: bool, said: str) -> None:
    stage = Stage(page, LiveSession, elsewhere=elsewhere)
    stage.go_live()
    notice(page, said)
    stage.turn(len(stage.sent("chunk")) - 1)
    expect(page.locator(".tml-notice")).to_be_hidden(timeout=15_000)


@pytest.mark.parametrize("kind", [LiveSession, Console])
def test_what_a_model_elsewhere_was_taught_is_shown_when_it_is_known(page: Page, kind: type[LiveSession]) -> None:
    stage = Stage(page, kind, elsewhere=True, understands=[{"title": "Time", "items": [{"say": "", "text": "one"}]}])
    expect(page.locator(".tml-beside")).to_be_hidden()
    more = [{"title": "Tools", "items": [{"say": "put bread on the list", "text": "okay"}]}]
    page.evaluate("(more) => { put('colleague', true); put('understands', more); }", more)
    expect(page.locator(".tml-beside")).to_be_visible()
    if kind is LiveSession:
        page.locator(".tml-panel summary").first.click()
        expect(page.locator(".tml-panel")).to_contain_text("put bread on the list")
        expect(page.locator(".tml-panel")).not_to_contain_text("one")
    assert stage.wrong == []


def test_refused_and_allowed_later(page: Page) -> None:
    stage = Stage(page)
    page.evaluate("() => { window.refuse = 'NotAllowedError'; }")
    page.locator(".tml-start").click()
    notice(page, "The microphone was refused")
    page.evaluate("() => { window.refuse = ''; }")
    stage.go_live()
    stage.turn(0)
    expect(page.locator(".tml-pill")).to_have_text("Listening")
    expect(page.locator(".tml-notice")).to_be_hidden()
    page.evaluate("() => { window.refuse = 'NotAllowedError'; }")
    stage.press("v")
    notice(page, "The camera is missing or was refused; the model goes on listening.")
    expect(page.locator(".tml-camera")).to_have_attribute("aria-pressed", "false")


def test_a_recording_that_could_not_be_rehearsed_says_why(page: Page) -> None:
    stage = Stage(page)
    stage.press("f")
    notice(page, "still being rehearsed")
    failed = "The model could not be started: there is none."
    stage.tell(kind="fallback", name="one", messages=[], failed=failed, parts=[])
    stage.press("f")
    notice(page, "The model could not be started: there is none.")


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page: Page) -> None:
    stage = Stage(page)
    stage.go_live()
    stage.turn(0)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, select, input, canvas, [role], summary, [tabindex]")]
            .filter((e) => e.checkVisibility())
            .filter((e) => !(e.getAttribute("aria-label") || e.labels?.length || e.textContent.trim()))
            .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert nameless == []
    reached = set()
    page.locator(".tml-live").focus()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("() => document.activeElement.className.split(' ')[0]"))
    names = "start mute camera fallback why whatif rewind mark save captions-on dark smaller larger full keys strip"
    assert {f"tml-{name}" for name in [*names.split(), "type"]} - reached == set()


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (800, 600), (1920, 1080), (390, 844)])
def test_nothing_is_cut_off_at_the_side(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    stage = Stage(page)
    stage.go_live()
    stage.turn(0)
    stage.status("paused", "The session waits. Space goes on; N begins a new one.")
    over = page.evaluate(
        """() => [...document.querySelectorAll(".tml-live *")]
            .filter((e) => e.checkVisibility() && !e.closest(".tml-hidden"))
            .filter((e) => e.getBoundingClientRect().right > innerWidth + 1)
            .map((e) => `${e.className} ${Math.round(e.getBoundingClientRect().right)}`)"""
    )
    assert over == []
