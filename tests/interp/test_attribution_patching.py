"""Attribution patching: the exact sweep is the hooks it stands for, and the estimate is its derivative."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.attribution_patching import attribute_patches, patch_parts
from tml_lab.interp.cache import Cache, InterpError, run_with_cache
from tml_lab.interp.components import Parts, block_of, mlp_outputs, through
from tml_lab.interp.hooks import run_with_hooks
from tml_lab.interp.patching import logit_difference
from tml_lab.stream.recording import Inputs

CHANGED, TURN = (4, 5), 7


def other(cache: Cache, strength: float) -> Cache:
    """The same session with a little noise more in two turns."""
    audio = cache.recording.inputs.audio.copy()
    noise = np.random.default_rng(9).standard_normal(2 * TURN_SAMPLES)
    audio[CHANGED[0] * TURN_SAMPLES : (CHANGED[1] + 1) * TURN_SAMPLES] += strength * noise
    inputs = Inputs(audio, cache.recording.inputs.typed, cache.recording.inputs.frames)
    return run_with_cache(cache.model, cache.tokenizer, replace(cache.recording, inputs=inputs))


@pytest.fixture(scope="module")
def corrupt(cache: Cache) -> Cache:
    return other(cache, 0.02)


def test_the_exact_sweep_is_the_hooks_it_stands_for(cache: Cache, corrupt: Cache) -> None:
    table = patch_parts(cache, corrupt, TURN, ["L0H1", "L1E2", "L2S0"], [4, 6], progress=False)
    at = int(cache.decision_positions[TURN])
    ends = [float(logit_difference(each.logits[at], cache)) for each in (cache, corrupt)]
    for label, layer, part in (("L1E2", 1, 2), ("L2S0", 2, 4)):
        for turn in (4, 6):
            here = torch.as_tensor(cache.tokens.turn == turn)[:, None]
            change = (mlp_outputs(cache, layer) - mlp_outputs(corrupt, layer))[:, part] * here
            moved = through(block_of(cache.model, layer).mlp_conv, change)
            name, add = f"blocks.{layer}.hook_mlp_out", lambda x, hook, moved=moved: x + moved
            hand = run_with_hooks(cache.model, cache.tokenizer, corrupt.recording, [(name, add)])
            value = (float(logit_difference(hand.logits[at], cache)) - ends[1]) / (ends[0] - ends[1])
            assert float(table.sel(part=label, patched=turn)) == pytest.approx(value, abs=2e-3)

    def put(z, hook):
        here = hook.tokens.where(turn=6)
        z[here, 1] = cache["z", 0][here, 1]
        return z

    hand = run_with_hooks(cache.model, cache.tokenizer, corrupt.recording, [("blocks.0.attn.hook_z", put)])
    value = (float(logit_difference(hand.logits[at], cache)) - ends[1]) / (ends[0] - ends[1])
    assert float(table.sel(part="L0H1", patched=6)) == pytest.approx(value, abs=2e-3)


def test_the_estimate_is_the_derivative(cache: Cache, corrupt: Cache) -> None:
    """A hundredth of each patch, on either side, by hand."""
    estimate = attribute_patches(cache, corrupt, TURN)
    assert estimate.dims == ("part", "patched") and estimate.shape == (len(Parts(cache.model.cfg)), TURN + 1)
    np.testing.assert_allclose(estimate.sel(patched=slice(0, CHANGED[0] - 1)), 0.0, atol=1e-5)  # nothing differed yet
    at = int(cache.decision_positions[TURN])
    span = float(logit_difference(cache.logits[at] - corrupt.logits[at], cache))

    def run(name: str, function) -> float:
        got = run_with_hooks(cache.model, cache.tokenizer, corrupt.recording, [(name, function)])
        return float(logit_difference(got.logits[at], cache))

    for layer, turn in ((0, 5), (1, 4), (2, 7)):
        here = torch.as_tensor(cache.tokens.turn == turn)[:, None]
        heads = (cache["z", layer] - corrupt["z", layer]) * here[..., None] * torch.tensor([0.0, 1.0])[:, None]
        outputs = (mlp_outputs(cache, layer) - mlp_outputs(corrupt, layer))[:, 3] * here
        moved = through(block_of(cache.model, layer).mlp_conv, outputs)
        for label, name, push in ((f"L{layer}H1", "attn.hook_z", heads), (f"L{layer}E3", "hook_mlp_out", moved)):
            up, down = (
                run(f"blocks.{layer}.{name}", lambda x, hook, step=step, push=push: x + step * push)
                for step in (0.01, -0.01)
            )
            slope = (up - down) / 0.02 / span
            assert float(estimate.sel(part=label, patched=turn)) == pytest.approx(slope, abs=0.02, rel=0.05)


def test_the_smaller_the_difference_the_better_the_estimate(cache: Cache) -> None:
    """The last layer's parts at the decision itself: only the norm is not linear."""
    errors = []
    for strength in (0.3, 0.003):
        noisy = other(cache, strength)
        estimate = attribute_patches(cache, noisy, TURN)
        labels = [label for label in Parts(cache.model.cfg).labels if label.startswith("L2")]
        exact = patch_parts(cache, noisy, TURN, labels, [TURN], progress=False)
        gap = np.abs(estimate.sel(part=labels, patched=[TURN]).values - exact.values).max()
        errors.append(gap / np.abs(exact.values).max())
    assert errors[1] < 0.05


def test_what_cannot_be_done_is_refused(cache: Cache, corrupt: Cache) -> None:
    with pytest.raises(InterpError, match="nothing to bring back"):
        attribute_patches(cache, corrupt, 2)
    with pytest.raises(InterpError, match="no turn 99"):
        patch_parts(cache, corrupt, 99, progress=False)
    with pytest.raises(InterpError, match="no part is called"):
        patch_parts(cache, corrupt, TURN, ["L9H9"], progress=False)
    exact = copy.deepcopy(cache.model)
    exact.deterministic = True
    with pytest.raises(InterpError, match="deterministic = False"):
        attribute_patches(replace(cache, model=exact), replace(corrupt, model=exact), TURN)
