"""Attention over a ring on a CPU: against float64, and the same bits for a query alone and beside others."""

from __future__ import annotations

import numpy as np
import pytest

attend = pytest.importorskip("tml_kernels.attend", reason="Numba does not run here")
RNG = np.random.default_rng(0)
SIZES = [  # queries, key heads, queries of each, d_head, position, sinks, window
    (17, 2, 2, 64, 600, 16, 256),
    (70, 1, 3, 40, 200, 5, 64),
    (12, 2, 1, 100, 0, 4, 24),
    (5, 2, 4, 32, 3, 16, 7),
    (33, 1, 2, 96, 300, 0, 4000),
    (6, 1, 1, 8, 20, 1, 1),
]


def random(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def rings(n: int, kv: int, d_head: int, sinks: int, window: int) -> tuple[np.ndarray, np.ndarray]:
    slots = min(sinks + window + n + 3, 500)  # the end of most rings is passed
    return random(kv, slots, d_head), random(kv, slots, d_head)


@pytest.mark.parametrize("n, kv, group, d_head, pos, sinks, window", SIZES)
def test_a_query_alone_has_the_same_bits(
    n: int, kv: int, group: int, d_head: int, pos: int, sinks: int, window: int
) -> None:
    keys, values = rings(n, kv, d_head, sinks, window)
    q, bias = random(n, kv * group, d_head), random(n, kv * group, 50)
    pattern = np.zeros((kv * group, n, keys.shape[1]), np.float32)
    out = attend.attend(q, bias, keys, values, pos, sinks, window, pattern)
    for few in (1, 2, 5):  # few are multiplied by tiles, many by panels
        for t in range(0, n - few + 1, 3):
            some, own = slice(t, t + few), np.zeros((kv * group, few, keys.shape[1]), np.float32)
            alone = attend.attend(q[some], bias[some], keys, values, pos + t, sinks, window, own)
            assert np.array_equal(alone, out[some]) and np.array_equal(own, pattern[:, some])


@pytest.mark.parametrize("n, kv, group, d_head, pos, sinks, window", SIZES)
def test_it_agrees_with_float64(n: int, kv: int, group: int, d_head: int, pos: int, sinks: int, window: int) -> None:
    keys, values = rings(n, kv, d_head, sinks, window)
    q, bias = random(n, kv * group, d_head), random(n, kv * group, 50)
    out = attend.attend(q, bias, keys, values, pos, sinks, window, np.zeros((kv * group, n, 0), np.float32))
    for t in range(n):
        seen = [p for p in range(pos + t + 1) if p < sinks or p > pos + t - window]
        slots = [attend.slot_of(p, keys.shape[1], sinks) for p in seen]
        for h in range(kv * group):
            score = keys[h // group, slots].astype(np.float64) @ q[t, h]
            score += [bias[t, h, pos + t - p] if pos + t - p < 50 else 0.0 for p in seen]
            weight = np.exp(score - score.max())
            exact = weight @ values[h // group, slots] / weight.sum()
            error = np.linalg.norm(out[t, h * d_head : (h + 1) * d_head] - exact)
            assert error < 1e-5 * np.linalg.norm(exact)
