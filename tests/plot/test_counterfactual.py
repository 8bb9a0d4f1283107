"""Figures of counterfactuals and of whole results say what the numbers say, and refuse what is of other shapes."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
from plot_inside import cause_of, outcomes_of, probes_of, silenced

from tml_lab.plot import interp as plots
from tml_lab.plot.style import alt_of


def trace(figure, name):
    (found,) = [each for each in figure.data if each.name == name]
    return found


def test_a_divergence_shows_both_and_marks_what_differs(clip):
    figure = plots.plot_divergence(clip, silenced(clip))
    marks = trace(figure, "differs")
    assert list(marks.x) == [1.5, 2.5] and list(marks.y) == [0.05, 0.05]  # turns 7 and 12
    assert marks.customdata[0] == "turn 7 (1.4 s): &lt;speak> becomes &lt;silent>"
    before = list(trace(figure, "parent").y)[1:-1]
    assert before == pytest.approx(clip.p_speak) and list(trace(figure, "child").y)[8] == 0.05
    assert "from 1.4 s on (turn 7): <speak> becomes <silent>; in all 2 turns differ" in alt_of(figure)


def test_the_same_differs_nowhere(clip):
    figure = plots.plot_divergence(clip, clip)
    assert "differs" not in {each.name for each in figure.data} and "nothing is decided otherwise" in alt_of(figure)


def test_a_shorter_child_is_drawn_as_far_as_it_goes(clip):
    child = trace(plots.plot_divergence(clip, clip.until(5)), "child")
    assert [y is None or np.isnan(y) for y in child.y] == [False] * 6 + [True] * 56


def test_a_cause_shows_the_turns_that_were_found(clip):
    figure = plots.plot_cause(clip, cause_of(clip))
    assert list(trace(figure, "found for turn 7").x) == [0.7, 0.9]
    assert "turn 3 (0.6 s) and turn 4 (0.8 s)" in alt_of(figure)


def test_outcomes_name_what_flips(clip):
    figure = plots.plot_outcomes(clip, outcomes_of(clip), 7)
    assert list(figure.data[0].x) == pytest.approx([0.05, 0.9])
    assert alt_of(figure) == (
        "p(speak) of turn 7 (1.4 s) was 0.90; in 1 of 2 variants it decides otherwise: without 'five'."
    )
    with pytest.raises(ValueError, match=r"turn 99 \(19\.8 s\) lies outside"):
        plots.plot_outcomes(clip, [], 99)


def test_probes_stand_beside_their_controls(clip):
    figure = plots.plot_probes(probes_of())
    assert list(trace(figure, "probe").y) == pytest.approx([0.5, 0.6, 0.7])
    assert list(trace(figure, "control task").y) == pytest.approx([0.1] * 3)
    assert list(trace(figure, "push: its direction").y) == pytest.approx([2.0] * 3)
    assert "best from layer 2, 0.70" in alt_of(figure) and "4.0 times" in alt_of(figure)
    other = replace(probes_of()[1], label="speaker")
    with pytest.raises(ValueError, match="of one label"):
        plots.plot_probes({0: probes_of()[0], 1: other})
    with pytest.raises(ValueError, match="not of 0 labels"):
        plots.plot_probes({})


def test_shares_of_streams_are_no_time_line(clip):
    import xarray as xr

    shares = xr.DataArray(np.ones((4, 5)) / 4, dims=("expert", "stream"))
    with pytest.raises(ValueError, match=r"have an axis turn, routing\(cache, 'turn'\)"):
        plots.routing_track(shares)


def test_every_figure_is_listed_in_one_place():
    assert all(callable(getattr(plots, name)) for name in plots.__all__)
    every = {name for name, _ in inspect.getmembers(plots, inspect.isfunction) if name.startswith("plot_")}
    assert every <= set(plots.__all__)
