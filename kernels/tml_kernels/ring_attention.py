"""Attention of a few new tokens over a ring of keys that lies where it lies: torch reference, Triton, dispatch.

A session keeps its past in a ring of fixed length; which position a slot holds follows from how many tokens there have
been, a number that stays on the device. So the launch is the same at every turn, as a CUDA graph wants it. The slots
are shared out among programs and the partial softmaxes merged (flash decoding); all tokens and query heads that share
keys meet them in one program, as the rows of a matrix product, so that each key comes from memory once. Slots that no
query sees are not read.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from tml_kernels.rmsnorm import triton_available

BLOCK = 64
"""Slots read at once."""
MOST_SPLITS = 128
"""Partial softmaxes that one program merges."""
LEAST_ROWS, MOST_ROWS = 16, 64
"""Queries (tokens times the heads of a group) of one program: what a matrix unit takes at least, and registers bear."""


def ring_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, pos: Tensor, sinks: int, window: int) -> Tensor:
    """Softmax attention with a bias by distance; the new tokens' keys and values are in the ring already.

    Args:
        q: `[n, heads, d]`, of the newest n tokens; scores are scaled by `1 / d`, as those of normalised q and k are.
        k, v: `[kv heads, slots, d]`. The first `sinks` positions stay in the first slots, the others go round.
        bias: `[n, heads, extent]`, added to the score at each distance; 0 beyond.
        pos: int64 `[1]`, how many tokens there were before these n.
        window: a query sees distances below it, and the sinks.

    Returns: `[n, heads, d]` in q's dtype. Raises ValueError when shapes do not fit. No gradient.
    """
    (n, heads, d), (n_kv, slots, _) = q.shape, k.shape
    if k.shape != v.shape or k.shape[2] != d or heads % n_kv or bias.shape[:2] != (n, heads) or n > slots - sinks:
        raise ValueError(
            f"ring_attention: q [n, heads, d], k and v [kv heads, slots, d], bias [n, heads, extent]; got q "
            f"{tuple(q.shape)}, k {tuple(k.shape)}, v {tuple(v.shape)}, bias {tuple(bias.shape)}, {sinks} sinks."
        )
    if q.is_cuda and triton_available():
        return ring_attention_triton(q, k, v, bias, pos, sinks, window)
    return ring_attention_reference(q, k, v, bias, pos, sinks, window)


def positions(last: Tensor, slots: int, sinks: int) -> Tensor:
    """The position in each slot when `last [1]` is the newest: int64 `[slots]`, -1 where none is yet."""
    slot = torch.arange(slots, device=last.device)
    newest = last - (last - slot) % (slots - sinks)
    held = torch.where(slot < sinks, slot.masked_fill(slot > last, -1), newest)
    return held.masked_fill((held < sinks) & (slot >= sinks), -1)


def ring_attention_reference(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, pos: Tensor, sinks: int, window: int
) -> Tensor:
    """What `ring_attention` computes (same arguments), by torch over the whole ring; any floating dtype."""
    (n, heads, d), (n_kv, slots, _), extent = q.shape, k.shape, bias.shape[2]
    held = positions(pos + n - 1, slots, sinks)  # [slots]
    distance = (pos + torch.arange(n, device=q.device))[:, None] - held  # [n, slots]
    seen = (held >= 0) & (distance >= 0) & ((distance < window) | (held < sinks))
    unseen = torch.zeros(seen.shape, device=q.device).masked_fill_(~seen, -torch.inf)  # [n, slots]
    index = distance.clamp(0, extent - 1)[:, None].expand(-1, heads, -1)
    near = bias.gather(2, index).masked_fill((distance >= extent)[:, None], 0.0)  # [n, heads, slots]
    grouped = (q * (1.0 / d)).view(n, n_kv, heads // n_kv, d).permute(1, 0, 2, 3).reshape(n_kv, -1, d)
    hole = (held < 0)[None, :, None]  # nothing was written there, perhaps NaN
    scores = (grouped @ k.masked_fill(hole, 0.0).transpose(1, 2).to(q.dtype)).view(n_kv, n, heads // n_kv, slots)
    scores = scores.permute(1, 0, 2, 3).reshape(n, heads, slots) + near + unseen[:, None]
    wide = torch.float64 if q.dtype == torch.float64 else torch.float32
    pattern = torch.softmax(scores, dim=-1, dtype=wide).to(v.dtype)
    pattern = pattern.view(n, n_kv, -1, slots).permute(1, 0, 2, 3).reshape(n_kv, -1, slots)
    out = (pattern @ v.masked_fill(hole, 0.0)).view(n_kv, n, heads // n_kv, d)
    return out.permute(1, 0, 2, 3).reshape(n, heads, d).to(q.dtype)


def ring_attention_triton(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, pos: Tensor, sinks: int, window: int
) -> Tensor:
    """A program for some queries of a kv head and a stretch of slots, then one for each token and head to merge them.

    Sums are float32. CUDA tensors, or the interpreter.
    """
    partial_kernel, merge_kernel, triton = _build_kernels()
    (n, heads, d), (n_kv, slots, _) = q.shape, k.shape
    steps = max(2, triton.cdiv(slots, BLOCK * MOST_SPLITS))
    n_splits, width = triton.cdiv(slots, BLOCK * steps), max(16, triton.next_power_of_2(d))
    scratch = torch.empty(n, heads, n_splits, 2 + d, dtype=torch.float32, device=q.device)  # largest, sum, values
    out = torch.empty(n, heads, d, dtype=q.dtype, device=q.device)
    q, k, v, bias = (t.contiguous() for t in (q, k, v, bias))
    if n:
        queries = n * (heads // n_kv)  # that share keys
        rows = min(MOST_ROWS, max(LEAST_ROWS, triton.next_power_of_2(queries)))
        partial_kernel[(triton.cdiv(queries, rows), n_kv, n_splits)](
            q, k, v, bias, pos, scratch, n, heads, slots, sinks, window, bias.shape[2], d, n_splits, 1.0 / d,
            heads // n_kv, rows, BLOCK, steps, width,
        )  # fmt: skip
        many = max(2, triton.next_power_of_2(n_splits))
        merge_kernel[(n * heads,)](scratch, out, d, n_splits, many, width, num_warps=8 if many * width > 8192 else 4)
    return out


@functools.cache
def _build_kernels() -> tuple[Any, Any, Any]:
    """The kernels, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def partial_kernel(  # pyright: ignore
        q_ptr, k_ptr, v_ptr, bias_ptr, pos_ptr, scratch_ptr,
        n, heads, slots, sinks, window, extent, d, n_splits, scale,
        GROUP: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, STEPS: tl.constexpr, D: tl.constexpr,
    ):  # fmt: skip
        kv, part = tl.program_id(1), tl.program_id(2)
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)  # token by token, the heads of the group in each
        token, there = row // GROUP, row < n * GROUP
        line = (token * heads + kv * GROUP + row % GROUP).to(tl.int64)
        column = tl.arange(0, D)
        inside = column < d
        before = tl.load(pos_ptr)
        last, here, ring = before + n - 1, before + token, slots - sinks
        asked = there[:, None] & inside[None, :]
        q = tl.load(q_ptr + line[:, None] * d + column[None, :], mask=asked, other=0.0)
        largest = tl.full((ROWS,), float("-inf"), tl.float32)
        total = tl.zeros((ROWS,), dtype=tl.float32)
        mixed = tl.zeros((ROWS, D), dtype=tl.float32)
        for step in range(STEPS):
            slot = (part * STEPS + step) * BLOCK + tl.arange(0, BLOCK)
            behind = ((last - slot) % ring + ring) % ring  # of a negative number `%` is negative on a GPU
            held = tl.where(slot < sinks, slot, last - behind)
            real = (slot < slots) & (held >= 0) & ((slot < sinks) | (held >= sinks))
            distance = here[:, None] - held[None, :]  # [rows, slots]
            near = (distance < window) | (held < sinks)[None, :]
            seen = there[:, None] & real[None, :] & (distance >= 0) & near
            useful = tl.max(seen.to(tl.int32), axis=0) > 0
            both = useful[:, None] & inside[None, :]
            place = (kv.to(tl.int64) * slots + slot)[:, None] * d + column[None, :]
            k = tl.load(k_ptr + place, mask=both, other=0.0)
            v = tl.load(v_ptr + place, mask=both, other=0.0)
            close = seen & (distance < extent)
            bias = tl.load(bias_ptr + line[:, None] * extent + distance, mask=close, other=0.0).to(tl.float32)
            # float32 in three pieces of tf32: as exact within a few last digits, and on the matrix units
            score = tl.dot(q, tl.trans(k), input_precision="tf32x3") * scale + bias
            score = tl.where(seen, score, float("-inf"))
            higher = tl.maximum(largest, tl.max(score, axis=1))
            safe = tl.where(higher == float("-inf"), 0.0, higher)  # nothing seen yet
            shrink = tl.exp(largest - safe)
            weight = tl.exp(score - safe[:, None])
            mixed = mixed * shrink[:, None] + tl.dot(weight.to(v.dtype), v, input_precision="tf32x3")
            total = total * shrink + tl.sum(weight, axis=1)
            largest = higher
        base = scratch_ptr + (line * n_splits + part) * (2 + d)
        tl.store(base, largest, mask=there)
        tl.store(base + 1, total, mask=there)
        tl.store(base[:, None] + 2 + column[None, :], mixed, mask=asked)

    @triton.jit
    def merge_kernel(scratch_ptr, out_ptr, d, n_splits, SPLITS: tl.constexpr, D: tl.constexpr):  # pyright: ignore
        line = tl.program_id(0).to(tl.int64)
        part, column = tl.arange(0, SPLITS), tl.arange(0, D)
        there, inside = part < n_splits, column < d
        base = scratch_ptr + (line * n_splits + part) * (2 + d)
        largest = tl.load(base, mask=there, other=float("-inf"))
        top = tl.max(largest, axis=0)
        scale = tl.exp(largest - tl.where(top == float("-inf"), 0.0, top))
        total = tl.sum(scale * tl.load(base + 1, mask=there, other=0.0), axis=0)
        both = there[:, None] & inside[None, :]
        mixed = tl.load(base[:, None] + 2 + column[None, :], mask=both, other=0.0)
        mixed = tl.sum(scale[:, None] * mixed, axis=0) / total
        tl.store(out_ptr + line * d + column, mixed.to(out_ptr.dtype.element_ty), mask=inside)

    return partial_kernel, merge_kernel, triton
