"""Exercises of notebooks/14_why_did_it_speak.ipynb."""

from __future__ import annotations

import torch
from torch import Tensor

from tml_lab.course.exercise import Exercise, Mistake


def _lens_case(seed: int) -> tuple[Tensor, Tensor, float, Tensor]:
    g = torch.Generator().manual_seed(seed)
    n, d = 1 + seed % 4, 8
    resid = torch.randn(n, d, generator=g) * 10.0 ** (seed % 3 - 1)
    return resid, 0.5 + torch.rand(d, generator=g), 1e-6, torch.randn(d, generator=g)


def _pattern(g: torch.Generator, heads: int, queries: int, keys: int) -> Tensor:
    return torch.softmax(2 * torch.randn(heads, queries, keys, generator=g), -1)


def _pool_case(seed: int) -> tuple[Tensor, Tensor, int]:
    g = torch.Generator().manual_seed(seed)
    keys, n_cells = 5 + seed % 4, 2 + seed % 3
    cell = torch.randint(0, n_cells, (keys,), generator=g)
    return _pattern(g, 1 + seed % 2, 3, keys), cell, n_cells + seed % 2  # sometimes a cell is empty


def _cut_case(seed: int) -> tuple[Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    pattern = _pattern(g, 2, 4, 6)
    gone = torch.rand(4, 6, generator=g) < 0.4
    gone[seed % 4] = False  # one query keeps all that it sees
    if seed % 3 == 1:
        gone[(seed + 1) % 4] = True  # one sees nothing any more
    return pattern, gone


def _restored_case(seed: int) -> tuple[Tensor, float, float]:
    g = torch.Generator().manual_seed(seed)
    ends = torch.randn(2, generator=g) * 5
    return torch.randn(3, 4, generator=g), float(ends[0]), float(ends[1])


def _lens(resid: Tensor, norm_weight: Tensor, eps: float, direction: Tensor) -> Tensor:
    scale = (resid.square().mean(-1) + eps).rsqrt()
    return scale * (resid @ (norm_weight * direction))


ch14_lens_difference = Exercise(
    module="tml_lab.interp.decision",
    attribute="lens_difference",
    cases=_lens_case,
    hints=(
        "An RMS norm divides each row by the root of its mean square, then multiplies each number by its weight.",
        "The scale is one number a row: (resid.square().mean(-1) + eps).rsqrt().",
        "scale * (resid @ (norm_weight * direction))",
    ),
    mistakes=(
        Mistake(
            lambda resid, norm_weight, eps, direction: resid @ (norm_weight * direction),
            "the final norm's division is missing: rows of any length would count by their length",
        ),
        Mistake(
            lambda resid, norm_weight, eps, direction: _lens(resid, torch.ones_like(norm_weight), eps, direction),
            "the norm's weight is missing: each number is multiplied by its own",
        ),
        Mistake(
            lambda resid, *rest: _lens(resid - resid.mean(-1, keepdim=True), *rest),
            "this is a layer norm: an RMS norm does not take the mean away",
        ),
    ),
    atol=1e-4,
)

ch14_pool = Exercise(
    module="tml_lab.interp.attention",
    attribute="pool",
    cases=_pool_case,
    hints=(
        "Column c of the answer is the sum of those columns of the pattern whose cell is c.",
        "Begin with zeros [heads, queries, n_cells]; Tensor.index_add_ adds columns to where an index says.",
        "torch.zeros(*pattern.shape[:2], n_cells).index_add_(2, cell, pattern)",
    ),
    mistakes=(
        Mistake(
            lambda pattern, cell, n_cells: torch.zeros(*pattern.shape[:2], n_cells).index_copy_(2, cell, pattern),
            "the keys of one cell overwrite each other: they must be added",
        ),
        Mistake(
            lambda pattern, cell, n_cells: _pooled_mean(pattern, cell, n_cells),
            "these are means: weights are shares of one whole, so they are summed",
        ),
    ),
    atol=1e-6,
)


def _pooled_mean(pattern: Tensor, cell: Tensor, n_cells: int) -> Tensor:
    total = torch.zeros(*pattern.shape[:2], n_cells).index_add_(2, cell, pattern)
    return total / torch.bincount(cell, minlength=n_cells).clamp(min=1)


def _renormalised(pattern: Tensor, gone: Tensor) -> Tensor:
    left = pattern.masked_fill(gone, 0.0)
    return left / left.sum(-1, keepdim=True)


ch14_cut_rows = Exercise(
    module="tml_lab.interp.edits",
    attribute="cut_rows",
    cases=_cut_case,
    hints=(
        "masked_fill takes the weights away; then each row must sum to 1 again.",
        "A row may lose everything: dividing by zero gives NaN, so the sum needs a floor.",
        "left = pattern.masked_fill(gone, 0.0); total = left.sum(-1, keepdim=True).clamp(min=1e-20); keep the old row "
        "where gone.any(-1) is False (torch.where).",
    ),
    mistakes=(
        Mistake(
            lambda pattern, gone: pattern.masked_fill(gone, 0.0),
            "the rows do not sum to 1 any more: what is left must grow",
        ),
        Mistake(_renormalised, "a row that loses everything becomes 0 / 0: it must stay zero"),
        Mistake(
            lambda pattern, gone: torch.softmax(pattern.masked_fill(gone, -torch.inf), -1),
            "the weights have been through the softmax already: divide by what is left",
        ),
    ),
    atol=1e-6,
)

ch14_restored = Exercise(
    module="tml_lab.interp.patching",
    attribute="restored",
    cases=_restored_case,
    hints=(
        "0 where the patched run decides as the corrupt one, 1 where it decides as the clean one.",
        "A straight line through these two points.",
        "(patched - corrupt) / (clean - corrupt)",
    ),
    mistakes=(
        Mistake(
            lambda patched, clean, corrupt: (patched - clean) / (corrupt - clean),
            "this is what the patch destroyed, 1 less what it brought back",
        ),
        Mistake(
            lambda patched, clean, corrupt: patched / clean,
            "0 must be the corrupt run's decision, not a logit difference of 0",
        ),
    ),
    atol=1e-4,
)
