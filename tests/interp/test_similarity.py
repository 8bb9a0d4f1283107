"""CKA's invariances, lags with a known answer, listening heads and inertia with planted states."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interp.sets_by_hand import noise_episode
from tml_lab.interp.attention import attention_by_stream
from tml_lab.interp.cache import run_with_cache
from tml_lab.interp.inertia import interruptions, state_inertia
from tml_lab.interp.labels import SPEAKERS
from tml_lab.interp.listening import listening_heads
from tml_lab.interp.names import InterpError
from tml_lab.interp.sets import TurnSet, collect
from tml_lab.interp.similarity import cka_over_lags, linear_cka
from tml_lab.model.interaction import InteractionModel
from tml_lab.stream.session import Session


@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_cka_minds_no_rotation_scale_or_origin(seed: int, scale: float, shift: float) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((30, 6)), rng.standard_normal((30, 4))
    turn, _ = np.linalg.qr(rng.standard_normal((6, 6)))
    assert linear_cka(x, x) == pytest.approx(1.0)
    assert linear_cka(x, scale * x @ turn + shift) == pytest.approx(1.0, abs=1e-6)
    assert linear_cka(x, y) == pytest.approx(linear_cka(y, x))
    assert 0 <= linear_cka(x, y) <= 1 + 1e-9
    order = rng.permutation(30)
    assert linear_cka(x[order], y[order]) == pytest.approx(linear_cka(x, y))


def test_cka_is_not_blind_to_other_maps() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 6))
    assert linear_cka(x, x * np.array([20.0, 1, 1, 1, 1, 1])) < 0.8
    assert linear_cka(x, rng.standard_normal((500, 6))) < 0.05
    with pytest.raises(InterpError, match="constant"):
        linear_cka(x, np.ones((500, 2)))
    with pytest.raises(InterpError, match="row by row"):
        linear_cka(x, x[:3])


def test_a_known_lag_is_found() -> None:
    rng = np.random.default_rng(0)
    episode = np.repeat(np.arange(8), 40)
    x = rng.standard_normal((320, 5))
    y = np.concatenate([np.roll(x[episode == e], 3, 0) for e in range(8)])  # three turns later
    curve = cka_over_lags(x, y, episode, range(-5, 6))
    assert curve.peak == 3 and curve.cka.max() > 0.95
    assert curve.shuffled.shape == (5, 11) and curve.shuffled.max() < 0.2
    with pytest.raises(InterpError, match="two episodes"):
        cka_over_lags(x, y, np.zeros(320), [0])
    with pytest.raises(InterpError, match="lag of 40"):
        cka_over_lags(x, y, episode, [40])


@pytest.fixture(scope="module")
def turns(model: InteractionModel, session: Session) -> TurnSet:
    return collect(model, session.tokenizer, [noise_episode(seed) for seed in range(8)], layers=[1])


def test_listening_heads_are_scored_in_every_episode(turns: TurnSet) -> None:
    silent = turns.with_label("speaker", np.where((turns.turn >= 3) & (turns.turn < 7), 1, 0))
    found = listening_heads(silent)
    cfg = turns.model.cfg
    assert found.score.shape == (8, cfg.n_layers, cfg.heads(0)[0])
    assert (found.attention >= 0).all() and (found.attention <= 1).all() and (np.abs(found.score) <= 1).all()
    cache = run_with_cache(turns.model, turns.tokenizer, turns.recordings[2])
    looks = [attention_by_stream(cache, 1, 0, turn)["audio_in"][3:] for turn in range(3, 7)]  # at the words so far
    assert found.attention[2, 1, 0] == pytest.approx(np.mean([look.sum() for look in looks]), abs=1e-5)
    layer, head, value = found.top(1)[0]
    assert value == found.mean.max() == found.mean[layer, head] and -1 <= found.stability <= 1
    with pytest.raises(InterpError, match="whole episodes"):
        listening_heads(silent.where(silent.turn > 2))
    with pytest.raises(InterpError, match="turns of speech and quiet"):
        listening_heads(silent.with_label("speaker", np.zeros(len(silent), int)))


def with_states(turns: TurnSet, stays: int) -> TurnSet:
    """The model speaks in turns 2..9; in half of the episodes the user breaks in at 6, and the inside follows `stays`
    turns later."""
    model, user = SPEAKERS.index("model"), SPEAKERS.index("user")
    broken = turns.episode % 2 == 0
    sounds = (turns.turn >= 2) & (turns.turn < 10) & ~(broken & (turns.turn >= 8))
    talks = (broken & (turns.turn >= 6)) | (turns.turn >= 11)
    state = np.where(sounds & ~(broken & (turns.turn >= 6 + stays)), 1.0, 0.0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((len(turns), 20)) * 0.05 + state[:, None] * np.linspace(1, 2, 20)
    labels = {"speaker": np.where(talks, user, np.where(sounds, model, 0)), "model_speaks": sounds}
    return replace(turns, resid={1: x.astype(np.float32)}, labels=turns.labels | labels, families=("a", "b") * 4)


def test_planted_inertia_is_measured(turns: TurnSet) -> None:
    for stays in (0, 1):
        told = with_states(turns, stays)
        assert np.unique(told.turn[interruptions(told)]).tolist() == [6]
        found = state_inertia(told, 1, before=2, after=4)
        assert (found.turned == stays).all() and (found.fell_silent == 2).all() and found.accuracy > 0.95
        assert found.reading[:, :2].min() > 0.8 and found.reading[:, -1].max() < 0.2
        assert found.steady.shape[1] == 7 and found.steady.min() > 0.8  # nobody breaks in: it stays


def test_without_interruptions_there_is_no_inertia(turns: TurnSet) -> None:
    told = with_states(turns, 0)
    quiet = told.with_label("speaker", np.where(told.labels["model_speaks"], SPEAKERS.index("model"), 1))
    with pytest.raises(InterpError, match="nobody breaks in"):
        state_inertia(quiet, 1)
    with pytest.raises(InterpError, match="plain turns"):
        state_inertia(told.with_label("model_speaks", np.zeros(len(told), bool)), 1)
