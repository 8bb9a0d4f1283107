"""Linked tracks: one cursor, in seconds and turns, moved by code and by clicks, heard by observers."""

from __future__ import annotations

import re

import plotly.graph_objects as go
import pytest
from plot_inside import attention_of, lens_of

from tml_lab.plot import interp as plots
from tml_lab.plot.linked import LinkedTracks


@pytest.fixture
def line(recording) -> LinkedTracks:
    return LinkedTracks(recording).add(plots.lens_track(lens_of(20))).add(plots.attention_track(attention_of(20)))


def cursor_of(figure):
    (shape,) = [shape for shape in figure.layout.shapes if shape.name == "cursor"]
    return shape


def readout_of(figure):
    (note,) = [note for note in figure.layout.annotations if note.name == "readout"]
    return note.text


def test_tracks_from_top_to_bottom(line):
    names = [track.name for track in line.tracks]
    assert names[:4] == ["heard", "typed", "p(speak)", "said"] and len(names) == 6
    figure = line.figure()
    above = {note.text: note.y for note in figure.layout.annotations}
    assert [above[name] for name in names] == sorted((above[name] for name in names), reverse=True)
    assert repr(line) == "LinkedTracks(6 tracks, 4.2 s, no cursor)"


def test_the_cursor_covers_a_turn_in_all_tracks(line):
    assert line.t is None and line.turn is None and not cursor_of(line.figure()).visible
    line.t = 1.3
    assert (line.t, line.turn) == (1.2, 6)
    shape = cursor_of(line.figure())
    assert shape.visible and (shape.x0, shape.x1, shape.y0, shape.y1) == (1.2, 1.4, 0, 1)
    assert (shape.xref, shape.yref) == ("x", "paper")
    assert readout_of(line.figure()) == "turn 6, 1.2 s: &lt;speak> five, p(speak) 0.90"
    line.turn = 3
    assert line.t == 0.6
    with pytest.raises(ValueError, match=r"turn 20 \(4\.0 s\) lies outside the recording: it has 20 turns, 4\.0 s"):
        line.t = 4.1
    assert line.turn == 3


def test_observers_hear_each_move_once(line):
    moves = []
    assert line.observe(moves.append) is not None
    line.turn = 2
    line.t = 0.5  # the same turn
    line.turn = 4
    assert moves == [0.4, 0.8]


def test_zoom(line):
    assert line.zoom(turn=6, around=0.5).figure().layout.xaxis.range == (pytest.approx(0.7), pytest.approx(1.9))
    assert line.zoom(t=0.1).figure().layout.xaxis.range == (0, pytest.approx(1.7))
    assert line.zoom().figure().layout.xaxis.range == (0, 4.2)
    with pytest.raises(ValueError, match="outside the recording"):
        line.zoom(turn=99)


def test_a_track_of_another_length_is_refused(line):
    with pytest.raises(ValueError, match="has 7 turns and the recording 20"):
        line.add(plots.lens_track(lens_of(7)))
    assert len(line.tracks) == 6


def test_a_click_in_the_widget_moves_the_cursor(line):
    widget = line.widget
    moves = []
    line.observe(moves.append)
    bars = next(i for i, trace in enumerate(widget.data) if trace.name == "p(speak)")
    point = {"trace_indexes": [bars], "point_indexes": [12], "xs": [2.5], "ys": [0.9]}
    buttons = dict.fromkeys(("alt", "ctrl", "meta", "shift"), False) | {"button": 0, "buttons": 1}
    # what the browser's half sends
    widget._js2py_pointsCallback = {
        "event_type": "plotly_click", "points": point, "device_state": buttons, "selector": None,
    }  # fmt: skip
    assert line.turn == 12 and moves == [2.4]
    assert cursor_of(widget).x0 == 2.4 and "two three" in readout_of(widget)
    widget._js2py_pointsCallback = {
        "event_type": "plotly_click", "points": {**point, "xs": [4.1]}, "device_state": buttons, "selector": None,
    }  # fmt: skip
    assert line.turn == 19  # the axis ends a turn later than the recording
    line.zoom(turn=12, around=0.4)
    assert widget.layout.xaxis.range == (2.0, 3.0)


def test_shown_as_a_widget_with_the_plain_figure_for_pages_without(line):
    shown = line._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in shown


def test_without_anywidget_it_is_a_plain_figure(line, monkeypatch):
    def missing(*parts):
        raise ImportError("Please install anywidget to use the FigureWidget class")

    monkeypatch.setattr(go, "FigureWidget", missing)
    assert line.widget is None
    assert "application/vnd.jupyter.widget-view+json" not in line._repr_mimebundle_()
    line.t = 1.0
    assert line.turn == 5


def test_page_works_offline(line):
    assert not re.search(r"<script[^>]*\ssrc=", line.to_html())
    light = line.to_html(offline=False)
    assert "plotly_click" in light and "LINKED" not in light and "{plot_id}" not in light
    assert len(light) < 200_000


@pytest.mark.parametrize("turns", [0, 1])
def test_almost_nothing(turns, recording_of):
    line = LinkedTracks(recording_of(turns))
    assert cursor_of(line.figure()).visible is False
    assert "notes" in line.to_html(offline=False)
