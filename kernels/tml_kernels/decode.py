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

from tml_kernels.sequences import ATTN_CONV, K_CONV, MLP_CONV, V_CONV, K, V, ring_of, tail_of
from tml_kernels.tiles import mixing_1, mixing_2, product_1x1, product_1x2, product_4x1, product_4x2
from tml_kernels.vectors import LANES
from tml_kernels.weights import F32, Matrix, jit, matmul, ordered, part, summing

STRETCH = 128  # keys that all queries meet before the next ones: a multiple of four, so that no sum is regrouped


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
def slot_of(pos, slots, sinks):
    return pos if pos < sinks else sinks + (pos - sinks) % (slots - sinks)


@jit
def dots(q, row, heads, keys, seen, first, last, out):
    """`out[row + h, first .. last]`: queries `q [.., d_head]` times the keys in the slots `seen`; `heads` is 1 or 2."""
    i = first
    while i < last:
        four = i + 4 <= last and seen[i + 3] == seen[i] + 3  # side by side: the ring's end is not between them
        if heads == 2 and four:
            product_4x2(keys, seen[i], q, row, out, i)
        elif heads == 2:
            product_1x2(keys, seen[i], q, row, out, i)
        elif four:
            product_4x1(keys, seen[i], q, row, out, i)
        else:
            product_1x1(keys, seen[i], q, row, out, i)
        i += 4 if four else 1
    d_head = q.shape[1]
    for h in range(row, row + heads if d_head % LANES else row):  # what fills no tile
        for i in range(first, last):
            for d in range(d_head // LANES * LANES, d_head):
                out[h, i] += q[h, d] * keys[seen[i], d]


@jit
def mix(weight, row, heads, values, seen, first, last, out):
    """`out [.., d_head]` from `row` on += the weighted values, four at a time, then the rest one by one."""
    d_head, whole = out.shape[1], first + (last - first) // 4 * 4
    tiled = d_head // LANES * LANES
    for column in range(0, tiled, LANES):
        if heads == 2:
            mixing_2(weight, row, first, whole, values, seen, out, column)
        else:
            mixing_1(weight, row, first, whole, values, seen, out, column)
    for h in range(row, row + heads):
        w = weight[h]
        for i in range(first, whole if tiled < d_head else first, 4):
            v0, v1, v2, v3 = values[seen[i]], values[seen[i + 1]], values[seen[i + 2]], values[seen[i + 3]]
            for d in range(tiled, d_head):
                out[h, d] += (w[i] * v0[d] + w[i + 1] * v1[d]) + (w[i + 2] * v2[d] + w[i + 3] * v3[d])
        for i in range(whole, last):
            for d in range(d_head):
                out[h, d] += w[i] * values[seen[i], d]


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


@summing
def total_of(x):  # [n] -> scalar
    total = np.float32(0.0)
    for i in range(len(x)):
        total += x[i]
    return total


@ordered
def largest_of(x):  # [n] -> scalar; a maximum has no order, and four at a time need not wait for each other
    a = b = c = e = x[0]
    whole = len(x) // 4 * 4
    for i in range(0, whole, 4):
        a, b, c, e = max(a, x[i]), max(b, x[i + 1]), max(c, x[i + 2]), max(e, x[i + 3])
    for i in range(whole, len(x)):
        a = max(a, x[i])
    return max(max(a, b), max(c, e))


@jit
def look(pos, slots, sinks, window):
    """What a query at `pos` sees: its slots, the oldest position first, and how many of them are sinks.

    A ring of another length, or none at all, gives the same positions in the same order.
    """
    first = max(sinks, pos - window + 1)  # the oldest position in sight behind the sinks
    n_sinks = min(sinks, pos + 1)
    seen = np.empty(n_sinks + max(0, pos - first + 1), np.int64)
    at = slot_of(first, slots, sinks)
    for i in range(len(seen)):
        if i < n_sinks:
            seen[i] = i
        else:
            seen[i] = at
            at = at + 1 if at + 1 < slots else sinks
    return seen, n_sinks


@jit
def add_bias(weight, bias, pos, n_sinks):  # scores [n] of the positions seen, the oldest first; bias [extent]
    extent, n = len(bias), len(weight)
    for i in range(n_sinks):
        if pos - i < extent:
            weight[i] += bias[pos - i]
    near = weight[max(n_sinks, n - extent) :]  # the last position seen is the query's own
    for i in range(len(near)):
        near[i] += bias[len(near) - 1 - i]


@jit
def attend(q, bias, ring_k, ring_v, pos, sinks, window, pattern):
    """Queries `q [n, heads, d_head]` from `pos` on; `bias [n, heads, extent]` by distance -> `[n, heads * d_head]`.

    A stretch of keys, or values, meets all queries before the next one comes: a long past lies beyond the second
    cache. A query meets its own past in its own order, alone or not.

    `pattern [heads, n, slots in use]`, unless it is empty, receives what the queries give to each slot.
    """
    n, n_heads, d_head = q.shape
    n_kv, slots = ring_k.shape[0], ring_k.shape[1]
    group = n_heads // n_kv
    looks = [look(pos + t, slots, sinks, window) for t in range(n)]
    longest = len(looks[n - 1][0])
    q = q.reshape(n * n_heads, d_head)
    weight = np.empty((n * n_heads, longest), np.float32)
    out = np.zeros((n * n_heads, d_head), np.float32)
    for start in range(0, longest, STRETCH):
        for h in range(0, n_heads, 2 if group % 2 == 0 else 1):  # heads in pairs that see the same keys
            for t in range(n):
                seen = looks[t][0]
                stop = max(start, min(len(seen), start + STRETCH))
                dots(q, t * n_heads + h, 2 - group % 2, ring_k[h // group], seen, start, stop, weight)
    for t in range(n):
        seen, n_sinks = looks[t]
        for h in range(n_heads):
            score = weight[t * n_heads + h, : len(seen)]
            add_bias(score, bias[t, h], pos + t, n_sinks)
            score[:] = exp_below(score - largest_of(score))
            score /= total_of(score)
            for i in range(len(seen) if pattern.shape[2] else 0):
                pattern[h, t, seen[i]] = score[i]
    for start in range(0, longest, STRETCH):
        for h in range(0, n_heads, 2 if group % 2 == 0 else 1):
            for t in range(n):
                seen = looks[t][0]
                stop = max(start, min(len(seen), start + STRETCH))
                mix(weight, t * n_heads + h, 2 - group % 2, ring_v[h // group], seen, start, stop, out)
    return out.reshape(n, n_heads * d_head)


@jit
def bias_of(r, rel, tau, pos):  # r [n, heads, d_rel], rel [d_rel, extent], tau [n] -> by distance [n, heads, extent]
    n, n_heads, d_rel = r.shape
    extent = rel.shape[1]
    bias = np.zeros((n, n_heads, extent), np.float32)
    for t in range(n):
        for h in range(n_heads):
            for i in range(d_rel):
                factor = r[t, h, i] * np.float32(tau[t])
                for e in range(min(extent, pos + t + 1)):
                    bias[t, h, e] += factor * rel[i, e]
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
        out[a:b] = attend(q[a:b], bias, ring_k, ring_v, pos, sinks, window, pattern)
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
