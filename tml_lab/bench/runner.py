"""Let a model live through episodes, turn by turn, and keep what it did.

`play_alone` is the reference: `Session.step` on one episode, exactly as in the browser. `ModelPlayer`
runs many episodes in one batch where it can; a test checks that both give the same log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tml_lab.bench.emissions import Emissions
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.text import SILENT, TextTokenizer

if TYPE_CHECKING:
    from tml_lab.model.interaction import InteractionModel
    from tml_lab.worlds.episode import Episode

Force = Callable[[int, str], str | None]
"""`(turn, decision of the turn before) -> "<silent>", "<speak>" or None` (None: the model decides)."""


class SteeredModel:
    """A model whose decision can be imposed from outside; all else is the model's own.

    Words are chosen among words only, so that adding to the logits of `<silent>` or `<speak>` moves
    nothing but decisions.
    """

    def __init__(self, model: InteractionModel, tokenizer: TextTokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.imposed: str | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._model(*args, **kwargs)

    def eval(self) -> SteeredModel:
        """As a module's `eval`: returns the model itself."""
        self._model.eval()
        return self

    def text_logits(self, hidden: Tensor) -> Tensor:
        """`[..., d_model] -> [..., vocab]`, the imposed decision made certain."""
        logits = self._model.text_logits(hidden)
        if self.imposed is None:
            return logits
        push = torch.zeros_like(logits)
        push[..., self._tokenizer.id(self.imposed)] = 1e4
        return logits + push


def turns_of(episode: Episode) -> Iterator[tuple[np.ndarray, np.ndarray | None, str | None]]:
    """`(audio f32 [3200], frames uint8 [2, H, W, 3] or None, typed text or None)` for every turn."""
    typed: dict[int, list[str]] = {}
    for turn, text in episode.typed:
        typed.setdefault(turn, []).append(text)
    for turn in range(episode.n_turns):
        audio = episode.audio[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES]
        frames = None if episode.frames is None else episode.frames[turn]
        yield audio, frames, " ".join(typed[turn]) if turn in typed else None


def play_alone(
    model: InteractionModel, tokenizer: TextTokenizer, episode: Episode, force: Force | None = None
) -> Emissions:
    """One episode through `Session.step`, the decisions imposed by `force` where it gives one."""
    from tml_lab.stream.session import Session

    steered = SteeredModel(model, tokenizer)
    session = Session(steered, tokenizer, seed=episode.seed)  # pyright: ignore[reportArgumentType]
    words: list[tuple[int, str]] = []
    decisions: list[str] = []
    p_speak: list[float] = []
    last = SILENT
    for turn, (audio, frames, text) in enumerate(turns_of(episode)):
        steered.imposed = force(turn, last) if force is not None else None
        result = session.step(audio, frames, text)
        last = result.decision
        words += [(turn, word) for word in result.words]
        decisions.append(last)
        p_speak.append(result.p_speak)
    return Emissions(len(decisions), tuple(words), tuple(decisions), tuple(p_speak))


class ModelPlayer:
    """The model under test, free running."""

    name = "model"

    def __init__(self, model: InteractionModel, tokenizer: TextTokenizer, batch: int = 16) -> None:
        self.model, self.tokenizer, self.batch = model, tokenizer, batch

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        return [play_alone(self.model, self.tokenizer, episode) for episode in episodes]
