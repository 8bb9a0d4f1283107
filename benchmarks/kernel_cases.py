"""What `kernels.py` measures: each kernel with its rivals, at nano's shapes and those of a layer of Inkling-Small."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.bmm import bmm, bmm_reference
from tml_kernels.experts import experts, experts_grouped, experts_triton
from tml_kernels.flow_launch import FlowLayers, flow_launch, flow_launch_reference
from tml_kernels.matmul import matmul
from tml_kernels.mean import mean, mean_reference
from tml_kernels.residual import add_branch, add_branch_reference
from tml_kernels.ring_attention import ring_attention, ring_attention_reference
from tml_kernels.rmsnorm import rms_norm, rms_norm_reference
from tml_kernels.router import route, route_reference
from tml_kernels.softmax import softmax, softmax_reference
from tml_kernels.split_attention import split_attention, split_attention_reference

Run = Callable[[], object]
MOST_FOR_EXPERTS = 64  # tokens; more is training's business, and no gather + gemv


@dataclass
class Case:
    """One kernel at one shape. `n_bytes`, `flops`: what it must at least move and compute."""

    name: str
    ours: Run
    rivals: dict[str, Run]
    n_bytes: float
    flops: float


@dataclass(frozen=True)
class Shape:
    """A layer: widths, experts, keys in attention."""

    name: str
    d: int
    inner: int
    n_experts: int
    n_shared: int
    top_k: int
    d_head: int
    keys: int


NANO = Shape("nano", 256, 256, 10, 1, 2, 64, 1024)
SMALL = Shape("Inkling-Small layer", 4096, 2048, 256, 2, 6, 128, 4096)


@functools.cache
def weights_of(shape: Shape, device: str, dtype: torch.dtype) -> dict[str, Tensor]:
    """What does not depend on the number of tokens: 13 GB at Inkling-Small's shape."""
    d, inner = shape.d, shape.inner
    sizes = {
        "square": (d, d), "gain": (d,), "keys": (8, shape.keys, shape.d_head), "taps": (d, 4), "tail": (3, d),
        "router": (shape.n_experts + shape.n_shared, d), "gate_up": (shape.n_experts, 2 * inner, d),
        "down": (shape.n_experts, d, inner),
    }  # fmt: skip
    made = {name: random(*size, device=device, dtype=dtype) for name, size in sizes.items()}
    return made | {"bias": torch.zeros(shape.n_experts, device=device)}  # each token chooses for itself


def random(*size: int, device: str, dtype: torch.dtype) -> Tensor:
    """Normal numbers whose sums over the last axis are of order one."""
    return torch.randn(*size, device=device, dtype=dtype).mul_(size[-1] ** -0.5)


def cases(shape: Shape, n: int, device: str, dtype: torch.dtype) -> Iterator[tuple[str, Callable[[], Case]]]:
    """All kernels for `n` tokens: names, and how to make each."""
    size = torch.finfo(dtype).bits // 8
    w = weights_of(shape, device, dtype)
    d = shape.d

    def randn(*size: int, kind: torch.dtype = dtype) -> Tensor:
        return random(*size, device=device, dtype=kind)

    def matmul_case() -> Case:
        x = randn(n, d)
        return Case("matmul", lambda: matmul(x, w["square"]), {"torch": lambda: F.linear(x, w["square"])},
                    size * (d * d + 2 * n * d), 2 * n * d * d)  # fmt: skip

    def norm_case() -> Case:
        x = randn(n, d)
        rivals: dict[str, Run] = {"torch": lambda: rms_norm_reference(x, w["gain"])}
        if hasattr(F, "rms_norm"):
            rivals["F.rms_norm"] = lambda: F.rms_norm(x, (d,), w["gain"], 1e-6)
        return Case("rms_norm", lambda: rms_norm(x, w["gain"]), rivals, size * 2 * n * d, 0)

    def bmm_case() -> Case:
        many, keys = randn(8, n, shape.d_head), w["keys"]
        return Case("bmm, 8 heads' scores", lambda: bmm(many, keys), {"torch": lambda: bmm_reference(many, keys)},
                    size * (many.numel() + keys.numel() + 8 * n * shape.keys), 2 * 8 * n * keys[0].numel())  # fmt: skip

    def softmax_case() -> Case:
        scores = randn(n, shape.keys)
        return Case("softmax", lambda: softmax(scores), {"torch": lambda: softmax_reference(scores)},
                    size * 2 * scores.numel(), 0)  # fmt: skip

    def mean_case() -> Case:
        scores = randn(n, shape.keys)
        return Case("mean", lambda: mean(scores), {"torch": lambda: mean_reference(scores)}, size * scores.numel(), 0)

    def branch_case() -> Case:
        x, rest = randn(n, d), (w["taps"], w["tail"], w["gain"])
        return Case("add_branch", lambda: add_branch(x, x, *rest), {"torch": lambda: add_branch_reference(x, x, *rest)},
                    size * 4 * n * d, 0)  # fmt: skip

    def route_case() -> Case:
        x, rest = randn(n, d), (w["router"], w["bias"], shape.top_k, 1.0)
        return Case("route", lambda: route(x, *rest), {"torch": lambda: route_reference(x, *rest)},
                    size * (w["router"].numel() + n * d), 2 * n * w["router"].numel())  # fmt: skip

    def attention_case() -> Case:
        q, k, v = (randn(rows, shape.d_head, kind=torch.float32) for rows in (n, shape.keys, shape.keys))
        seen = torch.zeros(n, shape.keys, device=device)
        return Case(
            "split_attention, one head", lambda: split_attention(q, k, v, seen),
            {"torch": lambda: split_attention_reference(q, k, v, seen),
             "SDPA": lambda: F.scaled_dot_product_attention(q[None], k[None], v[None], seen[None], scale=1.0)},
            4 * 2 * k.numel(), 4 * n * k.numel(),
        )  # fmt: skip

    def decode_case() -> Case:
        """New tokens over a full ring: 8 kv heads for 32, and eight times the layer's keys, more than a cache holds."""
        slots, heads = 8 * shape.keys, 32
        k, v = (randn(8, slots, shape.d_head) for _ in range(2))
        q, near = randn(n, heads, shape.d_head), randn(n, heads, 256)
        pos = torch.full((1,), 2 * slots, device=device)
        args = (q, k, v, near, pos, 16, slots - 80)

        def sdpa() -> Tensor:  # without the bias and the ring's mask
            wide = q.transpose(0, 1)[None]
            return F.scaled_dot_product_attention(wide, k[None], v[None], scale=1 / shape.d_head, enable_gqa=True)

        return Case("ring_attention, 32 heads", lambda: ring_attention(*args),
                    {"torch": lambda: ring_attention_reference(*args), "SDPA": sdpa},
                    size * 2 * k.numel(), 4 * n * heads * slots * shape.d_head)  # fmt: skip

    def mixture_case() -> Case:
        x = randn(n, d)
        return experts_case(shape, x, route(x, w["router"], w["bias"], shape.top_k, 1.0), w, size)

    found = {"matmul": matmul_case, "rms_norm": norm_case, "bmm": bmm_case, "softmax": softmax_case, "mean": mean_case,
             "add_branch": branch_case, "route": route_case}  # fmt: skip
    if n <= MOST_FOR_EXPERTS:
        found = {"matmul": matmul_case, "experts": mixture_case} | found | {"split_attention": attention_case}
    if shape is SMALL and n <= 8:
        found = {"ring_attention": decode_case} | found
    if shape is NANO and n <= MOST_FOR_EXPERTS:
        found["flow_launch"] = lambda: flow_case(n, randn, size)
    yield from found.items()


def flow_case(n: int, randn: Callable[..., Tensor], size: int) -> Case:
    """Four Euler steps of nano's flow head (width 320, depth 3); the tokens are those whose mouths move at once."""
    width, n_out, depth, steps = 320, 320, 3, 4
    layers = FlowLayers(
        randn(width, n_out), randn(width), randn(depth, width, width), randn(depth, width),
        randn(depth, width, width), randn(depth, width), randn(depth, 3 * width), randn(n_out, width), randn(n_out),
    )  # fmt: skip
    noise, modulation = randn(n, n_out), randn(steps, n, 5 * width)
    weights = sum(t.numel() for t in vars(layers).values())
    rivals: dict[str, Run] = {"torch": lambda: flow_launch_reference(noise, modulation, layers)}
    moved = size * steps * (weights + n * 5 * width)
    return Case("flow_launch", lambda: flow_launch(noise, modulation, layers), rivals, moved, 2 * n * steps * weights)


def experts_case(shape: Shape, x: Tensor, routed: tuple[Tensor, ...], w: dict[str, Tensor], size: int) -> Case:
    """Gather + gemv beside sorted groups and `torch._grouped_mm`."""
    weight, chosen, _ = routed
    n, d, inner = len(x), shape.d, shape.inner
    gate_up, down = w["gate_up"], w["down"]
    ours = experts_triton if x.is_cuda else experts  # at every number of tokens: where does it stop to pay?
    rivals: dict[str, Run] = {"sorted groups": lambda: experts_grouped(x, weight, chosen, gate_up, down)}
    grouped: Any = getattr(torch, "_grouped_mm", None)
    if x.is_cuda and grouped is not None:
        order = chosen.flatten().argsort(stable=True)
        ends = torch.bincount(chosen.flatten(), minlength=shape.n_experts).cumsum(0).to(torch.int32)
        token = order // shape.top_k

        def grouped_mm() -> Tensor:
            gate, up = grouped(x[token], gate_up.transpose(1, 2), ends).chunk(2, dim=-1)
            said = grouped(F.silu(gate) * up, down.transpose(1, 2), ends)
            scaled = said.float() * weight.flatten()[order, None]
            return torch.zeros(n, d, device=x.device).index_add_(0, token, scaled)

        rivals["torch._grouped_mm"] = grouped_mm
    used = int(chosen.unique().numel())
    moved, flops = size * used * 3 * d * inner, 2 * n * shape.top_k * 3 * d * inner
    return Case("experts", lambda: ours(x, weight, chosen, gate_up, down), rivals, moved, flops)
