"""Hooks: every name can be looked at and changed, nothing changes by looking, mistakes are one sentence."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tml_lab.interp.address import At
from tml_lab.interp.attribution import attribute_decision
from tml_lab.interp.cache import LAYER_HOOKS, Cache, InterpError, full_name, hook_names, run_with_cache
from tml_lab.interp.decision import decision
from tml_lab.interp.hooks import Hook, run_with_hooks
from tml_lab.model.tap import Tap
from tml_lab.plot import interp as plots


def run(cache: Cache, *hooks, names=()) -> Cache:
    return run_with_hooks(cache.model, cache.tokenizer, cache.recording, hooks, names)


def test_looking_changes_no_bit_and_sees_what_the_cache_holds(cache: Cache) -> None:
    seen: dict[str, Tensor] = {}

    def look(x: Tensor, hook: Hook) -> None:
        seen[hook.name] = x.clone()
        x.zero_()  # a copy: what was only looked at stays

    looked = run(cache, (lambda name: "indices" not in name, look), names=None)
    assert torch.equal(looked.logits, cache.logits)
    assert set(seen) == {name for name in hook_names(cache.model.cfg) if "indices" not in name}
    for name, x in seen.items():
        assert torch.equal(x, cache[name]) and torch.equal(looked[name], cache[name]), name


@pytest.mark.parametrize(
    "short", ["resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_mid", "expert_weights", "shared_weights",
              "mlp_out", "resid_post"],
)  # fmt: skip
def test_every_tensor_can_be_changed_and_only_what_comes_after_notices(short: str, cache: Cache) -> None:
    name = full_name(short, 1)
    changed = run(cache, (name, lambda x, hook: 0.5 * x), names=None)
    assert not torch.equal(changed.logits, cache.logits)
    order = hook_names(cache.model.cfg)
    computed_before = {"q": ["resid_pre"], "k": ["q"], "v": ["k"], "z": ["pattern"]}
    for earlier in order[: order.index(full_name("resid_pre", 1))]:
        assert torch.equal(changed[earlier], cache[earlier]), earlier
    for before in computed_before.get(short, []):
        assert torch.equal(changed[full_name(before, 1)], cache[full_name(before, 1)])
    torch.testing.assert_close(changed[name], 0.5 * cache[name])  # kept as it was used


def test_hooks_at_the_ends_and_their_order(cache: Cache) -> None:
    doubled = run(cache, ("ln_final.hook_normalized", lambda x, hook: 2 * x))
    torch.testing.assert_close(doubled.logits, 2 * cache.logits)
    same = run(cache, ("hook_embed", lambda x, hook: 2 * x), ("hook_embed", lambda x, hook: x / 2))
    assert torch.equal(same.logits, cache.logits)
    assert not torch.equal(run(cache, ("hook_embed", lambda x, hook: 0 * x)).logits, cache.logits)


def test_a_hook_knows_where_it_stands(cache: Cache) -> None:
    def deaf_at_first(x: Tensor, hook: Hook) -> Tensor:
        assert hook.layer == 2 and len(hook.tokens) == len(x)
        x[hook.tokens.where("audio_in", 3)] = 0.0
        return x

    changed = run(cache, ("blocks.2.hook_mlp_out", deaf_at_first), names=["blocks.2.hook_mlp_out"])
    was, now = cache["mlp_out", 2], changed["mlp_out", 2]
    differs = (was != now).any(-1).numpy()
    assert set(np.flatnonzero(differs)) <= set(cache.tokens.where("audio_in", 3)) and differs.any()
    before = decision(cache).logit_difference, decision(changed).logit_difference
    assert np.array_equal(before[0][:3], before[1][:3])  # the past is not rewritten


def test_mistakes_are_one_sentence(cache: Cache) -> None:
    with pytest.raises(InterpError, match=r"did you mean 'blocks\.1\.attn\.hook_z'"):
        run(cache, ("blocks.1.attn.hook_zz", lambda x, hook: x))
    with pytest.raises(InterpError, match="hook_names"):
        run(cache, ("nonsense", lambda x, hook: x))
    with pytest.raises(InterpError, match="fits none"):
        run(cache, (lambda name: False, lambda x, hook: x))
    with pytest.raises(InterpError, match="must keep the shape"):
        run(cache, ("blocks.0.hook_attn_out", lambda x, hook: x[:2]))
    with pytest.raises(InterpError, match="edit their weights"):
        run(cache, ("blocks.0.mlp.hook_expert_indices", lambda x, hook: x))


def test_the_model_is_left_as_it_was_even_by_a_failing_hook(cache: Cache) -> None:
    def fails(x: Tensor, hook: Hook) -> Tensor:
        raise KeyError("mine")

    cache.model.train()
    try:
        with pytest.raises(KeyError, match="mine"):
            run(cache, ("blocks.0.hook_attn_out", fails))
        assert cache.model.training
    finally:
        cache.model.eval()
    assert torch.equal(run_with_cache(cache.model, cache.tokenizer, cache.recording, []).logits, cache.logits)


def test_a_tap_refuses_another_shape() -> None:
    with pytest.raises(ValueError, match="an edit of z must keep shape"):
        Tap(lambda name, x: x[1:]).look("z", torch.zeros(3, 2))


def test_attribution_sums_to_the_logit_difference(cache: Cache) -> None:
    found = attribute_decision(cache)
    cfg = cache.model.cfg
    n = 1 + sum(cfg.heads(layer)[0] + cfg.n_experts + cfg.n_shared_experts for layer in range(cfg.n_layers))
    assert found.values.shape == (n, cache.turns) and len(set(found.labels)) == n
    np.testing.assert_allclose(found.logit_difference, decision(cache).logit_difference, rtol=1e-6)
    np.testing.assert_allclose(found.values.sum(0), found.logit_difference, atol=1e-5, rtol=1e-6)
    assert np.array_equal(found["L1H1"], found.values[found.labels.index("L1H1")])
    label, value = found.top(5, 1)[0]
    assert abs(value) == np.abs(found.values[:, 5]).max() and found[label][5] == pytest.approx(value)
    with pytest.raises(InterpError, match="L1H0"):
        found["L1H99"]


@pytest.mark.parametrize(("label", "short"), [("L1H1", "z"), ("L2E0", "expert_weights"), ("L0S0", "shared_weights")])
def test_what_is_attributed_is_what_is_lost_without_it(label: str, short: str, cache: Cache) -> None:
    """Of the branch that it is in: what comes after a head reads the residual stream anew, and is not its own doing."""
    layer = cache.model.cfg.n_layers - 1
    branch = "attn_out" if short == "z" else "mlp_out"
    label = f"L{layer}{label[2:]}"
    index = int(label[3:])

    def without(x: Tensor, hook: Hook) -> Tensor:
        if short == "expert_weights":
            return x * (cache["experts", layer] != index)
        x[:, index] = 0.0
        return x

    edited = run(cache, (full_name(short, layer), without), names=None)
    at = torch.as_tensor(cache.decision_positions)
    lost = cache[branch, layer][at] - edited[branch, layer][at]  # [turns, d_model]
    norm, ids = cache.model.backbone.norm, [cache.tokenizer.id(name) for name in ("<speak>", "<silent>")]
    rows = cache.model.unembed.weight[ids] / cache.model.cfg.mup_width_multiplier
    scale = (cache["resid_post", layer][at].square().mean(-1, keepdim=True) + norm.eps).rsqrt()
    expected = (lost * scale * norm.weight * (rows[0] - rows[1])).sum(-1)
    np.testing.assert_allclose(attribute_decision(cache)[label], expected.numpy(), atol=1e-4)




def test_the_documentation_names_what_there_is() -> None:
    """Every function and figure in the table of questions."""
    text = (Path(__file__).parents[2] / "docs" / "inside.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]*\? \| (.*) \| (.*) \|$", text, re.MULTILINE)
    assert len(rows) == 21
    for asked, drawn in rows:
        for name in re.findall(r"`([\w.]+)`", asked):
            module, function = name.split(".")
            assert callable(getattr(importlib.import_module(f"tml_lab.interp.{module}"), function)), name
        for name in re.findall(r"`(\w+)`", drawn):
            assert callable(getattr(plots, name)), name


def test_the_documentation_lists_every_name(cache: Cache) -> None:
    text = (Path(__file__).parents[2] / "docs" / "inside.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([\w.]+)` \| `(\w+)` \|", text, re.MULTILINE))
    assert listed == {
        "hook_embed": "embed", "ln_final.hook_normalized": "final",
        **{f"blocks.N.{name}": short for short, name in LAYER_HOOKS.items()},
    }  # fmt: skip
    of_layer_1 = {name for name in hook_names(cache.model.cfg) if ".0." not in name and ".2." not in name}
    assert {name.replace("N", "1") for name in listed} == of_layer_1
    for line in re.findall(r"^L\d.*$|^final of.*$", text, re.MULTILINE):
        assert str(At.parse(line)) == line
