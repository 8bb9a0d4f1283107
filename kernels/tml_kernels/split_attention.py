"""Attention over keys in splits that stand where they stand: torch reference, invariant composition, Triton, dispatch.

A long past is shared out: each split of the keys gives a partial softmax, and the partial ones are merged. Where the
cuts are is part of the arithmetic. Libraries cut by how much of the machine is free, so that the same query gets other
bits in a prefill, in a decode step, or beside other sequences. Here the cuts stand at absolute positions 0, 256, 512
..., a split is always computed at its full size, and the merge goes from left to right.

Source: Dao et al. 2023, Flash-Decoding; He et al. 2025, "Defeating Nondeterminism in LLM Inference" (fixed split size).
"""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from tml_kernels.matmul import matmul
from tml_kernels.rmsnorm import triton_available

SPLIT = 256
"""Keys in a split, for models of nano's size."""

Partial = tuple[Tensor, Tensor, Tensor]
"""Of one split: largest score `[n, 1]`, sum of exponentials `[n, 1]`, weighted sum of values `[n, d]`."""


def split_attention(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, first: int = 0, split: int = SPLIT) -> Tensor:
    """Softmax attention whose bits do not depend on the other queries, nor on keys a query does not see.

    Args:
        q: float32 `[n, d]`, already scaled.
        k, v: float32 `[keys, d]`, in the order of their positions.
        bias: float32 `[n, keys]`, added to the scores; -inf where a query does not see a key.
        first: the absolute position of the first key.
        split: keys in a split.

    Returns: float32 `[n, d]`; 0 for a query that sees nothing.

    Raises ValueError when shapes do not fit.
    """
    if k.shape != v.shape or q.shape[1:] != k.shape[1:] or bias.shape != (len(q), len(k)):
        raise ValueError(
            f"split_attention: q [n, d], k and v [keys, d], bias [n, keys]; got q {tuple(q.shape)}, "
            f"k {tuple(k.shape)}, v {tuple(v.shape)}, bias {tuple(bias.shape)}."
        )
    if q.is_cuda and triton_available():
        return split_attention_triton(q, k, v, bias, first, split)
    return split_attention_cpu(q, k, v, bias, first, split)


def split_attention_reference(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, first: int = 0, split: int = SPLIT
) -> Tensor:
    """What `split_attention` computes (same arguments), in one softmax and torch's order; any floating dtype."""
    pattern = torch.softmax(q @ k.T + bias, dim=-1)  # [n, keys]
    return pattern.nan_to_num(0.0) @ v  # nothing seen: 0 / 0


def split_bounds(first: int, n_keys: int, split: int) -> list[tuple[int, int]]:
    """Where the splits of `n_keys` keys from position `first` on begin and end: cuts at multiples of `split`.

    >>> split_bounds(300, 400, 256)
    [(300, 512), (512, 700)]
    """
    end = first + n_keys
    cuts = [first, *range((first // split + 1) * split, end, split), end]
    return [(a, b) for a, b in pairwise(cuts) if a < b]


def partial_softmax(scores: Tensor, values: Tensor) -> Partial:
    """One split: `scores [n, split]` (-inf: unseen), `values [split, d]` -> its `Partial`."""
    largest = scores.amax(-1, keepdim=True)  # [n, 1]
    weight = torch.exp(scores - largest.clamp_min(torch.finfo(scores.dtype).min))  # all unseen: exp(-inf) = 0
    return largest, weight.sum(-1, keepdim=True), matmul(weight, values.T.contiguous())


def merge(left: Partial, right: Partial) -> Partial:
    """Two partial softmaxes as one, as if their keys had been in one split."""
    largest = torch.maximum(left[0], right[0])  # [n, 1]
    safe = largest.clamp_min(torch.finfo(largest.dtype).min)
    scale_left, scale_right = torch.exp(left[0] - safe), torch.exp(right[0] - safe)
    return (
        largest,
        left[1] * scale_left + right[1] * scale_right,
        left[2] * scale_left + right[2] * scale_right,
    )


def split_attention_cpu(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, first: int = 0, split: int = SPLIT) -> Tensor:
    """`split_attention` out of products whose rows do not know their batch; float32 on a CPU."""
    so_far: Partial | None = None
    for a, b in split_bounds(first, len(k), split):
        # each split at its full size, keys where their positions put them: half filled, it adds zeros, not fewer terms
        keys, values = k.new_zeros(split, k.shape[1]), v.new_zeros(split, v.shape[1])
        scores = q.new_full((len(q), split), -torch.inf)
        inside, here = slice(a % split, a % split + b - a), slice(a - first, b - first)
        keys[inside], values[inside] = k[here], v[here]
        scores[:, inside] = matmul(q, keys)[:, inside] + bias[:, here]
        this = partial_softmax(scores, values)
        so_far = this if so_far is None else merge(so_far, this)
    if so_far is None:
        return torch.zeros_like(q)
    return torch.where(so_far[1] > 0, so_far[2] / so_far[1], torch.zeros_like(so_far[2]))


def split_attention_triton(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor, first: int = 0, split: int = SPLIT
) -> Tensor:
    """All splits of all queries side by side, then merged from left to right. CUDA tensors, or the interpreter."""
    partial_kernel, merge_kernel, triton = _build_kernels()
    n, d = q.shape
    bounds = split_bounds(first, len(k), split)
    if not bounds or n == 0:
        return torch.zeros_like(q)
    n_splits, width = len(bounds), triton.next_power_of_2(d)
    scratch = torch.empty(n, n_splits, 2 + d, dtype=torch.float32, device=q.device)  # largest, sum, values
    out = torch.empty(n, d, dtype=torch.float32, device=q.device)
    q, k, v, bias = (t.contiguous() for t in (q, k, v, bias))
    warps = 8 if split * width > 16384 else 4  # a split's keys lie in registers
    partial_kernel[(n, n_splits)](
        q, k, v, bias, scratch, len(k), first, first // split, d, n_splits, split, width, num_warps=warps
    )
    merge_kernel[(n,)](scratch, out, d, n_splits, width)
    return out


@functools.cache
def _build_kernels() -> tuple[Any, Any, Any]:
    """The kernels, built on first use: importing Triton is slow and not always possible."""
    import triton
    import triton.language as tl

    @triton.jit
    def partial_kernel(  # pyright: ignore
        q_ptr, k_ptr, v_ptr, bias_ptr, scratch_ptr, n_keys, first, first_split, d, n_splits,
        SPLIT: tl.constexpr, D: tl.constexpr,
    ):  # fmt: skip
        query, part = tl.program_id(0).to(tl.int64), tl.program_id(1)
        column = tl.arange(0, D)
        key = (first_split + part) * SPLIT + tl.arange(0, SPLIT) - first  # row of k; outside: no key stands there
        held, inside = (key >= 0) & (key < n_keys), column < d
        where = key.to(tl.int64)[:, None] * d + column[None, :]
        both = held[:, None] & inside[None, :]
        q = tl.load(q_ptr + query * d + column, mask=inside, other=0.0)
        k = tl.load(k_ptr + where, mask=both, other=0.0)
        bias = tl.load(bias_ptr + query * n_keys + key, mask=held, other=-float("inf"))
        scores = tl.sum(k * q[None, :], axis=1) + bias
        largest = tl.max(scores, axis=0)
        weight = tl.exp(scores - tl.maximum(largest, -3.4028234663852886e38))
        v = tl.load(v_ptr + where, mask=both, other=0.0)
        mixed = tl.sum(weight[:, None] * v, axis=0)
        base = scratch_ptr + (query * n_splits + part) * (2 + d)
        tl.store(base, largest)
        tl.store(base + 1, tl.sum(weight, axis=0))
        tl.store(base + 2 + column, mixed, mask=inside)

    @triton.jit
    def merge_kernel(scratch_ptr, out_ptr, d, n_splits, D: tl.constexpr):  # pyright: ignore
        query = tl.program_id(0).to(tl.int64)
        column = tl.arange(0, D)
        inside = column < d
        base = scratch_ptr + query * n_splits * (2 + d)
        largest, total = tl.load(base), tl.load(base + 1)
        mixed = tl.load(base + 2 + column, mask=inside, other=0.0)
        for _ in range(1, n_splits):
            base += 2 + d
            other = tl.load(base)
            both = tl.maximum(largest, other)
            safe = tl.maximum(both, -3.4028234663852886e38)
            mine, its = tl.exp(largest - safe), tl.exp(other - safe)
            total = total * mine + tl.load(base + 1) * its
            mixed = mixed * mine + tl.load(base + 2 + column, mask=inside, other=0.0) * its
            largest = both
        mixed = tl.where(total > 0, mixed / total, 0.0)
        tl.store(out_ptr + query * d + column, mixed, mask=inside)

    return partial_kernel, merge_kernel, triton
