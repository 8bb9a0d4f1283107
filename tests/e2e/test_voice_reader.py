"""Reading oneself in, in JupyterLab with a fake microphone: what is heard while a text stands there is its clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lab import Lab, browser_with, write_microphone
from playwright.sync_api import Playwright, expect

from tml_lab.worlds.reading import open_takes

pytestmark = pytest.mark.e2e

READER = """
from tml_widgets import VoiceReader
reader = VoiceReader({folder!r}, ("one", "two", "stop now"), pace={pace})
reader
"""


def beeps() -> np.ndarray:
    """0.3 s of a tone, 0.77 s of silence: float32 [5.35 s at 16 kHz]; they meet the texts now here, now there."""
    t = np.arange(int(5 * 1.07 * 16_000)) / 16_000
    return (0.25 * np.sin(2 * np.pi * 300 * t) * (t % 1.07 < 0.3)).astype(np.float32)


@pytest.mark.parametrize("loud", [True, False])
def test_reading(playwright: Playwright, lab: Lab, tmp_path: Path, loud: bool) -> None:
    write_microphone(tmp_path / "microphone.wav", beeps() if loud else np.zeros(16_000, np.float32))
    browser = browser_with(playwright, tmp_path / "microphone.wav", loop=True)
    page = browser.new_page(viewport={"width": 1000, "height": 700})
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    lab.show(page, READER.format(folder=str(tmp_path / "me"), pace=0.55), ready=".tml-reader")
    reader = page.locator(".tml-reader")
    expect(reader.locator(".tml-count")).to_have_text("0 of 3 read")
    reader.focus()
    page.keyboard.press(" ")
    expect(reader.locator(".tml-text")).to_have_text("one")
    if not loud:
        expect(reader.locator(".tml-note")).to_contain_text("nothing could be heard at 'one'", timeout=20_000)
        expect(reader.locator(".tml-note")).to_contain_text("nothing could be heard at 'two'", timeout=20_000)
        page.keyboard.press(" ")
        expect(reader.locator(".tml-go")).to_have_text("Read")
        assert not (tmp_path / "me").exists()
    else:
        expect(reader.locator(".tml-count")).to_have_text("3 of 3 read", timeout=60_000)
        expect(reader.locator(".tml-text")).to_contain_text("All is read")
        expect(reader.locator(".tml-go")).to_be_disabled()
        takes = open_takes(tmp_path / "me")
        assert {text: len(clips) for text, clips in takes.items()} == {"one": 1, "two": 1, "stop now": 1}
        for (clip,) in takes.values():
            assert 0.25 < len(clip) / 16_000 < 0.45, "one beep, trimmed"
        reader.get_by_text("Read the last one again").click()
        expect(reader.locator(".tml-count")).to_have_text("2 of 3 read")
    assert wrong == []
    browser.close()
