"""A stand-in for a model that asks its colleague: in which turn it asks for what is given, and it says nothing.

The shipped model was not trained to ask. What is tested with this is the way from a request to the page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping

import numpy as np
from echo_session import EchoSession, Turn

from tml_lab.background.colleague import Assisted, with_colleague
from tml_lab.background.panel import Board, Chart
from tml_lab.stream.recording import Inputs, Recording


class AskingSession(EchoSession):
    """Asks in the turns named, and keeps a recording of the sound and the words that it was given."""

    def __init__(self, asks: Mapping[int, str]) -> None:
        super().__init__()
        self.asks = asks

    def step(self, audio: np.ndarray, frames: np.ndarray | None = None, text: str | None = None) -> Turn:
        turn = super().step(audio * 0, frames, text)
        turn.request = self.asks.get(turn.turn, "")
        turn.decision = "<delegate>" if turn.request else "<silent>"
        return turn

    def recording(self) -> Recording:
        typed = tuple((n, text) for n, text in enumerate(self.typed) if text)
        return Recording(
            Inputs(np.concatenate([np.zeros(0, np.float32), *self.heard]), typed),
            decisions=("<silent>",) * len(self.heard),
            p_speak=np.zeros(len(self.heard), np.float32),
            words=((),) * len(self.heard),
            audio_out=np.zeros(3200 * len(self.heard), np.float32),
        )


class Grow:
    """A tool that draws point after point for as long as it is let, one each tenth of a second."""

    name = "grow"

    def __init__(self, board: Board) -> None:
        self.board = board

    async def stream(self, request: str) -> AsyncGenerator[str, None]:
        values: list[float] = []
        while True:
            values.append(len(values) % 7 + 1)
            labels = [str(n) for n in range(len(values))][-30:]
            self.board.put(Chart, "grow", title="growing", labels=labels, values=values[-30:], shape="line")
            yield f"{len(values)} points"
            await asyncio.sleep(0.1)


def with_growing(session: EchoSession) -> Assisted:
    """The built-in tools, and one that does not end by itself."""
    board = Board()
    return with_colleague(session, [Grow(board)], board)
