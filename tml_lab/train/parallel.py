"""Several processes, one model: each takes its own batches, gradients are averaged (`torchrun`, gloo or nccl)."""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO

import torch
import torch.distributed as dist
from torch import Tensor, nn


def join() -> tuple[int, int]:
    """`(rank, world size)`; joins the group that `torchrun` describes in the environment, if it does."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        return 0, 1
    if not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(leave)  # else a process now and then dies while it ends: the group's threads still run
    return dist.get_rank(), dist.get_world_size()


def leave() -> None:
    """Leave the group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def finish() -> None:
    """The end of a process of a group in which all went well; nothing happens in a process that is alone.

    An interpreter that ends in its own time is now and then aborted while it does, by a thread of the group's that is
    still there, and what was trained well would count as failed.
    """
    if dist.is_initialized():
        wait_for_all()
        leave()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def launch(processes: int, command: list[str]) -> int:
    """Run `python COMMAND` in several processes that `join` one group, with the cores divided; the exit code."""
    with start(processes, command) as started:
        before = signal.signal(signal.SIGTERM, lambda *_: started.terminate())  # passed on: they save before they end
        try:
            return started.wait()
        except KeyboardInterrupt:  # they have had it, too
            return started.wait()
        finally:
            signal.signal(signal.SIGTERM, before)


def start(processes: int, command: list[str], output: IO[str] | None = None) -> subprocess.Popen[bytes]:
    """The same, without waiting; `output`: a file for what they print."""
    threads = max(1, (os.cpu_count() or processes) // processes)
    environment = {"OMP_NUM_THREADS": str(threads)} | os.environ
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.Popen([*run, *command], env=environment, stdout=output, stderr=output and subprocess.STDOUT)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over the processes, in one message; nothing to do when alone.

    A parameter that this process's batch did not touch counts as zero.
    """
    if not dist.is_initialized():
        return
    parameters = [p for p in parameters if p.requires_grad]
    for p in parameters:
        if p.grad is None:
            p.grad = torch.zeros_like(p)
    flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for p, piece in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
        assert p.grad is not None
        p.grad.copy_(piece.view_as(p))


def agreed(*figures: float) -> list[float]:
    """The first process's figures: clocks differ, and what all do together all must begin."""
    if not dist.is_initialized():
        return list(figures)
    figure = torch.tensor(figures, dtype=torch.float64)
    if torch.cuda.is_available():
        figure = figure.cuda()
    dist.broadcast(figure, 0)
    return figure.tolist()


@contextmanager
def stopping_together() -> Iterator[Callable[[], bool]]:
    """In a group, an interrupt breaks nothing off: it is a wish, of which the function given tells, so that all stop
    after the same step. Ctrl-C reaches them all, SIGTERM through whoever started them. Alone it is what it always is.
    """
    wished = threading.Event()
    if not dist.is_initialized():
        yield wished.is_set
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, lambda *_: wished.set()) for number in numbers]
    try:
        yield wished.is_set
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if dist.is_initialized():
        dist.barrier()


def sum_over_processes(values: Tensor) -> Tensor:
    """The sum of a small tensor over all processes."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def share_rows(rows: Tensor, work: Callable[[Tensor], Tensor]) -> Tensor:
    """`work(rows)`, each process doing its part of the rows `[n, ...]`; `work` must treat each row alone."""
    if not dist.is_initialized():
        return work(rows)
    rank, world = dist.get_rank(), dist.get_world_size()
    size = -(-len(rows) // world)
    mine = rows.new_zeros(size, *rows.shape[1:])
    own = rows[rank * size : (rank + 1) * size]
    mine[: len(own)] = own
    done = work(mine)
    parts = [torch.empty_like(done) for _ in range(world)]
    dist.all_gather(parts, done.contiguous())
    return torch.cat(parts)[: len(rows)]
