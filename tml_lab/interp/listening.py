"""Listening heads: heads that look from the decision at the words that are being said, beyond what distance explains.

Each head has a habit of looking a certain way back whoever speaks. Its listening score is the attention that goes from
the decision to the sound of the user's words so far, less what it gives to sound as far back while nobody speaks.
The question is that of arXiv 2603.06854 ("audio-specialist heads"), asked of turns in place of answers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from tml_lab.interp.attention import attention_by
from tml_lab.interp.cache import run_with_cache
from tml_lab.interp.labels import SPEAKERS
from tml_lab.interp.names import InterpError, full_name
from tml_lab.interp.sets import TurnSet

LAGS = 25  # turns back that are looked at: 5 s


@dataclass(frozen=True, eq=False)
class ListeningHeads:
    """Scores of every head in every episode.

    Args:
        score: float32 [episodes, layers, heads], attention on the words being said less that on quiet as far back.
        attention: float32 [episodes, layers, heads], the first of the two alone.
    """

    score: np.ndarray
    attention: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """The score over all episodes: float32 [layers, heads]."""
        return self.score.mean(0)

    @property
    def stability(self) -> float:
        """Rank correlation of the heads' scores in one half of the episodes with those in the other."""
        flat = self.score.reshape(len(self.score), -1)
        return float(np.corrcoef(rankdata(flat[::2].mean(0)), rankdata(flat[1::2].mean(0)))[0, 1])

    def top(self, n: int = 5) -> list[tuple[int, int, float]]:
        """`(layer, head, score)` of the `n` highest."""
        order = np.argsort(-self.mean, axis=None, kind="stable")[:n]
        return [(int(i // self.mean.shape[1]), int(i % self.mean.shape[1]), float(self.mean.flat[i])) for i in order]


def listening_heads(turns: TurnSet, recordings: int | None = None) -> ListeningHeads:
    """Score the heads of all layers in the set's recordings, each a whole episode.

    Raises InterpError when fewer than two episodes have both turns of the user's speech and quiet turns, or when layers
    have different numbers of heads.
    """
    cfg = turns.model.cfg
    if len({cfg.heads(layer)[0] for layer in range(cfg.n_layers)}) > 1:
        raise InterpError("the layers of this model have different numbers of heads: score them layer by layer.")
    found = []
    for i in np.unique(turns.episode)[:recordings]:
        mine = turns.episode == i
        speaker = turns.label("speaker")[mine]
        if len(speaker) != turns.recordings[i].turns:
            raise InterpError("listening heads are scored on whole episodes: pass a set that no turn was taken from.")
        user, quiet = speaker == SPEAKERS.index("user"), speaker == SPEAKERS.index("nobody")
        if user.sum() < 3 or quiet.sum() < 3:
            continue
        names = [full_name("pattern", layer) for layer in range(cfg.n_layers)]
        cache = run_with_cache(turns.model, turns.tokenizer, turns.recordings[i], names)
        by_lag = attention_by(cache, "lag").sel(stream="audio_in").values[..., :LAGS]  # [layers, heads, turns, lags]
        found.append([_scores(each, user, quiet) for each in by_lag])
    if len(found) < 2:
        raise InterpError("two episodes at least must have turns of speech and quiet turns: draw more.")
    both = np.array(found, np.float32)  # [episodes, layers, 2, heads]
    return ListeningHeads(both[:, :, 0], both[:, :, 1])


def _scores(by_lag: np.ndarray, user: np.ndarray, quiet: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`[heads, turns, lags]` -> the listening score and the attention on the words being said, `[heads]` each."""
    habit = by_lag[:, quiet].mean(1)  # [heads, lags], where it looks while nobody speaks
    on_words, by_habit = [], []
    for n in np.flatnonzero(user):
        so_far = 0
        while so_far < by_lag.shape[-1] and n - so_far >= 0 and user[n - so_far]:
            so_far += 1
        on_words.append(by_lag[:, n, :so_far].sum(-1))
        by_habit.append(habit[:, :so_far].sum(-1))
    attention = np.mean(on_words, 0)  # [heads]
    return attention - np.mean(by_habit, 0), attention
