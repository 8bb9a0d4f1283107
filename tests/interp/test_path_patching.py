"""Path patching by hand on a pico model: an edge carries what it should, and nothing else sees it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tml_lab.interp.attribution import attribute_decision
from tml_lab.interp.cache import Cache, InterpError
from tml_lab.interp.components import block_of, head_outputs, mlp_outputs, through
from tml_lab.interp.decision import decision
from tml_lab.interp.hooks import run_with_hooks
from tml_lab.interp.path_patching import Edge, patch_paths, run_with_edges
from tml_lab.interp.stand_ins import means
from tml_lab.model.moe import MoE


def sent(cache: Cache, layer: int, head: int, times: float = -1.0) -> torch.Tensor:
    """A head's output behind its ShortConv, taken away: [positions, d_model]."""
    return through(block_of(cache.model, layer).attn_conv, times * head_outputs(cache, layer)[:, head])


def test_an_edge_into_the_decision_by_hand(cache: Cache) -> None:
    last = cache.model.cfg.n_layers - 1
    got = run_with_edges(cache, [Edge("L0H1")])
    hidden = cache.model.backbone.norm(cache["resid_post", last] + sent(cache, 0, 1))
    torch.testing.assert_close(got.logits, cache.model.text_logits(hidden), atol=1e-4, rtol=1e-4)
    both = run_with_edges(cache, [Edge("L0H1"), Edge("L2E1")])
    change = sent(cache, 0, 1) - through(block_of(cache.model, 2).mlp_conv, mlp_outputs(cache, 2)[:, 1])
    hidden = cache.model.backbone.norm(cache["resid_post", last] + change)
    torch.testing.assert_close(both.logits, cache.model.text_logits(hidden), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("inputs", ["all", "q", "k", "v"])
def test_an_edge_into_a_head_by_hand(cache: Cache, inputs: str) -> None:
    """The receiver's q, k, v from the residual stream without the sender; then its pattern, z, and on."""
    block = block_of(cache.model, 2)
    attn, resid = block.attn, cache["resid_pre", 2]
    own = block.attn_norm(resid)[None]
    changed = block.attn_norm(resid + sent(cache, 0, 1))[None]
    x = {name: changed if inputs in (name, "all") else own for name in "qkv"}
    n, pos = len(resid), torch.arange(len(resid))[None]
    q = attn.q_norm(attn.q_proj(x["q"]).view(1, n, attn.n_heads, attn.d_head))
    k = attn.k_norm(attn.k_conv(attn.k_proj(x["k"]))[0].view(1, n, attn.n_kv_heads, attn.d_head))
    v = attn.v_conv(attn.v_proj(x["v"]))[0].view(n, attn.n_kv_heads, attn.d_head)
    pattern = attn.pattern_of(x["q"], q, k, pos)[0, 1]  # [queries, keys]
    z = pattern @ v[:, 0]

    def put(old, hook):
        old[:, 1] = z
        return old

    by_hand = run_with_hooks(cache.model, cache.tokenizer, cache.recording, [("blocks.2.attn.hook_z", put)])
    got = run_with_edges(cache, [Edge("L0H1", "L2H1", inputs)])  # type: ignore[arg-type]
    assert (got.logits - cache.logits).abs().max() > 1e-4
    torch.testing.assert_close(got.logits, by_hand.logits, atol=1e-4, rtol=1e-4)


def test_an_edge_into_an_expert_by_hand(cache: Cache) -> None:
    """The router and the expert read another residual stream; the other experts do not."""
    block = block_of(cache.model, 1)
    mid = cache["resid_mid", 1] + sent(cache, 1, 0)  # a head speaks to the experts of its own layer
    mlp = block.mlp
    assert isinstance(mlp, MoE)
    weights, chosen, _ = mlp.router(block.mlp_norm(mid))
    old = mlp_outputs(cache, 1)[:, 3]
    new = torch.zeros_like(old)
    for row in range(len(mid)):
        for slot in range(chosen.shape[1]):
            if chosen[row, slot] == 3:
                gate, up = (mlp.gate_up[3] @ block.mlp_norm(mid[row])).chunk(2)
                new[row] = weights[row, slot] * (mlp.down[3] @ (torch.nn.functional.silu(gate) * up))
    out = cache["mlp_out", 1] + through(block.mlp_conv, new - old)
    put = ("blocks.1.hook_mlp_out", lambda x, hook: out)
    by_hand = run_with_hooks(cache.model, cache.tokenizer, cache.recording, [put])
    got = run_with_edges(cache, [Edge("L1H0", "L1E3")])
    assert (got.logits - cache.logits).abs().max() > 1e-4
    torch.testing.assert_close(got.logits, by_hand.logits, atol=1e-4, rtol=1e-4)


def test_all_edges_of_a_part_cut_is_the_part_taken_out(cache: Cache) -> None:
    """Whoever reads the last layer's head: its experts and the decision. Nothing of it is left then."""
    receivers = [f"L2E{e}" for e in range(4)] + ["L2S0", "decision"]
    got = run_with_edges(cache, [Edge("L2H0", receiver) for receiver in receivers])

    def silence(z, hook):
        z[:, 0] = 0.0
        return z

    out = run_with_hooks(cache.model, cache.tokenizer, cache.recording, [("blocks.2.attn.hook_z", silence)])
    torch.testing.assert_close(got.logits, out.logits, atol=1e-4, rtol=1e-4)


def test_a_chain_of_edges_passes_on_what_is_left(cache: Cache) -> None:
    """L0H0 -> L1H0 -> decision: the second edge carries what the renewed sender gives."""
    first = run_with_edges(cache, [Edge("L0H0", "L1H0")])
    both = run_with_edges(cache, [Edge("L0H0", "L1H0"), Edge("L1H0", "decision")])
    alone = run_with_edges(cache, [Edge("L1H0", "decision")])
    assert not torch.allclose(both.logits, alone.logits) and not torch.allclose(both.logits, first.logits)


def test_a_run_patched_with_itself_changes_nothing(cache: Cache) -> None:
    got = run_with_edges(cache, [Edge("L0H0", "L1H1"), Edge("L0E1", "L2E2"), Edge("L1S0")], cache)
    torch.testing.assert_close(got.logits, cache.logits, atol=1e-4, rtol=1e-4)
    average = means(cache.model, cache.tokenizer, [cache.recording])
    assert not torch.allclose(run_with_edges(cache, [Edge("L1S0")], average).logits, cache.logits)


def test_direct_effects_beside_the_attribution(cache: Cache) -> None:
    """Without the norm's division the direct effect of taking a head away would be its attribution, with minus."""
    senders = ["L0H0", "L1E2", "L2H1"]
    table = patch_paths(cache, None, senders=senders, progress=False)
    assert table.dims == ("sender", "turn") and table.sizes["turn"] == cache.turns
    attribution = attribute_decision(cache)
    at = torch.as_tensor(cache.decision_positions)
    resid = cache["resid_post", 2]
    for label in senders:
        got = run_with_edges(cache, [Edge(label)])
        np.testing.assert_allclose(
            decision(got).logit_difference - decision(cache).logit_difference, table.sel(sender=label), atol=1e-5
        )
    change = sent(cache, 0, 0)
    scale = ((resid[at] + change[at]).square().mean(-1) / resid[at].square().mean(-1)).sqrt().numpy()
    own = decision(cache).logit_difference
    by_hand = (own - attribution["L0H0"]) / scale - own
    np.testing.assert_allclose(table.sel(sender="L0H0"), by_hand, atol=1e-3)
    inner = patch_paths(cache, None, "L1H0", inputs="v", progress=False)
    assert list(inner.sender.values) == ["L0H0", "L0H1", "L0E0", "L0E1", "L0E2", "L0E3", "L0S0"]


def test_mistakes_are_one_sentence(cache: Cache) -> None:
    with pytest.raises(InterpError, match="no edge leads from L1E0 to L1H0"):
        run_with_edges(cache, [Edge("L1E0", "L1H0")])
    with pytest.raises(InterpError, match="leave inputs out"):
        run_with_edges(cache, [Edge("L1E0", "L2E0", "q")])
    with pytest.raises(InterpError, match="leave inputs out"):
        run_with_edges(cache, [Edge("L1E0", "decision", "q")])
    with pytest.raises(InterpError, match="choose all, q, k or v"):
        run_with_edges(cache, [Edge("L0H0", "L2H0", "z")])  # type: ignore[arg-type]
    with pytest.raises(InterpError, match="no part is called"):
        run_with_edges(cache, [Edge("L7H0")])
