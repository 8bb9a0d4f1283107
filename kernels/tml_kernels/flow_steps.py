"""All Euler steps of the flow head for a few tokens on a CPU, in one call (see `decode` for why).

The reference is `FlowHead.sample` in `tml_lab.model.flow`. Arrays are float32 and C-contiguous.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tml_kernels.decode import sigmoid, square_sum
from tml_kernels.weights import F32, Matrix, jit, matmul


class FlowWeights(NamedTuple):
    """Views of the head's parameters; `up`, `down` and `offset` hold one block each `[depth][...]`.

    `rates` are the time embedding's frequencies, `time_up` and `time_down` its layers.
    """

    embed_h: Matrix
    embed_h_bias: F32
    rates: F32
    time_up: Matrix
    time_up_bias: F32
    time_down: Matrix
    time_down_bias: F32
    modulate: Matrix
    modulate_bias: F32
    embed_x: Matrix
    embed_x_bias: F32
    up: tuple[Matrix, ...]
    up_bias: tuple[F32, ...]
    down: tuple[Matrix, ...]
    down_bias: tuple[F32, ...]
    offset: tuple[F32, ...]
    out: Matrix
    out_bias: F32


@jit
def silu(x):  # [n, d], in place
    for t in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[t, j] *= sigmoid(x[t, j])
    return x


@jit
def modulated(x, shift, scale):  # layer norm without gain, then shifted and scaled: [n, width]
    out = np.empty_like(x)
    for t in range(x.shape[0]):
        centred = x[t] - np.float32(x[t].mean())
        factor = np.float32(1.0) / np.sqrt(square_sum(centred) / np.float32(x.shape[1]) + np.float32(1e-5))
        out[t] = centred * factor * (np.float32(1.0) + scale[t]) + shift[t]
    return out


@jit
def velocity(x, modulation, w):  # [n, n_out], [n, 5 * width] -> [n, n_out]
    hidden = matmul(w.embed_x, x) + w.embed_x_bias
    width = hidden.shape[1]
    for b in range(len(w.up)):
        m = modulation[:, : 3 * width] + w.offset[b]
        y = silu(matmul(w.up[b], modulated(hidden, m[:, :width], m[:, width : 2 * width])) + w.up_bias[b])
        hidden += m[:, 2 * width :] * (matmul(w.down[b], y) + w.down_bias[b])
    shift, scale = modulation[:, 3 * width : 4 * width], modulation[:, 4 * width :]
    return matmul(w.out, modulated(hidden, shift, scale)) + w.out_bias


@jit
def modulations(h, times, w):  # [n, d_model], [steps] -> [steps, n, 5 * width]
    n, steps, n_rates = h.shape[0], times.shape[0], w.rates.shape[0]
    waves = np.empty((steps, 2 * n_rates), np.float32)
    for i in range(steps):
        for j in range(n_rates):
            angle = times[i] * w.rates[j]
            waves[i, j], waves[i, n_rates + j] = np.sin(angle), np.cos(angle)
    time = matmul(w.time_down, silu(matmul(w.time_up, waves) + w.time_up_bias)) + w.time_down_bias
    embedded = matmul(w.embed_h, h) + w.embed_h_bias
    both = np.empty((steps * n, time.shape[1]), np.float32)
    for i in range(steps):
        both[i * n : (i + 1) * n] = time[i] + embedded
    return (matmul(w.modulate, silu(both)) + w.modulate_bias).reshape(steps, n, -1)


@jit
def flow_steps(x, h, times, w):
    """Follow the velocity from noise to a token, for each of some tokens.

    Args:
        x: float32 [n, n_out], the noise; replaced by the tokens.
        h: float32 [n, d_model], the hidden states that condition them.
        times: float32 [steps], flow time at the start of each step.
        w: `FlowWeights`.
    """
    modulation = modulations(h, times, w)
    for i in range(len(times)):
        x += velocity(x, modulation[i], w) / np.float32(len(times))
