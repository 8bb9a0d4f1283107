"""The background model beside a session: what the session asks is called, what comes back is read as typed text.

    session = with_colleague(Session(model, tokenizer))
    result = session.step(audio, frames, text)       never waits for a tool
    session.close()

A request's first word names the tool. Its result is typed into the session in the turn after it came back, the tool's
name before it: `calculator 168`; a long one takes several turns. So the recording holds it, and a replay needs no
tools. A tool that fails, or gives nothing for too long, is read as `calculator failed`. What tools draw stands on the
`board`; which item changed in which turn is in the recording, too.

Nothing here waits for a fitting moment: a result is never held back, so it is not read sooner when it is asked for.
When to say what was read is the model's own decision, and what its scenes teach (`tml_lab.worlds.families.tools`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import Any, Protocol

import numpy as np

from tml_lab.background.agent import BackgroundAgent, InformedTool, Status, Tool, Update
from tml_lab.background.calculator import ToolError
from tml_lab.background.context import build_context
from tml_lab.background.panel import Board, Change, to_plain
from tml_lab.background.spoken import spoken_tools
from tml_lab.config import TURN_SECONDS
from tml_lab.stream.recording import Skipped, Sound
from tml_lab.stream.turn_input import MAX_TYPED
from tml_lab.stream.words_heard import ear_of

FAILED = "failed"
MAX_READ = 200  # characters of results that one turn reads: with more it would be late


class Talk(Protocol):
    """What `Assisted` needs of a session (see `tml_lab.stream.session.Session`)."""

    def step(self, audio: Sound, frames: np.ndarray | None = None, text: str | None = None) -> Any:
        """One turn; its result has the `turn` and the `request`."""
        ...

    def recording(self) -> Any:
        """Everything so far."""
        ...


@dataclass(frozen=True)
class Task:
    """A request of the session's and what has become of it.

    Args:
        turn, ended: in which it was asked, and in which its end was noticed; None: it is open.
        text: the newest partial result, the result, or one sentence on why there is none.
        told: what of it has been given to the session to read.
    """

    id: int
    tool: str
    request: str
    turn: int
    status: Status = "partial"
    text: str = ""
    ended: int | None = None
    told: str = ""


class Assisted:
    """A session whose requests are answered; steps like a `Session`.

    Args:
        agent: runs the tools; closed with this.
        board: where its tools draw; None: they draw nothing.
        patience: seconds of the conversation after which a task that has not ended has failed.
        heard: gives the words heard so far, per turn, for the context package; None: where a tool is told the
            conversation and the session's model is here, they are read off its listening head (`WordsHeard`).
    """

    def __init__(
        self, session: Talk, agent: BackgroundAgent, board: Board | None = None, patience: float = 60.0,
        heard: Callable[[], Sequence[Sequence[str]]] | None = None,
    ) -> None:  # fmt: skip
        self.session, self.agent, self.board = session, agent, board or Board()
        self.patience, self.heard = patience, heard
        informs = any(isinstance(tool, InformedTool) for tool in agent.tools.values())
        self._ear = ear_of(session) if informs else None
        self._words: list[tuple[str, ...]] = []  # per turn, those that the ear has heard
        self.notes: list[str] = []  # why a request failed, one sentence each, the newest last
        self.tasks: dict[int, Task] = {}  # all of them, by the agent's ids
        self.history: list[Change] = []  # of the panel
        self._ready: list[str] = []
        self.read = ""  # in the last turn: what was typed, and the results
        self._turn = 0  # the next one

    def step(self, audio: Sound = None, frames: np.ndarray | None = None, text: str | None = None) -> Any:
        """One turn; results that have come back are read after what was typed, unless the turn is skipped."""
        if isinstance(audio, Skipped):
            result = self.session.step(audio, frames, text)
            self._turn, self.read = result.turn + 1, ""
            return result
        self._take(self.agent.poll())
        self._give_up()
        read, later = fit_turn(text or "", self._ready)
        result = self._step(audio, frames, read or None)
        self.read, self._ready = read, later  # only once they were read: a turn that was refused brings them again
        self._turn = result.turn + 1
        self.history += self.board.collect(result.turn)
        if result.request:
            self._ask(result.request, result.turn)
        return result

    def _step(self, audio: Sound, frames: np.ndarray | None, text: str | None) -> Any:
        """The session's turn, listened to unless somebody else does."""
        if self._ear is None or self.heard is not None:
            return self.session.step(audio, frames, text)
        with self._ear.turn():
            result = self.session.step(audio, frames, text)
        self._words += [()] * (result.turn - len(self._words))  # turns that were skipped, or before this was there
        self._words.append(self._ear.words)
        return result

    def recording(self) -> Any:
        """Everything so far, what was drawn with it."""
        recording = self.session.recording()
        return replace(recording, panel=to_plain(self.history)) if self.history else recording

    def wait(self, seconds: float) -> None:
        """Wait until no task is open, at most so long: for turns that run faster than real time."""
        end = time.monotonic() + seconds
        while self.open_tasks() and (left := end - time.monotonic()) > 0:
            self._take(self.agent.poll(patience=left))

    def open_tasks(self) -> list[Task]:
        """Those that have not ended."""
        return [task for task in self.tasks.values() if task.ended is None]

    def cancel(self, task: int) -> bool:
        """Call a task off, from any thread; whether it was still open. The model is not told."""
        return self.agent.cancel(task)

    def close(self) -> None:
        """Call everything off and end the agent; the recording stays. Doing it twice is no error."""
        self.agent.close()
        self._take(self.agent.poll())

    def _ask(self, request: str, turn: int) -> None:
        tool, _, arguments = request.partition(" ")
        try:
            informed = isinstance(self.agent.tools.get(tool), InformedTool)
            call = self.agent.call(tool, arguments, turn, self._context() if informed else None)
        except ToolError as error:
            self._fail(tool, str(error))
        else:
            self.tasks[call] = Task(call, tool, arguments, turn)

    def _context(self) -> Callable[[], str]:
        """Makes the package of all turns so far, the one that asks included; for another thread, it takes a while."""
        heard = tuple(self._words if self.heard is None else self.heard())
        recording, calls = self.recording(), self.agent.open_calls()
        return lambda: build_context(recording, None, calls, heard).to_json()

    def _take(self, updates: Iterable[Update]) -> None:
        for update in updates:
            task = self.tasks.get(update.call)
            if task is None or task.ended is not None:  # it was given up
                continue
            ended = None if update.status == "partial" else self._turn
            task = replace(task, status=update.status, text=update.text, ended=ended)
            if update.status == "done" or (ended is None and self._reads_as_it_comes(task)):
                task = self._tell(task)
            elif update.status == "failed":
                self._fail(task.tool, update.text)
            self.tasks[task.id] = task

    def _reads_as_it_comes(self, task: Task) -> bool:
        return getattr(self.agent.tools[task.tool], "as_it_comes", False)

    def _tell(self, task: Task) -> Task:
        """Have the session read what it has not read of a text that grows, or of one that follows another."""
        text = " ".join(task.text.split())
        grows = bool(task.told) and text.startswith(task.told)
        if rest := text[len(task.told) if grows else 0 :].strip():
            room = MAX_READ - len(task.tool) - 2
            self._ready += [f"{task.tool} {piece}" for piece in wrap(rest, room, break_on_hyphens=False)]
        return replace(task, told=text if grows else f"{task.told} {text}".strip())

    def _give_up(self) -> None:
        """Tasks that have had their time are called off and have failed."""
        for task in self.open_tasks():
            if (self._turn - task.turn) * TURN_SECONDS > self.patience:
                self.agent.cancel(task.id)
                why = f"{task.tool} gave no answer in {self.patience:g} s."
                self.tasks[task.id] = replace(task, status="failed", text=why, ended=self._turn)
                self._fail(task.tool, why)

    def _fail(self, tool: str, why: str) -> None:
        self.notes.append(why)
        self._ready.append(f"{tool} {FAILED}")


def fit_turn(typed: str, ready: Sequence[str]) -> tuple[str, list[str]]:
    """What one turn reads: what was typed, then the results in their order, as many as fit; and the others.

    At most MAX_TYPED characters, of which the results, each after a space, make at most MAX_READ.
    """
    read = typed
    for n, result in enumerate(ready):
        more = f"{read} {result}".strip()
        if len(more) > MAX_TYPED or len(more) - len(typed) > MAX_READ:
            return read, list(ready[n:])
        read = more
    return read, []


def with_colleague(session: Talk, more: Sequence[Tool] = (), board: Board | None = None) -> Assisted:
    """A session with the built-in tools beside it, which draw on one board, and `more` tools."""
    board = board or Board()
    return Assisted(session, BackgroundAgent([*spoken_tools(board), *more]), board)
