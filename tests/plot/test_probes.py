"""The figures of what lies inside hold the numbers they were given, and say them in their alt text."""

from __future__ import annotations

import numpy as np

from tml_lab.plot.probes import around_event, dose_curves, feature_timelines, lag_curve, score_bars


def test_bars_hold_scores_and_intervals() -> None:
    scores = {"turn number": (0.5, 0.4, 0.6), "layer 3": (0.8, 0.7, 0.85)}
    figure = score_bars(scores, 1, 0.5, "balanced accuracy", "Pause or end?")
    bars = figure.data[0]
    assert list(bars.x) == list(scores) and list(bars.y) == [0.5, 0.8]
    np.testing.assert_allclose(bars.error_y.array, [0.1, 0.05])
    np.testing.assert_allclose(bars.error_y.arrayminus, [0.1, 0.1])
    assert len(set(bars.marker.color)) == 2 and figure.layout.shapes[0].y0 == 0.5
    assert "layer 3 0.80" in figure.layout.meta["description"]


def test_curves_show_what_they_break_and_their_control() -> None:
    random = np.array([[0.1, 0.1], [0.1, 0.2]])
    figure = dose_curves([-1.0, 1.0], np.array([0.0, 0.9]), np.array([0.0, 0.3]), random, "Talkativeness")
    assert [trace.name for trace in figure.data] == ["random direction"] * 2 + ["where it is meant", "false starts"]
    assert [trace.showlegend for trace in figure.data[:2]] == [True, False]
    text = figure.layout.meta["description"]
    assert "from 0.00 to 0.90" in text and "false starts from 0.00 to 0.30" in text and "0.15 on average" in text


def test_lags_are_seconds() -> None:
    figure = lag_curve([-1, 0, 1], np.array([0.1, 0.2, 0.6]), np.full((2, 3), 0.05), "Input and layer 3")
    np.testing.assert_allclose(figure.data[-1].x, [-0.2, 0.0, 0.2])
    assert "highest (0.60) at 0.2 s" in figure.layout.meta["description"] and len(figure.data) == 3


def test_events_are_aligned_with_their_control() -> None:
    rows = np.array([[1.0, 1.0, 0.0], [1.0, np.nan, 0.2]])
    figure = around_event([-1, 0, 1], rows, np.ones((2, 3)), "the interruption", "reading", "Inertia")
    np.testing.assert_allclose(figure.data[2].y, [1.0, 1.0, 0.1])
    assert "from 1.00 to 0.10; where nothing happens it ends at 1.00" in figure.layout.meta["description"]
    assert len(around_event([-1, 0, 1], rows, None, "it", "reading", "Inertia").data) == 3


def test_timelines_mark_where_it_speaks() -> None:
    activations = np.array([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    figure = feature_timelines(activations, ["f7", "f9"], np.array([False, True, False]), "Features")
    np.testing.assert_array_equal(figure.data[0].z, activations.T)
    assert figure.layout.shapes[0].x0 == 0.4 and "at 0.4 s; f7 fires most" in figure.layout.meta["description"]
    nowhere = feature_timelines(activations, ["f7", "f9"], np.zeros(3, bool), "Features")
    assert "nowhere" in nowhere.layout.meta["description"]
