"""A turn's tokens through one block on a CPU, in one call, without the cost of a hundred operators.

The tokens of one session, or of several beside each other: norms, products, router and experts take them all at once,
and read each weight once; ShortConvs and attention take one session after the other.

A session feeds few tokens at a time: six to twenty that were heard and seen, then the model's own, one by one. Torch
spends most of that time between operators, and its matrix product for a single row reads the weights at a third of
the memory's speed. These loops read each weight once, whatever the number of tokens, and add in an order that does
not depend on it. Compiled by Numba at first use and kept on disk; arrays are float32 and C-contiguous, and the state
is written in place.

The reference is the torch code in `tml_lab.model` (`Block.forward`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tml_kernels.attend import attend, slot_of
from tml_kernels.sequences import ATTN_CONV, K_CONV, MLP_CONV, V_CONV, K, V, ring_of, tail_of
from tml_kernels.weights import F32, Matrix, jit, matmul, part, summing

QUERIES = 24  # that meet the past together: their scores stay in the second cache


class BlockWeights(NamedTuple):
    """A block's parameters, `[rows, cols]` as torch keeps them, the vectors and taps as views."""

    attn_norm: F32
    q_proj: Matrix
    k_proj: Matrix
    v_proj: Matrix
    r_proj: Matrix
    k_conv: F32
    v_conv: F32
    q_norm: F32
    k_norm: F32
    rel: F32
    o_proj: Matrix
    attn_conv: F32
    mlp_norm: F32
    router: Matrix
    router_bias: F32
    gate_up: Matrix
    down: Matrix
    shared_gate_up: Matrix
    shared_down: Matrix
    mlp_conv: F32


@jit
def sigmoid(x):
    return np.float32(1.0) / (np.float32(1.0) + np.exp(-x))


@summing
def square_sum(x):  # [d] -> scalar
    total = np.float32(0.0)
    for j in range(len(x)):
        total += x[j] * x[j]
    return total


@jit
def normed(x, gain, eps):  # [n, d], each row scaled to unit root mean square
    n, d = x.shape
    out = np.empty((n, d), np.float32)
    for t in range(n):
        scale = np.float32(1.0) / np.sqrt(square_sum(x[t]) / np.float32(d) + np.float32(eps))
        for j in range(d):
            out[t, j] = x[t, j] * scale * gain[j]
    return out


@jit
def short_conv(x, weight, tail):  # [n, channels], [channels, kernel], [kernel - 1, channels]: moved on in place
    n, channels = x.shape
    past = tail.shape[0]
    out = np.empty((n, channels), np.float32)
    for t in range(n):
        for c in range(channels):
            total = x[t, c] + x[t, c] * weight[c, past]
            for j in range(past):
                total += tail[j, c] * weight[c, j]
            out[t, c] = total
        for j in range(past - 1):
            tail[j] = tail[j + 1]
        tail[past - 1] = x[t]
    return out


@jit
def bias_of(r, rel, tau, pos):  # r [n, heads, d_rel], rel [d_rel, extent], tau [n] -> by distance [n, heads, extent]
    n, n_heads, d_rel = r.shape
    bias = np.zeros((n, n_heads, rel.shape[1]), np.float32)
    for t in range(n):
        for h in range(n_heads):
            line = bias[t, h, : pos + t + 1]
            f = r[t, h] * np.float32(tau[t])
            for i in range(0, d_rel - 3, 4):  # one after the other is added, but the line is written once for four
                a, b, c, d = rel[i], rel[i + 1], rel[i + 2], rel[i + 3]
                for e in range(len(line)):
                    line[e] = (((line[e] + f[i] * a[e]) + f[i + 1] * b[e]) + f[i + 2] * c[e]) + f[i + 3] * d[e]
            for i in range(d_rel // 4 * 4, d_rel):
                for e in range(len(line)):
                    line[e] += f[i] * rel[i, e]
    return bias


@jit
def attention(x, w, where, sinks, window, tau, eps, pattern):  # [n, d_model] -> [n, d_model]
    n, d_head, d_rel = x.shape[0], w.q_norm.shape[0], w.rel.shape[0]
    q, k_new, v_new, r = matmul(w.q_proj, x), matmul(w.k_proj, x), matmul(w.v_proj, x), matmul(w.r_proj, x)
    n_heads, n_kv = q.shape[1] // d_head, k_new.shape[1] // d_head
    q = normed(q.reshape(n * n_heads, d_head), w.q_norm, eps).reshape(n, n_heads, d_head)
    for t in range(n):
        q[t] *= np.float32(tau[t] / d_head)
    r = r.reshape(n, n_heads, d_rel)
    out = np.empty((n, n_heads * d_head), np.float32)
    for s in range(len(where.pos)):
        a, b, pos, slots = where.first[s], where.first[s + 1], where.pos[s], where.slots[s]
        ring_k, ring_v = ring_of(where, s, K, n_kv, d_head), ring_of(where, s, V, n_kv, d_head)
        k = short_conv(k_new[a:b], w.k_conv, tail_of(where, s, K_CONV, w.k_conv))
        k = normed(k.reshape((b - a) * n_kv, d_head), w.k_norm, eps).reshape(b - a, n_kv, d_head)
        v = short_conv(v_new[a:b], w.v_conv, tail_of(where, s, V_CONV, w.v_conv)).reshape(b - a, n_kv, d_head)
        for t in range(b - a):
            at = slot_of(pos + t, slots, sinks)
            ring_k[:, at] = k[t]
            ring_v[:, at] = v[t]
        bias = bias_of(r[a:b], w.rel, tau[a:b], pos)
        parts = (b - a + QUERIES - 1) // QUERIES
        for p in range(parts):
            i, j = (b - a) * p // parts, (b - a) * (p + 1) // parts
            seen = pattern[:, i:j]
            out[a + i : a + j] = attend(q[a + i : a + j], bias[i:j], ring_k, ring_v, pos + i, sinks, window, seen)
    return matmul(w.o_proj, out)


@jit
def add_convolved(x, branch, weight, where, part):  # x [n, d_model] += the ShortConv of branch, with its own tail
    for s in range(len(where.pos)):
        a, b = where.first[s], where.first[s + 1]
        x[a:b] += short_conv(branch[a:b], weight, tail_of(where, s, part, weight))


@jit
def expert(x, gate_up, down):  # SwiGLU: [n, d_model] -> [n, d_model]
    both = matmul(gate_up, x)
    inner = both.shape[1] // 2
    hidden = np.empty((x.shape[0], inner), np.float32)
    for t in range(x.shape[0]):
        for j in range(inner):
            hidden[t, j] = both[t, j] * sigmoid(both[t, j]) * both[t, inner + j]
    return matmul(down, hidden)


@jit
def route(x, router, bias, top_k, scale):
    """`[n, d_model]` -> the weight of every expert, routed ones first, 0 where not chosen: `[n, experts + shared]`."""
    score = matmul(router, x)
    n, n_experts = x.shape[0], bias.shape[0]
    weight = np.zeros(score.shape, np.float32)
    for t in range(n):
        for e in range(score.shape[1]):
            score[t, e] = sigmoid(score[t, e])
        rank = score[t, :n_experts] + bias
        total = np.float32(0.0)
        for _ in range(top_k):
            best = np.argmax(rank)
            rank[best] = np.float32(-np.inf)
            weight[t, best] = score[t, best]
            total += score[t, best]
        for e in range(n_experts, score.shape[1]):
            weight[t, e] = score[t, e]
            total += score[t, e]
        weight[t] *= np.float32(scale) / total
    return weight


@jit
def experts(x, w, top_k, scale):
    """The chosen experts, each visited once, then the shared ones: `[n, d_model] -> [n, d_model]`."""
    n, n_experts = x.shape[0], w.gate_up.full.shape[0]
    weight = route(x, w.router, w.router_bias, top_k, scale)
    out = np.zeros_like(x)
    for e in range(n_experts):
        rows = np.nonzero(weight[:, e])[0]
        if len(rows):
            said = expert(x[rows], part(w.gate_up, e), part(w.down, e))
            for i in range(len(rows)):
                out[rows[i]] += said[i] * weight[rows[i], e]
    for j in range(w.shared_gate_up.full.shape[0]):
        said = expert(x, part(w.shared_gate_up, j), part(w.shared_down, j))
        for t in range(n):
            out[t] += said[t] * weight[t, n_experts + j]
    return out


@jit
def decode_block(x, w, where, sinks, window, tau, top_k, scale, eps, pattern):
    """The next tokens of each sequence through one block.

    Args:
        x: float32 [n, d_model], all sequences' tokens; replaced by the residual after the block.
        w, where: `BlockWeights`, `Sequences`; their state is written in place.
        sinks, window: what the layer sees, in tokens.
        tau: float64 [n], factor on scores (log scaling); `top_k`, `scale`: of the router; `eps`: of the norms.
        pattern: float32 [heads, n, slots in use] of zeros, filled in, for one sequence that is watched; or
            [heads, n, 0].
    """
    mixed = attention(normed(x, w.attn_norm, eps), w, where, sinks, window, tau, eps, pattern)
    add_convolved(x, mixed, w.attn_conv, where, ATTN_CONV)
    mixed = experts(normed(x, w.mlp_norm, eps), w, top_k, scale)
    add_convolved(x, mixed, w.mlp_conv, where, MLP_CONV)
