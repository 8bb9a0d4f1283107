"""What if? A stretch of an excerpt silenced, or other words typed, and what the model does then.

    child = what_if(excerpt, model, tokenizer, Change(first=20, end=24))
    print(diff(excerpt.recording, child))
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from tml_lab.interp.names import InterpError, check_turn
from tml_lab.interp.variants import PARTS, blank
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.excerpt import Excerpt
from tml_lab.stream.recording import Inputs, Recording


@dataclass(frozen=True)
class Change:
    """What is to be otherwise, in the excerpt's turns.

    Args:
        first, end: the stretch `[first, end)`.
        parts: what is blank there: some of `audio`, `typed`, `frames`.
        typed: words typed in the turn `first` instead; empty: none.
    """

    first: int
    end: int
    parts: Collection[str] = PARTS
    typed: str = ""

    def of(self, inputs: Inputs) -> Inputs:
        """The changed inputs. Raises InterpError for a stretch that is not there, or a change that changes nothing."""
        if self.end <= self.first:
            raise InterpError(f"turns {self.first} to {self.end} are no stretch: it must end after it begins.")
        for turn in (self.first, self.end - 1):
            check_turn(inputs.turns, turn)
        if not self.parts and not self.typed:
            raise InterpError("nothing is changed: silence something, or type other words.")
        other = blank(inputs, range(self.first, self.end), self.parts)
        more = ((self.first, self.typed),) if self.typed else ()
        return replace(other, typed=(*other.typed, *more))


def what_if(
    excerpt: Excerpt, model: InteractionModel, tokenizer: TextTokenizer, change: Change,
    told: Callable[[float], None] = lambda _: None,
) -> Recording:  # fmt: skip
    """What would have happened: a recording of the excerpt's turns under the change, the same before it.

    Args:
        told: called with the share of the work that is done, 0..1.
    """
    inputs = change.of(excerpt.recording.inputs)
    session = excerpt.session(model, tokenizer)
    for turn in range(excerpt.turns):
        session.step(*inputs.turn(turn))
        told((turn + 1) / excerpt.turns)
    return session.recording({"changed_at_turn": change.first})
