"""Counterfactuals: the same session with something else heard, seen, read or thought from some turn on.

    child = counterfactual(recording, model, tokenizer, t=4.2, inputs={"audio": other})
    child = counterfactual(recording, model, tokenizer, t=4.2, edits=[Ablate(at="L3H2 z")])
    print(diff(recording, child))
    outcomes = run_variants(recording, model, tokenizer, without_each_word(recording.inputs, words))

The past stays as it was, to the bit; what the model says from there on is its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.progress import track

from tml_lab.interp.edits import Edit, each_edit, edits_to_json, observe
from tml_lab.interp.names import InterpError, check_turn
from tml_lab.interp.rewind import Rewind
from tml_lab.interp.variants import Variant
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.clock import heard_start, turn_hearing
from tml_lab.stream.recording import Inputs, Recording

FOREVER = 2**31 - 1


@dataclass(frozen=True)
class Divergence:
    """Where a child of a recording goes another way.

    Args:
        first: the first turn whose decision or words differ; None when none does.
        first_p: the first turn whose p(speak) differs at all.
        decisions: `(turn, parent's decision and words, child's)` of every turn that differs.
        said: all that was said in the turns that both have, by parent and child.
        largest: the largest difference of p(speak), and its turn.
    """

    first: int | None
    first_p: int | None
    decisions: tuple[tuple[int, str, str], ...]
    said: tuple[str, str]
    largest: tuple[float, int]

    def __str__(self) -> str:
        if self.first is None:
            inside = "" if self.first_p is None else f"; p(speak) moves by {self.largest[0]:.3f} at most"
            return f"nothing is decided otherwise{inside}."
        turn, before, after = self.decisions[0]
        n = len(self.decisions)
        return (
            f"from {heard_start(turn):.1f} s on (turn {turn}): {before} becomes {after}; in all {n} "
            f"turn{'s differ' if n > 1 else ' differs'}, and {self.said[0]!r} becomes {self.said[1]!r}."
        )


def _turn_text(recording: Recording, turn: int) -> str:
    return " ".join([recording.decisions[turn], *recording.words[turn]])


def diff(parent: Recording, child: Recording) -> Divergence:
    """Compare the outputs of two recordings, over the turns that both have."""
    n = min(parent.turns, child.turns)
    pairs = [(turn, _turn_text(parent, turn), _turn_text(child, turn)) for turn in range(n)]
    others = tuple(pair for pair in pairs if pair[1] != pair[2])
    moved = np.abs(parent.p_speak[:n] - child.p_speak[:n])
    changed = np.flatnonzero(moved)
    largest = (float(moved.max()), int(moved.argmax())) if n else (0.0, 0)
    first_p = int(changed[0]) if len(changed) else None
    said = tuple(" ".join(word for words in one.words[:n] for word in words) for one in (parent, child))
    return Divergence(others[0][0] if others else None, first_p, others, (said[0], said[1]), largest)


def from_turn(edits: Sequence[Edit], turn: int, turns: int) -> list[Edit]:
    """The edits as they act from a turn on: what was to act always acts from there. `turns`: how many there are.

    Raises InterpError for an edit of the past, and for one that begins, or looks, after the end.
    """
    found = []
    for edit in each_edit(edits):
        span = edit.at.turns()
        for first, _ in (each for each in (span, edit.at.turns(of_keys=True)) if each is not None):
            if first >= turns:
                raise InterpError(
                    f"the edit at {edit.at} names turn {first}, after the end: there are turns 0..{turns - 1}."
                )
        if span is not None and span[0] < turn:
            raise InterpError(
                f"the edit at {edit.at} begins in turn {span[0]}, and the past before turn {turn} is kept: fork at "
                f"{heard_start(max(span[0], 0)):.1f} s or earlier."
            )
        at = edit.at if span is not None else edit.at.model_copy(update={"turn": (turn, FOREVER)})
        found.append(edit.model_copy(update={"at": at}))
    return found


def counterfactual(
    parent: Recording,
    model: InteractionModel,
    tokenizer: TextTokenizer,
    t: float | None = None,
    inputs: Inputs | Mapping[str, Any] | None = None,
    edits: Sequence[Edit] = (),
    rewind: Rewind | None = None,
) -> Recording:
    """What would have happened.

    Args:
        t: seconds on the heard clock; the turn that hears `t` is the first that may differ. None: the first turn that
            an edit names, or the beginning.
        inputs: as for `Recording.fork`: what is heard, typed and seen from that turn on.
        edits: act from that turn on.
        rewind: of `parent`, when many are asked.

    The edits stand in the child's `about["edits"]` as JSON: its replay under them is the same to the bit. Raises
    InterpError for an edit of the past or after the end, RecordingError for a `t` outside the recording.
    """
    named = [span[0] for edit in each_edit(edits) if (span := edit.at.turns()) is not None]
    if t is None:  # an edit that is named outside the recording is told of below
        turn = min(max(0, min(named, default=0)), parent.inputs.turns)
    else:
        turn = turn_hearing(t)
    forked = parent.fork(heard_start(turn), inputs)
    acting = from_turn(edits, turn, forked.inputs.turns)
    return _go_on(forked.inputs, turn, rewind or Rewind(parent, model, tokenizer, turn), acting, None)


def _go_on(
    inputs: Inputs, turn: int, rewind: Rewind, edits: Sequence[Edit], until: int | None
) -> Recording:
    """The parent's session before `turn`, with these inputs and edits up to the turn `until`, it included."""
    session = rewind.at(turn)
    if edits:
        session.observer = observe(session.model, edits)
    end = inputs.turns if until is None else min(until + 1, inputs.turns)
    for n in range(turn, end):
        session.step(*inputs.turn(n))
    about = {**rewind.recording.about, "forked_at_turn": turn}
    return session.recording({**about, "edits": edits_to_json(edits)} if edits else about)


@dataclass(frozen=True, eq=False)
class Outcome:
    """A variant, what happened in it, and where it left its parent's way."""

    variant: Variant
    recording: Recording
    divergence: Divergence


def run_variants(
    parent: Recording,
    model: InteractionModel,
    tokenizer: TextTokenizer,
    variants: Sequence[Variant],
    until: int | None = None,
    progress: bool = True,
) -> list[Outcome]:
    """Every variant of a recording's inputs, each run on from where it begins to differ; in their order.

    Args:
        until: the last turn of interest; None: the end.
        progress: show how far it is.

    Raises InterpError for a turn that is not there.
    """
    if until is not None:
        check_turn(parent.turns, until)
    rewind = Rewind(parent, model, tokenizer, min((variant.first for variant in variants), default=0))
    found = []
    for variant in track(variants, "what if", disable=not progress):
        child = _go_on(variant.inputs, variant.first, rewind, (), until)
        found.append(Outcome(variant, child, diff(parent, child)))
    return found
