"""Attention of a few tokens of one sequence over its ring on a CPU, for `decode`.

What a query sees it adds in its own order, the oldest position first, alone or beside others: scores, which are each
a product by itself, are made for the keys that any of the queries sees; weighted values are added query by query.
"""

from __future__ import annotations

import numpy as np

from tml_kernels import panels
from tml_kernels.panels import OUTS
from tml_kernels.tiles import (
    MIXED,
    largest,
    mixing_1,
    mixing_2,
    mixing_wide_1,
    mixing_wide_2,
    product_1x1,
    product_1x2,
    product_4x1,
    product_4x2,
)
from tml_kernels.vectors import LANES
from tml_kernels.weights import NO_SCALE, jit, summing, times_panel

STRETCH = 128  # values that all queries meet before the next ones: a multiple of four, so that no sum is regrouped
MANY = 6  # queries of a head's keys from which a panel of keys is laid for them: a matter of speed, not of bits


@jit
def slot_of(pos, slots, sinks):
    return pos if pos < sinks else sinks + (pos - sinks) % (slots - sinks)


@jit
def look(pos, slots, sinks, window, n):
    """The slots that any of `n` queries from `pos` on sees: the sinks, then the oldest position first.

    A ring of another length, or none at all, gives the same positions in the same order.
    """
    first = max(sinks, pos - window + 1)
    n_sinks = min(sinks, pos + n)
    seen = np.empty(n_sinks + max(0, pos + n - first), np.int64)
    at = slot_of(first, slots, sinks)
    for i in range(len(seen)):
        if i < n_sinks:
            seen[i] = i
        else:
            seen[i] = at
            at = at + 1 if at + 1 < slots else sinks
    return seen


@jit
def sights(seen, pos, sinks, window, n):
    """What each of `n` queries sees of `seen`: `begin [n]`, `end [n]` and `own`, where the slots between them are its.

    A query that no longer sees the oldest positions finds the sinks right before the first one that it sees. `own` is
    `[n, seen]`, or `[1, seen]` where all begin at the same position.
    """
    begin, end = np.empty(n, np.int64), np.empty(n, np.int64)
    for t in range(n):
        begin[t] = max(sinks, pos + t - window + 1) - max(sinks, pos - window + 1)
        end[t] = len(seen) - (n - 1 - t)
    own = np.empty((n if begin[n - 1] else 1, len(seen)), np.int64)
    for t in range(len(own)):
        own[t] = seen
        own[t, begin[t] : begin[t] + min(sinks, len(seen))] = seen[:sinks]
    return begin, end, own


@jit
def dots(q, keys, seen, out):
    """`out [n, from the number of seen on]`: queries `q [n, d_head]` times the keys in the slots `seen`."""
    d_head, n = q.shape[1], len(q)
    if n < MANY:
        dots_of_few(q, keys, seen, out)
    else:
        panel, rows = np.empty((d_head, OUTS), np.float32), np.empty(OUTS, np.int64)
        for at in range(0, len(seen), OUTS):
            for o in range(OUTS):
                rows[o] = seen[min(at + o, len(seen) - 1)]
            panels.lay(keys, rows, panel)  # pyright: ignore[reportCallIssue] - Numba gives the context
            times_panel(panel, NO_SCALE, q, 0, n, out, at)
    for t in range(n if d_head % LANES else 0):  # what fills no lanes
        for i in range(len(seen)):
            for d in range(d_head // LANES * LANES, d_head):
                out[t, i] += q[t, d] * keys[seen[i], d]


@jit
def dots_of_few(q, keys, seen, out):
    n, i = len(q), 0
    while i < len(seen):
        four = i + 4 <= len(seen) and seen[i + 3] == seen[i] + 3  # side by side: the ring's end is not between them
        for t in range(0, n - 1, 2):
            if four:
                product_4x2(keys, seen[i], q, t, out, i)
            else:
                product_1x2(keys, seen[i], q, t, out, i)
        if n % 2:
            if four:
                product_4x1(keys, seen[i], q, n - 1, out, i)
            else:
                product_1x1(keys, seen[i], q, n - 1, out, i)
        i += 4 if four else 1


@jit
def mix(weight, row, heads, values, seen, first, last, out):
    """`out [.., d_head]` from `row` on += the weighted values, four at a time, then the rest one by one.

    For one head or two, and the keys `first .. last` of those in the slots `seen`.
    """
    d_head, whole = out.shape[1], first + (last - first) // 4 * 4
    wide, tiled = d_head // MIXED * MIXED, d_head // LANES * LANES
    for column in range(0, wide, MIXED):
        if heads == 2:
            mixing_wide_2(weight, row, first, whole, values, seen, out, column)
        else:
            mixing_wide_1(weight, row, first, whole, values, seen, out, column)
    for column in range(wide, tiled, LANES):
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
def exp_below(x, top):
    """`x [n]` becomes `exp(x - top)`, for a `top` not below any of it.

    To 3e-7 of its value down to -1 and 5e-6 down to -80. 2^whole by the float's exponent, 2^rest by a polynomial. The
    library's `exp` is not vectorised; this is, and softmax over a long past is mostly exponentials.
    """
    for i in range(len(x)):
        y = max((x[i] - top) * np.float32(1.44269504), np.float32(-126.0))
        whole = np.floor(y)
        f = y - whole  # 0..1; the coefficients are those of 2^f, fitted with the least relative error
        p = np.float32(1.8775767e-3)
        p = p * f + np.float32(8.9893397e-3)
        p = p * f + np.float32(5.5826318e-2)
        p = p * f + np.float32(2.4015361e-1)
        p = p * f + np.float32(6.9315308e-1)
        p = p * f + np.float32(9.9999994e-1)
        x[i] = p * np.int32((np.int32(whole) + 127) << 23).view(np.float32)


@summing
def total_of(x):  # [n] -> scalar
    total = np.float32(0.0)
    for i in range(len(x)):
        total += x[i]
    return total


@jit
def largest_of(x):  # [n] -> scalar
    top = largest(x)  # pyright: ignore[reportCallIssue] - Numba gives the context
    for i in range(len(x) // LANES * LANES, len(x)):
        top = max(top, x[i])
    return top


@jit
def add_bias(weight, bias, pos, n_sinks):  # scores [n] of the positions seen, the oldest first; bias [extent]
    extent, n = len(bias), len(weight)
    for i in range(n_sinks):
        if pos - i < extent:
            weight[i] += bias[pos - i]
    near = weight[max(n_sinks, n - extent) :]  # the last position seen is the query's own
    for i in range(len(near)):
        near[i] += bias[np.uint64(len(near) - 1 - i)]  # unsigned: no index that counts from the end


@jit
def softmax(weight, bias, pos, n_sinks):  # in place; see `add_bias`
    add_bias(weight, bias, pos, n_sinks)
    exp_below(weight, largest_of(weight))
    total = total_of(weight)
    for i in range(len(weight)):
        weight[i] /= total


@jit
def attend(q, bias, ring_k, ring_v, pos, sinks, window, pattern):
    """Queries `q [n, heads, d_head]` from `pos` on; `bias [n, heads, extent]` by distance -> `[n, heads * d_head]`.

    A stretch of values meets all queries before the next one comes: a long past lies beyond the second cache. A query
    meets its own past in its own order, alone or not.

    `pattern [heads, n, slots in use]`, unless it is empty, receives what the queries give to each slot.
    """
    n, n_heads, d_head = q.shape
    n_kv, slots = ring_k.shape[0], ring_k.shape[1]
    group = n_heads // n_kv
    seen = look(pos, slots, sinks, window, n)
    begin, end, own = sights(seen, pos, sinks, window, n)
    score = np.empty((n * group, (len(seen) + OUTS - 1) // OUTS * OUTS), np.float32)
    out = np.empty((n, n_heads, d_head), np.float32)
    for kv in range(n_kv):
        heads = slice(kv * group, (kv + 1) * group)
        dots(q[:, heads].copy().reshape(n * group, d_head), ring_k[kv], seen, score)
        for row in range(n * group):  # the first query's heads, then the next one's
            t, h, n_sinks = row // group, kv * group + row % group, min(sinks, pos + row // group + 1)
            for i in range(n_sinks - 1, -1 if begin[t] else n_sinks, -1):  # they come before what it sees first
                score[row, begin[t] + i] = score[row, i]
            softmax(score[row, begin[t] : end[t]], bias[t, h], pos + t, n_sinks)
            for i in range(begin[t], end[t] if pattern.shape[2] else 0):
                pattern[h, t, own[t % len(own), i]] = score[row, i]
        mixed = np.zeros((n * group, d_head), np.float32)
        for start in range(0, len(seen), STRETCH):
            for row in range(0, n * group, 2 - group % 2):  # heads in pairs that see the same values
                t = row // group
                first, last = begin[t] + start, min(end[t], begin[t] + start + STRETCH)
                if first < last:
                    mix(score, row, 2 - group % 2, ring_v[kv], own[t % len(own)], first, last, mixed)
        out[:, heads] = mixed.reshape(n, group, d_head)
    return out.reshape(n, n_heads * d_head)
