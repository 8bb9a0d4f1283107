"""How much an engine holds and keeps: every cap in one place."""

from __future__ import annotations

from dataclasses import dataclass

from tml_lab.serve.contract import ServeError

MB = 1_000_000


@dataclass(frozen=True)
class Limits:
    """Caps of an engine; each is a number of its own kind, and None where it may be left out.

    Args:
        sessions: that are open at one time.
        waiting: chunks of one session that wait for their turn.
        seconds: of conversation in one session.
        kept: bytes that one session's recording may take, in memory or in the engine's folder.
        memory: bytes that all sessions together may take in this process.
        idle: seconds without a chunk after which a session is closed; None: never.
        lost: turns that one chunk may say are lost.
        replies: of one session that are kept, for a writer who lost one and asks again.
        patches: that the pictures of one turn may be cut into (160x120 gives 12).
        shed: whether the sessions are live: a chunk past its deadline loses its pictures, so that the sound is not
            later still, and no session is opened while replies are late. False: nothing is ever too late.
        batch: turns, each of another session, that are run together.
        threads: among which the turns of a batch are shared out, each turn by one. Torch's own would only get in
            their way: who owns the process says `torch.set_num_threads(1)`.
        snapshot: turns between two snapshots of a session's state; what came after the last one is run again
            when the engine comes back.
        drain: seconds that the engine, when it is stopped, spends on the chunks that still wait.
    """

    sessions: int = 64
    waiting: int = 25
    seconds: float = 4 * 3600.0
    kept: int = 8000 * MB
    memory: int = 4000 * MB
    idle: float | None = 1800.0
    lost: int = 18_000
    replies: int = 64
    patches: int = 48
    shed: bool = True
    batch: int = 16
    threads: int = 1
    snapshot: int = 75
    drain: float = 5.0

    def __post_init__(self) -> None:
        for name in ("sessions", "waiting", "seconds", "kept", "memory", "replies", "batch", "threads", "snapshot"):
            if getattr(self, name) <= 0:
                raise ServeError(f"Limits.{name} must be more than nothing, not {getattr(self, name)}.")
