"""Router views: shares that sum to one, counted over the positions they claim."""

from __future__ import annotations

import numpy as np
import pytest

from tml_lab.interp.cache import Cache, InterpError
from tml_lab.interp.decision import decision
from tml_lab.interp.routing import routing, shares
from tml_lab.stream.tokens import STREAMS


def test_shares_are_the_routers_weights(cache: Cache) -> None:
    found = shares(cache, 1)
    np.testing.assert_allclose(found.sum(1), 1.0, atol=1e-5)
    row = 17
    weight = {int(e): float(w) for e, w in zip(cache["experts", 1][row], cache["expert_weights", 1][row], strict=True)}
    total = sum(weight.values()) + float(cache["shared_weights", 1][row].sum())
    for e in range(cache.model.cfg.n_experts):
        assert float(found[row, e]) == pytest.approx(weight.get(e, 0.0) / total, abs=1e-5)


def test_views_are_means_over_their_positions(cache: Cache) -> None:
    by_stream, by_turn, both = routing(cache), routing(cache, "turn"), routing(cache, "stream_turn")
    assert by_stream.dims == ("layer", "expert", "stream") and " ".join(by_stream.expert.values) == "E0 E1 E2 E3 S0"
    np.testing.assert_allclose(by_stream.sum("expert"), 1.0, atol=1e-5)
    one = shares(cache, 2).numpy()
    heard, turn = cache.tokens.where("audio_in"), cache.tokens.turn == 6
    np.testing.assert_allclose(by_stream.sel(layer=2, stream="audio_in"), one[heard].mean(0), atol=1e-6)
    np.testing.assert_allclose(by_turn.sel(layer=2, turn=6), one[turn].mean(0), atol=1e-6)
    seen = turn & (cache.tokens.stream == STREAMS.index("video_in"))
    cell = both.sel(layer=2, stream="video_in", turn=6)
    assert np.isnan(cell).all() if not seen.any() else np.allclose(cell, one[seen].mean(0))


def test_by_decision_and_over_several_recordings(cache: Cache) -> None:
    view = routing([cache, cache], "decision")
    np.testing.assert_allclose(view, routing(cache, "decision"), atol=1e-6)
    spoke = np.array(decision(cache).names) == "<speak>"
    own = shares(cache, 0).numpy()[cache.decision_positions]
    np.testing.assert_allclose(view.sel(layer=0, decision="<speak>"), own[spoke].mean(0), atol=1e-6)
    assert np.isnan(view.sel(decision="<tool>")).all() or "<tool>" in decision(cache).names


def test_mistakes_are_one_sentence(cache: Cache) -> None:
    with pytest.raises(InterpError, match="give one cache"):
        routing([cache, cache], "turn")
    with pytest.raises(InterpError, match="at least one cache"):
        routing([])
    with pytest.raises(InterpError, match="choose stream, decision"):
        routing(cache, "head")  # type: ignore[arg-type]
