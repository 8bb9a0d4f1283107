"""The Python side of the timeline: one cursor, a selection with its sound, answers to the page; no browser."""

from __future__ import annotations

import importlib.util
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import traitlets

from tml_lab.plot.decision import lens_track
from tml_lab.plot.timeline import STATIC
from tml_lab.stream.recording import Recording
from tml_widgets import Timeline


def _known(turns: int = 20) -> Recording:
    """The recording of the plot tests."""
    spec = importlib.util.spec_from_file_location("plot_fixtures", Path(__file__).parents[1] / "plot" / "conftest.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module._recording(turns)


@pytest.fixture
def recording() -> Recording:
    return _known()


@pytest.fixture
def line(recording: Recording, tmp_path: Path) -> Timeline:
    return Timeline(recording, lens_track(np.linspace(-3, 3, 80).reshape(4, 20)), title="a talk", save_to=tmp_path)


@pytest.fixture
def sent(line: Timeline) -> list[tuple[dict, list[bytes]]]:
    found: list[tuple[dict, list[bytes]]] = []
    line.send = lambda content, buffers=None: found.append((content, buffers or []))  # type: ignore[method-assign]
    return found


def ask(line: Timeline, **content: Any) -> None:
    """What the page does."""
    line._on_message(line, content, [])


def test_one_cursor_in_seconds_and_turns(line: Timeline) -> None:
    assert line.t is None and line.turn is None and repr(line) == "Timeline(12 lanes, 4.2 s, no cursor)"
    line.t = 1.3
    assert (line.t, line.turn) == (1.3, 6)  # where the page was clicked, not where its turn begins
    line.turn = 3
    assert line.t == 0.6
    line.t = 4.1  # its last word sounds while no turn hears any more
    assert line.turn == 19
    for wrong in (-1.0, 4.3, float("nan")):
        with pytest.raises(traitlets.TraitError, match=r"outside the recording: it has 0 to 4\.2 s"):
            line.t = wrong
    with pytest.raises(ValueError, match=r"turn 20 \(4\.0 s\) lies outside the recording"):
        line.turn = 20
    assert line.t == 4.1


def test_what_is_selected_comes_to_python(line: Timeline, recording: Recording) -> None:
    seen: list[Any] = []
    assert line.on_select(seen.append) is not None
    with pytest.raises(ValueError, match="nothing is selected"):
        line.selected()
    line.selection = (1.3, 2.65)
    part = line.selected()
    assert (part.start, part.end, part.turns) == (1.3, 2.65, range(6, 14))
    assert np.array_equal(part.heard, recording.inputs.audio[20800:42400])
    assert np.array_equal(part.own, recording.played_audio()[20800:42400])
    assert [word for word, _, _ in part.words] == ["five", "two"]
    line.selection = None
    assert seen == [(1.3, 2.65), None]
    with pytest.raises(traitlets.TraitError, match="end after it begins"):
        line.selection = (2.0, 2.0)
    line.selection = (4.05, 4.2)  # behind the last turn there is sound, and no turn
    assert list(line.selected().turns) == [] and len(line.selected().heard) == 2400


def test_zoom(line: Timeline) -> None:
    assert line.zoom(turn=6, around=0.5).view == (pytest.approx(0.7), pytest.approx(1.9))
    assert line.zoom(t=0.1).view == (0, pytest.approx(1.7))
    assert line.zoom().view == (0, pytest.approx(4.2))


def test_lanes_from_tracks(line: Timeline, recording: Recording) -> None:
    names = [lane.name for lane in line.lanes]
    assert names.index("said") == names.index("decision lens: <speak> less <silent>") + 1
    with pytest.raises(ValueError, match="has 7 turns and the recording 20"):
        line.add(lens_track(np.zeros((4, 7))))
    with pytest.raises(ValueError, match="not from str"):
        Timeline(recording, ["lens"])  # type: ignore[list-item]
    assert len(line.lanes) == len(names)


def test_the_page_gets_what_it_asks_for(line: Timeline, sent: list, recording: Recording) -> None:
    ask(line, kind="content", asks=7)
    ask(line, kind="tile", asks=8, lane=0, level=0, index=0)
    ask(line, kind="sound", asks=9, block=1)
    ask(line, kind="sound", asks=10, block=99)
    assert [content["answers"] for content, _ in sent] == [7, 8, 9, 10]
    header, buffers = sent[0][0]["header"], sent[0][1]
    assert header["exports"] == ["TextGrid", "WAV", "MP4", "HTML", "Recording"] and len(header["lanes"]) == 12
    assert all(one["buffer"] < len(buffers) for lane in header["lanes"] for one in lane["arrays"].values())
    assert sent[1][1] == [line.lanes[0].tiles.tile(0, 0)]
    sound = np.frombuffer(sent[2][1][0], "<i2").reshape(2, 32000) / 32767
    np.testing.assert_allclose(sound[0], recording.inputs.audio[32000:64000], atol=1e-4)
    np.testing.assert_allclose(sound[1, :3200], recording.played_audio()[32000:35200], atol=1e-4)
    assert not np.frombuffer(sent[3][1][0], "<i2").any()


@pytest.mark.parametrize(
    "content",
    [
        {"kind": "tile", "lane": 0, "level": 0, "index": 10**6}, {"kind": "tile", "lane": 99, "level": 0, "index": 0},
        {"kind": "tile"}, {"kind": "tile", "lane": 3, "level": 0, "index": 0}, {"kind": "nothing"}, {},
    ],
)  # fmt: skip
def test_questions_of_another_page_do_no_harm(line: Timeline, sent: list, content: dict) -> None:
    ask(line, asks=1, **content)
    assert all(buffers == [] for _, buffers in sent)


def test_no_megabytes_in_traits() -> None:
    hour = Timeline(_known(9000))
    state = {name: value for name, value in hour.get_state().items() if name not in ("_esm", "_css")}
    assert len(str(state)) < 3000


def export_and_wait(line: Timeline, sent: list, **content: Any) -> str:
    ask(line, kind="export", asks=1, **content)
    for thread in threading.enumerate():
        if thread.name == "tml-export":
            thread.join(60)
    return sent[-1][0]["text"]


def test_the_menu_writes_into_the_folder(line: Timeline, sent: list, tmp_path: Path) -> None:
    assert export_and_wait(line, sent, what="WAV") == f"Written: {tmp_path / 'a_talk.wav'}"
    assert soundfile.info(tmp_path / "a_talk.wav").frames == 21 * 3200
    assert "nothing is selected" in export_and_wait(line, sent, what="WAV", selection=True)
    line.selection = (1.0, 1.5)
    export_and_wait(line, sent, what="WAV", selection=True)
    assert soundfile.info(tmp_path / "a_talk.wav").frames == 8000
    assert "not known" in export_and_wait(line, sent, what="exe")
    line.save_to = tmp_path / "a_talk.wav"
    assert "cannot write" in export_and_wait(line, sent, what="TextGrid")


def test_the_exported_page_looks_as_the_widget_did(line: Timeline, tmp_path: Path) -> None:
    line.t, line.selection, line.theme = 2.5, (1.0, 2.0), "dark"
    page = line.export(tmp_path / "talk.html").read_text(encoding="utf-8")
    assert '"view":{"t":2.5,"selection":[1.0,2.0],"view":null,"theme":"dark","size":"normal"}' in page
    assert "decision lens: <speak> less <silent>" in page


def test_all_modules_are_in_the_widget() -> None:
    widget, page_only = str(Timeline._esm), {"page.js", "linked_sound.js"}
    assert 'from \\"./' not in widget and len(widget) < 150_000
    for module in STATIC.glob("*.js"):
        first = module.read_text(encoding="utf-8").splitlines()[0]
        assert (json.dumps(first, ensure_ascii=False)[1:-1] in widget) is (module.name not in page_only), module.name
