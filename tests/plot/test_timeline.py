"""The timeline shows the recording's own numbers, at the right clock, and needs nothing from outside."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tml_lab.config import TURN_SAMPLES
from tml_lab.plot.timeline import timeline, timeline_html, write_timeline
from tml_lab.plot.timeline_data import camera_spans, envelope, timeline_data
from tml_lab.stream.recording import Inputs, Recording


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


def test_envelope_holds_the_extremes(recording):
    audio = recording.inputs.audio
    low_high = envelope(audio, 20)
    assert low_high.shape == (20 * 20, 2)
    bins = audio.reshape(-1, TURN_SAMPLES // 20)
    assert np.array_equal(low_high[:, 0], bins.min(1)) and np.array_equal(low_high[:, 1], bins.max(1))


def test_page_carries_the_recording(recording):
    data = data_of(timeline_html(recording, "a & b"))
    assert data["turns"] == 20 and data["seconds"] == pytest.approx(4.2)
    assert data["decisions"] == "ssssssSSssssSsssssss"
    p_speak = np.frombuffer(base64.b64decode(data["p_speak"]), np.uint8) / 255
    np.testing.assert_allclose(p_speak, recording.p_speak, atol=0.5 / 255 + 1e-6)
    assert data["said"] == [["five", 1.4, 1.8], ["two", 2.6, 2.7], ["three", 2.7, 2.8]]
    assert data["typed"] == [[0.4, 'say <b>"five"</b> </script>']]  # and it did not end the script element
    assert data["seen"] == [[0.6, 1.8]]
    share = np.frombuffer(base64.b64decode(data["attention"]["share"]), np.uint8).reshape(20, 5) / 255
    np.testing.assert_allclose(share.sum(1), 1, atol=0.02)


def test_page_is_self_contained(recording):
    page = timeline_html(recording, "a & b")
    assert "{{" not in page and "a &amp; b" in page
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", page) and "http" not in page
    sound = data_of(page)["audio"]["own"].removeprefix("data:audio/flac;base64,")
    own, rate = soundfile.read(io.BytesIO(base64.b64decode(sound)), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(own, recording.played_audio(), atol=1 / 32768)
    assert 'role="img"' in page and "five at 1.4 seconds" in page


def test_long_sound_is_linked_beside_the_page(long_recording, tmp_path):
    assert data_of(timeline_html(long_recording, "long"))["audio"] is None
    (tmp_path / "recording").mkdir()
    for name in ("recording/heard.wav", "output.wav"):
        (tmp_path / name).write_bytes(b"")
    page = write_timeline(
        long_recording, tmp_path / "timeline.html", "long", tmp_path / "output.wav"
    ).read_text()
    assert data_of(page)["audio"] == {"heard": "recording/heard.wav", "own": "output.wav"}
    assert len(page) < 1_000_000


def test_camera_spans_are_runs_of_turns(recording):
    assert camera_spans(recording) == [(0.6, 1.8)]
    assert camera_spans(Recording(Inputs(np.zeros(0)))) == []


def test_figure_stands_on_the_right_clocks(recording):
    figure = timeline(recording)
    bars = next(trace for trace in figure.data if trace.type == "bar")
    assert np.allclose(
        np.array(bars.x) - 0.1, [0.2 * (n + 1) for n in range(20)]
    )  # played, one turn after heard
    assert np.allclose(bars.y, recording.p_speak)
    assert bars.marker.color[6] != bars.marker.color[5]
    assert not figure.layout.shapes  # marks of what was heard would stand beside the bars
    texts = [trace for trace in figure.data if trace.type == "scatter" and trace.mode == "text"]
    labels = {text.strip(): at for trace in texts for text, at in zip(trace.text, trace.x, strict=True)}
    assert labels["five"] == 1.4 and labels["three"] == 2.7
    assert "say &lt;b&gt;" in next(iter(labels))
    shares = [trace for trace in figure.data if trace.type == "bar" and trace is not bars]
    assert [share.name for share in shares] == ["typed", "seen", "heard", "said", "own voice"]
    assert all(share.x == bars.x for share in shares)
    np.testing.assert_allclose(np.sum([share.y for share in shares], axis=0), 1, atol=1e-5)
    assert len(figure.to_json()) < 400_000


@pytest.mark.parametrize("turns", [0, 1])
def test_almost_nothing_can_be_shown(turns):
    nothing = Recording(
        Inputs(np.zeros(turns * TURN_SAMPLES)),
        ("<silent>",) * turns,
        np.zeros(turns, np.float32),
        ((),) * turns,
        np.zeros(turns * TURN_SAMPLES, np.float32),
    )
    assert timeline_data(nothing)["turns"] == turns
    assert data_of(timeline_html(nothing, "nothing"))["said"] == []
    timeline(nothing)


def test_gaps_are_shown_and_told(recording):
    assert data_of(timeline_html(recording, "whole"))["gaps"] == []
    turns = recording.inputs.audio.reshape(-1, TURN_SAMPLES).copy()
    turns[[3, 4, 9]] = 0.0
    lost = replace(recording, inputs=replace(recording.inputs, audio=turns.reshape(-1), gaps=(3, 4, 9)))
    page = timeline_html(lost, "lost")
    assert data_of(page)["gaps"] == [[0.6, 1.0], [1.8, 2.0]]
    assert "Not heard: 0.6 s in 2 gaps: 0.6 to 1.0 s, 1.8 to 2.0 s." in page and "not heard: 0.6 s" in page
    bars = [trace for trace in timeline(lost).data if trace.name == "gap"]
    assert [x for x in bars[0].x if x is not None] == [0.6, 1.0, 1.8, 2.0]
    assert not [trace for trace in timeline(recording).data if trace.name == "gap"]
