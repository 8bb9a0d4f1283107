"""The turn layout: which token stands where, and what each position is asked to predict.

One turn is `[text_in*] [video_in x P] [audio_in x 4] [decision, words*] [audio_out x 4, only while speaking]`.
The hidden state at the last `audio_in` predicts the decision. After `<speak>` the hidden state predicts a word or
`<audio>` (no more words); where it predicts `<audio>` it also conditions the first `audio_out` token, each of
which is fed back and conditions the next. After `<delegate>` words are predicted in the same way, a request to the
background model; they are not sounded, and `<audio>` only ends them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from tml_lab.config import FRAMES_PER_TURN, OUT_TOKENS_PER_TURN

NO_TARGET = -100
MAX_WORDS = 2  # emitted in one turn
MAX_REQUEST = 12  # words of a request to the background model, all in one turn


class Stream(IntEnum):
    """Where a token comes from, or goes."""

    TEXT_IN = 0
    VIDEO_IN = 1
    AUDIO_IN = 2
    TEXT_OUT = 3
    AUDIO_OUT = 4


STREAM_NAMES = tuple(s.name.lower() for s in Stream)


@dataclass
class TurnTokens:
    """What one turn holds: ids only; sounds and pictures are counted here and kept beside."""

    text_in: list[int] = field(default_factory=list)
    n_patches: int = 0
    decision: int = 0
    words: list[int] = field(default_factory=list)
    speaks: bool = False
    asks: bool = False  # the words are a request to the background model
    number: int | None = None  # on the clock; None: one after another


@dataclass
class Layout:
    """One array entry for each position of a sequence.

    `stream, token, turn, slot`: [tokens]; `slot` counts within the turn. `token` is 0 where the position is not text.
    `target`: [tokens] the text id that the hidden state here must predict, or NO_TARGET.
    `voice_from`: [n audio_out] the position whose hidden state conditions each audio_out token.
    """

    stream: np.ndarray
    token: np.ndarray
    turn: np.ndarray
    slot: np.ndarray
    target: np.ndarray
    voice_from: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """[tokens] bool: the first position of each turn, which carries the clock."""
        return self.slot == 0


def lay_out(turns: list[TurnTokens], audio_id: int, first_turn: int = 0) -> Layout:
    """Lay a list of turns out as one sequence; `audio_id` is the id of `<audio>`."""
    columns: list[list[int]] = [[] for _ in range(6)]
    stream, token, turn_of, slot, target, voice_from = columns
    for n, turn in enumerate(turns):
        start = len(stream)
        stream += [Stream.TEXT_IN] * len(turn.text_in) + [Stream.VIDEO_IN] * turn.n_patches
        stream += [Stream.AUDIO_IN] * FRAMES_PER_TURN + [Stream.TEXT_OUT] * (1 + len(turn.words))
        token += turn.text_in + [0] * (turn.n_patches + FRAMES_PER_TURN) + [turn.decision, *turn.words]
        heard = len(turn.text_in) + turn.n_patches + FRAMES_PER_TURN
        target += [NO_TARGET] * (heard - 1) + [turn.decision]
        if turn.speaks:
            target += [*turn.words, audio_id] + [NO_TARGET] * OUT_TOKENS_PER_TURN
            voice_from += range(len(stream) - 1, len(stream) - 1 + OUT_TOKENS_PER_TURN)
            stream += [Stream.AUDIO_OUT] * OUT_TOKENS_PER_TURN
            token += [0] * OUT_TOKENS_PER_TURN
        else:
            target += [*turn.words, audio_id] if turn.asks else [NO_TARGET] * (1 + len(turn.words))
        slot += range(len(stream) - start)
        turn_of += [first_turn + (n if turn.number is None else turn.number)] * (len(stream) - start)
    return Layout(*(np.asarray(column, dtype=np.int64) for column in columns))
