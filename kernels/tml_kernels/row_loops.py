"""The CPU's side of `softmax` and `mean`: one row after the other, each in one order (Numba)."""

from __future__ import annotations

import numpy as np

from tml_kernels.weights import jit, summing


@summing
def row_sum(x):  # [d] -> scalar; regrouped as the row's length alone says
    total = np.float32(0.0)
    for j in range(len(x)):
        total += x[j]
    return total


@jit
def mean_rows(x):  # [n, d] -> [n]
    out = np.empty(x.shape[0], np.float32)
    for i in range(x.shape[0]):
        out[i] = row_sum(x[i]) / np.float32(x.shape[1])
    return out


@jit
def softmax_rows(x, log):  # [n, d] -> [n, d]
    out = np.empty_like(x)
    for i in range(x.shape[0]):
        top = np.float32(-np.inf)
        for j in range(x.shape[1]):
            top = max(top, x[i, j])
        for j in range(x.shape[1]):
            out[i, j] = np.exp(x[i, j] - top)
        total = row_sum(out[i])
        for j in range(x.shape[1]):
            out[i, j] = x[i, j] - top - np.log(total) if log else out[i, j] / total
    return out
