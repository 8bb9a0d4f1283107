"""Each kernel beside its rivals in one run, at nano's shapes and at those of a layer of Inkling-Small.

    make bench-gpu                                            # on a machine with a CUDA GPU
    OMP_NUM_THREADS=1 python benchmarks/kernels.py --device cpu --json FILE

A row is a ratio (rival's time over ours: above 1 we are faster) and the share of the measured byte or FLOP roofline
that ours reaches. Ours and the rivals take turns; times are medians, on a GPU by events with the cache swept between
calls. Not every rival exists on every device: what is missing is left out, and said.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from tml_kernels.bmm import bmm, bmm_reference
from tml_kernels.experts import experts, experts_grouped
from tml_kernels.flow_launch import FlowLayers, flow_launch, flow_launch_reference
from tml_kernels.matmul import matmul
from tml_kernels.mean import mean, mean_reference
from tml_kernels.residual import add_branch, add_branch_reference
from tml_kernels.rmsnorm import rms_norm, rms_norm_reference
from tml_kernels.router import route, route_reference
from tml_kernels.softmax import softmax, softmax_reference
from tml_kernels.split_attention import split_attention, split_attention_reference
from tml_lab.bench.machine import machine, now

Run = Callable[[], object]
SWEEP = 256 << 20  # bytes written between two calls on a GPU, so that weights come from memory


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


def cases(shape: Shape, n: int, device: str, dtype: torch.dtype) -> list[Case]:
    """All kernels for `n` tokens."""
    generator = torch.Generator(device).manual_seed(0)

    def randn(*size: int, kind: torch.dtype = dtype) -> Tensor:
        return (torch.randn(*size, generator=generator, device=device) * size[-1] ** -0.5).to(kind)

    size = torch.finfo(dtype).bits // 8
    d, x, square = shape.d, randn(n, shape.d), randn(shape.d, shape.d)
    found = [
        Case("matmul", lambda: matmul(x, square), {"torch": lambda: F.linear(x, square)},
             size * (d * d + 2 * n * d), 2 * n * d * d),
    ]  # fmt: skip
    gain = randn(d)
    found.append(
        Case("rms_norm", lambda: rms_norm(x, gain), {"torch": lambda: rms_norm_reference(x, gain)}, size * 2 * n * d, 0)
    )
    many, weights = randn(8, n, shape.d_head), randn(8, shape.keys, shape.d_head)
    scores = randn(n, shape.keys)
    found += [
        Case("bmm, 8 heads' scores", lambda: bmm(many, weights), {"torch": lambda: bmm_reference(many, weights)},
             size * (many.numel() + weights.numel() + 8 * n * shape.keys), 2 * 8 * n * weights[0].numel()),
        Case("softmax", lambda: softmax(scores), {"torch": lambda: softmax_reference(scores)},
             size * 2 * scores.numel(), 0),
        Case("mean", lambda: mean(scores), {"torch": lambda: mean_reference(scores)}, size * scores.numel(), 0),
    ]  # fmt: skip
    taps, tail = randn(d, 4), randn(3, d)
    found.append(
        Case("add_branch", lambda: add_branch(x, x, taps, tail, gain),
             {"torch": lambda: add_branch_reference(x, x, taps, tail, gain)}, size * 4 * n * d, 0)
    )  # fmt: skip
    router, bias = randn(shape.n_experts + shape.n_shared, d), randn(shape.n_experts, kind=torch.float32)
    found.append(
        Case("route", lambda: route(x, router, bias, shape.top_k, 1.0),
             {"torch": lambda: route_reference(x, router, bias, shape.top_k, 1.0)},
             size * (router.numel() + n * d), 2 * n * router.numel())
    )  # fmt: skip
    found.append(experts_case(shape, x, route(x, router, bias, shape.top_k, 1.0), randn, size))
    q, k, v = (randn(rows, shape.d_head, kind=torch.float32) for rows in (n, shape.keys, shape.keys))
    seen = torch.zeros(n, shape.keys, device=device)
    found.append(
        Case("split_attention, one head", lambda: split_attention(q, k, v, seen),
             {"torch": lambda: split_attention_reference(q, k, v, seen),
              "SDPA": lambda: F.scaled_dot_product_attention(q[None], k[None], v[None], seen[None], scale=1.0)},
             4 * 2 * k.numel(), 4 * n * k.numel())
    )  # fmt: skip
    if shape is NANO:
        found.append(flow_case(n, randn, size))
    return found


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


def experts_case(shape: Shape, x: Tensor, routed: tuple[Tensor, ...], randn: Callable[..., Tensor], size: int) -> Case:
    """Gather + gemv beside sorted groups and `torch._grouped_mm`."""
    weight, chosen, _ = routed
    n, d, inner = len(x), shape.d, shape.inner
    gate_up, down = randn(shape.n_experts, 2 * inner, d), randn(shape.n_experts, d, inner)
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
    return Case("experts", lambda: experts(x, weight, chosen, gate_up, down), rivals, moved, flops)


def times(runs: dict[str, Run], device: str, repeats: int) -> dict[str, float]:
    """Median seconds of each, taking turns."""
    cuda = device == "cuda"
    sweep = torch.empty(SWEEP if cuda else 1, dtype=torch.uint8, device=device)
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(3):
            run()
    for _ in range(repeats):
        for name, run in runs.items():
            if cuda:
                sweep.zero_()
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                begin.record()
                run()
                end.record()
                end.synchronize()
                spent[name].append(begin.elapsed_time(end) / 1e3)
            else:
                began = time.perf_counter()
                run()
                spent[name].append(time.perf_counter() - began)
    return {name: float(torch.tensor(values).median()) for name, values in spent.items()}


def roofline(device: str, dtype: torch.dtype) -> tuple[float, float]:
    """Measured bytes and FLOPs a second: a large copy and a large product."""
    n = 4096 if device == "cuda" else 1024
    big, matrix = torch.empty(n * n * 4, device=device), torch.randn(n, n, device=device).to(dtype)
    other = torch.empty_like(big)
    spent = times({"copy": lambda: other.copy_(big), "product": lambda: matrix @ matrix}, device, 10)
    return 2 * big.nbytes / spent["copy"], 2 * n**3 / spent["product"]


@torch.no_grad()
def measure(device: str, tokens: list[int], repeats: int, shapes: list[Shape]) -> dict[str, Any]:
    """Rows by shape, kernel and number of tokens."""
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    bytes_per_s, flops_per_s = roofline(device, dtype)
    rows = []
    for shape in shapes:
        for n in tokens:
            for case in cases(shape, n, device, dtype):
                spent = times({"ours": case.ours, **case.rivals}, device, repeats)
                ours = spent.pop("ours")
                least = max(case.n_bytes / bytes_per_s, case.flops / flops_per_s)
                rows.append(
                    {
                        "shape": shape.name, "kernel": case.name, "tokens": n, "us": round(1e6 * ours, 2),
                        "of_roofline": round(least / ours, 3),
                        "ratio": {name: round(theirs / ours, 3) for name, theirs in spent.items()},
                    }
                )  # fmt: skip
    return {"GB_per_s": round(bytes_per_s / 1e9, 1), "TFLOP_per_s": round(flops_per_s / 1e12, 3), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tokens", type=int, nargs="*", default=[1, 2, 4, 8, 17, 64, 512])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--nano-only", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA GPU here; --device cpu measures the CPU paths")
    torch.set_num_threads(options.threads)
    small = options.nano_only or options.device == "cpu"  # a layer of 256 large experts takes 12 GB in float32
    result = measure(options.device, options.tokens, options.repeats, [NANO] if small else [NANO, SMALL])
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else None
    where = gpu or machine()["cpu"]
    table = Table(title=f"kernels, {where}: rival's time / ours", title_justify="left")
    for column in ("shape", "kernel", "tokens", "us", "of roofline", "ratios"):
        table.add_column(column)
    for row in result["rows"]:
        ratios = ", ".join(f"{name} {ratio}" for name, ratio in row["ratio"].items())
        table.add_row(*(str(row[c]) for c in ("shape", "kernel", "tokens", "us", "of_roofline")), ratios)
    Console().print(table)
    if options.json:
        head = {"benchmark": "kernels", "date": now(), "machine": machine(), "gpu": gpu, "threads": options.threads}
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(head | result, indent=1) + "\n")


if __name__ == "__main__":
    main()
