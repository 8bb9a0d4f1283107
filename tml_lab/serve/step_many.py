"""The turns of many sessions, run as one batch, in which each keeps the bits it has alone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tml_lab.serve.contract import BadChunkError, ServeError
from tml_lab.serve.records import TurnIn
from tml_lab.stream.session import Session
from tml_lab.stream.together import Outcome, Together
from tml_lab.stream.turn_result import TurnResult

log = logging.getLogger(__name__)


class StepFailedError(ServeError):
    """The model failed inside a turn; the session is put back to where it was before it."""

    code, status = "step_failed", 500


def step_many(
    sessions: Sequence[Session], inputs: Sequence[TurnIn], together: Together | None = None
) -> list[TurnResult | ServeError]:
    """One turn of each session; sessions differ from each other. `together`: by which threads; None: by this one.

    Returns, in their order, each turn's result; or BadChunkError when the session could not take the input and is as it
    was; or StepFailedError when it may be half-way through the turn. No session's error touches another one.
    """
    given = [(turn.audio, turn.frames, turn.text) for turn in inputs]
    try:
        outcomes: list[Outcome] = (together or Together()).step(sessions, given)
    except Exception as error:  # of what was computed for all
        outcomes = [error for _ in sessions]
    return [_in_our_words(*pair) for pair in zip(sessions, outcomes, strict=True)]


def _in_our_words(session: Session, outcome: Outcome) -> TurnResult | ServeError:
    if isinstance(outcome, TurnResult):
        return outcome
    if isinstance(outcome, ValueError):  # bad input leaves a session as it was
        return BadChunkError(str(outcome))
    log.error("a turn failed", exc_info=outcome)
    return StepFailedError(f"the model failed in turn {session.turn} ({type(outcome).__name__}: {outcome}).")
