"""The figures take what this room gives, as it gives it, and show the same numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tml_lab.interp.attention import attention_by
from tml_lab.interp.attribution import attribute_decision
from tml_lab.interp.cache import run_with_cache
from tml_lab.interp.decision import decision, decision_lens
from tml_lab.interp.hearing import words_heard
from tml_lab.plot import interp as plots
from tml_lab.plot.linked import LinkedTracks
from tml_lab.plot.style import to_json


def test_decisions_lens_and_attribution(cache):
    found, recording = decision(cache), cache.recording
    figure = plots.plot_decisions(recording, found, words_heard(cache))
    (bars,) = [trace for trace in figure.data if trace.name == "p(speak)"]
    np.testing.assert_allclose(bars.y, found.p_speak, rtol=1e-4, atol=1e-9)
    lens = plots.plot_lens(recording, decision_lens(cache))
    (heat,) = [trace for trace in lens.data if trace.type == "heatmap"]
    np.testing.assert_allclose(heat.customdata[-1], found.logit_difference, rtol=1e-3, atol=1e-4)
    attribution = attribute_decision(cache)
    stacked = plots.plot_attribution(recording, attribution)
    bars = [trace for trace in stacked.data if trace.type == "bar" and trace.name != "p(speak)"]
    np.testing.assert_allclose(np.sum([bar.y for bar in bars], axis=0), found.logit_difference, rtol=1e-3, atol=1e-3)
    waterfall = plots.plot_attribution_turn(attribution, 5).data[0]
    assert sum(waterfall.y) == pytest.approx(float(found.logit_difference[5]), abs=1e-3)


def test_attention_and_pattern(cache):
    shares = attention_by(cache, "stream", layer=1, head=1)
    figure = plots.plot_attention(cache.recording, shares)
    bars = [trace for trace in figure.data if trace.type == "bar" and trace.name != "p(speak)"]
    np.testing.assert_allclose(np.sum([bar.y for bar in bars], axis=0), 1, atol=1e-4)
    assert "L1H1" in figure.layout.meta["description"]
    lagged = plots.plot_attention_lag(attention_by(cache, "lag", layer=1))
    assert len(lagged.data) == 5  # typed, seen, heard, said, own voice
    found = cache.at("pattern", layer=1, head=0, turn=(9, 12), of="decision", src_turn=(6, 12))
    heat = plots.plot_pattern(found, cache.tokens).data[0]
    np.testing.assert_allclose(heat.z, found.values, rtol=1e-4, atol=1e-9)
    assert heat.y == ("1.95 s heard 4/4", "2.15 s heard 4/4", "2.35 s heard 4/4")


def test_timeline_of_a_cache(cache):
    line = LinkedTracks(cache.recording, cache).add(plots.attribution_track(attribute_decision(cache)))
    names = [track.name for track in line.tracks]
    assert line.left_out == () and len(names) == 8
    assert names[2:5] == ["words it heard", "p(speak)", "said"]
    line.t = 2.1
    assert line.turn == 10 and cache.at("pattern", layer=0, head=0, t=line.t, of="decision").sizes["query"] == 1
    assert len(to_json(line.figure())) < 200_000


def test_timeline_says_what_a_small_cache_lacks(cache):
    small = run_with_cache(cache.model, cache.tokenizer, cache.recording, names=())
    line = LinkedTracks(cache.recording, small)
    assert [track.name for track in line.tracks] == ["heard", "typed", "p(speak)", "said"]
    assert [reason.split(":")[0] for reason in line.left_out] == ["words heard", "attention", "lens"]
    assert all("was not kept" in reason for reason in line.left_out)
