"""What one turn brings, and where a watched head looked from its decision: by stream and turn, and by patch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tml_lab.config import PATCH
from tml_lab.stream.layout import Stream
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
        patches: float32 [rows, columns], the part of `attention` that lies on this turn's pictures, patch by patch;
            sums to `attention["video_in"][-1]`. None when no head is watched or no camera runs.
        note: what the session's policy of memory typed in this turn; empty: nothing.
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
    patches: np.ndarray | None = None
    note: str = ""


def pool_attention(tap: dict[str, Tensor], head: int, tape: Tape, rows: list[tuple[int, int]]) -> Pooled:
    """One head's attention at the decision, summed over the positions of each stream and turn.

    Args:
        tap: what the layer left there: `pattern` [1, heads, tokens, keys] and `key_pos` [1, keys].
        tape: the positions of earlier turns; `rows`: `(stream, token id)` of this turn's positions so far.
    """
    weight, position = _looks(tap, head)
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


def pool_patches(
    tap: dict[str, Tensor], head: int, tape: Tape, rows: list[tuple[int, int]], frames: np.ndarray | None
) -> np.ndarray | None:
    """One head's attention at the decision on each patch of this turn's pictures.

    Args: as for `pool_attention`; `frames` uint8 [2, H, W, 3], this turn's, or None.

    Returns float32 [ceil(H / 40), ceil(W / 40)], or None without pictures.
    """
    if frames is None:
        return None
    here = [n for n, (stream, _) in enumerate(rows) if stream == Stream.VIDEO_IN]
    weight, position = _looks(tap, head)
    first = len(tape.rows) + here[0]
    seen = np.zeros(len(here), np.float32)
    inside = (position >= first) & (position < first + len(here))
    seen[position[inside] - first] = weight[inside]
    return seen.reshape(-1, -(-frames.shape[2] // PATCH))  # [P] -> [rows, columns]


def _looks(tap: dict[str, Tensor], head: int) -> tuple[np.ndarray, np.ndarray]:
    """The decision's attention weights [keys], and the positions [keys] on which they lie."""
    return tap["pattern"][0, head, -1].double().cpu().numpy(), tap["key_pos"][0].cpu().numpy()
