"""Routed experts: both paths against float64, Triton in a process of its own, tokens that do not know each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tml_kernels.experts import experts, experts_gathered, experts_grouped, experts_reference


def scene(n: int, d: int, inner: int, n_experts: int, top_k: int, seed: int = 0) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    x, weight = torch.randn(n, d, generator=generator), torch.rand(n, top_k, generator=generator)
    chosen = torch.rand(n, n_experts, generator=generator).argsort(dim=1)[:, :top_k]
    gate_up = torch.randn(n_experts, 2 * inner, d, generator=generator) * d**-0.5
    return x, weight, chosen, gate_up, torch.randn(n_experts, d, inner, generator=generator) * inner**-0.5


@pytest.mark.parametrize("sizes", [(1, 3, 2, 4, 1), (5, 33, 7, 3, 3), (40, 64, 32, 10, 2), (0, 8, 4, 3, 2)])
def test_all_paths_are_the_weighted_sum(sizes: tuple[int, ...]) -> None:
    args = scene(*sizes)
    exact = experts_reference(args[0].double(), args[1].double(), args[2], args[3].double(), args[4].double())
    for path in (experts, experts_grouped, experts_gathered):
        out = path(*args)
        assert out.dtype == torch.float32 and out.shape == args[0].shape
        assert (out - exact).norm() <= 1e-6 * exact.norm()


def test_the_gradient_reaches_every_part() -> None:
    args = [t.requires_grad_() if t.is_floating_point() else t for t in scene(6, 8, 5, 4, 2)]
    exact = [t.detach().double().requires_grad_() if t.is_floating_point() else t for t in args]
    experts_grouped(*args).square().sum().backward()
    experts_reference(*exact).square().sum().backward()
    for ours, theirs in zip(args, exact, strict=True):
        if theirs.is_floating_point():
            assert ours.grad is not None and theirs.grad is not None
            assert (ours.grad - theirs.grad).norm() <= 1e-5 * theirs.grad.norm()


def test_gathering_reads_only_what_was_chosen() -> None:
    x, weight, chosen, gate_up, down = scene(2, 8, 4, 9, 2)
    unused = [e for e in range(9) if e not in chosen]
    gate_up[unused], down[unused] = torch.nan, torch.nan
    assert experts_gathered(x, weight, chosen, gate_up, down).isfinite().all()
    assert experts_gathered(x.double(), weight, chosen, gate_up.double(), down.double()).dtype == torch.float64


def test_shapes_are_checked() -> None:
    x, weight, chosen, gate_up, down = scene(2, 8, 4, 3, 2)
    with pytest.raises(ValueError, match=r"gate_up \[n_experts, 2 \* inner, d\]"):
        experts(x, weight, chosen, gate_up[:, :5], down)


CHECK = """
from tml_kernels.experts import experts_reference, experts_triton
for dtype, bound in ((torch.float32, 1e-6), (half, 2e-3 * coarse)):
    for n, d, inner, n_experts, top_k in ((1, 3, 2, 4, 1), (3, 150, 33, 5, 3), (4, 64, 140, 10, 2)):
        x, weight = torch.randn(n, d), torch.rand(n, top_k)
        chosen = torch.rand(n, n_experts).argsort(dim=1)[:, :top_k]
        gate_up = torch.randn(n_experts, 2 * inner, d) * d**-0.5
        down = torch.randn(n_experts, d, inner) * inner**-0.5
        unused = [e for e in range(n_experts) if e not in chosen]
        gate_up[unused], down[unused] = float("nan"), float("nan")  # what nobody chose is not read
        x, gate_up, down = (t.to(device, dtype) for t in (x, gate_up, down))
        weight, chosen = weight.to(device), chosen.to(device)
        out = experts_triton(x, weight, chosen, gate_up, down)
        wide = [t.double() for t in (x, weight)], [t.double().nan_to_num() for t in (gate_up, down)]
        exact = experts_reference(*wide[0], chosen, *wide[1])
        assert out.dtype == torch.float32 and relative_error(out, exact) < bound, (dtype, n, relative_error(out, exact))
        for i in range(n):
            alone = experts_triton(x[i : i + 1], weight[i : i + 1], chosen[i : i + 1], gate_up, down)
            assert torch.equal(alone[0], out[i]), "a token changed with its neighbours"
        back = experts_triton(x, weight.flip(1), chosen.flip(1), gate_up, down)
        assert torch.equal(back, out), "the order in which experts were chosen is not the order of additions"
"""


def test_triton_gathers_and_agrees(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)
