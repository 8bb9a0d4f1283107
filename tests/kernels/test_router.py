"""The router: the model's own, float64, ties, and Triton in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from tml_kernels.router import route, route_reference
from tml_lab.config import preset
from tml_lab.model.moe import Router


def test_it_is_the_models_router() -> None:
    cfg = preset("pico").with_(n_experts=6, n_shared_experts=2, top_k=3)
    router = Router(cfg)
    with torch.no_grad():
        router.weight.normal_()
        router.bias.normal_()
    x = torch.randn(20, cfg.d_model)
    weights, chosen, shared = route(x, router.weight, router.bias, cfg.top_k, cfg.route_scale)
    theirs = router(x)
    order = theirs[1].argsort(dim=1)
    assert torch.equal(chosen, theirs[1].gather(1, order))
    torch.testing.assert_close(weights, theirs[0].gather(1, order))
    torch.testing.assert_close(shared, theirs[2])
    torch.testing.assert_close(weights.sum(1) + shared.sum(1), torch.full((20,), cfg.route_scale))


def test_sums_are_float32_whatever_comes_in() -> None:
    x, weight = torch.randn(5, 64), torch.randn(7, 64)
    ours = route(x.bfloat16(), weight.bfloat16(), torch.zeros(5), 2, 3.0)
    exact = route_reference(x.bfloat16().double(), weight.bfloat16().double(), torch.zeros(5).double(), 2, 3.0)
    assert ours[0].dtype == torch.float32 and torch.equal(ours[1], exact[1])
    torch.testing.assert_close(ours[0].double(), exact[0], atol=1e-5, rtol=1e-5)


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="1 <= top_k <= n_experts"):
        route(torch.zeros(2, 4), torch.zeros(5, 4), torch.zeros(3), 4, 1.0)


CHECK = """
from tml_kernels.router import route_reference, route_triton
for n, d, n_experts, n_shared, top_k in ((1, 3, 2, 1, 1), (7, 80, 10, 1, 2), (5, 130, 33, 2, 6)):
    x, weight = torch.randn(n, d, device=device), torch.randn(n_experts + n_shared, d, device=device) * 0.2
    bias = 0.1 * torch.randn(n_experts, device=device)
    ours = route_triton(x, weight, bias, top_k, 3.0)
    exact = route_reference(x.double(), weight.double(), bias.double(), top_k, 3.0)
    assert torch.equal(ours[1], exact[1])
    assert relative_error(ours[0], exact[0]) < 1e-6 and relative_error(ours[2], exact[2]) < 1e-6
    for i in range(n):
        alone = route_triton(x[i : i + 1], weight, bias, top_k, 3.0)
        assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, ours))
ones = torch.ones(6, 4, device=device)
same = route_triton(ones[:1], ones, torch.zeros(5, device=device), 3, 1.0)
assert same[1].tolist() == [[0, 1, 2]], "of equals the first"
"""


def test_triton_agrees_and_breaks_ties_by_number(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)
