"""The trained nano in the browser: a human voice in, words on the strip and in the ear, a recording that replays."""

from __future__ import annotations

import numpy as np
import pytest
from lab import Lab, browser_with, stop_and_save, type_to_model, until_turn, write_camera, write_microphone
from playwright.sync_api import Playwright, expect

from tml_lab.model.checkpoint import WEIGHTS, checkpoint_dir
from tml_widgets import Clip
from tml_widgets.sources import DEMO_CLIPS

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(not (checkpoint_dir("nano") / WEIGHTS).is_file(), reason="no nano: run `make train`"),
]

LIVE = """
from tml_lab.interp.live import lens
from tml_widgets import LiveSession, Microphone
live = LiveSession("nano", Microphone(camera=CAMERA, headphones=True), save_to="saved")
live
"""
ATTACH = "live.attach({'lens 2': lens(*live.checkpoint, 2), 'lens 5': lens(*live.checkpoint, 5)})"


@pytest.mark.parametrize("camera", [False, True], ids=["blind", "camera"])
def test_nano_answers_a_human_voice_and_its_recording_replays(
    playwright: Playwright, lab: Lab, camera: bool
) -> None:
    clip = Clip.load(DEMO_CLIPS / "repeat_numbers.flac")
    write_microphone(lab.folder / "human.wav", np.pad(clip.inputs.audio, (3 * 16_000, 0)))
    write_camera(lab.folder / "human.y4m")
    browser = browser_with(playwright, lab.folder / "human.wav", lab.folder / "human.y4m")
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    lab.show(page, LIVE.replace("CAMERA", str(camera)))
    expect(page.get_by_label("Layer whose attention is shown")).to_be_visible(timeout=60_000)  # it is loaded
    with lab.kernel(page) as kernel:  # the readers only look: the recording must replay without them
        assert kernel.get("live.wait()", ATTACH) is None
    page.locator(".tml-start").click()
    expect(page.locator(".tml-pill")).to_have_text("Listening", timeout=30_000)
    type_to_model(page, "repeat every number you hear")
    until_turn(page, 75)
    expect(page.locator(".tml-described")).to_contain_text("lens 5 ")
    stop_and_save(page)
    with lab.kernel(page) as kernel:
        said = kernel.get("[word for row in live.turns for word in row.words]")
        same = kernel.get(
            "again.decisions == tuple(row.decision for row in live.turns)",
            "from pathlib import Path\n"
            "from tml_lab.stream.recording import Recording\n"
            "from tml_lab.stream.replay import replay\n"
            "saved = max(Path('saved').iterdir(), key=lambda file: file.stat().st_mtime)\n"
            "again = replay(Recording.load(saved), *live.checkpoint)",
        )
        pictures = kernel.get("0 if again.inputs.frames is None else len(again.inputs.frames)")
        stats = kernel.get("live.browser")
    browser.close()
    assert same
    if camera:
        assert pictures > 60  # turns that were seen
    numbers = [words for _, _, words in clip.heard]
    assert sum(number in said for number in numbers) >= 3, f"{said} for {numbers}"
    assert stats["played"] > stats["rate"], "less than a second of speech came back"
