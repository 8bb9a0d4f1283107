"""Why now? What one turn's decision hung on, tried by taking things away: stretches heard, messages, pictures.

    found = why(excerpt, model, tokenizer, turn)
    print(found.sentence())    Without what was heard at 5.8-6.0 s it would have stayed silent.

Occlusion (Zeiler and Fergus 2014) over time and streams, then the smallest cause (`smallest_flip`) where no single
thing suffices. Every answer is a run of the model itself on other input.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tml_lab.interp.cause import smallest_flip
from tml_lab.interp.decision import decision_direction, lens_difference
from tml_lab.interp.names import InterpError, check_turn
from tml_lab.interp.rewind import Rewind
from tml_lab.interp.variants import blank
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import DELEGATE, SPEAK, TextTokenizer
from tml_lab.stream.clock import TURNS_PER_SECOND, heard_start
from tml_lab.stream.excerpt import Excerpt
from tml_lab.stream.recording import Inputs, Recording

SECONDS = 10.0  # of what came before, taken away piece by piece
HEARD_TURNS = 2  # of a stretch of sound
SEEN_TURNS = 5  # of a stretch of pictures
BUDGET = 40  # runs for the smallest cause
STREAM = {"audio": "heard", "typed": "typed", "frames": "seen"}


@dataclass(frozen=True)
class Without:
    """The decision when something is taken away.

    Args:
        stream: heard, typed or seen.
        turns: `(first, end)` of what is taken away, in the excerpt's numbers.
        words: the message, for typed.
        decision, p_speak, said: of the turn that is asked about.
        flips: whether the decision is another one.
    """

    stream: str
    turns: tuple[int, int]
    words: str
    decision: str
    p_speak: float
    said: str
    flips: bool


@dataclass(frozen=True)
class Why:
    """What was found; while the search goes on, what has been found so far.

    Args:
        turn: whose decision, in the excerpt's numbers.
        decision, p_speak, said: what was decided, and the words of the turn.
        began: whether the turn before decided otherwise.
        parts: one for each thing that was taken away.
        causes: those that change the decision: the nearest of each stream, or all streams together.
        all_flips: whether the decision changes when the whole window is blank; None: not tried.
        layers: `<speak>` less `<silent>` as if the model ended after each layer (`decision_lens`).
        runs: how often the model was run.
        share: of the work that is done, 0..1.
    """

    turn: int
    decision: str
    p_speak: float
    said: str
    began: bool
    parts: tuple[Without, ...] = ()
    causes: tuple[Without, ...] = ()
    all_flips: bool | None = None
    layers: tuple[float, ...] = ()
    runs: int = 0
    share: float = 0.0

    def sentence(self, at: Callable[[int], float] = heard_start) -> str:
        """In plain words. `at(turn)`: the second at which one of the excerpt's turns begins to hear."""
        return _sentence(self, at)


Told = Callable[[Why], None]


def why(
    excerpt: Excerpt, model: InteractionModel, tokenizer: TextTokenizer, turn: int, seconds: float = SECONDS,
    earlier: Excerpt | None = None, told: Told = lambda _: None,
) -> Why:  # fmt: skip
    """What the decision of `turn` (in the excerpt's numbers) hung on, within the `seconds` before it.

    Args:
        earlier: an excerpt that begins earlier; of what was typed before `excerpt` each message is tried as well, last,
            because that takes longest. An instruction lasts.
        told: called with what has been found so far, after each run.

    Raises InterpError for a turn that is not there, or when the excerpt cannot be run again to the same decisions (a
    steered session, other weights).
    """
    check_turn(excerpt.turns, turn)
    parent = excerpt.recording.until(turn + 1)
    first = max(0, turn + 1 - round(seconds * TURNS_PER_SECOND))
    rewind = Rewind(parent, model, tokenizer, first, excerpt.session(model, tokenizer))
    _check_same(parent, rewind, turn)
    before = parent.decisions[turn - 1] if turn else ""
    found = Why(
        turn, parent.decisions[turn], float(parent.p_speak[turn]), " ".join(parent.words[turn]),
        before != parent.decisions[turn], layers=_by_layer(rewind, parent.inputs, turn),
    )  # fmt: skip
    asked = list(_things(parent.inputs, first, turn))
    for n, (part, span) in enumerate(asked):
        tried = _without(parent, rewind, turn, part, span)
        found = replace(_with(found, tried), share=0.9 * (n + 1) / len(asked))
        if tried in found.causes:
            found = replace(found, causes=(*found.causes[:-1], _shorter(tried, parent, rewind, turn)))
        told(found)
    if earlier is not None:
        found = _instructions(found, earlier, excerpt.first - earlier.first, model, tokenizer, told)
    if not found.causes:
        cause = smallest_flip(parent, model, tokenizer, turn, seconds, budget=BUDGET, rewind=rewind)
        runs = found.runs + cause.runs
        found = replace(found, all_flips=bool(cause.turns), causes=_together(cause.turns, cause.recording), runs=runs)
    return replace(found, share=1.0)


def _with(found: Why, tried: Without) -> Why:
    """One trial more; it is a cause when it changes the decision and is the first of its stream that does."""
    first = tried.flips and all(cause.stream != tried.stream for cause in found.causes)
    causes = (*found.causes, tried) if first else found.causes
    return replace(found, parts=(*found.parts, tried), causes=causes, runs=found.runs + 1)


def _instructions(
    found: Why, earlier: Excerpt, shift: int, model: InteractionModel, tokenizer: TextTokenizer, told: Told
) -> Why:
    """Each message typed in the first `shift` turns of `earlier`, left out alone."""
    turn = found.turn + shift
    parent = earlier.recording.until(turn + 1)
    typed = [at for at, _ in parent.inputs.typed if at < shift]
    rewind = Rewind(parent, model, tokenizer, min(typed, default=0), earlier.session(model, tokenizer))
    for at in reversed(typed):
        tried = _without(parent, rewind, turn, "typed", (at, at + 1))
        found = _with(found, replace(tried, turns=(at - shift, at + 1 - shift)))
        told(found)
    return found


def _check_same(parent: Recording, rewind: Rewind, turn: int) -> None:
    again = rewind.at(turn + 1).recording()
    for n, (one, other) in enumerate(zip(parent.decisions, again.decisions, strict=True)):
        if one != other or abs(float(parent.p_speak[n] - again.p_speak[n])) > 0.01:
            raise InterpError(
                "run again, these seconds come out otherwise: something acted on the session (readers with edits, "
                "other weights), so that what drove it cannot be tried out."
            )


def _things(inputs: Inputs, first: int, turn: int) -> Iterator[tuple[str, tuple[int, int]]]:
    """What is taken away, `(part, turns)`: the nearest first, because they are quick and likely."""
    for start in range(turn - HEARD_TURNS + 1, first - HEARD_TURNS, -HEARD_TURNS):
        yield "audio", (max(start, first), start + HEARD_TURNS)
    for at, _ in reversed(inputs.typed):
        yield "typed", (at, at + 1)
    if inputs.frames is not None:
        for start in range(turn - SEEN_TURNS + 1, first - SEEN_TURNS, -SEEN_TURNS):
            span = (max(start, first), start + SEEN_TURNS)
            if any(inputs.frames[n] is not None for n in range(*span)):
                yield "frames", span


def _without(parent: Recording, rewind: Rewind, turn: int, part: str, span: tuple[int, int]) -> Without:
    inputs = blank(parent.inputs, range(*span), [part])
    session = rewind.at(span[0])
    result = None
    for n in range(span[0], turn + 1):
        result = session.step(*inputs.turn(n))
    assert result is not None
    words = " ".join(text for at, text in parent.inputs.typed if span[0] <= at < span[1]) if part == "typed" else ""
    flips = result.decision != parent.decisions[turn]
    return Without(STREAM[part], span, words, result.decision, result.p_speak, " ".join(result.words), flips)


def _shorter(cause: Without, parent: Recording, rewind: Rewind, turn: int) -> Without:
    """A stretch of sound cut down to one of its turns, where one suffices: the nearest."""
    if cause.stream == "heard":
        for n in range(cause.turns[1] - 1, cause.turns[0] - 1, -1):
            one = _without(parent, rewind, turn, "audio", (n, n + 1))
            if one.flips:
                return one
    return cause


def _together(turns: Sequence[int], child: Recording) -> tuple[Without, ...]:
    """Turns that change the decision only together, as one cause of all streams."""
    if not turns:
        return ()
    end = child.turns - 1
    said = " ".join(child.words[end])
    span = (turns[0], turns[-1] + 1)
    return (Without("all", span, "", child.decisions[end], float(child.p_speak[end]), said, True),)


@torch.no_grad()
def _by_layer(rewind: Rewind, inputs: Inputs, turn: int) -> tuple[float, ...]:
    """The logit lens at the decision, layer by layer: the residual stream at the last position of the turn's input."""
    session = rewind.at(turn)
    model = session.model
    seen: dict[int, Tensor] = {}
    direction, norm = decision_direction(model, session.tokenizer), model.backbone.norm

    def keep(layer: int) -> Callable[[Any, Any, Tensor], None]:
        def hook(_module: Any, _args: Any, out: Tensor) -> None:
            if out.shape[1] > 1:  # the input is one forward of several positions; outputs are fed one by one
                seen[layer] = out[0, -1:]  # [1, n, d_model] -> [1, d_model]

        return hook

    hooks = [block.register_forward_hook(keep(layer)) for layer, block in enumerate(model.backbone.blocks)]
    try:
        session.step(*inputs.turn(turn))
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(float(lens_difference(seen[n], norm.weight, norm.eps, direction)) for n in sorted(seen))


def _did(decision: str, said: str, began: bool) -> str:
    words = f" (\u201c{said}\u201d)" if said else ""
    if decision == SPEAK:
        return f"began to speak{words}" if began else f"went on speaking{words}"
    return "asked the background model" if decision == DELEGATE else "stayed silent"


def _would(decision: str, said: str) -> str:
    words = f" (\u201c{said}\u201d)" if said else ""
    if decision == SPEAK:
        return f"it would have spoken{words}"
    return "it would have asked the background model" if decision == DELEGATE else "it would have stayed silent"


def _sentence(found: Why, at: Callable[[int], float]) -> str:
    def span(turns: tuple[int, int]) -> str:
        return f"{at(turns[0]):.1f}\u2013{at(turns[1] - 1) + 1 / TURNS_PER_SECOND:.1f} s"

    told = [f"At {at(found.turn):.1f} s it {_did(found.decision, found.said, found.began)}."]
    for cause in found.causes:
        what = {
            "heard": f"what was heard at {span(cause.turns)}",
            "seen": f"what was seen at {span(cause.turns)}",
            "typed": f"the words typed at {at(cause.turns[0]):.1f} s (\u201c{cause.words}\u201d)",
            "all": f"what came in at {span(cause.turns)}",
        }[cause.stream]
        told.append(f"Without {what} {_would(cause.decision, cause.said)}.")
    if not found.causes and found.share == 1:
        told.append("Nothing in these seconds, taken away, changes that: it hangs on what came before, or on little.")
    return " ".join(told)
