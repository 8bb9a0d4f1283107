"""The right number in the right cell, at the right second; and the alt text says what the numbers say."""

from __future__ import annotations

import numpy as np
import pytest
from plot_inside import (
    EXPERTS,
    OF_MOMENTS,
    OVER_TIME,
    PARTS,
    ablation_of,
    attention_of,
    attribution_of,
    decisions_of,
    heads_of,
    lens_of,
    parts_of,
    pattern_of,
    routing_of,
    shares_of,
    sweep_of,
)

from tml_lab.plot import interp as plots
from tml_lab.plot.style import alt_of


def named(figure, name, kind=None):
    """The traces of that name, and kind."""
    return [trace for trace in figure.data if trace.name == name and kind in (None, trace.type)]


def heat(figure):
    return next(trace for trace in figure.data if trace.type == "heatmap")


def seconds_of_columns(trace):
    return trace.x0 + trace.dx * np.arange(len(trace.z[0])) - 0.1


def test_p_speak_stands_over_the_turn_that_heard(recording):
    figure = plots.plot_decisions(recording, decisions_of(recording), recording.words)
    (bars,) = named(figure, "p(speak)")
    np.testing.assert_allclose(np.array(bars.x) - 0.1, np.arange(20) / 5, atol=1e-9)
    np.testing.assert_allclose(bars.y, recording.p_speak, atol=1e-5)
    assert bars.customdata[6] == "turn 6, 1.2 to 1.4 s: &lt;speak> five"
    assert "p(speak) rises above one half at 1.2 s and 2.4 s; its highest is 0.90 at 1.2 s." in alt_of(figure)
    assert "above zero in 3 of 20 turns" in alt_of(figure)
    (line,) = named(figure, "logit difference")
    assert line.x[0] == 0 and line.x[-1] == 4 and line.line.shape == "hvh"  # level over each turn
    assert dict(zip(line.x, line.y, strict=True))[1.3] == 3


def test_what_is_said_stands_where_it_sounds(recording):
    figure = plots.plot_decisions(recording)
    (said,) = [trace for trace in named(figure, "said") if trace.mode == "markers"]
    assert list(zip(said.text, said.x, strict=True)) == [("five", 1.4), ("two", 2.6), ("three", 2.7)]
    assert "Said: five at 1.4 s, two at 2.6 s and three at 2.7 s." in alt_of(figure)
    spans = [(shape.x0, shape.x1) for shape in figure.layout.shapes]
    assert spans == [(1.2, 1.6), (2.4, 2.6)]  # turns 6, 7 and 12 decide to speak


def test_words_heard_stand_at_the_turn_that_named_them(recording):
    track = plots.heard_track(recording, [(), ("one", "two")])
    assert track.traces[0]["x"] == [0.2, 0.2] and track.traces[0]["text"] == ["one", "two"]
    heights = track.traces[0]["y"]
    assert heights[0] != heights[1]  # not over one another


def test_lens(recording):
    lens = lens_of(20)
    figure = plots.plot_lens(recording, lens)
    trace = heat(figure)
    np.testing.assert_allclose(seconds_of_columns(trace), np.arange(20) / 5, atol=1e-9)
    np.testing.assert_allclose(trace.customdata, lens, rtol=1e-5)
    np.testing.assert_allclose(np.sign(trace.z) * np.square(trace.z), lens, rtol=1e-4)
    assert trace.y == ("L0", "L1", "L2") and trace.zmin == -trace.zmax
    assert "Where it is surest, turn 19 (3.8 s), it leans to speech from layer 0 on, at last by 2.2." in alt_of(figure)


def test_lens_that_never_leans_to_speech(recording):
    assert "no turn leans to speech; turn 0 (0.0 s) comes nearest with -3.0" in plots.lens_track(lens_of(5)).alt


def test_attribution_over_time(recording):
    found = attribution_of(20)
    figure = plots.plot_attribution(recording, found, n=3)
    bars = [trace for trace in figure.data if trace.type == "bar" and trace.name != "p(speak)"]
    assert [bar.name for bar in bars] == ["L2S0", "L2E3", "L2E2", f"other {len(found.labels) - 3}"]
    np.testing.assert_allclose(np.sum([bar.y for bar in bars], axis=0), found.logit_difference, rtol=1e-4)
    np.testing.assert_allclose(bars[0].y, found["L2S0"], rtol=1e-5)
    assert "most weigh L2S0 +2.1, L2E3 +2.0, L2E2 +1.9" in alt_of(figure)


def test_waterfall_of_a_turn():
    found = attribution_of(8)
    figure = plots.plot_attribution_turn(found, 7, n=2)
    (trace,) = figure.data
    assert trace.x == ("L2S0", "L2E3", f"other {len(found.labels) - 2}", "sum")
    assert sum(trace.y) == pytest.approx(float(found.logit_difference[7]), rel=1e-4)
    assert trace.measure[-1] == "total" and "to silence" in alt_of(figure)
    with pytest.raises(ValueError, match=r"turn 8.*0\.\.7"):
        plots.plot_attribution_turn(found, 8)


def test_sweep_over_turns(recording):
    sweep = sweep_of(6)
    figure = plots.plot_sweep(sweep, recording)
    trace = heat(figure)
    np.testing.assert_allclose(seconds_of_columns(trace), np.arange(1, 7) / 5, atol=1e-9)
    assert trace.z[1][4] == 0.9 and trace.zmax == 1
    assert "turn 6 (1.2 s) is +2.0 in the clean run and -3.0 in the corrupt one" in alt_of(figure)
    assert "L1 at turn 5 (1.0 s): 90%" in alt_of(figure)
    assert plots.plot_sweep(sweep).layout.xaxis.range == (0, 1.6)


def test_sweep_of_some_turns_leaves_the_others_empty():
    sweep = sweep_of(6)
    some = type(sweep)(sweep.restored[:, ::2], sweep.rows, sweep.columns[::2], sweep.clean, sweep.corrupt, sweep.turn)
    trace = heat(plots.plot_sweep(some))
    assert list(trace.z[1]) == [0, None, 0, None, 0.9]


def test_sweep_over_heads():
    figure = plots.plot_sweep(heads_of())
    trace = heat(figure)
    assert trace.z[trace.y.index("L1")][trace.x.index("H1")] == 0.7 and "L1 at H1: 70%" in alt_of(figure)
    with pytest.raises(ValueError, match="are not turns"):
        plots.sweep_track(heads_of())


def test_attention_over_time(recording):
    figure = plots.plot_attention(recording, attention_of(20)[:, :, 4:])
    shares = [trace for trace in figure.data if trace.type == "bar" and trace.name != "p(speak)"]
    assert [(share.name, share.y[0]) for share in shares] == [("typed", 0.5), ("heard", 0.3), ("said", 0.2)]
    assert shares[0].x[0] == pytest.approx(0.9)  # turn 4
    assert "mean of 6 heads" in alt_of(figure) and "50% on what is typed" in alt_of(figure)
    assert "(L2H1)" in plots.attention_track(attention_of(20).isel(layer=[2], head=[1])).name
    with pytest.raises(ValueError, match="6 queries of 3 turns: choose of='decision'"):
        plots.attention_track(attention_of(20).isel(query=[0, 0, 1, 1, 2, 2]))
    with pytest.raises(ValueError, match="by="):
        plots.plot_attention(recording, attention_of(20, "lag"))


def test_attention_by_lag():
    figure = plots.plot_attention_lag(attention_of(10, "lag"), seconds=1.0)
    (typed,) = named(figure, "typed")
    np.testing.assert_allclose(typed.x, np.arange(6) / 5, atol=1e-9)
    np.testing.assert_allclose(typed.y, [0.15, 0, 0, 0.5, 0, 0], atol=1e-5)  # lag 3: of the seven that reach so far
    assert not named(figure, "seen")
    assert "Strongest: what was typed 0.6 s before, 50.0%." in alt_of(figure)


def test_pattern(recording):
    found = pattern_of(recording, 12)
    figure = plots.plot_pattern(found, recording.tokens)
    trace, stripe = (trace for trace in figure.data if trace.type == "heatmap")
    assert trace.z[1][1] == 0.8 and trace.y[1] == "2.55 s heard 4/4"
    assert trace.customdata[0][4] == "0.20 s said &lt;silent>"
    assert [int(code) for code in stripe.z[0]] == recording.tokens.stream.tolist()
    ticks = dict(zip(figure.layout.xaxis.tickvals, figure.layout.xaxis.ticktext, strict=True))
    assert ticks[-0.5] == "0.0" and len(ticks) <= 14
    assert "2.55 s heard 4/4 looks at 0.05 s heard 2/4, 80%" in alt_of(figure)
    with pytest.raises(ValueError, match="one head"):
        plots.plot_pattern(found.expand_dims("head"), recording.tokens)


def test_router(recording):
    figure = plots.plot_routing(recording, routing_of(20))
    trace = heat(figure)
    assert trace.y == ("E0", "E1", "E2", "E3")
    assert trace.z[3][6:8] == pytest.approx([0.1, 0.7])
    assert "changes most, from 10% to 70% at turn 0 (0.0 s)" in alt_of(figure)
    table = OF_MOMENTS["experts"](recording)
    assert heat(table).z[1][1] == pytest.approx(0.7) and "seen most by E1 (70%)" in alt_of(table)
    with pytest.raises(ValueError, match="3 labels"):
        plots.plot_routing(recording, routing_of(20), ["a", "b", "c"])


def test_router_as_the_inside_gives_it(recording):
    shares = shares_of(20)
    figure = plots.plot_routing(recording, shares)
    assert heat(figure).y == ("E0", "E1", "E2", "S0") and heat(figure).z[3][7] == pytest.approx(0.7)
    assert "Experts' shares of layer 2: " in alt_of(figure)
    with pytest.raises(ValueError, match=r"2 layers: choose one, \.sel"):
        plots.routing_track(shares.isel(layer=[0, 0]))
    by_stream = shares.isel(turn=slice(0, 3)).rename(turn="stream")
    by_stream = by_stream.assign_coords(stream=["text_in", "video_in", "audio_in"])
    by_stream = by_stream.where(by_stream.stream != "video_in")  # nothing was seen: NaN
    table = plots.plot_expert_use(by_stream)
    assert heat(table).y == ("typed", "heard") and heat(table).x == ("E0", "E1", "E2", "S0")
    assert "typed most by E0 (70%), heard most by E2 (70%)." in alt_of(table)


def test_parts_over_turns(recording):
    figure = plots.plot_parts(recording, parts_of(20), n=3)
    trace = heat(figure)
    np.testing.assert_allclose(seconds_of_columns(trace), np.arange(1, 20) / 5, atol=1e-9)
    assert trace.y[0] == PARTS[-2] and trace.z[0][-1] == 1 and len(trace.y) == 3
    assert f"greatest is {PARTS[-2]} at turn 19 (3.8 s), +1.00" in alt_of(figure)
    with pytest.raises(ValueError, match="axes"):
        plots.parts_track(parts_of(20).rename(patched="kind"))


def test_numbers_of_heads(recording):
    figure = OF_MOMENTS["listening heads"](recording)
    assert heat(figure).z[1][0] == 0.5 and heat(figure).y == ("L0", "L1") and heat(figure).zmin == -0.5
    assert "greatest are L1H0 0.50, L0H1 -0.20, L0H0 0.10" in alt_of(figure)
    with pytest.raises(ValueError, match=r"layers, heads"):
        plots.plot_heads(np.zeros(3), "score")


def test_ablation_of_a_kind_of_turn(recording):
    (bars,) = OF_MOMENTS["ablation"](recording).data
    assert (bars.y[0], bars.x[0]) == (PARTS[-1], 2.0) and len(bars.y) == 20
    with pytest.raises(ValueError, match="choose change, moved and flipped; silent and begins"):
        plots.plot_ablation(ablation_of(), "ends")


def test_readings_aligned_at_an_event(recording):
    figure = OF_MOMENTS["aligned"](recording)
    broken, steady = figure.data
    np.testing.assert_allclose(broken.x, [-0.2, 0, 0.2, 0.4], atol=1e-9)
    np.testing.assert_allclose(broken.y, [1, 0.9, 0.3, 0], atol=1e-6)  # the mean of what is there
    assert broken.error_y.array[1] == pytest.approx(0.1) and list(steady.error_y.array) == [0, 0, 0, 0]
    assert "broken in is highest at -0.2 s (1.00) and lowest at +0.4 s (0.00)" in alt_of(figure)
    with pytest.raises(ValueError, match="3 lags"):
        plots.plot_aligned([0, 1, 2], {"a": np.zeros((2, 4))}, "reading", "it ends")


def test_probe_with_its_control(recording):
    figure = OVER_TIME["probe"](recording)
    drawn = [trace for trace in figure.data if trace.name in ("truth", "probe", "control")]
    lines = {trace.name: dict(zip(trace.x, trace.y, strict=True)) for trace in drawn}
    assert lines["truth"][2.1] == 2.0 and lines["probe"][2.1] == 2.1 and lines["control"][2.1] == 0
    assert "on average it is off by 0.10 and the control is off by 1.90" in alt_of(figure)
    with pytest.raises(ValueError, match="the control of 'x' has 3 turns and the probe 4"):
        plots.probe_track(np.zeros(4), control=np.zeros(3), name="x")


def test_features_each_to_its_own_peak(recording):
    shown = routing_of(20) * np.array([1, 10, 0.1, 0])
    figure = plots.plot_features(recording, shown, ["a", "b", "c", "d"])
    trace = heat(figure)
    assert trace.z[1][1] == 1 and trace.z[2][2] == 1 and set(trace.z[3]) == {0}
    assert "b fires most at turn 1 (0.2 s)" in alt_of(figure) and "d fires" not in alt_of(figure)


def test_cka_by_lag(recording):
    figure = OF_MOMENTS["cka"](recording)
    *control, first, second = figure.data
    assert [(trace.y, trace.showlegend) for trace in control] == [((0.1,) * 5, True), ((0.1,) * 5, False)]
    np.testing.assert_allclose(first.x, np.arange(5) / 5, atol=1e-9)
    assert first.y[1] == pytest.approx(np.exp(-1), rel=1e-4) and second.line.color != first.line.color
    assert "L0 is most alike at 0.0 s (1.00) and least at 0.8 s (0.02)" in alt_of(figure)
    assert "with other episodes at most 0.10" in alt_of(figure)


def test_dose_and_response_in_the_order_of_the_strengths(recording):
    figure = OF_MOMENTS["dose"](recording)
    (line,) = named(figure, "patience")
    assert line.x == (-1, 0, 1) and line.y == (-2, 0, 2)
    assert [trace.showlegend for trace in named(figure, "random: patience")] == [True] + [False] * 4
    assert "goes from -2.00 at -1 to 2.00 at 1, 5 random directions end between" in alt_of(figure)
    two = plots.plot_dose([0, 1], {"meant": np.array([0, 1]), "elsewhere": np.zeros(2)}, {"meant": np.zeros((1, 2))})
    assert [trace.name for trace in two.data] == ["random: meant", "meant", "elsewhere"]
    with pytest.raises(ValueError, match="2 responses for 3 strengths"):
        plots.plot_dose([0, 1, 2], np.zeros(2))


def test_ranking_by_size(recording):
    figure = OF_MOMENTS["ranking"](recording)
    (bars,) = figure.data
    assert bars.y == tuple(PARTS[n] for n in (20, 19, 0, 18, 1)) and bars.x == (11, 10, -9, 9, -8)
    assert bars.marker.color[0] != bars.marker.color[2]
    assert f"the greatest 5 of {len(PARTS)}: L2S0 +11.00" in alt_of(figure)
    with pytest.raises(ValueError, match="2 labels"):
        plots.plot_ranking(["a", "b"], np.zeros(3))


def test_circuit(recording):
    figure = OF_MOMENTS["circuit"](recording)
    (heads,) = named(figure, "heads")
    (others,) = named(figure, "other heads")
    assert heads.text == ("H1",) and heads.y == (0,) and heads.customdata == ("L0H1, +0.50",) and len(others.x) == 5
    assert len([shape for shape in figure.layout.shapes if shape.type == "line"]) == 3
    assert "2 of 21 parts (10%): L2E3 and L0H1; 3 edges" in alt_of(figure)
    with pytest.raises(ValueError, match="'L9H9'"):
        plots.plot_circuit(PARTS, ["L9H9"])
    with pytest.raises(ValueError, match="write L3H2"):
        plots.plot_circuit(["head 2"], [])
    assert "0 of 0 parts: none" in alt_of(plots.plot_circuit([], []))


def test_tracks_of_another_length_are_refused(recording, clip):
    with pytest.raises(ValueError, match="has 60 turns and the recording 20"):
        plots.plot_lens(recording, lens_of(60))
    with pytest.raises(ValueError, match="no tracks"):
        plots.stack([])
    with pytest.raises(ValueError, match=f"{EXPERTS} rows"):
        plots.features_track(np.zeros((3, 2)), list("abcd"))


def test_words_are_text_and_no_markup(recording):
    _, typed = named(OVER_TIME["linked"](recording), "typed")
    assert typed.mode == "text" and "&lt;b&gt;" in typed.text[0]
