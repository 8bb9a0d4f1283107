"""Let a model live through episodes, turn by turn, and keep what it did.

`play_alone` is the reference: `Session.step` on one episode, exactly as in the browser. `ModelPlayer`
runs many episodes in one batch where it can; a test checks that both give the same log.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tml_lab.bench.emissions import Emissions
from tml_lab.bench.force import Force
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.text import DELEGATE, SILENT, SPEAK, TextTokenizer
from tml_lab.stream.rollout import Colleague, Decide, Heard, Run, rollout

if TYPE_CHECKING:
    from tml_lab.model.interaction import InteractionModel
    from tml_lab.worlds.stage import Episode

SEED = 0  # of the noise that the voice is drawn from: the same for every episode


class SteeredModel:
    """A model whose decision can be imposed from outside; all else is the model's own.

    Words are chosen among words only, so that adding to the logits of `<silent>` or `<speak>` moves
    nothing but decisions.
    """

    def __init__(self, model: InteractionModel, tokenizer: TextTokenizer) -> None:
        self._model, self._tokenizer = model, tokenizer
        self.imposed: str | None = None

    @property
    def through(self) -> InteractionModel:
        """The model that a call of this one goes through to, unchanged."""
        return self._model

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
    film = episode.pictures()
    for turn in range(episode.n_turns):
        audio = episode.audio[turn * TURN_SAMPLES : (turn + 1) * TURN_SAMPLES]
        yield audio, None if film is None else film[turn], " ".join(typed[turn]) if turn in typed else None


def play_alone(
    model: InteractionModel, tokenizer: TextTokenizer, episode: Episode, force: Force | None = None
) -> Emissions:
    """One episode through `Session.step`, the decisions imposed by `force` where it gives one."""
    from tml_lab.stream.session import Session

    steered = SteeredModel(model, tokenizer)
    session = Session(steered, tokenizer, seed=SEED)  # pyright: ignore[reportArgumentType]
    words: list[tuple[int, str]] = []
    decisions: list[str] = []
    p_speak: list[float] = []
    requests: list[tuple[int, str]] = []
    back: dict[int, list[str]] = {}  # what comes back to them, by the turn in which it is read
    last = SILENT
    for turn, (audio, frames, text) in enumerate(turns_of(episode)):
        steered.imposed = force(turn, last) if force is not None else None
        result = session.step(audio, frames, " ".join([*([text] if text else []), *back.get(turn, [])]) or None)
        last = result.decision
        if last == DELEGATE:
            requests.append((turn, result.request))
            for at, answer in colleague_of([episode])(0, turn, result.request):
                back.setdefault(at, []).append(answer)
        words += [(turn, word) for word in result.words]
        decisions.append(last)
        p_speak.append(result.p_speak)
    return Emissions(len(decisions), tuple(words), tuple(decisions), tuple(p_speak), tuple(requests))


def imposing(forces: Sequence[Force | None], turns: Sequence[int]) -> Decide:
    """The rules of a batch's rows as `rollout` wants them; a row past its own end is held silent."""
    last = [SILENT] * len(forces)

    def decide(turn: int, p_speak: Tensor) -> Tensor:
        own = (p_speak > 0.5).tolist()
        for row, force in enumerate(forces):
            if turn >= turns[row]:
                last[row] = SILENT
            else:
                imposed = force(turn, last[row]) if force is not None else None
                last[row] = imposed or (SPEAK if own[row] else SILENT)
        return torch.tensor([decision == SPEAK for decision in last], device=p_speak.device)

    return decide


def play_batched(
    model: InteractionModel,
    tokenizer: TextTokenizer,
    episodes: Sequence[Episode],
    force: Sequence[Force | None] | None = None,
    batch: int = 16,
    keep_voice: bool = False,
) -> list[Emissions]:
    """One log per episode, in their order; episodes of like length share a batch. `keep_voice`: with their sound.

    With `force`, a decision left to the model is `<speak>` when its probability is above one half.
    """
    order = sorted(range(len(episodes)), key=lambda i: episodes[i].n_turns)
    logs: dict[int, Emissions] = {}
    for start in range(0, len(order), batch):
        group = order[start : start + batch]
        decide = None
        if force is not None:
            decide = imposing([force[i] for i in group], [episodes[i].n_turns for i in group])
        inputs = [Heard(episodes[i].audio, episodes[i].typed, episodes[i].pictures()) for i in group]
        helper = colleague_of([episodes[i] for i in group])
        runs = rollout(model, tokenizer, inputs, SEED, decide, keep_voice, helper)
        for i, run in zip(group, runs, strict=True):
            logs[i] = of_run(run, episodes[i].n_turns)
    return [logs[i] for i in range(len(episodes))]


def of_run(run: Run, turns: int) -> Emissions:
    """A rollout's row as an emission log of the episode's own length."""
    words = tuple((turn, word) for turn, word in run.words if turn < turns)
    decisions = tuple(SPEAK if speaks else SILENT for speaks in run.speaks[:turns])
    requests = tuple((turn, request) for turn, request in run.requests if turn < turns)
    voice = {turn: mel for turn, mel in run.voice.items() if turn < turns}
    return Emissions(turns, words, decisions, tuple(run.p_speak[:turns]), requests, voice)


def colleague_of(episodes: Sequence[Episode]) -> Colleague:
    """A background model for a batch's rows: it knows what each episode's own requests bring, and takes as long for it.

    Any other request fails, a second later.
    """

    def answer(row: int, turn: int, request: str) -> list[tuple[int, str]]:
        item = episodes[row]
        asked = [i for i, (_, known) in enumerate(item.requests) if known == request]
        if not asked:
            return [(turn + 5, f"{request.split()[0] if request else 'it'} failed")]
        at, _ = item.requests[asked[0]]
        tool = request.split()[0]
        back = next((t, text) for t, text in item.results if t > at and text.split()[0] == tool)
        return [(turn + back[0] - at, back[1])]

    return answer


class ModelPlayer:
    """The model under test, free running."""

    name = "model"

    def __init__(
        self, model: InteractionModel, tokenizer: TextTokenizer, batch: int = 16, keep_voice: bool = False
    ) -> None:
        self.model, self.tokenizer, self.batch, self.keep_voice = model, tokenizer, batch, keep_voice

    def play(self, episodes: Sequence[Episode]) -> list[Emissions]:
        return play_batched(self.model, self.tokenizer, episodes, batch=self.batch, keep_voice=self.keep_voice)
