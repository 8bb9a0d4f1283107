"""The timeline's page shows the recording's own numbers, at the right clock, and needs nothing from outside."""

from __future__ import annotations

import base64
import io
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
import soundfile

from tml_lab.config import TURN_SAMPLES
from tml_lab.plot.timeline import timeline, timeline_html, write_timeline
from tml_lab.plot.timeline_data import camera_spans, envelope
from tml_lab.stream.recording import Inputs, Recording


def data_of(page: str) -> tuple[dict, list[bytes]]:
    """What the page's script reads, and its buffers."""
    found = re.search(r'<script type="application/json" id="header">(.*?)</script>', page, re.S)
    packed = re.search(r'id="bytes">(.*?)</script>', page, re.S)
    assert found and packed
    data, whole, at, buffers = json.loads(found[1]), zlib.decompress(base64.b64decode(packed[1])), 0, []
    for size in data["sizes"]:
        buffers.append(whole[at : at + size])
        at += size
    assert at == len(whole)
    return data, buffers


def lane(data: dict, name: str) -> dict:
    (found,) = [one for one in data["header"]["lanes"] if one["name"] == name]
    return found


def test_envelope_holds_the_extremes(recording):
    audio = recording.inputs.audio
    low_high = envelope(audio, 20)
    assert low_high.shape == (20 * 20, 2)
    bins = audio.reshape(-1, TURN_SAMPLES // 20)
    assert np.array_equal(low_high[:, 0], bins.min(1)) and np.array_equal(low_high[:, 1], bins.max(1))


def test_page_carries_the_recording(recording):
    data, buffers = data_of(timeline_html(recording, "a & b"))
    header = data["header"]
    assert header["turns"] == 20 and header["seconds"] == pytest.approx(4.2)
    assert header["decisions"]["names"] == ["<silent>", "<speak>"]
    assert list(buffers[header["decisions"]["codes"]["buffer"]]) == [int(n in (6, 7, 12)) for n in range(20)]
    p_speak = np.frombuffer(buffers[header["decisions"]["p"]["buffer"]], "<f4")
    assert np.array_equal(p_speak, recording.p_speak)
    assert lane(data, "said")["data"]["words"] == [[1.4, 1.8, "five"], [2.6, 2.7, "two"], [2.7, 2.8, "three"]]
    # typed on the heard clock; and it did not end the script element
    assert lane(data, "typed")["data"]["words"] == [[0.4, 0.4, 'say <b>"five"</b> </script>']]
    share = lane(data, "attention L5H1")["arrays"]["values"]
    values = np.frombuffer(buffers[share["buffer"]], "<f4").reshape(20, 5)
    np.testing.assert_allclose(values, recording.attention.share, rtol=1e-5)
    assert data["view"]["t"] == 1.2  # the turn that decided to say the first word
    own = lane(data, "own voice")["tiles"]
    assert own["start"] == 0.2 and own["form"] == "wave"  # played a turn later


def test_page_is_self_contained(recording):
    page = timeline_html(recording, "a & b")
    assert "{{" not in page and "a &amp; b" in page
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:)", page)
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")
    assert 'from "./' not in page and page.count("</script>") == 3
    data, buffers = data_of(page)
    _, own = (buffers[n] for n in data["sound"]["buffers"])
    sound, rate = soundfile.read(io.BytesIO(own), dtype="float32")
    assert rate == 16000
    np.testing.assert_allclose(sound, recording.played_audio(), atol=1 / 32768)
    assert "five at 1.4 seconds" in page


def test_long_sound_is_linked_beside_the_page(long_recording, tmp_path):
    (tmp_path / "recording").mkdir()
    for name in ("recording/heard.wav", "output.wav"):
        (tmp_path / name).write_bytes(b"")
    page = write_timeline(
        long_recording, tmp_path / "timeline.html", "long", tmp_path / "output.wav"
    ).read_text()
    data, _ = data_of(page)
    assert data["sound"] == {"addresses": ["recording/heard.wav", "output.wav"]}
    wave, spectrum = lane(data, "heard")["tiles"], lane(data, "heard: spectrogram")["tiles"]
    assert wave["finest"] > 0 and spectrum["finest"] > 0  # three minutes are not there sample by sample
    for n, one in enumerate(data["header"]["lanes"]):
        for level in range(one["tiles"]["finest"], len(one["tiles"]["seconds"])) if one["tiles"] else ():
            assert all(f"{n}/{level}/{index}" in data["tiles"] for index in range(one["tiles"]["counts"][level]))
    assert len(page) < 8_000_000


def test_sound_that_no_page_holds_is_left_out(recording, monkeypatch):
    monkeypatch.setattr("tml_lab.plot.timeline.MOST_SOUND_BYTES", 100)
    assert data_of(timeline_html(recording, "x"))[0]["sound"] is None


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
    data, _ = data_of(timeline_html(nothing, "nothing"))
    assert data["header"]["turns"] == turns and lane(data, "said")["data"]["words"] == []
    timeline(nothing)


def heard_lane(page: str) -> dict:
    return next(lane for lane in data_of(page)[0]["header"]["lanes"] if lane["name"] == "heard")


def test_gaps_are_shown_and_told(recording):
    assert "missing" not in heard_lane(timeline_html(recording, "whole"))["data"]
    turns = recording.inputs.audio.reshape(-1, TURN_SAMPLES).copy()
    turns[[3, 4, 9]] = 0.0
    lost = replace(recording, inputs=replace(recording.inputs, audio=turns.reshape(-1), gaps=(3, 4, 9)))
    page = timeline_html(lost, "lost")
    assert heard_lane(page)["data"]["missing"] == {"gap": [[0.6, 1.0], [1.8, 2.0]]}
    assert "Not heard: 0.6 s in 2 places: 0.6 to 1.0 s, 1.8 to 2.0 s." in page and "not heard: 0.6 s" in page
    bars = [trace for trace in timeline(lost).data if trace.name == "gap"]
    assert [x for x in bars[0].x if x is not None] == [0.6, 1.0, 1.8, 2.0]
    assert not [trace for trace in timeline(recording).data if trace.name == "gap"]


def test_turns_that_were_never_computed_do_not_look_like_gaps(recording):
    turns = recording.inputs.audio.reshape(-1, TURN_SAMPLES).copy()
    turns[[3, 9, 10, 11]] = 0.0
    inputs = replace(recording.inputs, audio=turns.reshape(-1), gaps=(3,), skipped=(9, 10, 11))
    caught_up = replace(recording, inputs=inputs)
    page = timeline_html(caught_up, "caught up")
    header = data_of(page)[0]["header"]
    lanes = {lane["name"]: lane for lane in header["lanes"]}
    assert lanes["heard"]["data"]["missing"] == {"gap": [[0.6, 0.8]], "skipped": [[1.8, 2.4]]}
    said = "Not heard: 0.2 s in 1 place: 0.6 to 0.8 s. Skipped, never computed: 0.6 s in 1 place: 1.8 to 2.4 s."
    assert said in header["alt"] and said in lanes["heard"]["alt"]
    assert "not heard: 0.2 s · skipped: 0.6 s" in header["facts"]
    assert [1.8, 2.4, "skipped"] in lanes["decision"]["data"]["words"]
    assert [0.0, 1.2, "silent"] in lanes["decision"]["data"]["words"], "in a gap it decides"
    assert "<skipped>" in header["decisions"]["names"]
    figure = timeline(caught_up)
    drawn = {trace.name: trace for trace in figure.data if trace.name in ("gap", "skipped")}
    assert drawn["gap"].mode == "lines" and drawn["skipped"].mode == "markers"
    assert list(drawn["skipped"].x) == pytest.approx([1.9, 2.1, 2.3]) and all(t.showlegend for t in drawn.values())
    assert said in figure.layout.meta["description"]
