"""What is still in sight: the reach that is drawn is the reach of the rings."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from tml_lab.config import preset
from tml_lab.model.state import MAX_CHUNK, positions_held, reach
from tml_lab.plot.sight import in_sight, plot_in_sight
from tml_lab.plot.style import ON_DARK, alt_of, to_json
from tml_lab.stream.recording import Recording, RecordingError

SMALL = preset("pico").with_(window=24, global_budget=60, n_sinks=8, vocab_size=9)


def lived(recording: Recording, sinks: int = 8) -> Recording:
    cfg = SMALL.with_(n_sinks=sinks)
    return replace(recording, config=cfg.to_dict(), notes=((14, "my name is anna"),))


@pytest.mark.parametrize("sinks", [0, 8])
def test_the_reach_is_that_of_the_rings(clip: Recording, sinks: int) -> None:
    recording = lived(clip, sinks)
    sight, table = in_sight(recording), recording.tokens
    assert sight.turns.tolist() == list(range(recording.turns))
    cfg = SMALL.with_(n_sinks=sinks)
    for n, position in enumerate(np.flatnonzero(table.decides).tolist()):
        for layer, oldest in ((0, sight.oldest_local), (2, sight.oldest_global)):
            window, kept = reach(cfg, layer)
            held = positions_held(torch.tensor([position + 1]), kept + window + MAX_CHUNK - 1, kept)[0]
            seen = [int(p) for p in held if p >= 0 and (position - p < window or p < kept)]
            recent = [p for p in seen if position - p < window]
            assert oldest[n] == table.starts[min(recent)]
            if layer == 2:
                left_behind = min(recent) > sinks > 0
                assert bool(sight.sinks_until[n]) == left_behind
                if left_behind:
                    assert sight.sinks_until[n] == (table.turn[sinks - 1] + 1) / 5 and min(seen) == 0


def test_the_figure_is_told_in_words_and_colours_that_are_safe(clip: Recording) -> None:
    figure = plot_in_sight({"window": lived(clip, 0), "sinks+window": lived(clip)})
    alt = alt_of(figure)
    assert "window: at" in alt and "the first" in alt and "1 notes typed again" in alt and alt.endswith(".")
    names = {trace.name for trace in figure.data}
    assert {"typed", "typed again by its policy", "its local layers see"} <= names and len(figure.data) == 10
    shown = [trace.name for trace in figure.data if trace.showlegend]
    assert len(shown) == len(set(shown)) == len(names)
    colours = [(trace.line.color, trace.marker.color, trace.fillcolor) for trace in figure.data]
    used = {colour for three in colours for colour in three if colour}
    assert used <= set(ON_DARK)
    json.loads(to_json(figure))


def test_a_long_session_is_drawn_with_few_points(clip: Recording) -> None:
    assert len(in_sight(lived(clip), most=5).turns) == 5
    assert len(in_sight(lived(clip).fork(t=0.0), most=5).turns) == 0
    assert "nothing yet" in alt_of(plot_in_sight({"new": lived(clip).fork(t=0.0)}))


def test_what_cannot_be_drawn_is_one_sentence(clip: Recording) -> None:
    with pytest.raises(RecordingError, match="no configuration"):
        in_sight(replace(clip, config={}))
    with pytest.raises(ValueError, match="no recording"):
        plot_in_sight({})
