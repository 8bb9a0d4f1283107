"""Patching: a sweep equals the hooks it stands for, its ends are the two runs, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.cache import Cache, InterpError, run_with_cache
from tml_lab.interp.counterfactual import counterfactual
from tml_lab.interp.hooks import run_with_hooks
from tml_lab.interp.patching import logit_difference, patch_heads, patch_turns
from tml_lab.stream.recording import Inputs
from tml_lab.stream.session import Session

CHANGED = (4, 5)  # turns in which something else is heard


@pytest.fixture(scope="module")
def corrupt(cache: Cache) -> Cache:
    """The same session with other sound in two turns; what it said is fed as it was said."""
    recording = cache.recording
    audio = recording.inputs.audio.copy()
    rng = np.random.default_rng(9)
    for turn in CHANGED:
        audio[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES] = 0.2 * rng.standard_normal(TURN_SAMPLES)
    inputs = Inputs(audio, recording.inputs.typed, recording.inputs.frames)
    return run_with_cache(cache.model, cache.tokenizer, replace(recording, inputs=inputs))


def decision_at(cache: Cache, turn: int) -> float:
    return float(logit_difference(cache.logits[int(cache.decision_positions[turn])], cache))


def test_a_sweep_equals_the_hooks_it_stands_for(cache: Cache, corrupt: Cache) -> None:
    turn = 9
    sweep = patch_turns(cache, corrupt, turn, layers=[0, 2], turns=[3, 4, 5, 9], progress=False)
    assert sweep.restored.shape == (2, 4) and sweep.rows == ("L0", "L2") and sweep.columns[1] == "turn 4"
    assert (sweep.clean, sweep.corrupt) == (decision_at(cache, turn), decision_at(corrupt, turn))
    for i, layer in enumerate((0, 2)):
        for j, when in enumerate((3, 4, 5, 9)):

            def put(x, hook, layer=layer, when=when):
                where = hook.tokens.where(turn=when)
                x[where] = cache["resid_post", layer][where]
                return x

            name = f"blocks.{layer}.hook_resid_post"
            by_hand = run_with_hooks(cache.model, cache.tokenizer, corrupt.recording, [(name, put)])
            value = (decision_at(by_hand, turn) - sweep.corrupt) / (sweep.clean - sweep.corrupt)
            assert sweep.restored[i, j] == pytest.approx(value, abs=1e-4)


def test_what_did_not_differ_brings_nothing_back_and_the_last_position_all(cache: Cache, corrupt: Cache) -> None:
    turn = 9
    sweep = patch_turns(cache, corrupt, turn, progress=False)
    assert sweep.restored.shape == (cache.model.cfg.n_layers, turn + 1)
    np.testing.assert_allclose(sweep.restored[:, : CHANGED[0]], 0.0, atol=1e-4)  # before anything differed
    assert sweep.restored[-1, turn] == pytest.approx(1.0, abs=1e-4)  # the decision's own residual stream
    np.testing.assert_allclose(sweep.restored[-1, :turn], 0.0, atol=1e-4)  # nothing is read after the last layer


def test_heads_are_patched_one_by_one(cache: Cache, corrupt: Cache) -> None:
    sweep = patch_heads(cache, corrupt, 6, progress=False)
    cfg = cache.model.cfg
    assert sweep.restored.shape == (cfg.n_layers, max(cfg.heads(layer)[0] for layer in range(cfg.n_layers)))
    everything = run_with_hooks(
        cache.model, cache.tokenizer, corrupt.recording,
        [(f"blocks.{n}.attn.hook_z", lambda z, hook: cache[hook.name]) for n in range(cfg.n_layers)],
    )  # fmt: skip
    assert not torch.equal(everything.logits, corrupt.logits) and np.isfinite(sweep.restored).all()
    assert np.abs(sweep.restored).max() > 0


def test_pairs_that_do_not_fit_are_refused(cache: Cache, corrupt: Cache) -> None:
    with pytest.raises(InterpError, match="nothing to bring back"):
        patch_turns(cache, corrupt, CHANGED[0] - 1, progress=False)
    with pytest.raises(InterpError, match="no turn 99"):
        patch_turns(cache, corrupt, 99, progress=False)
    session = Session(cache.model, cache.tokenizer, seed=2)
    session.step(np.zeros(TURN_SAMPLES, np.float32), text="one two three")
    with pytest.raises(InterpError, match="lay out other positions"):
        patch_turns(cache, run_with_cache(cache.model, cache.tokenizer, session.recording()), 0, progress=False)


def test_the_recordings_may_part_after_the_decision(cache: Cache) -> None:
    turn, loud = 12, {"audio": np.ones(8 * TURN_SAMPLES, np.float32)}
    child = counterfactual(cache.recording, cache.model, cache.tokenizer, t=turn / 5, inputs=loud)
    late = run_with_cache(cache.model, cache.tokenizer, child)
    assert len(late.tokens) != len(cache.tokens)
    sweep = patch_turns(cache, late, turn, layers=[0], turns=[turn], progress=False)
    assert np.isfinite(sweep.restored).all()
    assert np.isfinite(patch_heads(cache, late, turn, progress=False).restored).all()
