"""What the engine's tests share: inputs by number, a clock that stands still, a model that waits at a gate."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from tml_lab.config import TURN_SAMPLES
from tml_lab.serve.contract import Append, ServeError
from tml_lab.serve.engine import Engine
from tml_lab.serve.records import TurnIn
from tml_lab.serve.step_many import StepTogether
from tml_lab.stream.recording import SKIPPED
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult

PATIENCE = 60.0  # seconds a test waits for what must come


@cache
def sound(n: int, who: int = 0) -> np.ndarray:
    """One turn of noise, loud or soft: float32 [3200]."""
    rng = np.random.default_rng([n, who])
    return (rng.standard_normal(TURN_SAMPLES) * 10.0 ** rng.uniform(-3, -0.5)).astype(np.float32)


def pictures(n: int) -> np.ndarray:
    """uint8 [2, 60, 80, 3]: four patches."""
    return np.random.default_rng(n).integers(0, 256, (2, 60, 80, 3), np.uint8)


def chunk(n: int, who: int = 0, lost: int = 0) -> Append:
    """Chunk `n` of somebody; some have pictures or typed words."""
    text = "remind me in two seconds" if n % 7 == 3 else None
    return Append(n, sound(n, who), pictures(n) if n % 4 == 1 else None, text, lost)


def step_alone(session: Session, given: Append | None) -> TurnResult:
    """What a session does without an engine; None: a turn that is lost alone, and so skipped."""
    return session.step(SKIPPED) if given is None else session.step(given.audio, given.frames, given.text)


def assert_same(one: TurnResult, other: TurnResult) -> None:
    """To the bit, but for the seconds that it took."""
    assert (one.turn, one.decision, one.p_speak, one.words) == (other.turn, other.decision, other.p_speak, other.words)
    assert one.text == other.text and one.request == other.request
    assert one.audio.tobytes() == other.audio.tobytes()


def assert_same_state(one: Session, other: Session) -> None:
    """Every tensor, to the bit."""
    assert one.state.keys() == other.state.keys()
    for name, tensor in one.state.items():
        twin = other.state[name]
        assert tensor.dtype == twin.dtype and torch.equal(torch.isnan(tensor), torch.isnan(twin)), name
        assert torch.equal(tensor.nan_to_num(9), twin.nan_to_num(9)), name


def session_of(engine: Engine, id: str) -> Session:
    """The session inside, once nothing waits for it."""
    live = engine._lives[id]
    with engine._changed:
        caught_up = engine._changed.wait_for(lambda: not (live.behind or live.busy or live.waiting), PATIENCE)
    assert caught_up
    return live.session


def settle(engine: Engine) -> None:
    """Wait until nothing runs and no snapshot is being written: a folder that is copied then is one moment's."""
    for id, live in list(engine._lives.items()):
        session_of(engine, id)
        if live.shelf is not None and live.shelf._writing is not None:
            live.shelf._writing.result(PATIENCE)


class Clock:
    """Seconds, as the test says."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += seconds


class Gate:
    """Runs batches when it is open, and notes them; each may take some of the clock's seconds, or fail."""

    def __init__(self, clock: Clock | None = None, seconds: float = 0.0) -> None:
        self.open, self.inside = threading.Event(), threading.Event()
        self.clock, self.seconds = clock, seconds
        self.batches: list[list[tuple[Session, TurnIn]]] = []
        self.fail: list[ServeError] = []  # what the next turns come to
        self.spoil = False  # whether a failing turn leaves the session half-way

    def __call__(self, sessions: Sequence[Session], inputs: Sequence[TurnIn]) -> list[TurnResult | ServeError]:
        self.inside.set()
        assert self.open.wait(PATIENCE)
        self.batches.append(list(zip(sessions, inputs, strict=True)))
        if self.clock is not None:
            self.clock.pass_by(self.seconds)
        if sessions and self.fail:
            for session in sessions:
                session._broken = self.spoil
            return [self.fail.pop(0)] * len(sessions)
        return StepTogether()(sessions, inputs)

    def order(self) -> list[Session]:
        """The sessions in the order of their turns."""
        return [session for batch in self.batches for session, _ in batch]
