"""The turns of many sessions, run as one batch: the one place where the engine meets the model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Protocol

from tml_lab.serve.contract import BadChunkError, ServeError
from tml_lab.serve.records import TurnIn
from tml_lab.signal.errors import SignalError
from tml_lab.stream.session import Session
from tml_lab.stream.together import Outcome, Together
from tml_lab.stream.turn_input import SessionError
from tml_lab.stream.turn_result import TurnResult

log = logging.getLogger(__name__)


class StepFailedError(ServeError):
    """The model failed inside a turn; the session is put back to where it was before it."""

    code, status = "step_failed", 500


class StepMany(Protocol):
    """One turn of each session; sessions differ from each other.

    Returns, in their order, each turn's result; or BadChunkError when the session could not take the input and is as it
    was; or StepFailedError when it may be half-way through the turn. No session's error touches another one.
    """

    def __call__(self, sessions: Sequence[Session], inputs: Sequence[TurnIn]) -> list[TurnResult | ServeError]: ...


class StepTogether:
    """`StepMany` by `Together`: a batch is computed jointly, and each session is, to the bit, as if it were alone."""

    def __init__(self, threads: int = 1) -> None:
        self._together = Together(threads)

    def __call__(self, sessions: Sequence[Session], inputs: Sequence[TurnIn]) -> list[TurnResult | ServeError]:
        """See `StepMany`."""
        given = [(each.heard, each.frames, each.text) for each in inputs]
        outcomes: Sequence[Outcome]
        try:
            outcomes = self._together.step(sessions, given)
        except Exception as error:  # of what was computed for all: each may be half-way
            outcomes = [error] * len(sessions)
        return [_told(session, outcome) for session, outcome in zip(sessions, outcomes, strict=True)]

    def close(self) -> None:
        """Let the threads go."""
        self._together.close()


def _told(session: Session, outcome: Outcome) -> TurnResult | ServeError:
    if isinstance(outcome, TurnResult):
        return outcome
    if isinstance(outcome, SessionError | SignalError):  # bad input leaves a session as it was
        return BadChunkError(str(outcome))
    log.error("a turn failed", exc_info=outcome)
    return StepFailedError(f"the model failed in turn {session.turn} ({type(outcome).__name__}: {outcome}).")
