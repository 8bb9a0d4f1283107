"""The background model beside a session: what the session asks is called, what comes back is read as typed text.

    session = Assisted(Session(model, tokenizer), BackgroundAgent(spoken_tools()))
    result = session.step(audio, frames, text)       never waits for a tool

A request's first word names the tool. Its result is typed into the session in the turn after it came back, the tool's
name before it: `calculator 168`. So the recording holds it, and a replay needs no tools.
"""

from __future__ import annotations

import numpy as np

from tml_lab.background.agent import BackgroundAgent
from tml_lab.background.calculator import ToolError
from tml_lab.stream.recording import Recording
from tml_lab.stream.session import Session
from tml_lab.stream.turn_result import TurnResult

FAILED = "failed"


class Assisted:
    """A session whose requests are answered; steps like a `Session`."""

    def __init__(self, session: Session, agent: BackgroundAgent) -> None:
        self.session, self.agent = session, agent
        self.notes: list[str] = []  # why a request failed, one sentence each, the newest last
        self._tool_of: dict[int, str] = {}
        self._ready: list[str] = []

    def step(self, audio: np.ndarray, frames: np.ndarray | None = None, text: str | None = None) -> TurnResult:
        """One turn; results that have come back are read after what was typed."""
        self._collect()
        read = [*([text] if text else []), *self._ready]
        result = self.session.step(audio, frames, " ".join(read) or None)
        self._ready = []  # only once they were read: a turn that was refused brings them again
        if result.request:
            self._ask(result)
        return result

    def recording(self) -> Recording:
        """Everything so far."""
        return self.session.recording()

    def _ask(self, result: TurnResult) -> None:
        tool, _, arguments = result.request.partition(" ")
        try:
            self._tool_of[self.agent.call(tool, arguments, result.turn)] = tool
        except ToolError as error:
            self._fail(tool, str(error))

    def _collect(self) -> None:
        for update in self.agent.poll():
            if update.status == "partial":
                continue
            tool = self._tool_of.pop(update.call, "")
            if update.status == "done":
                self._ready.append(f"{tool} {update.text}")
            elif update.status == "failed":
                self._fail(tool, update.text)

    def _fail(self, tool: str, why: str) -> None:
        self.notes.append(why)
        self._ready.append(f"{tool} {FAILED}")
