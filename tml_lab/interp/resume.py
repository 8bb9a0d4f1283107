"""Going on from the middle: another residual stream after some layer, from some position on, and what is decided then.

A patch in turn n of layer l changes nothing before n and nothing below l. So a sweep need not run whole recordings: it
builds the state in which a session would stand before turn n, from a cache's keys, values and residual streams, and
runs the positions from there to the decision through the layers above, many patches in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tml_lab.interp.cache import Cache
from tml_lab.interp.components import block_of, mlp_outputs_at
from tml_lab.model.state import RingViews, State, reach, slot_of

MOST = 1 << 25  # numbers in one pattern: 128 MB


def rows_at_once(cache: Cache, start: int, end: int) -> int:
    """How many rows of positions `start .. end` fit in a batch."""
    heads = max(cache.model.cfg.heads(layer)[0] for layer in range(cache.model.cfg.n_layers))
    return max(1, min(32, MOST // (heads * (end - start) * end)))


def after_heads(cache: Cache, layer: int, mid: Tensor, start: int) -> Tensor:
    """A layer's MLP: `mid [rows, n, d_model]` from position `start` on -> the residual stream after the layer."""
    block, n_tail = block_of(cache.model, layer), min(start, block_of(cache.model, layer).mlp_conv.kernel - 1)
    out = block.mlp(block.mlp_norm(mid))  # [rows, n, d_model]
    tail = _tail(mlp_outputs_at(cache, layer, slice(start - n_tail, start)).sum(1), block.mlp_conv.kernel, len(mid))
    return mid + block.mlp_conv(out, tail)[0]


def finish(cache: Cache, layer: int, x: Tensor, start: int) -> Tensor:
    """The layers above `layer`: `x [rows, n, d_model]`, its residual stream at the positions from `start` on -> text
    logits at the last of them, `[rows, vocab]`.

    What lies before `start` is as in the cache, which needs `resid_pre`, `k`, `v`, `z`, `resid_mid`, what the router
    chose. Raises InterpError naming what was not kept.
    """
    model, (rows, n, _) = cache.model, x.shape
    pos = torch.arange(start, start + n, device=x.device)[None].expand(rows, n)
    views: RingViews = {}
    for above in range(layer + 1, model.cfg.n_layers):
        state = _state(cache, above, start, rows, n)
        if above == model.cfg.n_layers - 1 and n > 2 * model.cfg.conv_kernel:
            x = _last(cache, x, state, start)
        else:
            x = block_of(model, above)(x, state, pos, None, views)
    return model.text_logits(model.backbone.norm(x[:, -1]))


def _last(cache: Cache, x: Tensor, state: State, start: int) -> Tensor:
    """The last layer, for its last position alone: `[rows, n, d_model]` -> `[rows, 1, d_model]`.

    All positions give keys and values; queries are needed at those few that the two ShortConvs reach back to.
    """
    layer, (rows, n, _) = cache.model.cfg.n_layers - 1, x.shape
    block = block_of(cache.model, layer)
    attn, near = block.attn, block.attn_conv.kernel - 1
    normed = block.attn_norm(x)
    k = attn.k_conv(attn.k_proj(normed), state[f"{layer}.k_conv"])[0].view(rows, n, attn.n_kv_heads, attn.d_head)
    v = attn.v_conv(attn.v_proj(normed), state[f"{layer}.v_conv"])[0].view(rows, n, attn.n_kv_heads, attn.d_head)
    past_k, past_v = (cache[name, layer][None, :start].expand(rows, -1, -1, -1) for name in ("k", "v"))
    keys, values = torch.cat([past_k, attn.k_norm(k)], 1), torch.cat([past_v, v], 1)  # [rows, keys, kv_heads, d_head]
    few = 2 * near + 1  # queries
    q = attn.q_norm(attn.q_proj(normed[:, -few:]).view(rows, few, attn.n_heads, attn.d_head))
    pos = torch.arange(start + n - few, start + n, device=x.device)[None].expand(rows, -1)
    pattern = attn.pattern_of(normed[:, -few:], q, keys, pos)  # [rows, heads, few, keys]
    values = values.transpose(1, 2).repeat_interleave(attn.n_heads // attn.n_kv_heads, 1)  # [rows, heads, keys, d_head]
    z = (pattern @ values).transpose(1, 2).reshape(rows, few, -1)  # [rows, few, heads * d_head]
    mid = x[:, -near - 1 :] + block.attn_conv(attn.o_proj(z))[0][:, near:]  # [rows, near + 1, d_model]
    return mid[:, -1:] + block.mlp_conv(block.mlp(block.mlp_norm(mid)))[0][:, -1:]


def _tail(x: Tensor, kernel: int, rows: int) -> Tensor:
    """The last inputs of a ShortConv `[few, width]`, zeros before the first position: `[rows, kernel - 1, width]`."""
    past = torch.cat([x.new_zeros(kernel - 1 - len(x), x.shape[1]), x])
    return past[None].expand(rows, -1, -1)


def _state(cache: Cache, layer: int, start: int, rows: int, n: int) -> State:
    """One layer's part of the state before position `start`, with room for `n` more, the same in all rows."""
    cfg, block, name = cache.model.cfg, block_of(cache.model, layer), str(layer)
    window, sinks = reach(cfg, layer)
    slots = max(min(sinks + window + n - 1, start + n), sinks + 1)
    ring = slots - sinks
    held = torch.arange(start, device=cache.logits.device)
    held = held[(held < sinks) | (held >= start - ring)]  # what a ring of this length has not overwritten
    state: State = {}
    for short in ("k", "v"):
        kept = cache[short, layer]  # [positions, kv_heads, d_head]
        filled = torch.full((kept.shape[1], slots, kept.shape[2]), torch.nan, device=kept.device, dtype=kept.dtype)
        filled[:, slot_of(held, slots, sinks)] = kept[held].transpose(0, 1)
        state[f"{name}.{short}"] = filled[None].repeat(rows, 1, 1, 1)
    near = slice(max(0, start - cfg.conv_kernel + 1), start)
    x = block.attn_norm(cache["resid_pre", layer][near])
    z = cache["z", layer][near]
    inputs = {"k_conv": block.attn.k_proj(x), "v_conv": block.attn.v_proj(x)}
    inputs |= {"attn_conv": block.attn.o_proj(z.flatten(1)), "mlp_conv": mlp_outputs_at(cache, layer, near).sum(1)}
    return state | {f"{name}.{conv}": _tail(value, cfg.conv_kernel, rows) for conv, value in inputs.items()}
