"""What a speaker did in one episode: its words with their times, and its decision in every turn.

The benchmarks grade nothing else. A model, a rival and a reference row all leave the same `Emissions`, and
the same `Word` list can be read back from an `output.json` in Full-Duplex-Bench's form.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tml_lab.model.text import SILENT, SPEAK
from tml_lab.stream.clock import played_span, played_start


@dataclass(frozen=True)
class Word:
    """One spoken word: `[start, end)` in seconds of the played clock."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Emissions:
    """The emission log of one episode.

    Attributes:
        turns: length of the episode in turns of 0.2 s.
        words: `(turn, word)` in order; a word of turn n begins to sound at 0.2 (n + 1) seconds.
        decisions: one decision per turn (`<silent>`, `<speak>` ...). A word goes on sounding through the
            `<speak>` turns that follow it.
        p_speak: the model's probability of `<speak>` per turn; empty for speakers that have none.
        requests: `(turn, what the background model was asked)`.
        voice: turn -> the own voice's normalised mel `[16, 80]`, where it was kept.
    """

    turns: int
    words: tuple[tuple[int, str], ...]
    decisions: tuple[str, ...]
    p_speak: tuple[float, ...] = ()
    requests: tuple[tuple[int, str], ...] = ()
    voice: Mapping[int, Tensor] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.decisions) != self.turns:
            raise ValueError(
                f"an emission log of {self.turns} turns needs as many decisions, not {len(self.decisions)}."
            )
        if any(not 0 <= turn < self.turns for turn, _ in self.words):
            raise ValueError(f"a word lies outside the {self.turns} turns of its episode: {self.words}.")
        if any(a[0] > b[0] for a, b in zip(self.words, self.words[1:], strict=False)):
            raise ValueError("words of an emission log must come in the order of their turns.")

    def spoken(self) -> list[Word]:
        """The words with start and end on the played clock.

        A word ends where its run of `<speak>` turns ends or the next word starts; several words of one turn
        share it in equal parts.
        """
        words: list[Word] = []
        for i, (turn, text) in enumerate(self.words):
            first, last = played_span(turn)
            same_turn = [j for j, (other, _) in enumerate(self.words) if other == turn]
            part = (last - first) / len(same_turn)
            rank = same_turn.index(i)
            start, end = first + rank * part, first + (rank + 1) * part
            if rank == len(same_turn) - 1:
                stop = self.words[i + 1][0] if i + 1 < len(self.words) else self.turns
                sounding = turn + 1
                while sounding < stop and self.decisions[sounding] == SPEAK:
                    sounding += 1
                end = played_start(sounding)
            words.append(Word(start, end, text))
        return words


def silence(turns: int) -> Emissions:
    """The log of somebody who says nothing for `turns` turns."""
    return Emissions(turns, (), (SILENT,) * turns)


def spoken_as(turns: int, script: Iterable[tuple[int, str]], turns_per_word: int = 1) -> Emissions:
    """The log of a speaker that follows a script.

    Each word sounds for `turns_per_word` turns or until the next word. Words at or past the last turn
    are dropped: nobody would hear them.
    """
    words = tuple(sorted((pair for pair in script if 0 <= pair[0] < turns), key=lambda pair: pair[0]))
    decisions = [SILENT] * turns
    for turn, _ in words:
        decisions[turn : turn + turns_per_word] = [SPEAK] * len(decisions[turn : turn + turns_per_word])
    return Emissions(turns, words, tuple(decisions))


def to_chunks(words: Sequence[Word]) -> dict[str, Any]:
    """Full-Duplex-Bench's `output.json`: `{"text", "chunks": [{"text", "timestamp": [start, end]}]}`."""
    chunks = [{"text": word.text, "timestamp": [round(word.start, 4), round(word.end, 4)]} for word in words]
    return {"text": " ".join(word.text for word in words), "chunks": chunks}


def from_chunks(output: dict[str, Any]) -> list[Word]:
    """Read `to_chunks` (or another system's `output.json`) back into words."""
    try:
        return [Word(*map(float, chunk["timestamp"]), text=str(chunk["text"])) for chunk in output["chunks"]]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not an output.json in Full-Duplex-Bench's form: {error!r}") from error
