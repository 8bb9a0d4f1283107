"""How long a model waits, the pauses it talks into, and the constant that any steering vector must beat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.interp.sets_by_hand import noise_episode
from tml_lab.interp.decision import decision
from tml_lab.interp.edits import edits_from_json, edits_to_json, run_with_edits
from tml_lab.interp.labels import GAPS
from tml_lab.interp.names import InterpError
from tml_lab.interp.patience import patience
from tml_lab.interp.sets import TurnSet, collect
from tml_lab.interp.steering import decision_bias, steered
from tml_lab.model.interaction import InteractionModel
from tml_lab.stream.session import Session


@pytest.fixture(scope="module")
def turns(model: InteractionModel, session: Session) -> TurnSet:
    return collect(model, session.tokenizer, [noise_episode(seed) for seed in range(3)], layers=[1])


def test_waits_and_broken_pauses_by_hand(turns: TurnSet) -> None:
    """The words end in turn 6 of 14: one is answered two turns later, one never, one before the end and at once."""
    assert (np.flatnonzero(turns.labels["gap"] == GAPS.index("end")) % 14).min() == 6
    wish = -np.ones((3, 14), np.float32)
    wish[0, 8] = wish[2, 3] = wish[2, 6] = 1.0
    found = patience(turns, wish.ravel())
    assert found.median == pytest.approx(0.4) and found.mean == pytest.approx((0.4 + 1.6 + 0.0) / 3)
    assert found.wishes == pytest.approx(2 / 3) and found.broken == pytest.approx(1 / 3)
    assert "median 0.4 s" in str(found)
    endless = replace(turns, labels={**turns.labels, "gap": np.zeros(len(turns), np.int64)})
    with pytest.raises(InterpError, match="no question ends in episode 0"):
        patience(endless, wish.ravel())


def test_no_push_changes_nothing_and_a_push_does(turns: TurnSet) -> None:
    push = np.random.default_rng(0).standard_normal(turns.at_layer(1).shape[1]) * np.abs(turns.at_layer(1)).mean()
    for everywhere in (True, False):
        plain, pushed = steered(turns, 1, [0 * push, push], everywhere)
        np.testing.assert_allclose(plain, turns.logit_difference, atol=1e-3)
        assert np.abs(pushed - plain).max() > 0.01
    some = turns.where(turns.turn > 5)
    np.testing.assert_allclose(steered(some, 1, [push])[0], steered(turns, 1, [push])[0][turns.turn > 5], atol=1e-6)


def test_the_bias_adds_a_constant_and_nothing_else(turns: TurnSet) -> None:
    edits = edits_from_json(edits_to_json([decision_bias(turns.model, turns.tokenizer, -2.5)]))
    cache = run_with_edits(turns.model, turns.tokenizer, turns.recordings[0], edits)
    before = turns.logit_difference[turns.episode == 0]
    np.testing.assert_allclose(decision(cache).logit_difference, before - 2.5, atol=1e-3)
