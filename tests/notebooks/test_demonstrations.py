"""What the teacher's guide says the shipped nano says, it says: every demonstration, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from tml_lab.background.colleague import with_colleague
from tml_lab.config import TURN_SAMPLES
from tml_lab.course.chapters import CHAPTERS
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.stream.session import Session
from tml_lab.worlds.humans import recordings_dir
from tml_widgets import Clip
from tml_widgets.sources import demo_clips

pytest.importorskip("numba", reason="Numba does not run here")
pytest.importorskip("anywidget")
GUIDE = Path(__file__).parents[2] / "notebooks" / "TEACHING.md"
TYPED_IN = 2  # turn
SILENT_TURNS = 15  # after the clip, so that it can finish


def demonstrations() -> list[tuple[str, str, str]]:
    """(clip, what is typed, what it says) of every row of the guide's two tables."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?)\|$", GUIDE.read_text(encoding="utf-8"), flags=re.M)
    return [(clip, typed, said.strip()) for clip, typed, said in rows]


def typed_demonstrations() -> list[tuple[list[str], list[str], str]]:
    """(lines typed, requests made, what it says) of every row of the guide's table for `nano-everything`."""
    rows = re.findall(r'^\| "(.*)" \| (.*?) \| (.*?)\|$', GUIDE.read_text(encoding="utf-8"), flags=re.M)
    return [(typed.split('", then "'), [] if asks == "nobody" else [asks], said.strip()) for typed, asks, said in rows]


def test_the_guide_has_its_tables() -> None:
    assert len(demonstrations()) == 16 and len(typed_demonstrations()) == 7


def test_every_clip_of_the_tables_has_the_title_that_the_widget_lists() -> None:
    titles = re.findall(r"^\| ([^|`]+) \| `(\w+)` \|$", GUIDE.read_text(encoding="utf-8"), flags=re.M)
    assert {clip for _, clip in titles} == {clip for clip, _, _ in demonstrations()}
    listed = {path.stem: title for title, path in demo_clips().items()}
    assert all(listed[clip] == title for title, clip in titles)


@pytest.mark.parametrize(("name", "typed", "said"), demonstrations())
def test_a_demonstration(name: str, typed: str, said: str) -> None:
    clip = Clip.load(recordings_dir() / "demo" / f"{name}.flac")
    session = Session(*load_checkpoint("nano"))
    for chunk in clip.chunks():
        text = chunk.text if typed == "as it is" else typed if chunk.seq == TYPED_IN and typed != "nothing" else None
        session.step(chunk.audio, text=text)
    for _ in range(SILENT_TURNS):
        session.step(np.zeros(TURN_SAMPLES, np.float32))
    assert session.recording().text == said


@pytest.mark.parametrize(("typed", "asks", "said"), typed_demonstrations())
def test_a_typed_demonstration(typed: list[str], asks: list[str], said: str) -> None:
    session = with_colleague(Session(*load_checkpoint("nano-everything")))
    for line in typed:
        for turn in range(28):
            session.step(np.zeros(TURN_SAMPLES, np.float32), None, line if turn == TYPED_IN else None)
            session.wait(10.0)
    recording = session.recording()
    session.close()
    assert [request for _, request in recording.requests()] == asks and recording.text == said


def test_the_plans_name_chapters_that_there_are() -> None:
    numbers = {chapter.number for chapter in CHAPTERS}
    plans = GUIDE.read_text(encoding="utf-8").split("## A day")[1].split("## A term")[0]
    assert set(re.findall(r"\b\d\d\b", plans)) <= numbers
