"""A turn's tokens through one block on a CPU, in one call, without the cost of a hundred operators.

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

from tml_kernels.weights import F32, Matrix, jit, matmul, part, summing


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


class BlockState(NamedTuple):
    """Views of a block's state: rings `[kv heads, slots, d_head]`, ShortConv tails `[kernel - 1, channels]`."""

    k: F32
    v: F32
    k_conv: F32
    v_conv: F32
    attn_conv: F32
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
def slot_of(pos, slots, sinks):
    return pos if pos < sinks else sinks + (pos - sinks) % (slots - sinks)


@summing
def dots(q, keys, seen):  # [d_head], [slots, d_head], slots [n] -> [n]; four keys at a time
    out = np.empty(len(seen), np.float32)
    whole = len(seen) // 4 * 4
    for i in range(0, whole, 4):
        k0, k1, k2, k3 = keys[seen[i]], keys[seen[i + 1]], keys[seen[i + 2]], keys[seen[i + 3]]
        a = b = c = e = np.float32(0.0)
        for d in range(len(q)):
            a += q[d] * k0[d]
            b += q[d] * k1[d]
            c += q[d] * k2[d]
            e += q[d] * k3[d]
        out[i], out[i + 1], out[i + 2], out[i + 3] = a, b, c, e
    for i in range(whole, len(seen)):
        key = keys[seen[i]]
        a = np.float32(0.0)
        for d in range(len(q)):
            a += q[d] * key[d]
        out[i] = a
    return out


@jit
def mix(weight, values, seen, out):  # out [d_head] += the weighted values, four at a time
    whole = len(seen) // 4 * 4
    for i in range(0, whole, 4):
        v0, v1, v2, v3 = values[seen[i]], values[seen[i + 1]], values[seen[i + 2]], values[seen[i + 3]]
        a, b, c, e = weight[i], weight[i + 1], weight[i + 2], weight[i + 3]
        for d in range(len(out)):
            out[d] += (a * v0[d] + b * v1[d]) + (c * v2[d] + e * v3[d])
    for i in range(whole, len(seen)):
        value = values[seen[i]]
        for d in range(len(out)):
            out[d] += weight[i] * value[d]


@jit
def exp_below(x):
    """`exp(x)` for `x [n] <= 0`, to 3e-7 of its value down to -1 and 5e-6 down to -80.

    2^whole by the float's exponent, 2^rest by a polynomial.

    The library's `exp` is not vectorised; this is, and softmax over a long past is mostly exponentials.
    """
    n = x.shape[0]
    power = np.empty(n, np.int32)
    out = np.empty(n, np.float32)
    for i in range(n):
        y = max(x[i] * np.float32(1.44269504), np.float32(-126.0))
        whole = np.floor(y)
        f = y - whole  # 0..1; the coefficients are those of 2^f, fitted with the least relative error
        p = np.float32(1.8775767e-3)
        p = p * f + np.float32(8.9893397e-3)
        p = p * f + np.float32(5.5826318e-2)
        p = p * f + np.float32(2.4015361e-1)
        p = p * f + np.float32(6.9315308e-1)
        out[i] = p * f + np.float32(9.9999994e-1)
        power[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
    return out * power.view(np.float32)


@jit
def attend(q, bias, ring_k, ring_v, pos, sinks, window, pattern):
    """One query `q [heads, d_head]` at `pos`; `bias [heads, extent]` by distance -> `[heads * d_head]`.

    `pattern [heads, slots in use]`, unless it is empty, receives what the query gives to each slot.
    """
    n_heads, d_head = q.shape
    n_kv, slots = ring_k.shape[0], ring_k.shape[1]
    first = max(sinks, pos - window + 1)  # the oldest position in sight behind the sinks
    n_sinks = min(sinks, pos + 1)
    n_seen = n_sinks + max(0, pos - first + 1)
    seen = np.empty(n_seen, np.int64)  # slots that the query sees, the oldest position first: a ring of another
    distance = np.empty(n_seen, np.int64)  # length, or none at all, gives the same order of additions
    at = slot_of(first, slots, sinks)
    for i in range(n_seen):
        if i < n_sinks:
            seen[i], distance[i] = i, pos - i
        else:
            seen[i], distance[i] = at, pos - first - (i - n_sinks)
            at = at + 1 if at + 1 < slots else sinks
    out = np.zeros(n_heads * d_head, np.float32)
    for h in range(n_heads):
        keys, values = ring_k[h // (n_heads // n_kv)], ring_v[h // (n_heads // n_kv)]
        weight = dots(q[h], keys, seen)
        for i in range(n_seen):
            if distance[i] < bias.shape[1]:
                weight[i] += bias[h, distance[i]]
        weight = exp_below(weight - weight.max())
        weight /= weight.sum()
        mix(weight, values, seen, out[h * d_head : (h + 1) * d_head])
        for i in range(n_seen if pattern.shape[1] else 0):
            pattern[h, seen[i]] = weight[i]
    return out


@jit
def attention(x, w, state, pos, sinks, window, tau, eps, pattern):  # [n, d_model] -> [n, d_model]
    n_kv, slots, d_head = state.k.shape
    n = x.shape[0]
    q = matmul(w.q_proj, x)
    n_heads, d_rel, extent = q.shape[1] // d_head, w.rel.shape[0], w.rel.shape[1]
    q = normed(q.reshape(n * n_heads, d_head), w.q_norm, eps).reshape(n, n_heads, d_head)
    k = short_conv(matmul(w.k_proj, x), w.k_conv, state.k_conv)
    k = normed(k.reshape(n * n_kv, d_head), w.k_norm, eps).reshape(n, n_kv, d_head)
    v = short_conv(matmul(w.v_proj, x), w.v_conv, state.v_conv).reshape(n, n_kv, d_head)
    r = matmul(w.r_proj, x).reshape(n, n_heads, d_rel)
    for t in range(n):
        at = slot_of(pos + t, slots, sinks)
        state.k[:, at] = k[t]
        state.v[:, at] = v[t]
    out = np.empty((n, n_heads * d_head), np.float32)
    for t in range(n):
        bias = np.zeros((n_heads, extent), np.float32)  # by distance
        for h in range(n_heads):
            for i in range(d_rel):
                factor = r[t, h, i] * np.float32(tau[t])
                for e in range(min(extent, pos + t + 1)):
                    bias[h, e] += factor * w.rel[i, e]
        scaled = q[t] * np.float32(tau[t] / d_head)
        out[t] = attend(scaled, bias, state.k, state.v, pos + t, sinks, window, pattern[:, t])
    return matmul(w.o_proj, out)


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
def decode_block(x, w, state, pos, sinks, window, tau, top_k, scale, eps, pattern):
    """The next tokens through one block.

    Args:
        x: float32 [n, d_model], replaced by the residual after the block.
        w, state: `BlockWeights`, `BlockState`.
        pos: the first token's absolute position; `sinks`, `window`: what the layer sees, in tokens.
        tau: float64 [n], factor on scores (log scaling); `top_k`, `scale`: of the router; `eps`: of the norms.
        pattern: float32 [heads, n, slots in use] of zeros, filled in, or [heads, n, 0] when nobody asks.
    """
    mixed = attention(normed(x, w.attn_norm, eps), w, state, pos, sinks, window, tau, eps, pattern)
    x += short_conv(mixed, w.attn_conv, state.attn_conv)
    mixed = experts(normed(x, w.mlp_norm, eps), w, top_k, scale)
    x += short_conv(mixed, w.mlp_conv, state.mlp_conv)
