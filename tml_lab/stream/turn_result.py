"""What one turn brings, and where a watched head looked from its decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tml_lab.stream.pooled import Pooled
from tml_lab.stream.tape import Tape
from tml_lab.stream.tokens import STREAMS


@dataclass(frozen=True)
class TurnResult:
    """What one turn brought.

    Args:
        turn: its number, from 0.
        decision: name of the decision token, e.g. "<silent>".
        p_speak: probability of `<speak>` among the decision tokens.
        text: the words, joined.
        words: emitted in this turn.
        audio: float32 [3200], to be played in [0.2 (turn + 1), 0.2 (turn + 2)) seconds.
        timings: seconds spent in each stage, and in "total".
        attention: {stream: float32 [turn + 1]}, where the watched head looked from this decision, pooled
            over the positions of each turn; sums to 1 over all streams and turns. None when no head is
            watched.
        request: what the background model is asked, after `<delegate>`; it is not said.
    """

    turn: int
    decision: str
    p_speak: float
    text: str
    words: tuple[str, ...]
    audio: np.ndarray
    timings: dict[str, float]
    attention: Mapping[str, np.ndarray] | None = None
    request: str = ""


def pool_attention(tap: dict[str, Tensor], head: int, tape: Tape, rows: list[tuple[int, int]]) -> Pooled:
    """One head's attention at the decision, summed over the positions of each stream and turn.

    Args:
        tap: what the layer left there: `pattern` [1, heads, tokens, keys] and `key_pos` [1, keys].
        tape: the positions of earlier turns; `rows`: `(stream, token id)` of this turn's positions so far.
    """
    weight = tap["pattern"][0, head, -1].double().cpu().numpy()  # [keys]
    position = tap["key_pos"][0].cpu().numpy()  # [keys]
    before = len(tape.rows)
    held = position < before + len(rows)  # slots that hold nothing yet carry a position far in the future
    weight, position = weight[held], position[held]
    past = position < before
    stream = np.empty(len(position), np.int64)  # [keys]
    turn = np.full(len(position), tape.turns)  # [keys]
    told = tape.rows.take(position[past])
    stream[past], turn[past] = told["stream"], told["turn"]
    stream[~past] = np.array([int(stream) for stream, _ in rows])[position[~past] - before]
    seen, column = np.unique(turn, return_inverse=True)  # [k], [keys]
    pooled = np.bincount(stream * len(seen) + column, weight, len(STREAMS) * len(seen))  # [S * k]
    return Pooled(tape.turns + 1, seen, pooled.reshape(len(STREAMS), -1).astype(np.float32))
