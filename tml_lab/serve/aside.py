"""Aside: a second process with the same checkpoint and a low priority, for questions about a live session.

The model of a live session must be done in 0.2 s, and Python's threads share one interpreter: a question answered in
another thread of the same process would make turns late. The operating system gives this process what is left over.

    aside = Aside("nano")
    aside.ask(why, excerpt, 40, told=show, done=show, failed=say)     why(excerpt, model, tokenizer, 40, told=...)
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

log = logging.getLogger(__name__)

NICE = 10  # a tenth of what a process of normal priority gets when both want the processor
ENDED = "The second process, which looks into the session, has ended; ask again."


class Aside:
    """Answers one question at a time; a new one takes the place of the one in work.

    Args:
        checkpoint: name or path, as for `load_checkpoint`.
    """

    def __init__(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint
        self._lock = threading.Lock()
        self._process: Any = None
        self._pipe: Connection | None = None
        self._outbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._asked: tuple[int, dict[str, Callable[[Any], None]]] | None = None
        self._number = 0

    def warm_up(self) -> None:
        """Start the process and have it load the checkpoint; returns at once. Doing it twice is no error."""
        with self._lock:
            self._start()

    def ask(
        self, question: Callable[..., Any], excerpt: Any, *more: Any,
        told: Callable[[Any], None], done: Callable[[Any], None], failed: Callable[[str], None],
    ) -> None:  # fmt: skip
        """Have `question(excerpt, model, tokenizer, *more, told=...)` answered; returns at once.

        `told`, `done` and `failed` (one sentence) are called from another thread; none of them for a question that was
        overtaken by a later one. The question must be a function of a module; what it takes and gives is pickled.
        """
        with self._lock:
            self._start()
            self._number += 1
            self._asked = self._number, {"told": told, "done": done, "failed": failed}
            self._outbox.put((self._number, question, excerpt, more))

    def close(self) -> None:
        """End the process; nothing more is told."""
        with self._lock:
            process, self._asked = self._process, None
            self._process = self._pipe = None
        if process is not None:
            process.terminate()
            process.join(5)

    def _start(self) -> None:
        if self._pipe is None or not self._process.is_alive():
            spawn = multiprocessing.get_context("spawn")  # not fork: threads and torch do not survive one
            self._pipe, theirs = spawn.Pipe()
            self._process = spawn.Process(target=answer, args=(theirs, self.checkpoint), name="tml-aside", daemon=True)
            self._process.start()
            theirs.close()
            self._outbox = queue.SimpleQueue()
            for work in (self._read, self._write):
                threading.Thread(target=work, args=(self._pipe, self._outbox), name="tml-aside", daemon=True).start()

    def _write(self, pipe: Connection, outbox: queue.SimpleQueue[Any]) -> None:
        """In a thread of its own: a pipe takes megabytes only as fast as the other side reads, which may be at work."""
        with suppress(OSError):
            while (job := outbox.get()) is not None:
                pipe.send_bytes(b"")  # so that whoever is at work looks up
                pipe.send_bytes(pickle.dumps(job, protocol=5))

    def _read(self, pipe: Connection, outbox: queue.SimpleQueue[Any]) -> None:
        while True:
            try:
                number, kind, value = pickle.loads(pipe.recv_bytes())
            except (EOFError, OSError):
                break
            self._tell(number, kind, value)
        outbox.put(None)
        with self._lock:
            mine = self._pipe is pipe
            number = self._asked[0] if mine and self._asked else None
            if mine:
                self._pipe = None
        if number is not None:
            self._tell(number, "failed", ENDED)

    def _tell(self, number: int, kind: str, value: Any) -> None:
        with self._lock:
            if self._asked is None or self._asked[0] != number:
                return
            call = self._asked[1][kind]
            if kind != "told":
                self._asked = None
        try:
            call(value)
        except Exception:
            log.exception("what was told about a question could not be shown")


class _OvertakenError(Exception):
    """A later question has come."""


def answer(pipe: Connection, checkpoint: str) -> None:
    """The second process: answer what comes, until the other side ends."""
    if hasattr(os, "nice"):
        os.nice(NICE)  # before the heavy imports
    import torch

    from tml_lab.model.checkpoint import load_checkpoint

    torch.set_num_threads(1)
    loaded: Any = None
    while True:
        try:
            if loaded is None:
                loaded = load_checkpoint(checkpoint)
            pipe.recv_bytes()
            number, question, excerpt, more = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return

        def tell(kind: str, value: Any, number: int = number) -> None:
            pipe.send_bytes(pickle.dumps((number, kind, value), protocol=5))

        def told(value: Any, tell: Callable[..., None] = tell) -> None:
            if pipe.poll():
                raise _OvertakenError
            tell("told", value)

        try:
            tell("done", question(excerpt, *loaded, *more, told=told))
        except _OvertakenError:
            continue
        except OSError:
            return
        except Exception as error:
            log.exception("a question could not be answered")
            tell("failed", str(error) or type(error).__name__)
