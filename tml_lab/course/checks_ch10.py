"""Exercises of notebooks/10_triton_puzzles.ipynb. Wrong answers are written in torch: what is wrong is the same."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.experts import experts_reference
from tml_lab.course.exercise import Exercise, Mistake

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def _rows(seed: int) -> tuple[Tensor, Tensor, float]:
    """Rows whose length is mostly no power of two."""
    generator = torch.Generator().manual_seed(seed)
    n, d = 1 + seed % 4, (1, 3, 8, 21, 40)[seed % 5]
    x, weight = 3 * torch.randn(n, d, generator=generator), torch.randn(d, generator=generator)
    return x.to(DEVICE), weight.to(DEVICE), 1e-2


def _over_the_block(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    block = 1 << (x.shape[1] - 1).bit_length()
    return weight * x * torch.rsqrt(x.square().sum(-1, keepdim=True) / block + eps)


ch10_rms_norm_triton = Exercise(
    module="tml_kernels.rmsnorm",
    attribute="rms_norm_triton",
    cases=_rows,
    hints=(
        "One program a row: row = tl.program_id(0), column = tl.arange(0, BLOCK), and a mask column < d.",
        "Load with other=0.0, so that what lies beyond the row adds nothing: tl.sum(x * x, axis=0) / d.",
        "tl.store(out_ptr + row * d + column, weight * x * tl.rsqrt(mean_square + eps), mask=column < d); "
        "launch kernel[(n,)](..., BLOCK=triton.next_power_of_2(d)).",
    ),
    mistakes=(
        Mistake(_over_the_block, "the mean is over the d numbers of the row, not over the BLOCK that holds them"),
        Mistake(
            lambda x, weight, eps: weight * x / (x.square().mean(-1, keepdim=True).sqrt() + eps),
            "eps belongs inside the root: rsqrt(mean_square + eps)",
        ),
        Mistake(
            lambda x, weight, eps: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps),
            "each channel has its gain: multiply by weight",
        ),
    ),
    atol=1e-4,
    needs="triton",
)


def _product(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    n, rows, cols = (1, 5, 40)[seed % 3], (1, 7, 33)[seed % 3], (4, 65, 130, 64)[seed % 4]
    x, weight = torch.randn(n, cols, generator=generator), torch.randn(rows, cols, generator=generator)
    return x.to(DEVICE), weight.to(DEVICE)


def _last_tile_only(x: Tensor, weight: Tensor) -> Tensor:
    start = (x.shape[1] - 1) // 64 * 64
    return x[:, start:] @ weight[:, start:].T


def _first_tile_only(x: Tensor, weight: Tensor) -> Tensor:
    return x[:, :64] @ weight[:, :64].T


ch10_matmul_triton = Exercise(
    module="tml_kernels.matmul",
    attribute="matmul_triton",
    cases=_product,
    hints=(
        "A program owns a tile of the output, BLOCK_N tokens by BLOCK_R weight rows, and walks along the columns.",
        "total = tl.dot(x, tl.trans(w), total, input_precision='ieee') for each step of BLOCK_C columns.",
        "Three masks: tokens < n, rows of the weight < rows, columns < cols. Masked loads give 0.0 and add nothing.",
    ),
    mistakes=(
        Mistake(_last_tile_only, "the sum starts again with every tile of columns: total = tl.dot(x, w, total)"),
        Mistake(_first_tile_only, "only the first tile of columns was added: loop over range(0, cols, BLOCK_C)"),
        Mistake(lambda x, weight: -(x @ weight.T), "every sign is wrong: is something subtracted?"),
    ),
    atol=1e-3,
    needs="triton",
)


def _few_tokens(seed: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    n, d, inner, n_experts, top_k = 1 + seed % 3, (5, 20, 33)[seed % 3], (3, 17)[seed % 2], 4, 1 + seed % 2
    chosen = torch.rand(n, n_experts, generator=generator).argsort(dim=1)[:, :top_k]
    weight = 0.2 + torch.rand(n, top_k, generator=generator)
    gate_up = torch.randn(n_experts, 2 * inner, d, generator=generator)
    down = torch.randn(n_experts, d, inner, generator=generator)
    return tuple(t.to(DEVICE) for t in (torch.randn(n, d, generator=generator), weight, chosen, gate_up, down))


def _swapped(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    return experts_reference(x, weight, chosen, torch.cat(gate_up.chunk(2, dim=1)[::-1], 1), down)


def _unweighted(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    return experts_reference(x, torch.ones_like(weight), chosen, gate_up, down)


def _sigmoid_only(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    gate, up = torch.einsum("nd,eid->nei", x, gate_up).chunk(2, dim=-1)
    said = torch.einsum("nei,edi->ned", F.sigmoid(gate) * up, down)
    counts = weight.new_zeros(len(x), len(down)).scatter_(1, chosen, weight)
    return (said * counts[..., None]).sum(1)


ch10_experts_triton = Exercise(
    module="tml_kernels.experts",
    attribute="experts_triton",
    cases=_few_tokens,
    hints=(
        "Two launches: one program for each (token, expert) pair and block of inner rows, then one for each token and "
        "block of output rows.",
        "The first program loads its expert's number, and from then on reads gate_up_ptr + expert * 2 * inner * d: "
        "that is the gather. Gate rows come first, up rows `inner` rows later.",
        "hidden = g / (1 + tl.exp(-g)) * u. The second launch adds over the token's experts: down @ hidden * weight.",
    ),
    mistakes=(
        Mistake(_swapped, "gate and up are swapped: the first `inner` rows are the gate"),
        Mistake(_unweighted, "each expert counts by its weight"),
        Mistake(_sigmoid_only, "the gate is silu(g) = g * sigmoid(g), not sigmoid(g)"),
    ),
    atol=1e-3,
    needs="triton",
)
