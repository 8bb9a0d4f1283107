"""How sessions come to be inside an engine: fresh, from the disk, as forks, and anew after a failure."""

from __future__ import annotations

import threading
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import partial

import numpy as np

from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.contract import Reply, ServeError
from tml_lab.serve.journal_reel import JournalReel
from tml_lab.serve.limits import Limits
from tml_lab.serve.live import Live, last
from tml_lab.serve.records import TurnIn
from tml_lab.serve.store import About, Past, Shelf, Store
from tml_lab.stream.checkpoint_hash import weights_hash
from tml_lab.stream.policy import Policy, PolicyError, policy_of
from tml_lab.stream.recording import SKIPPED, Recording
from tml_lab.stream.session import Session, SessionError


@dataclass(frozen=True)
class Builder:
    """Makes `Live` sessions; `computing` keeps two threads from using the model at one time."""

    model: InteractionModel
    tokenizer: TextTokenizer
    limits: Limits
    store: Store | None
    computing: threading.Lock
    clock: Callable[[], float]
    policy: Policy | None = None

    def session(self, seed: int, attention: tuple[int, int] | None, policy: Policy | None) -> Session:
        """A fresh session. Raises ServeError."""
        try:
            with self.computing:
                return Session(self.model, self.tokenizer, seed, attention, policy=policy)
        except (SessionError, TypeError, ValueError) as error:
            raise ServeError(str(error)) from error

    def fresh(self, id: str, key: bytes, seed: int, attention: tuple[int, int] | None) -> Live:
        """A session that begins. Raises ServeError."""
        session = self.session(seed, attention, self.policy)
        shelf = None
        if self.store is not None:
            shelf = self.store.create(self._about(id, key, session))
            session.tape.reel = JournalReel(shelf.journal)
        return Live(id, key, session, self.limits, self.clock(), shelf)

    def _about(self, id: str, key: bytes, session: Session) -> About:
        policy = session.policy.to_dict()
        return About(id, key.hex(), session.seed, weights_hash(self.model), session.attention, policy)

    def restored(self, shelf: Shelf) -> Live:
        """A session from its folder. Raises ServeError, OSError or RecordError."""
        about = shelf.about
        if about.checkpoint != weights_hash(self.model):
            raise ServeError(f"it ran on other weights ({about.checkpoint}): start the engine with its checkpoint")
        try:
            policy = policy_of(about.policy)
        except PolicyError as error:
            raise ServeError(str(error)) from error
        session = self.session(about.seed, about.attention, policy)
        past = shelf.restore(session, self.limits.replies)
        live = Live(about.id, bytes.fromhex(about.key), session, self.limits, self.clock(), shelf)
        live.restored = past.lost
        self._go_on(live, session, past)
        return live

    def _go_on(self, live: Live, session: Session, past: Past) -> None:
        """Let a live session go on from what was read back."""
        assert live.shelf is not None
        live.session, live.known, live.past = session, past.known, live.shelf.journal.input
        live.answered = session.turn
        live.expected = max(live.expected, past.known)
        live.gaps, live.replies = [], {}
        for result, given in past.results:
            if given.gap:
                live.gaps += [] if given.skipped else [result]
                live.keep(Reply(result.turn, result))
            else:
                live.keep(Reply(result.turn, result, last(live.gaps, given.lost), shed=given.shed))
                live.gaps = []

    def fork(self, live: Live, session: Session, id: str, key: bytes, turn: int) -> Callable[[], Live]:
        """A session with the first `turn` turns of another one, which the caller has for itself.

        What takes long is done by the function that is returned, when the other one's turns may go on.
        Raises ServeError.
        """
        shelf = None
        if self.store is not None and live.shelf is not None:
            shelf = self.store.branch(live.shelf, self._about(id, key, session), turn)
        if turn == session.turn:  # nothing has to be run again
            with self.computing:
                twin = session.fork()
            if shelf is not None:
                pictures = isinstance(session.tape.reel, JournalReel) and session.tape.reel.pictures
                twin.tape.reel = JournalReel(shelf.journal, turn, pictures)
                shelf.snapshot(twin)
            made = Live(id, key, twin, self.limits, self.clock(), shelf, turn)
            made.replies, made.gaps, made.in_memory = dict(live.replies), list(live.gaps), live.in_memory
            return lambda: made
        if shelf is not None:
            return partial(self._come_back, shelf)
        past = live.past or inputs_of(session.recording())
        seed, attention, policy = session.seed, session.attention, session.policy

        def run_again() -> Live:
            return Live(id, key, self.session(seed, attention, policy), self.limits, self.clock(), None, turn, past)

        return run_again

    def _come_back(self, shelf: Shelf) -> Live:
        """`restored`, or nothing is left of it."""
        try:
            return self.restored(shelf)
        except Exception:
            shelf.remove()
            raise

    def put_back(self, live: Live) -> None:
        """Make a session anew, which stands half-way through a turn; its turns are run again by the engine.

        Raises ServeError, OSError or RecordError.
        """
        broken = live.session
        session = self.session(broken.seed, broken.attention, broken.policy)
        if live.shelf is None:
            live.past, live.session, live.in_memory = inputs_of(broken.recording()), session, 0
            live.answered = 0
            return
        live.shelf.journal.close()
        self._go_on(live, session, live.shelf.restore(session, self.limits.replies))


def inputs_of(recording: Recording) -> Callable[[int], TurnIn]:
    """Gives each turn's input of a recording that lies in memory."""
    seen, inputs = recording.attention, recording.inputs
    watched = None if seen is None else (seen.layer, seen.head)

    def given(turn: int) -> TurnIn:
        heard, frames, text = inputs.turn(turn)
        sound = heard if isinstance(heard, np.ndarray) else None
        return TurnIn(sound, frames, text, watched, skipped=heard is SKIPPED)

    return given


def frozen(session: Session) -> Session:
    """The session as it stands, to be read while its turns go on: a recording, and no more, may be asked of it."""
    view = copy(session)
    view.tape = session.tape.copy()
    return view
