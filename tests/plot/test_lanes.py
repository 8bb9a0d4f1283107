"""Lanes: what any recording has, and what tracks of every kind become."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plot_inside import attention_of, lens_of

from tml_lab.plot import interp as plots
from tml_lab.plot.lanes import MISSING, decision_runs, lane_of, usual_lanes
from tml_lab.plot.timeline_data import typed_words
from tml_lab.plot.track import Track
from tml_lab.stream.recording import Recording


def test_what_any_recording_has_from_top_to_bottom(recording):
    lanes = usual_lanes(recording, heard=[(1.0, 1.2, "five")])
    assert [lane.name for lane in lanes] == [
        "heard", "heard: spectrogram", "heard: dMel", "typed", "words", "decision", "p(speak)", "attention L5H1",
        "looked back", "said", "own voice", "own voice: spectrogram",
    ]  # fmt: skip
    groups = [lane.group for lane in lanes]
    assert groups == sorted(groups, key=("in", "inside", "out").index)
    assert all(lane.alt for lane in lanes) and [lane.name for lane in lanes if not lane.shown] == [lanes[-1].name]
    out = [lane.tiles.start for lane in lanes if lane.group == "out" and lane.tiles]
    assert out == [0.2, 0.2]  # the played clock


def test_what_the_policy_typed_again_stands_among_the_typed(recording):
    noted = replace(recording, notes=((3, "my name is anna"), (15, "my name is anna")))
    (lane,) = [lane for lane in usual_lanes(noted) if lane.name == "typed"]
    words = [text for _, text in typed_words(noted)]
    assert words.count("\u21bb my name is anna") == 2 and len(words) == len(recording.inputs.typed) + 2
    assert [start for start, _ in typed_words(noted)] == sorted(start for start, _ in typed_words(noted))
    alone = replace(noted, inputs=replace(noted.inputs, typed=()))
    assert "typed" in [lane.name for lane in usual_lanes(alone)]
    assert [text for *_, text in lane.data["words"]] == words


def test_pictures_when_the_camera_was_on(recording):
    frames = [np.zeros((2, 8, 8, 3), np.uint8)] * recording.turns
    seen = replace(recording, inputs=replace(recording.inputs, frames=frames))
    assert "seen" in [lane.name for lane in usual_lanes(seen)]


def test_decisions_as_runs(recording):
    assert decision_runs(recording) == [
        (0.0, 1.2, "<silent>"), (1.2, 1.6, "<speak>"), (1.6, 2.4, "<silent>"), (2.4, 2.6, "<speak>"),
        (2.6, 4.0, "<silent>"),
    ]  # fmt: skip


def test_p_speak_stands_where_it_heard(recording):
    lane = lane_of(plots.decision_track(recording))
    assert lane.kind == "bars" and lane.name == "p(speak)"
    np.testing.assert_allclose(lane.arrays["x"], np.arange(20) / 5, atol=1e-6)
    np.testing.assert_allclose(lane.arrays["values"], recording.p_speak, rtol=1e-5)
    colours = [lane.data["palette"][code] for code in lane.arrays["codes"]]
    assert len({colours[6], colours[7], colours[12]}) == 1 and colours[6] != colours[0]


def test_attention_is_a_stack_of_shares(recording):
    lane = lane_of(plots.attention_track(attention_of(20)))
    assert lane.kind == "stack" and lane.data["names"] == ["typed", "heard", "said"]
    np.testing.assert_allclose(lane.arrays["values"].sum(1), 1, atol=1e-5)


def test_a_heat_map_keeps_its_numbers_and_its_rows():
    lens = lens_of(20)
    lane = lane_of(plots.lens_track(lens))
    assert lane.kind == "grid" and lane.data["labels"] == ["L2", "L1", "L0"]  # layers go upwards
    np.testing.assert_allclose(lane.arrays["values"], lens[::-1], rtol=1e-4)
    middle = lane.arrays["cells"][lane.arrays["values"] == 0]
    assert (lane.arrays["cells"][lens[::-1] > 0.5] > 127).all() and (middle == 127).all()
    assert lane.data["start"] == pytest.approx(0) and lane.data["width"] == pytest.approx(0.2)
    parts = plots.grid_track(np.array([[np.nan, 1.0]]), ["E0"], "x", "x", first=3, whole=False)
    lane = lane_of(parts)
    assert lane.arrays["cells"].tolist() == [[MISSING, MISSING - 1]] and lane.data["start"] == pytest.approx(0.6)


def test_lines_and_words(recording):
    probe = lane_of(plots.probe_track(np.arange(20.0), np.zeros(20), name="seconds"))
    assert probe.kind == "lines" and [one["name"] for one in probe.data["series"]] == ["control", "probe"]
    assert probe.data["range"][0] < 0 < 19 < probe.data["range"][1]
    heard = lane_of(plots.heard_track(recording, [("<b>",) if n == 5 else () for n in range(20)]))
    assert heard.kind == "tier" and heard.data["words"] == [(1.0, 1.0, "<b>")]
    assert lane_of(plots.wave_track(recording.inputs.audio)).data["series"][0]["filled"]


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="'pie' has no bars"):
        lane_of(Track("pie", ({"type": "pie"},), "a pie"))


@pytest.mark.parametrize("turns", [0, 1])
def test_almost_nothing(turns, recording_of):
    found: Recording = recording_of(turns)
    for lane in usual_lanes(found):
        assert lane.tiles is None or isinstance(lane.tiles.tile(0, 0), bytes)
