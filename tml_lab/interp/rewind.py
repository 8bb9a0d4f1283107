"""Rewind: a session as it stood before any turn of a recording, without running the whole past again each time."""

from __future__ import annotations

from tml_lab.interp.names import InterpError
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.checkpoint_hash import warn_of_other_weights
from tml_lab.stream.policy import policy_of
from tml_lab.stream.recording import Recording
from tml_lab.stream.session import Session

EVERY = 5  # turns between the states that are kept: 5 MB each for the nano


class Rewind:
    """A recording's session, run once, with states kept on the way.

    Args:
        since: the first turn that will be asked for; states are kept from there on.
        start: where the recording begins, when that is in the middle of a conversation (`Excerpt.session`), with
            nothing on its tape; None: a fresh session.

    Warns when the weights are not those of the recording: its past then comes out otherwise.
    """

    def __init__(
        self, recording: Recording, model: InteractionModel, tokenizer: TextTokenizer, since: int = 0,
        start: Session | None = None,
    ) -> None:  # fmt: skip
        warn_of_other_weights(recording.checkpoint, model, "run again, its past comes out otherwise.")
        self.recording = recording
        self._since = max(0, min(since, recording.inputs.turns))
        self._kept: dict[int, Session] = {} if start is None else {0: start.fork()}
        self._ahead = start or Session(model, tokenizer, seed=recording.seed, policy=policy_of(recording.policy))

    def at(self, turn: int) -> Session:
        """An independent session whose next step is `turn`. Raises InterpError for a turn outside the recording."""
        if not 0 <= turn <= self.recording.inputs.turns:
            raise InterpError(
                f"there is no turn {turn} to go back to: the recording has turns 0..{self.recording.inputs.turns - 1}."
            )
        self._run_to(turn)
        start = max((n for n in self._kept if n <= turn), default=None)
        if start is None:  # asked for what came before `since`
            return self._ahead.fork(at=turn)
        session = self._kept[start].fork()
        for n in range(start, turn):
            session.step(*self.recording.inputs.turn(n))
        return session

    def _run_to(self, turn: int) -> None:
        while True:
            here = self._ahead.tape.turns  # of the recording, wherever in a conversation that begins
            if here >= self._since and (here - self._since) % EVERY == 0 and here not in self._kept:
                self._kept[here] = self._ahead.fork()
            if here >= turn:
                return
            self._ahead.step(*self.recording.inputs.turn(here))
