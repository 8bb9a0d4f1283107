"""Parts: what heads and experts add is all there is, and taking them out is the edit it claims to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tml_lab.interp.cache import Cache, InterpError, run_offline, run_with_cache
from tml_lab.interp.components import (
    NEEDS,
    Parts,
    block_of,
    head_outputs,
    masked_hooks,
    mlp_outputs,
    through,
)
from tml_lab.interp.edits import Ablate, run_with_edits
from tml_lab.interp.hooks import run_with_hooks
from tml_lab.interp.stand_ins import Means, means, resample, roles
from tml_lab.interp.watch import Watch
from tml_lab.stream.replay import replay
from tml_lab.stream.session import Session


@pytest.fixture(scope="module")
def average(cache: Cache) -> Means:
    return means(cache.model, cache.tokenizer, [cache.recording])


def masked(cache: Cache, mask: torch.Tensor, stand_ins=None) -> Cache:
    hooks = masked_hooks(cache.model, mask, stand_ins)
    with torch.no_grad():
        return run_offline(cache.model, cache.tokenizer, cache.recording, (), hooks, NEEDS)


def test_the_parts_are_all_there_is(cache: Cache) -> None:
    """Heads and experts through the ShortConvs give each layer's two outputs."""
    parts = Parts(cache.model.cfg)
    assert len(parts) == 3 * (2 + 4 + 1) and " ".join(parts.labels[:7]) == "L0H0 L0H1 L0E0 L0E1 L0E2 L0E3 L0S0"
    for layer in range(cache.model.cfg.n_layers):
        block = block_of(cache.model, layer)
        for outputs, conv, name in (
            (head_outputs(cache, layer), block.attn_conv, "attn_out"),
            (mlp_outputs(cache, layer), block.mlp_conv, "mlp_out"),
        ):
            torch.testing.assert_close(through(conv, outputs.sum(1)), cache[name, layer], atol=1e-5, rtol=1e-4)


def test_kept_whole_nothing_changes(cache: Cache, average: Means) -> None:
    ones = torch.ones(len(Parts(cache.model.cfg)))
    assert masked_hooks(cache.model, ones, average) == []
    almost = masked(cache, ones - 1e-9 * torch.eye(len(ones))[0], average)
    torch.testing.assert_close(almost.logits, cache.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("label", "edit"),
    [("L1H1", "L1H1 z"), ("L2E0", "L2E0 expert_weights"), ("L0S0", "L0S0 shared_weights")],
)
def test_a_part_taken_out_is_the_edit(cache: Cache, label: str, edit: str) -> None:
    parts = Parts(cache.model.cfg)
    by_edit = run_with_edits(cache.model, cache.tokenizer, cache.recording, [Ablate(at=edit)])
    got = masked(cache, 1 - parts.mask([label]))
    assert not torch.equal(got.logits, cache.logits)
    torch.testing.assert_close(got.logits, by_edit.logits, atol=1e-5, rtol=1e-4)


def test_an_expert_at_its_mean_by_hand(cache: Cache, average: Means) -> None:
    """What the expert gave goes, its mean comes, both before the ShortConv."""
    parts, layer = Parts(cache.model.cfg), 1
    outputs = mlp_outputs(cache, layer)  # [positions, experts, d_model]
    role = torch.as_tensor(roles(cache.tokens))
    mean = torch.stack([outputs[role == r, 2].mean(0) for r in role.tolist()])  # [positions, d_model]
    other = through(block_of(cache.model, layer).mlp_conv, outputs.sum(1) - outputs[:, 2] + mean)
    put = ("blocks.1.hook_mlp_out", lambda x, hook: other)
    by_hand = run_with_hooks(cache.model, cache.tokenizer, cache.recording, [put])
    got = masked(cache, 1 - parts.mask(["L1E2"]), average)
    torch.testing.assert_close(got.logits, by_hand.logits, atol=1e-4, rtol=1e-4)


def test_a_head_at_its_mean_by_hand(cache: Cache, average: Means) -> None:
    role = torch.as_tensor(roles(cache.tokens))

    def put(z, hook):
        for r in role.unique():
            z[role == r, 0] = cache["z", 2][role == r, 0].mean(0)
        return z

    by_hand = run_with_hooks(cache.model, cache.tokenizer, cache.recording, [("blocks.2.attn.hook_z", put)])
    got = masked(cache, 1 - Parts(cache.model.cfg).mask(["L2H0"]), average)
    torch.testing.assert_close(got.logits, by_hand.logits, atol=1e-5, rtol=1e-4)


def test_streamed_equals_offline(cache: Cache, average: Means) -> None:
    mask = Parts(cache.model.cfg).mask(["L0H0", "L1E1", "L2S0", "L2H1"])
    watch = Watch(cache.model.cfg, masked_hooks(cache.model, mask, average), ["ln_final.hook_normalized"], NEEDS)
    recording = replay(cache.recording, cache.model, cache.tokenizer, observer=watch)
    hidden = watch.tensors()["ln_final.hook_normalized"]
    again = run_with_cache(cache.model, cache.tokenizer, recording, ())
    offline = masked(replace(again, recording=recording), mask, average)
    live = cache.model.text_logits(hidden)
    torch.testing.assert_close(live, offline.logits[: len(live)], atol=1e-4, rtol=1e-4)


def test_a_resample_is_what_was_there_elsewhere(cache: Cache) -> None:
    drawn = resample(cache.tokens, [cache], np.random.default_rng(0))
    mine = cache["z", 1]
    for n, row in enumerate(drawn.of_z[1]):
        like = mine[torch.as_tensor(roles(cache.tokens) == roles(cache.tokens)[n])]
        assert (like == row).all(-1).all(-1).any()
    got = masked(cache, 1 - Parts(cache.model.cfg).mask(["L1H0"]), drawn)
    assert not torch.equal(got.logits, cache.logits)
    session = Session(cache.model, cache.tokenizer)
    session.observer = Watch(cache.model.cfg, masked_hooks(cache.model, torch.zeros(21), drawn), (), NEEDS)
    with pytest.raises(InterpError, match="was drawn for one recording"):
        session.step(np.zeros(3200, np.float32))


def test_a_dense_mlp_is_one_part(cache: Cache) -> None:
    cfg = cache.model.cfg.with_(n_dense_layers=1)
    model = type(cache.model)(cfg).eval().requires_grad_(False)
    torch.manual_seed(0)
    for weight in model.parameters():
        if weight.abs().max() == 0:
            weight.normal_(std=0.1)
    assert Parts(cfg).labels[:3] == ("L0H0", "L0H1", "L0M")
    with pytest.warns(UserWarning, match="other than this model's"):
        own = run_with_cache(model, cache.tokenizer, cache.recording)
        average = means(model, cache.tokenizer, [cache.recording])
        got = masked(own, 1 - Parts(cfg).mask(["L0M"]), average)
    mean = mlp_outputs(own, 0)[:, 0]
    role = torch.as_tensor(roles(cache.tokens))
    filled = torch.stack([mean[role == r].mean(0) for r in role.tolist()])
    out = through(block_of(model, 0).mlp_conv, filled)
    with pytest.warns(UserWarning, match="other than this model's"):
        hand = run_with_hooks(model, cache.tokenizer, cache.recording, [("blocks.0.hook_mlp_out", lambda x, hook: out)])
    torch.testing.assert_close(got.logits, hand.logits, atol=1e-4, rtol=1e-4)


def test_mistakes_are_one_sentence(cache: Cache) -> None:
    parts = Parts(cache.model.cfg)
    with pytest.raises(InterpError, match="of its layer there are L1H0, L1H1, L1E0"):
        parts.mask(["L1H7"])
    with pytest.raises(InterpError, match="has 21 numbers"):
        masked_hooks(cache.model, torch.ones(3))
    with pytest.raises(InterpError, match="at least one recording"):
        means(cache.model, cache.tokenizer, [])
    with pytest.raises(InterpError, match="at least one other"):
        resample(cache.tokens, [], np.random.default_rng(0))
    assert parts.layer_of("L2E1") == 2
