"""An excerpt of a conversation: a few seconds of a session, with the state it had before them.

Whatever came before lies in the state, so that the excerpt can be run again, and otherwise, without the hour before it.
Its turns count from 0; the session's own numbers begin at `first`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from safetensors.torch import load, save

from tml_lab.model.interaction import InteractionModel
from tml_lab.model.state import State
from tml_lab.model.text import TextTokenizer
from tml_lab.stream.policy import policy_of
from tml_lab.stream.recording import Recording
from tml_lab.stream.reels import MemoryReel
from tml_lab.stream.session import Session
from tml_lab.stream.turn_input import SessionError


@dataclass(frozen=True, eq=False)
class Excerpt:
    """Some turns of a session.

    Args:
        first: the session's number of the excerpt's turn 0.
        state: the session's state before that turn, as safetensors.
        recording: what went in and came out, from that turn on; without token table and own voice.
    """

    first: int
    state: bytes
    recording: Recording

    @property
    def turns(self) -> int:
        """How many turns it has."""
        return self.recording.turns

    def session(self, model: InteractionModel, tokenizer: TextTokenizer) -> Session:
        """A session that stands before the excerpt's first turn, with an empty tape: its recording begins there.

        Where a head looked is not to be asked of it: the positions of what came before are not on its tape.
        """
        session = Session(model, tokenizer, seed=self.recording.seed, policy=policy_of(self.recording.policy))
        loaded = load(self.state)
        session.state = {name: tensor.to(session.state[name].device) for name, tensor in loaded.items()}
        return session


def cut(session: Session, state: State, end: int | None = None) -> Excerpt:
    """The turns of a session from the one before which it had `state`, up to `end` (None: all there are).

    Only what lies in the excerpt is copied; the session may go on meanwhile in another thread. Raises SessionError when
    the session writes to disk, or there is nothing to cut out.
    """
    tape, first = session.tape, int(state["turn"])
    if not isinstance(tape.reel, MemoryReel):
        raise SessionError("a session that writes its recording to disk has no excerpts: load the recording.")
    end = tape.turns if end is None else min(end, tape.turns)
    if end <= first:
        raise SessionError(f"the session has had turns 0..{tape.turns - 1}: there are none from {first} to {end}.")
    recording = replace(tape.part(first, end), seed=session.seed, policy=session.policy.to_dict())
    contiguous = {name: tensor.cpu().contiguous() for name, tensor in state.items()}
    return Excerpt(first, save(contiguous), recording)
