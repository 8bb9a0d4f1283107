"""What a live session keeps of each turn, and how a page that was loaded anew is told of the turns before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

POINTS = 8  # loudness values of a turn, for the drawn waveform
TOLD_ANEW = 300  # turns: a minute, as much as the strip shows


@dataclass
class Row:
    """One turn as the widget keeps it: what `LiveSession.turns` lists.

    Times are seconds: `model` inside `Session.step`, `waited` in the queue before it. `heard` are the words that the
    model's listening head read; `typed` those of the person and of the background model; `note` what the session's
    policy of memory typed again.
    """

    turn: int
    seq: int
    decision: str
    p_speak: float
    words: tuple[str, ...]
    heard: tuple[str, ...]
    typed: str | None
    model: float
    waited: float
    missed: int = 0  # turns without their chunk: this one, if it is a gap, and those that were skipped before it
    late: bool = False  # its moment had passed when it was run: what was said in it was not played
    read: dict[str, float] = field(default_factory=dict)  # what the attached readers said of the decision
    request: str = ""  # what the background model was asked
    note: str = ""

    def header(self) -> dict[str, Any]:
        """The row as a page reads it."""
        return {
            "seq": self.seq,
            "turn": self.turn,
            "decision": self.decision,
            "p_speak": round(self.p_speak, 5),
            "words": self.words,
            "request": self.request,
            "heard": " ".join(self.heard),
            "typed": self.typed,
            "note": self.note,
            "missed": self.missed,
            "late": self.late,
            "model_ms": round(self.model * 1e3, 2),
            "waited_ms": round(self.waited * 1e3, 2),
            "read": {name: round(value, 4) for name, value in self.read.items()},
        }


def loudness(sound: np.ndarray) -> list[float]:
    """float32 [3200] -> POINTS root-mean-square values."""
    parts = np.asarray(sound, np.float32).reshape(POINTS, -1)  # [3200] -> [8, 400]
    return [round(float(level), 4) for level in np.sqrt(np.square(parts).mean(1))]


def heard_by_turn(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """The words heard, one entry per turn; in turns that were skipped there are none."""
    words: list[tuple[str, ...]] = [()] * (rows[-1].turn + 1 if rows else 0)
    for row in rows:
        words[row.turn] = row.heard
    return words


def past_message(rows: Sequence[Row], reel: Any) -> dict[str, Any]:
    """The last minute for a page that knows nothing of it: a `past` message.

    Args:
        reel: the session's sound, turn by turn (`tml_lab.stream.reels.MemoryReel`); None: the words alone are told.
    """
    turns = []
    for row in rows[-TOLD_ANEW:]:
        turn = row.header()
        if reel is not None and row.turn < len(reel.heard):
            turn["loud"] = [loudness(column.part(row.turn, row.turn + 1)) for column in (reel.heard, reel.own)]
        turns.append(turn)
    return {"kind": "past", "turns": turns}
