"""Where a head looked from one turn's decision, by stream and turn: of the turns that it can still see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tml_lab.stream.tokens import STREAMS


class Pooled(Mapping[str, np.ndarray]):
    """`{stream: float32 [turns]}`, column n the weight on turn n; an array is laid out when it is asked for.

    A session that has run for hours still sees some hundred turns: they are what is kept here.

    Args:
        turns: how many there are, the deciding one included.
        seen: int [k], the turns that are looked at, ascending.
        weight: float32 [S, k], by the order of `STREAMS`; sums to 1.
    """

    def __init__(self, turns: int, seen: np.ndarray, weight: np.ndarray) -> None:
        self.turns, self.seen, self.weight = turns, seen, weight

    def __getitem__(self, stream: str) -> np.ndarray:
        if stream not in STREAMS:
            raise KeyError(stream)
        dense = np.zeros(self.turns, np.float32)
        dense[self.seen] = self.weight[STREAMS.index(stream)]
        return dense

    def __iter__(self) -> Iterator[str]:
        return iter(STREAMS)

    def __len__(self) -> int:
        return len(STREAMS)

    def lag(self, most: int) -> np.ndarray:
        """float16 [S, most]: the weight on the turn k turns back, in column k."""
        lag = np.zeros((len(STREAMS), most), np.float16)
        back = self.turns - 1 - self.seen
        near = back < most
        lag[:, back[near]] = self.weight[:, near]
        return lag

    @property
    def share(self) -> np.ndarray:
        """float32 [S]: the weight on each stream, over all turns."""
        return self.weight.sum(1, dtype=np.float64).astype(np.float32)
