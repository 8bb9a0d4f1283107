"""The angle between what can be read and what is used."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.interp.sets_by_hand import noise_episode
from tml_lab.interp.angle import angle, used_direction
from tml_lab.interp.names import InterpError
from tml_lab.interp.onward import decide_onward, gradient_onward, resid_of
from tml_lab.interp.sets import collect
from tml_lab.model.interaction import InteractionModel
from tml_lab.stream.session import Session


def test_the_angle_of_lines() -> None:
    east, north = np.array([1.0, 0, 0]), np.array([0, 2.0, 0])
    assert angle(east, north).degrees == pytest.approx(90)
    assert angle(east, -3 * east).degrees == pytest.approx(0, abs=1e-5)
    assert angle(east, east + north / 2).degrees == pytest.approx(45)
    with pytest.raises(InterpError, match="length zero"):
        angle(east, 0 * east)


def test_chance_is_what_drawn_lines_do() -> None:
    drawn = np.random.default_rng(0).standard_normal((4000, 64))
    given = np.eye(64)[0]
    degrees = np.array([angle(given, line).degrees for line in drawn])
    by_chance = angle(given, drawn[0]).by_chance
    assert (degrees >= by_chance).mean() == pytest.approx(0.95, abs=0.015)
    assert f"{by_chance:.0f}" in str(angle(given, drawn[0]))


def test_the_gradient_is_what_a_small_push_does(model: InteractionModel, session: Session) -> None:
    recording = session.recording()
    cache = resid_of(model, session.tokenizer, recording, 0)
    gradient = gradient_onward(cache, 0)
    assert gradient.shape == (recording.turns, model.cfg.d_model)
    push = torch.randn(recording.turns, model.cfg.d_model, generator=torch.Generator().manual_seed(0))
    size = 1e-3
    ahead, back = decide_onward(cache, 0, [size * push, -size * push]).double().sum(1)
    assert float((gradient * push).sum()) == pytest.approx(float((ahead - back) / (2 * size)), rel=0.05)
    model.deterministic = True
    try:
        with pytest.raises(InterpError, match="no gradient"):
            gradient_onward(cache, 0)
    finally:
        model.deterministic = False


def test_the_used_direction_is_the_mean_over_the_chosen_decisions(model: InteractionModel, session: Session) -> None:
    turns = collect(model, session.tokenizer, [noise_episode(seed) for seed in range(2)], layers=[0])
    chosen = np.zeros(len(turns), bool)
    chosen[[3, 7, 20]] = True
    rows = [gradient_onward(resid_of(model, session.tokenizer, r, 0), 0).numpy() for r in turns.recordings]
    expected = (rows[0][3] + rows[0][7] + rows[1][6]) / 3
    np.testing.assert_allclose(used_direction(turns, 0, chosen), expected, atol=1e-5)
    assert used_direction(turns, 0).shape == (model.cfg.d_model,)
    with pytest.raises(InterpError, match="no decision"):
        used_direction(turns, 0, np.zeros(len(turns), bool))
