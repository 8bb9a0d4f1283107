"""The turns of many sessions, run as one batch: the one place to change when that is more than a loop."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from tml_lab.serve.contract import BadChunkError, ServeError
from tml_lab.serve.records import TurnIn
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult

log = logging.getLogger(__name__)


class StepFailedError(ServeError):
    """The model failed inside a turn; the session is put back to where it was before it."""

    code, status = "step_failed", 500


def step_many(sessions: Sequence[Session], inputs: Sequence[TurnIn]) -> list[TurnResult | ServeError]:
    """One turn of each session; sessions differ from each other.

    Returns, in their order, each turn's result; or BadChunkError when the session could not take the input and is as it
    was; or StepFailedError when it may be half-way through the turn. No session's error touches another one.
    """
    return [_step(session, given) for session, given in zip(sessions, inputs, strict=True)]


def _step(session: Session, given: TurnIn) -> TurnResult | ServeError:
    try:
        return session.step(given.sound, given.frames, given.text)
    except ValueError as error:  # bad input leaves a session as it was
        return BadChunkError(str(error))
    except Exception as error:
        log.exception("a turn failed")
        return StepFailedError(f"the model failed in turn {session.turn} ({type(error).__name__}: {error}).")
