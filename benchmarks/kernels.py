"""Each kernel beside its rivals in one run, at nano's shapes and at those of a layer of Inkling-Small.

    make bench-gpu                                            # on a machine with a CUDA GPU, under a minute
    OMP_NUM_THREADS=1 python benchmarks/kernels.py --device cpu --json FILE

A row is a ratio (rival's time over ours: above 1 we are faster) and the share of the measured byte or FLOP roofline
that ours reaches. Ours and the rivals take turns; times are medians, on a GPU by events around a replayed CUDA graph
(what cannot be captured runs as it is, and says so), with the cache swept between calls. The file is written after
every row; a row that fails keeps its error and the rest goes on. Not every rival exists on every device: what is
missing is left out.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from kernel_cases import NANO, SMALL, Case, Run, Shape, cases
from torch import Tensor

from tml_lab.bench.machine import machine, now

NEVER_CAPTURED = ("sorted groups",)  # it asks the host how many tokens an expert has
SWEEP = 128 << 20  # bytes read between two calls on a GPU, so that weights come from memory


def captured(name: str, run: Run) -> tuple[Run, bool]:
    """The run as a CUDA graph, so that its own time is measured and not the host's; as it is where that fails."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(2):
            run()
    torch.cuda.current_stream().wait_stream(aside)
    torch.cuda.synchronize()
    if name in NEVER_CAPTURED:
        return run, False
    try:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, capture_error_mode="relaxed"):
            run()
    except RuntimeError:
        torch.cuda.synchronize()
        return run, False
    return graph.replay, True


@functools.cache
def sweep() -> Tensor:
    """What is read between two calls: what is written would still have to leave the cache while the next one runs."""
    return torch.zeros(SWEEP // 4, device="cuda")


def times(runs: dict[str, Run], device: str, repeats: int) -> dict[str, float]:
    """Median seconds of each, taking turns."""
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for run in runs.values():
        for _ in range(2):
            run()
    for _ in range(repeats):
        for name, run in runs.items():
            if device == "cuda":
                sweep().sum()
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
    n, long = (8192, 1 << 28) if device == "cuda" else (1024, 1 << 24)
    big, matrix = torch.zeros(long, device=device), torch.randn(n, n, device=device).to(dtype)
    other = torch.empty_like(big)
    spent = times({"copy": lambda: other.copy_(big), "product": lambda: matrix @ matrix}, device, 10)
    return 2 * big.nbytes / spent["copy"], 2 * n**3 / spent["product"]


def row_of(case: Case, device: str, repeats: int, ceilings: tuple[float, float], compiled: bool) -> dict[str, Any]:
    """One line of the table."""
    runs: dict[str, Run] = {"ours": case.ours, **case.rivals}
    if compiled and "torch" in runs:
        runs["torch.compile"] = torch.compile(runs["torch"])
    as_it_is, failed = [], {}
    if device == "cuda":
        for name, run in list(runs.items()):
            try:
                runs[name], graphed = captured(name, run)
            except Exception as error:  # a rival that this machine or version does not take
                if name == "ours":
                    raise
                failed[name] = f"{type(error).__name__}: {error}"[:300]
                del runs[name]
            else:
                as_it_is += [] if graphed else [name]
    spent = times(runs, device, repeats)
    ours = spent.pop("ours")
    least = max(case.n_bytes / ceilings[0], case.flops / ceilings[1])
    ratio = {name: round(theirs / ours, 3) for name, theirs in spent.items()}
    row = {"us": round(1e6 * ours, 2), "of_roofline": round(least / ours, 3), "ratio": ratio}
    return row | ({"no_graph": as_it_is} if as_it_is else {}) | ({"failed": failed} if failed else {})


@torch.no_grad()
def measure(
    device: str, work: list[tuple[Shape, list[int]]], repeats: int, seconds: float, compiled: bool,
    keep: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:  # fmt: skip
    """Rows by shape, number of tokens and kernel; `keep` gets everything so far after each. Stops after `seconds`."""
    end = time.monotonic() + seconds
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    ceilings = roofline(device, dtype)
    rows: list[dict[str, Any]] = []
    result = {"GB_per_s": round(ceilings[0] / 1e9, 1), "TFLOP_per_s": round(ceilings[1] / 1e12, 3), "rows": rows}
    print(f"copy {result['GB_per_s']} GB/s, product {result['TFLOP_per_s']} TFLOP/s", flush=True)
    for shape, tokens in work:
        for n in tokens:
            for name, make in cases(shape, n, device, dtype):
                if time.monotonic() > end:
                    result["stopped"] = f"after {seconds:.0f} s, before {shape.name}, {name}, {n} tokens"
                    keep(result)
                    return result
                row: dict[str, Any] = {"shape": shape.name, "kernel": name, "tokens": n}
                try:
                    case = make()
                    row |= {"kernel": case.name} | row_of(case, device, repeats, ceilings, compiled and shape is NANO)
                except Exception as error:  # of one kernel at one shape: the others still count
                    row["error"] = f"{type(error).__name__}: {error}"[:2000]
                rows.append(row)
                print(line_of(row), flush=True)
                keep(result)
    return result


def line_of(row: dict[str, Any]) -> str:
    """A row, to be read."""
    head = f"{row['shape']:20} {row['kernel']:26} {row['tokens']:5}"
    if "error" in row:
        return f"{head}  {row['error'][:200]}"
    ratios = ", ".join(f"{name} {ratio}" for name, ratio in row["ratio"].items())
    notes = " ".join(f"{name}: {row[name]}" for name in ("no_graph", "failed") if name in row)
    return f"{head} {row['us']:10.2f} us {100 * row['of_roofline']:5.1f} % of roofline   {ratios} {notes}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--tokens", type=int, nargs="*", default=[1, 2, 4, 8, 64, 512, 4096])
    parser.add_argument("--nano-tokens", type=int, nargs="*", default=[1, 17, 64])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=55, help="no new row after so long")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--nano-only", action="store_true")
    parser.add_argument("--compiled", action="store_true", help="torch.compile as a rival at nano's shapes: minutes")
    parser.add_argument("--json", type=Path, help="default on a GPU: benchmarks/results/kernels_<its name>.json")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("there is no CUDA GPU here; --device cpu measures the CPU paths")
    torch.set_num_threads(options.threads)
    gpu = torch.cuda.get_device_name() if options.device == "cuda" else None
    file = options.json
    if gpu and file is None:
        file = Path(__file__).parent / "results" / f"kernels_{gpu.replace(' ', '_')}.json"
    head = {"benchmark": "kernels", "date": now(), "machine": machine(), "gpu": gpu, "threads": options.threads}
    if gpu:
        import triton

        head |= {"triton": triton.__version__, "cuda": torch.version.cuda}

    def keep(result: dict[str, Any]) -> None:
        if file:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(head | result, indent=1) + "\n")

    small = options.nano_only or options.device == "cpu"  # a layer of 256 large experts takes 12 GB in half precision
    work = [(NANO, options.nano_tokens)] if small else [(SMALL, options.tokens), (NANO, options.nano_tokens)]
    gc.collect()
    gc.freeze()  # every capture collects garbage: let it not look through all of torch
    print(f"kernels, {gpu or machine()['cpu']}: time, share of the roofline, rival's time / ours")
    measure(options.device, work, options.repeats, options.seconds, options.compiled, keep)


if __name__ == "__main__":
    main()
