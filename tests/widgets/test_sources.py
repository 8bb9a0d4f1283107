"""Sources: which one is opened where, and that a clip is heard as it was recorded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tml_lab.model.checkpoint import WEIGHTS, checkpoint_dir
from tml_widgets import Clip, LiveSession, Microphone, open_source
from tml_widgets.sources import demo_clips
from tml_widgets.understands import understands, understands_of, what_was_taught


def test_without_a_browser_a_recorded_clip_takes_over(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JPY_SESSION_NAME", "VSCODE_PID", "COLAB_RELEASE_TAG", "TML_HEADLESS"):
        monkeypatch.delenv(name, raising=False)
    assert isinstance(open_source(), Clip)
    monkeypatch.setenv("JPY_SESSION_NAME", "live.ipynb")
    assert isinstance(open_source(), Microphone)
    monkeypatch.setenv("TML_HEADLESS", "1")
    assert isinstance(open_source(), Clip)


def test_a_clip_is_cut_into_whole_turns_and_followed_by_silence(clip: Clip) -> None:
    chunks = list(clip.chunks(after=1.0))
    assert [chunk.seq for chunk in chunks] == list(range(6 + 5))
    sound = np.concatenate([np.asarray(chunk.audio) for chunk in chunks])
    assert np.array_equal(sound[: len(clip.inputs.audio)], clip.inputs.audio)
    assert not sound[17_600:].any()
    assert [chunk.text for chunk in chunks if chunk.text] == ["stop now"]


def test_transcript_words_appear_once_when_they_end(clip: Clip) -> None:
    assert [turn for turn in range(10) if clip.words_ending_in(turn)] == [2]


@pytest.mark.parametrize("name", sorted(demo_clips()))
def test_every_demo_clip_is_speech_with_its_transcript(name: str) -> None:
    clip = Clip.load(demo_clips()[name])
    assert clip.name == name and len(clip.heard) >= 2
    audio = clip.inputs.audio
    for start, end, words in clip.heard:
        assert words and 0 <= start < end <= len(audio) / 16_000
        spoken = audio[round(start * 16_000) : round(end * 16_000)]
        assert np.sqrt(np.mean(spoken**2)) > 0.02


def test_demo_clips_are_listed_by_title() -> None:
    assert len(demo_clips()) >= 4
    assert all(path.is_file() for path in demo_clips().values())


def test_the_first_clip_is_one_in_which_the_model_is_asked_to_speak_and_does() -> None:
    """In others nothing is asked of it, and it is silent: who presses play would see nothing happen."""
    first, *others = demo_clips()
    assert first == "a woman says numbers: repeat them" and "a man counts" in others
    if not (checkpoint_dir("nano") / WEIGHTS).is_file():
        pytest.skip("no nano: run `make train`")
    live = LiveSession("nano", Microphone())
    live.play(realtime=False)
    asked = [number for _, _, number in Clip.load(demo_clips()[first]).heard]
    assert len(set(live.recording.text.split()) & set(asked)) >= len(asked) // 2
    live.close()


def test_microphone_is_not_distorted_by_the_browser() -> None:
    asked = Microphone(camera=False, headphones=True).constraints()
    assert asked["audio"] == {"echoCancellation": False, "noiseSuppression": False, "autoGainControl": False}
    assert asked["video"] is False
    assert Microphone(camera=True).constraints()["video"]
    assert Microphone().constraints()["audio"]["echoCancellation"] is True  # type: ignore[index]


def test_the_panel_reads_headings_and_lists(tmp_path: Path) -> None:
    page = tmp_path / "understands.md"
    page.write_text(
        '# What\n\nFrom `code_of`.\n\n## Cues\n\n- **"repeat A"** — it says A. Also: "say A".\n- Words: a, b.\n\n'
        "## Silence\n\nNoise and\nmusic.\n\n## Empty\n"
    )
    assert understands(page) == [
        {
            "title": "Cues",
            "items": [
                {"say": "repeat A", "text": 'it says A. Also: "say A".'},
                {"say": "", "text": "Words: a, b."},
            ],
        },
        {"title": "Silence", "items": [{"say": "", "text": "Noise and music."}]},
    ]
    assert understands(tmp_path / "missing.md") == []


def test_the_panel_lists_the_wordings_of_the_world() -> None:
    said = {str(item["say"]) for group in understands() for item in group["items"]}  # type: ignore[attr-defined]
    assert {"repeat every number you hear", "remind me in N seconds", "how long did i talk"} <= said


def test_the_panel_lists_what_the_checkpoint_was_taught(tmp_path: Path) -> None:
    titles = [group["title"] for group in understands()]
    assert [group["title"] for group in understands_of(what_was_taught("nano"))] == titles
    groups = understands_of(what_was_taught("nano-everything"))
    assert [group["title"] for group in groups] == [*titles, "Further requests", "Remembered, and refused"]
    said = {str(item["say"]) for group in groups for item in group["items"]}  # type: ignore[attr-defined]
    assert "what is A times B" in said and "warn me when you see a X" not in said
    assert [group["title"] for group in understands_of(what_was_taught(tmp_path / "nowhere"))] == titles
    (numbers,) = understands_of(what_was_taught("pico"))
    assert [str(item["say"]) for item in numbers["items"]] == ["repeat every number you hear"]  # type: ignore[attr-defined]
    (seen,) = understands_of(what_was_taught("pico-eyes"))
    asked = [str(item["say"]) for item in seen["items"]]  # type: ignore[attr-defined]
    assert asked[:2] == ["count the X you see", "say start and stop when somebody X"]
    assert asked[2:] == ["tell me what appears", "tell me when the colour changes", "tell me which way the X goes"]


def test_a_checkpoint_that_was_taught_to_ask_gets_its_tools() -> None:
    assert LiveSession("nano-everything").colleague and not LiveSession("nano").colleague
    assert not LiveSession("nano-everything", colleague=False).colleague
    assert LiveSession("nano", colleague=True).colleague
