"""Softmax over a band with a bias, and its gradient, in bfloat16 on a CPU: the part of training's attention that is
not a matrix product.

Queries come in blocks of `block`; each block has the scores of the `window + block` keys that any of its queries may
see. Query a of a block sees the columns `a + 1 .. a + window`: a band. `bias` holds one number for each column of the
band. Torch would bend the bias into the scores' shape, add a mask, and go over all of it again for the softmax; here
each row is read once. Arrays are the bfloat16 numbers' bits as uint16 (Numba knows no such float), sums are float32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from tml_kernels.attend import exp_below

quick = njit(cache=True, fastmath=True, error_model="numpy", nogil=True)


@quick
def widen(bits):
    return np.int32(np.uint32(bits) << np.uint32(16)).view(np.float32)


@quick
def narrow(x):
    bits = np.float32(x).view(np.uint32)
    return np.uint16((bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16))


@quick
def softmax_rows(scores, bias, block, n_blocks, window):
    """`scores [B, rows, window + block]` become the pattern, in place; `bias [B, rows, window]`.

    B counts (sequence and head, block) with `n_blocks` blocks each; a row's place in its block is `row % block`. Keys
    before the sequence's start, and all columns outside the band, get 0.
    """
    n, rows, width = scores.shape
    line = np.empty(window, np.float32)
    for i in range(n):
        start = (i % n_blocks) * block  # the position of the block's first query; column c is key c - window + start
        missing = max(0, window - start)  # columns before the sequence's start
        for r in range(rows):
            row = scores[i, r]
            first = r % block + 1
            lost = max(0, missing - first)  # of the band's columns
            seen = line[lost:]
            top = np.float32(-np.inf)
            for j in range(lost, window):
                line[j] = widen(row[first + j]) + widen(bias[i, r, j])
            for j in range(len(seen)):
                top = max(top, seen[j])
            exp_below(seen, top)
            total = np.float32(0.0)
            for j in range(len(seen)):
                total += seen[j]
            scale = np.float32(1.0) / total
            for c in range(first + lost):
                row[c] = 0
            for j in range(len(seen)):
                row[first + lost + j] = narrow(seen[j] * scale)
            for c in range(first + window, width):
                row[c] = 0


@quick
def softmax_rows_backward(pattern, grad, grad_bias, block):
    """`grad [B, rows, window + block]` of the pattern becomes the scores' gradient, in place.

    `grad_bias [B, rows, window]` receives its band.
    """
    n, rows, width = grad.shape
    window = grad_bias.shape[2]
    for i in range(n):
        for r in range(rows):
            p, g, out = pattern[i, r], grad[i, r], grad_bias[i, r]
            first = r % block + 1
            mean = np.float32(0.0)
            for j in range(window):
                mean += widen(p[first + j]) * widen(g[first + j])
            for c in range(first):
                g[c] = 0
            for j in range(window):
                bits = narrow(widen(p[first + j]) * (widen(g[first + j]) - mean))
                g[first + j] = bits
                out[j] = bits
            for c in range(first + window, width):
                g[c] = 0
