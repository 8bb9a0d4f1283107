"""Batches made ahead by other processes: a GPU takes a step in the time one core needs to lay a batch out."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from tml_lab.train.feed import Batch, Feed

AHEAD = 4  # batches each process has ready


class Prefetch:
    """A feed whose batches come from `n_workers` processes in turn, each with draws of its own.

    The same seed and the same number of workers give the same batches. Setting `folder` to another lesson's takes
    effect with the next batch.
    """

    def __init__(self, feed: Feed, n_workers: int) -> None:
        self.feed, self.n_workers, self.skipped = feed, n_workers, 0

    @property
    def folder(self) -> Path:
        """The folder of episodes."""
        return self.feed.folder

    @folder.setter
    def folder(self, folder: Path) -> None:
        self.feed.folder = folder

    def skip(self, n_steps: int) -> None:
        """Go on with other draws than those of the first `n_steps` batches."""
        self.skipped = n_steps

    def __iter__(self) -> Iterator[Batch]:
        while True:
            folder, made = self.folder, 0
            ahead = DataLoader(
                _Share(self.feed, self.skipped), batch_size=None, num_workers=self.n_workers, prefetch_factor=AHEAD
            )
            with out_of_collections():
                batches = iter(ahead)
            for batch in batches:
                made += 1
                yield batch
                if self.folder != folder:
                    break
            self.skipped += made


@contextmanager
def out_of_collections() -> Iterator[None]:
    """Processes forked inside never collect what was there before: its finalizers may wait for threads that a fork does
    not have (a video decoder's), for ever."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class _Share(IterableDataset):
    """One worker's batches."""

    def __init__(self, feed: Feed, skipped: int) -> None:
        self.feed, self.skipped = feed, skipped

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        assert info is not None
        torch.set_num_threads(1)
        own = np.random.default_rng([int(self.feed.rng.integers(1 << 31)), info.id, self.skipped])
        self.feed.rng, self.feed.camera = own, np.random.default_rng(own.integers(1 << 31))
        yield from self.feed
