"""Exercises of notebooks/09_bitwise.ipynb."""

from __future__ import annotations

import torch
from torch import Tensor

from tml_kernels.split_attention import Partial
from tml_lab.course.exercise import Exercise, Mistake


def _span(seed: int) -> tuple[int, int, int]:
    """First position, number of keys, split: inside one split, on its edges, across several."""
    if seed < 5:
        return ((300, 400, 256), (0, 16, 16), (16, 17, 16), (5, 3, 16), (7, 0, 16))[seed]
    generator = torch.Generator().manual_seed(seed)
    first, n_keys, split = (int(torch.randint(0, high, (), generator=generator)) for high in (90, 200, 60))
    return first, n_keys, split + 4


def _from_the_first_key(first: int, n_keys: int, split: int) -> list[tuple[int, int]]:
    return [(a, min(a + split, first + n_keys)) for a in range(first, first + n_keys, split)]


def _even(first: int, n_keys: int, split: int) -> list[tuple[int, int]]:
    parts = max(1, -(-n_keys // split))
    size = -(-n_keys // parts)
    return [(a, min(a + size, first + n_keys)) for a in range(first, first + n_keys, max(1, size))]


def _last_one_full(first: int, n_keys: int, split: int) -> list[tuple[int, int]]:
    start = first // split * split
    return [(max(a, first), a + split) for a in range(start, first + n_keys, split)] if n_keys else []


ch09_split_bounds = Exercise(
    module="tml_kernels.split_attention",
    attribute="split_bounds",
    cases=_span,
    hints=(
        "Write the positions first ... first + n_keys on a line, and a mark at every multiple of split. Cut there.",
        "The first cut after `first` is (first // split + 1) * split; then every split, up to the end.",
        "[first, *range((first // split + 1) * split, first + n_keys, split), first + n_keys], then pairwise.",
    ),
    mistakes=(
        Mistake(_from_the_first_key, "these cuts move with the first key: when a window slides, every split changes"),
        Mistake(_even, "equal shares look fair, but they move with the number of keys; cut at multiples of split"),
        Mistake(_last_one_full, "the last split ends where the keys end, at first + n_keys"),
    ),
)


def _split(seed: int) -> tuple[Tensor, Tensor]:
    """Scores of one split, with some keys or all of them unseen, and values."""
    generator = torch.Generator().manual_seed(seed)
    n, keys, d = (1 + int(torch.randint(0, high, (), generator=generator)) for high in (5, 12, 8))
    scores = 3 * torch.randn(n, keys, generator=generator)
    scores[torch.rand(n, keys, generator=generator) < 0.3] = -torch.inf
    if seed % 4 == 3:
        scores[0] = -torch.inf
    if seed % 4 == 1:
        scores = scores + 200.0  # exp(200) is infinite in float32
    return scores, torch.randn(keys, d, generator=generator)


def _no_shift(scores: Tensor, values: Tensor) -> Partial:
    weight = torch.exp(scores)
    return scores.amax(-1, keepdim=True), weight.sum(-1, keepdim=True), weight @ values


def _normalised(scores: Tensor, values: Tensor) -> Partial:
    largest = scores.amax(-1, keepdim=True)
    weight = torch.exp(scores - largest.clamp_min(-3e38))
    total = weight.sum(-1, keepdim=True)
    return largest, total, (weight / total.clamp_min(1e-30)) @ values


def _unguarded(scores: Tensor, values: Tensor) -> Partial:
    largest = scores.amax(-1, keepdim=True)
    weight = torch.exp(scores - largest)
    return largest, weight.sum(-1, keepdim=True), weight @ values


ch09_partial_softmax = Exercise(
    module="tml_kernels.split_attention",
    attribute="partial_softmax",
    cases=_split,
    hints=(
        "A softmax without its division: the largest score, the sum of exponentials, the weighted values.",
        "Subtract the largest score before exp, so that nothing overflows; keep the axis (keepdim=True).",
        "If all scores are -inf, -inf - (-inf) is NaN: subtract largest.clamp_min(torch.finfo(scores.dtype).min).",
    ),
    mistakes=(
        Mistake(_no_shift, "exp of a large score is infinite: subtract the largest score first, and return it too"),
        Mistake(_normalised, "do not divide yet: what is normalised inside a split cannot be merged with another"),
        Mistake(_unguarded, "a query that sees nothing here has -inf - (-inf) = NaN; clamp what you subtract"),
    ),
    atol=1e-4,
)


def _two_parts(seed: int) -> tuple[Partial, Partial]:
    """Two partial softmaxes of the same queries, one of them perhaps of nothing."""
    generator = torch.Generator().manual_seed(100 + seed)
    n, d = 1 + seed % 4, 1 + seed % 5

    def one(empty: bool) -> Partial:
        if empty:
            return torch.full((n, 1), -torch.inf), torch.zeros(n, 1), torch.zeros(n, d)
        largest = 5 * torch.randn(n, 1, generator=generator)
        return largest, 1 + torch.rand(n, 1, generator=generator), torch.randn(n, d, generator=generator)

    return one(seed in (4, 6)), one(seed in (5, 6))


def _only_added(left: Partial, right: Partial) -> Partial:
    return torch.maximum(left[0], right[0]), left[1] + right[1], left[2] + right[2]


def _backwards(left: Partial, right: Partial) -> Partial:
    largest = torch.maximum(left[0], right[0])
    a, b = torch.exp(largest - left[0]), torch.exp(largest - right[0])
    return largest, left[1] * a + right[1] * b, left[2] * a + right[2] * b


def _sums_forgotten(left: Partial, right: Partial) -> Partial:
    largest = torch.maximum(left[0], right[0])
    safe = largest.clamp_min(-3e38)
    a, b = torch.exp(left[0] - safe), torch.exp(right[0] - safe)
    return largest, left[1] + right[1], left[2] * a + right[2] * b


ch09_merge = Exercise(
    module="tml_kernels.split_attention",
    attribute="merge",
    cases=_two_parts,
    hints=(
        "Both sides were shifted by their own largest score. Shift both to the larger of the two, then add.",
        "A side's sums are multiplied by exp(its largest - the common largest), which is at most 1.",
        "Both sides may have seen nothing (-inf): clamp the common largest from below before you subtract it.",
    ),
    mistakes=(
        Mistake(_only_added, "these sums have different shifts: bring both to the common largest score first"),
        Mistake(_backwards, "the factor is exp(own largest - common largest): it shrinks, it never grows"),
        Mistake(_sums_forgotten, "the sums of exponentials need the same factors as the values"),
    ),
    atol=1e-4,
)
