"""How alike two sets of representations are, and how alike they stay when one of them is shifted in time.

Linear centred kernel alignment (CKA) is 1 when one set is a rotation and a common scaling of the other, and it does not
mind shifts of the origin. With fewer rows than dimensions it is high even for noise: always look at the shuffled value.
Source: Kornblith et al. 2019; over lags, between two models that talk: arXiv 2605.20356.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tml_lab.interp.names import InterpError


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """CKA of `x [rows, d]` and `y [rows, e]`, 0..1.

    Raises InterpError for different numbers of rows, or when either is the same in all rows.
    """
    if len(x) != len(y):
        raise InterpError(f"CKA compares row by row: got {len(x)} rows and {len(y)}.")
    x, y = x.astype(np.float64) - x.mean(0), y.astype(np.float64) - y.mean(0)
    own = np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y)
    if own <= 1e-12:
        raise InterpError("CKA needs rows that differ: one of the two is constant.")
    return float(np.square(np.linalg.norm(x.T @ y)) / own)


@dataclass(frozen=True, eq=False)
class LagCurve:
    """CKA of `x` in turn n and `y` in turn n + lag.

    Args:
        lags: turns; above zero `y` comes later.
        cka: float32 [lags].
        shuffled: float32 [shuffles, lags], with `y` of another episode in place of its own.
    """

    lags: tuple[int, ...]
    cka: np.ndarray
    shuffled: np.ndarray

    @property
    def peak(self) -> int:
        """The lag at which the two are most alike."""
        return self.lags[int(self.cka.argmax())]


def cka_over_lags(
    x: np.ndarray, y: np.ndarray, episode: np.ndarray, lags: Sequence[int], shuffles: int = 5, seed: int = 0
) -> LagCurve:
    """CKA of two representations of the same turns, `[turns, d]` and `[turns, e]`, with one of them shifted.

    Rows are paired within an episode only. In the shuffled curves each episode's `x` meets the `y` of another episode,
    so that what both have in common merely by going on in time stays.

    Raises InterpError with fewer than two episodes, or when a lag leaves fewer than three rows.
    """
    rows = [np.flatnonzero(episode == e) for e in np.unique(episode)]
    if len(rows) < 2:
        raise InterpError("the shuffled control needs two episodes at least.")
    rng = np.random.default_rng(seed)
    own = [_at_lag(x, y, rows, rows, lag) for lag in lags]
    shuffled = []
    for _ in range(shuffles):
        turn_on = int(rng.integers(1, len(rows)))  # everybody meets another one
        order = rng.permutation(len(rows))
        first = [rows[i] for i in order]
        second = [rows[i] for i in np.roll(order, turn_on)]
        shuffled.append([_at_lag(x, y, first, second, lag) for lag in lags])
    return LagCurve(tuple(lags), np.array(own, np.float32), np.array(shuffled, np.float32))


def _at_lag(x: np.ndarray, y: np.ndarray, first: list[np.ndarray], second: list[np.ndarray], lag: int) -> float:
    left, right = [], []
    for mine, theirs in zip(first, second, strict=True):
        n = min(len(mine), len(theirs)) - abs(lag)
        if n > 0:
            left.append(mine[max(0, -lag) :][:n])
            right.append(theirs[max(0, lag) :][:n])
    if sum(map(len, left)) < 3:
        raise InterpError(f"a lag of {lag} turns leaves fewer than three rows to compare.")
    return linear_cka(x[np.concatenate(left)], y[np.concatenate(right)])
