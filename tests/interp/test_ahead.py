"""What fires ahead of the first wish: marked, shown on other episodes, taken out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.interp.sets_by_hand import TURNS, noise_episode
from tml_lab.interp.ahead import (
    before_first_wish,
    first_wishes,
    rises,
    silenced,
    stream_without,
    twins,
    without_features,
)
from tml_lab.interp.decision import decision
from tml_lab.interp.edits import run_with_edits
from tml_lab.interp.kept_silent import kept_silent
from tml_lab.interp.names import InterpError
from tml_lab.interp.onward import resid_of
from tml_lab.interp.sae import SparseAutoencoder, train_sae
from tml_lab.interp.sae_report import fires_before, residual_rows
from tml_lab.interp.sets import TurnSet, collect
from tml_lab.model.interaction import InteractionModel
from tml_lab.stream.session import Session

WISH = 9  # the turn of the first wish in every episode but the last


@pytest.fixture(scope="module")
def turns(model: InteractionModel, session: Session) -> TurnSet:
    """Four episodes of 14 turns; three wish to speak from turn 9 on, the last never does."""
    episodes = [noise_episode(seed) for seed in range(4)]
    silent = [kept_silent(session.tokenizer, episode) for episode in episodes]
    found = collect(model, session.tokenizer, episodes, layers=[0], recordings=silent)
    wish = np.where((found.turn >= WISH) & (found.episode < 3), 1.0, -1.0).astype(np.float32)
    return replace(found, logit_difference=wish)


@pytest.fixture(scope="module")
def sae(turns: TurnSet) -> SparseAutoencoder:
    return train_sae(residual_rows(turns, 0), features=96, k=4, steps=150, batch=128, layer=0)


def test_the_first_wish_is_found_and_what_follows_is_left_out(turns: TurnSet) -> None:
    assert first_wishes(turns).tolist() == [WISH, TURNS + WISH, 2 * TURNS + WISH, -1]
    assert (first_wishes(turns, np.ones(len(turns))) % TURNS == 0).all()
    mark, begun = before_first_wish(turns, ahead=2)
    assert np.flatnonzero(mark).tolist() == [n * TURNS + WISH - 2 for n in range(3)]
    assert begun.sum() == 3 * (TURNS - WISH) and not begun[-TURNS:].any()
    late, _ = before_first_wish(turns, ahead=WISH + 1)
    assert not late.any()  # that lies before the episode


def test_what_fires_ahead_rises_and_what_fires_anywhere_does_not(turns: TurnSet) -> None:
    mark, begun = before_first_wish(turns)
    activations = np.zeros((len(turns), 3), np.float32)
    activations[:, 0] = mark | np.roll(mark, -1)
    activations[:, 1] = turns.turn % 2 == 0
    activations[:, 2] = begun  # after it has begun is not ahead
    found = {rise.feature: rise for rise in rises(activations, mark, begun, turns.episode, [0, 1, 2])}
    assert found[0].before == 1 and found[0].otherwise == 0 and found[0].low == found[0].high == 1
    assert found[1].before == 0.5 and found[1].low < 0.1 and "feature 1" in str(found[1])
    assert found[2].before == found[2].otherwise == 0
    best = fires_before(activations, mark, begun, turns.episode, shuffles=20)[0]
    assert (best.feature, best.before, best.otherwise) == (0, found[0].before, found[0].otherwise)
    with pytest.raises(InterpError, match="draw more episodes"):
        rises(activations, np.zeros_like(mark), begun, turns.episode, [0])


def test_twins_fire_as_often_and_as_strongly() -> None:
    rng = np.random.default_rng(0)
    rate = np.array([0.1, 0.1, 0.5, 0.12, 0.0, 0.1])
    size = np.array([1.0, 1.05, 1.0, 1.0, 1.0, 6.0])
    activations = (rng.random((4000, 6)) < rate) * size
    assert set(twins(activations, 0, 2)) == {1, 3}
    assert twins(activations, 0, 1, leave=[1]) == [3]
    with pytest.raises(InterpError, match="to compare with"):
        twins(activations, 4, 1)
    with pytest.raises(InterpError, match="to compare with"):
        twins(activations, 0, 5)


def test_taking_out_is_the_same_as_an_edit_and_as_leaving_it_out_of_the_sum(
    turns: TurnSet, sae: SparseAutoencoder
) -> None:
    cache = resid_of(turns.model, turns.tokenizer, turns.recordings[0], 0)
    x = cache["resid_post", 0]
    acts = sae.encode(x)
    feature = int((acts > 0).float().mean(0).argmax())
    less = acts.clone()
    less[:, feature] = 0
    error = x - sae.reconstruct(x)
    torch.testing.assert_close(stream_without(sae, x, [feature]), sae.decode(less) + error, atol=1e-4, rtol=1e-4)
    wishes = silenced(turns, sae, 0, [[], [feature]])
    assert wishes.shape == (2, len(turns))
    edit = without_features(cache, sae, 0, [feature])
    edited = decision(run_with_edits(turns.model, turns.tokenizer, turns.recordings[0], [edit])).logit_difference
    np.testing.assert_allclose(wishes[1, :TURNS], edited, atol=1e-3)
    plain = decision(run_with_edits(turns.model, turns.tokenizer, turns.recordings[0], [])).logit_difference
    np.testing.assert_allclose(wishes[0, :TURNS], plain, atol=1e-3)
    assert np.abs(edited - plain).max() > 1e-2


def test_a_feature_that_fires_nowhere_cannot_be_taken_out(turns: TurnSet, sae: SparseAutoencoder) -> None:
    shut = sae.bias.clone()
    shut[5] = -1e6
    mute = replace(sae, bias=shut)
    cache = resid_of(turns.model, turns.tokenizer, turns.recordings[0], 0)
    with pytest.raises(InterpError, match="fire nowhere"):
        without_features(cache, mute, 0, [5])
    plain = decision(run_with_edits(turns.model, turns.tokenizer, turns.recordings[0], [])).logit_difference
    np.testing.assert_allclose(silenced(turns, mute, 0, [[5]])[0, :TURNS], plain, atol=1e-3)
