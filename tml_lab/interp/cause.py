"""The smallest cause: which of the last seconds' turns must fall silent for another decision, and which suffice for it.

Delta debugging (Zeller and Hildebrandt 2002, "Simplifying and Isolating Failure-Inducing Input") over turns of input,
each tried by running the session on from there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from tml_lab.interp.counterfactual import Divergence, diff
from tml_lab.interp.names import InterpError, check_turn
from tml_lab.interp.rewind import Rewind
from tml_lab.interp.variants import PARTS, blank
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.clock import TURNS_PER_SECOND
from tml_lab.stream.recording import Recording


@dataclass(frozen=True, eq=False)
class Cause:
    """What a decision hung on.

    Args:
        turn: whose decision.
        turns: the turns of input found, ascending; empty when there are none such.
        recording: what happens up to `turn` without them (`smallest_flip`), or with them alone (`smallest_enough`).
        divergence: where that leaves the parent's way.
        runs: how many counterfactuals were run.
        sure: whether no shorter stretch of neighbouring turns does it; False when the budget ended first.
    """

    turn: int
    turns: tuple[int, ...]
    recording: Recording
    divergence: Divergence
    runs: int
    sure: bool


class _Trials:
    """Counterfactuals up to one decision, each tried once."""

    def __init__(self, parent: Recording, rewind: Rewind, turn: int, parts: Collection[str], budget: int) -> None:
        self.parent, self.rewind, self.turn, self.parts, self.budget = parent, rewind, turn, parts, budget
        self.wanted = parent.decisions[turn]
        self.tried: dict[frozenset[int], Recording] = {}

    def without(self, turns: Collection[int]) -> Recording:
        """What happens up to the decision when these turns are blank."""
        key = frozenset(turns)
        if key not in self.tried:
            session = self.rewind.at(min(key, default=self.turn))
            inputs = blank(self.parent.inputs, key, self.parts) if key else self.parent.inputs
            for turn in range(session.tape.turns, self.turn + 1):
                session.step(*inputs.turn(turn))
            self.tried[key] = session.recording()
        return self.tried[key]

    def flips(self, turns: Collection[int]) -> bool:
        """Whether the decision is another one without these turns."""
        return self.without(turns).decisions[self.turn] != self.wanted

    @property
    def spent(self) -> bool:
        """Whether the budget is used up."""
        return len(self.tried) >= self.budget


def _minimize(turns: Sequence[int], holds: Callable[[Sequence[int]], bool], spent: Callable[[], bool]) -> list[int]:
    """ddmin: a part of `turns` for which `holds` is true, and of which no single turn can be left out."""
    kept, pieces = list(turns), 2
    while len(kept) > 1 and not spent():
        size = -(-len(kept) // pieces)
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            if fewer and holds(fewer):
                kept, pieces = fewer, max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(2 * pieces, len(kept))
    return kept


def smallest_flip(
    parent: Recording,
    model: InteractionModel,
    tokenizer: TextTokenizer,
    turn: int,
    seconds: float = 10.0,
    parts: Collection[str] = PARTS,
    budget: int = 300,
    rewind: Rewind | None = None,
) -> Cause:
    """The fewest turns of the last `seconds` whose silence makes another decision of `turn`.

    First delta debugging, then every shorter stretch of neighbouring turns, shortest first, as far as the budget
    of counterfactuals goes. `rewind`: of `parent`, when there is one. Raises InterpError for a turn that is not there,
    and for no seconds or no budget.
    """
    trials, window = _prepare(parent, model, tokenizer, turn, seconds, parts, budget, rewind)
    found = _minimize(window, trials.flips, lambda: trials.spent) if trials.flips(window) else []
    for width in range(1, len(found)):
        for start in range(len(window) - width, -1, -1):  # what is near is likelier, and quicker to try
            if trials.spent:
                return _cause(trials, found, found, False)
            shorter = window[start : start + width]
            if trials.flips(shorter):
                return _cause(trials, shorter, shorter, True)
    return _cause(trials, found, found, True)


def smallest_enough(
    parent: Recording,
    model: InteractionModel,
    tokenizer: TextTokenizer,
    turn: int,
    seconds: float = 10.0,
    parts: Collection[str] = PARTS,
    budget: int = 300,
) -> Cause:
    """The fewest turns of the last `seconds` that lead to the decision of `turn` when all others are silent.

    By delta debugging: none of them can be left out, but another set may be smaller (`sure` is False). Raises
    InterpError for a turn that is not there.
    """
    trials, window = _prepare(parent, model, tokenizer, turn, seconds, parts, budget)

    def enough(kept: Sequence[int]) -> bool:
        return not trials.flips(set(window) - set(kept))

    found = [] if enough([]) else _minimize(window, enough, lambda: trials.spent)
    return _cause(trials, found, set(window) - set(found), False)


def _prepare(
    parent: Recording, model: InteractionModel, tokenizer: TextTokenizer, turn: int, seconds: float,
    parts: Collection[str], budget: int, rewind: Rewind | None = None,
) -> tuple[_Trials, list[int]]:  # fmt: skip
    check_turn(parent.turns, turn)
    if round(seconds * TURNS_PER_SECOND) < 1 or budget < 1:
        raise InterpError(f"a search needs a turn and a run at least, not {seconds} s and {budget} runs.")
    first = max(0, turn + 1 - round(seconds * TURNS_PER_SECOND))
    rewind = rewind or Rewind(parent, model, tokenizer, first)
    return _Trials(parent, rewind, turn, parts, budget), list(range(first, turn + 1))


def _cause(trials: _Trials, found: Sequence[int], gone: Collection[int], sure: bool) -> Cause:
    """What was found, and what happens when the turns `gone` are blank."""
    child = trials.without(gone)
    return Cause(trials.turn, tuple(found), child, diff(trials.parent, child), len(trials.tried), sure)
