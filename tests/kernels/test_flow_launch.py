"""All Euler steps in one launch: the model's own head, float64, tokens alone; Triton in a process of its own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tml_kernels.flow_launch import FlowLayers, flow_launch
from tml_lab.model.flow import FlowHead


def layers_of(head: FlowHead) -> FlowLayers:
    blocks = list(head.blocks)
    return FlowLayers(
        head.embed_x.weight, head.embed_x.bias,
        torch.stack([b.up.weight for b in blocks]), torch.stack([b.up.bias for b in blocks]),
        torch.stack([b.down.weight for b in blocks]), torch.stack([b.down.bias for b in blocks]),
        torch.stack([b.offset for b in blocks]), head.out.weight, head.out.bias,
    )  # fmt: skip


@torch.no_grad()
def test_it_is_the_models_flow_head() -> None:
    torch.manual_seed(0)
    head = FlowHead(24, 20, 32, 2)
    for p in head.parameters():
        nn.init.normal_(p, std=0.2)
    h, noise, steps = torch.randn(3, 24), torch.randn(3, 20), 4
    times = (torch.arange(steps) / steps).repeat_interleave(3)  # [steps * 3]
    modulation = head._modulation(times, head.embed_h(h).repeat(steps, 1)).view(steps, 3, -1)
    ours = flow_launch(noise, modulation, layers_of(head))
    torch.testing.assert_close(ours, head.sample(h, noise, steps), atol=1e-5, rtol=1e-4)


def test_shapes_are_checked() -> None:
    head = FlowHead(8, 8, 16, 1)
    with pytest.raises(ValueError, match=r"modulation \[steps, n, 5 \* width\]"):
        flow_launch(torch.zeros(2, 8), torch.zeros(4, 3, 80), layers_of(head))


CHECK = """
from tml_kernels.flow_launch import FlowLayers, flow_launch_reference, flow_launch_triton
for dtype, bound in ((torch.float32, 2e-6), (half, 5e-3 * coarse)):
    for n, n_out, width, depth, steps in ((1, 5, 3, 1, 1), (3, 20, 33, 2, 4), (2, 40, 24, 3, 2)):
        def rand(*size):
            return (torch.randn(*size) * size[-1] ** -0.5).to(device, dtype)
        layers = FlowLayers(rand(width, n_out), rand(width), rand(depth, width, width), rand(depth, width),
                            rand(depth, width, width), rand(depth, width), rand(depth, 3 * width),
                            rand(n_out, width), rand(n_out))
        x, modulation = torch.randn(n, n_out).to(device, dtype), rand(steps, n, 5 * width)
        torch.full((n, 2, 64), float("nan"), device=device)  # a poisoned neighbour in memory
        ours = flow_launch_triton(x, modulation, layers)
        exact = flow_launch_reference(x.double(), modulation.double(), layers.to(torch.float64))
        assert ours.dtype == dtype and relative_error(ours, exact) < bound, (dtype, n, relative_error(ours, exact))
        for i in range(n):
            alone = flow_launch_triton(x[i : i + 1], modulation[:, i : i + 1], layers)
            assert torch.equal(alone[0], ours[i])
"""


def test_triton_agrees_token_by_token(check_kernel: Callable[[str], None]) -> None:
    check_kernel(CHECK)
