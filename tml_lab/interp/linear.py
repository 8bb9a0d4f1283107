"""Linear readouts, fitted in closed form (numbers) or by L-BFGS (classes), and their scores.

The penalty is chosen on episodes left out of the fit, from `PENALTIES`; inputs are centred and scaled by what was
fitted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import bootstrap

PENALTIES = (1e-2, 1e-1, 1.0, 1e1)  # per row, on inputs of unit variance
FOLDS = 3


@dataclass(frozen=True)
class Score:
    """R2 of a number, or balanced accuracy of a class, with its 95 % interval over whole episodes."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, eq=False)
class Readout:
    """`x @ weight + bias`.

    Args:
        weight: float32 [d, outputs], one output for a number, one for each class otherwise.
        bias: float32 [outputs].
        classes: the labels' values in the order of the outputs; None for a number.
    """

    weight: np.ndarray
    bias: np.ndarray
    classes: np.ndarray | None

    def raw(self, x: np.ndarray) -> np.ndarray:
        """`[rows, d]` -> `[rows, outputs]`."""
        return x @ self.weight + self.bias

    def predict(self, x: np.ndarray) -> np.ndarray:
        """`[rows, d]` -> the number, or the likeliest class, of each row."""
        raw = self.raw(x)
        return raw[:, 0] if self.classes is None else self.classes[raw.argmax(1)]


def fit(x: np.ndarray, y: np.ndarray, episode: np.ndarray, numeric: bool) -> Readout:
    """The readout of `y [rows]` from `x [rows, d]` with the penalty that serves left-out episodes best."""
    folds = np.unique(episode)
    if len(folds) < 2:
        return fit_with(x, y, PENALTIES[-2], numeric)
    fold_of = np.searchsorted(folds, episode) % min(FOLDS, len(folds))
    found = []
    for penalty in PENALTIES:
        guess = np.empty(len(y), y.dtype)
        for fold in np.unique(fold_of):
            left_out = fold_of == fold
            guess[left_out] = fit_with(x[~left_out], y[~left_out], penalty, numeric).predict(x[left_out])
        found.append(goodness(y, guess, numeric))
    return fit_with(x, y, PENALTIES[int(np.argmax(found))], numeric)


def fit_with(x: np.ndarray, y: np.ndarray, penalty: float, numeric: bool) -> Readout:
    """The readout with one penalty."""
    mean, scale = x.mean(0), x.std(0) + 1e-6
    z = (x - mean) / scale  # [rows, d]
    if numeric:
        weight, bias, classes = _ridge(z, y, penalty), np.array([y.mean()]), None
    else:
        weight, bias, classes = _logistic(z, y, penalty)
    weight = weight / scale[:, None]
    return Readout(weight.astype(np.float32), (bias - mean @ weight).astype(np.float32), classes)


def _ridge(z: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    gram = z.T.astype(np.float64) @ z / len(z)
    return np.linalg.solve(gram + penalty * np.eye(z.shape[1]), z.T @ (y - y.mean()) / len(z))[:, None]  # [d, 1]


def _logistic(z: np.ndarray, y: np.ndarray, penalty: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Multinomial, every class with the same total weight, so that a rare one counts."""
    classes, target = np.unique(y, return_inverse=True)
    inputs, wanted = torch.from_numpy(z.astype(np.float32)), torch.from_numpy(target)
    balance = torch.from_numpy(len(y) / (len(classes) * np.bincount(target))).float()
    weight = torch.zeros(z.shape[1], len(classes), requires_grad=True)
    bias = torch.zeros(len(classes), requires_grad=True)
    search = torch.optim.LBFGS([weight, bias], max_iter=40, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        search.zero_grad()
        error = (F.cross_entropy(inputs @ weight + bias, wanted, reduction="none") * balance[wanted]).mean()
        total = error + 0.1 * penalty * weight.square().sum()
        total.backward()
        return total

    search.step(loss)
    return weight.detach().numpy(), bias.detach().numpy(), classes


def goodness(y: np.ndarray, guess: np.ndarray, numeric: bool) -> float:
    """R2 of a number, balanced accuracy of a class (chance: one over the number of classes)."""
    if numeric:
        return float(1 - np.square(y - guess).sum() / max(np.square(y - y.mean()).sum(), 1e-9))
    return float(np.mean([np.mean(guess[y == c] == c) for c in np.unique(y)]))


def score(y: np.ndarray, guess: np.ndarray, episode: np.ndarray, numeric: bool, seed: int = 0) -> Score:
    """The score of guesses, and how much it would vary with other episodes of the kind (bootstrap over episodes)."""
    rows = [np.flatnonzero(episode == e) for e in np.unique(episode)]

    def of(chosen: np.ndarray) -> float:
        at = np.concatenate([rows[i] for i in chosen])
        return goodness(y[at], guess[at], numeric)

    value = goodness(y, guess, numeric)
    if len(rows) < 2:
        return Score(value, float("-inf"), float("inf"))
    drawn = bootstrap(
        (np.arange(len(rows)),), of, vectorized=False, n_resamples=200, method="percentile",
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return Score(value, float(drawn.confidence_interval.low), float(drawn.confidence_interval.high))
