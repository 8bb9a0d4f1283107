"""A session, wherever its model runs: a notebook that begins with one of these does not know which it talks to.

    from tml_lab.serve.session import Session

    session = Session.local("nano")                              # the model in this process
    session = Session.connect("wss://hub.example.org:8321")      # on a server that runs `tml serve`
    session = Session.start()                                    # on the server that TML_SERVER names, else here

    session.step(audio).decision
    session.recording()
"""

from __future__ import annotations

import os
import threading
import weakref
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import numpy as np

from tml_lab.model.checkpoint import checkpoint_dir
from tml_lab.serve.client import RemoteSessions
from tml_lab.serve.contract import Append, Opened, Reply, ServeError, Sessions
from tml_lab.serve.engine import Engine
from tml_lab.serve.handle import Handle
from tml_lab.serve.limits import Limits
from tml_lab.serve.warm import load_warm
from tml_lab.worlds.remembered import usual_policy

SERVER = "TML_SERVER"
_OWN = Limits(idle=None, shed=False)  # an engine that nobody else uses: nothing is late, nothing grows old
_engines: dict[str, Engine] = {}
_lock = threading.Lock()


class Session(Handle):
    """One conversation, in this process or on a server: the same calls, the same results to the bit."""

    _connection: RemoteSessions | None = None  # where it is this session's own
    _forgotten: weakref.finalize | None = None

    @staticmethod
    def local(checkpoint: str = "nano", seed: int = 0, attention: tuple[int, int] | None = None) -> Session:
        """A fresh session in this process; the model is loaded once for all of them. Raises CheckpointError."""
        return _fresh(_engine(checkpoint), seed, attention)

    @staticmethod
    def connect(
        url: str | None = None, token: str | None = None, seed: int = 0, attention: tuple[int, int] | None = None,
        resume: tuple[str, str] | None = None, patience: float = 60.0, **how: Any,
    ) -> Session:  # fmt: skip
        """A session on a server.

        Args:
            url: as `tml serve` printed it; None: of the environment variable TML_SERVER.
            token: None: of the link, or of TML_TOKEN.
            resume: the `key` of a session that goes on there; None: a fresh one.
            patience: seconds for which an unreachable server is tried again, in each call.
            how: sound="s16", pictures="jpeg", certificate=FILE (see `RemoteSessions`).

        Raises ServeError: BusyError when it is full, NotAllowedError for a wrong token, UnreachableError.
        """
        url = url or os.environ.get(SERVER)
        if not url:
            raise ServeError(f"give the server's address, or set {SERVER} to it.")
        there = RemoteSessions(url, token, patience=patience, **how)
        try:
            if resume is not None:
                expected = there.info(resume[0]).expected
                session = Session(there, Opened(*resume, expected), attention, **_waits(there))
            else:
                session = _fresh(there, seed, attention)
        except BaseException:
            there.hang_up()
            raise
        session._connection = there
        # Somebody who forgets `close` gives the place on the server back all the same; not at the process's end: then
        # it can be taken up again by its key, until the server's time-out.
        session._forgotten = weakref.finalize(session, _give_back, there, *session.key)
        session._forgotten.atexit = False
        return session

    @staticmethod
    def start(checkpoint: str = "nano", seed: int = 0, attention: tuple[int, int] | None = None) -> Session:
        """A fresh session on the server that TML_SERVER names; where it names none, in this process."""
        if os.environ.get(SERVER):
            return Session.connect(seed=seed, attention=attention)
        return Session.local(checkpoint, seed, attention)

    @property
    def key(self) -> tuple[str, str]:
        """Name and writer's key, for `connect(resume=...)`: whoever has them can go on with this session."""
        return self.id, self._writer

    def append(
        self, audio: np.ndarray | None, frames: np.ndarray | None = None, text: str | None = None
    ) -> Future[Reply]:
        """Send a turn without waiting for the one before; the futures come true in order.

        When one fails, so do those behind it; the next `step` goes on after what was run.
        """
        future = self.sessions.append(self.id, self._writer, Append(self._turn, audio, frames, text, self._lost))
        self._turn, self._lost = self._turn + 1, 0
        return future

    def fork(self, at: int | float | None = None) -> Session:
        """A session of its own with the same past; see `tml_lab.stream.session.Session.fork`."""
        twin = super().fork(at)
        return Session(
            self.sessions, Opened(twin.id, twin._writer, twin.turn), twin.attention, **_waits(self.sessions)
        )

    def close(self) -> None:
        """End the session, and the connection where it is its own; its forks end with the connection."""
        try:
            super().close()
        finally:
            if self._connection is not None:
                if self._forgotten is not None:
                    self._forgotten.detach()
                self._connection.hang_up()


def _fresh(sessions: Sessions, seed: int, attention: tuple[int, int] | None) -> Session:
    return Session(sessions, sessions.open(seed, attention), attention, **_waits(sessions))


def _give_back(there: RemoteSessions, id: str, writer: str) -> None:
    """Close a session that nobody holds any more; in a thread, for this is called wherever memory is cleaned up."""

    def close() -> None:
        there.patience = min(there.patience, 5.0)
        with there, suppress(ServeError):
            there.close(id, writer)

    threading.Thread(target=close, name="tml-give-back", daemon=True).start()


def _waits(sessions: Sessions) -> dict[str, Any]:
    """A connection tries again by itself, and says in a sentence when it gives up: it is given the time to."""
    if not isinstance(sessions, RemoteSessions):
        return {}
    return {"patience": sessions.patience, "answer": sessions.patience + 10.0}


def _engine(checkpoint: str) -> Engine:
    name = str(checkpoint_dir(checkpoint).resolve())
    with _lock:
        if name not in _engines:
            _engines[name] = Engine(*load_warm(checkpoint), limits=_OWN, policy=usual_policy())
        return _engines[name]
