"""Questions about a live session from its page, answered aside: why now, and what if.

The session goes on meanwhile: what is asked about is cut out of it, and a second process runs that again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.counterfactual import diff
from tml_lab.interp.variants import PARTS
from tml_lab.interp.what_if import Change, what_if
from tml_lab.interp.why import SECONDS, Why, why
from tml_lab.model.text import SPEAK
from tml_lab.serve.aside import Aside
from tml_lab.stream.clock import TURNS_PER_SECOND, heard_start
from tml_lab.stream.excerpt import Excerpt, cut
from tml_lab.stream.recording import Recording
from tml_lab.stream.session import Session
from tml_lab.stream.turn_input import SessionError
from tml_widgets.protocol import to_pcm
from tml_widgets.row import Row, loudness
from tml_widgets.snapshots import Snapshots

WINDOW = round(SECONDS * TURNS_PER_SECOND)
INSTRUCTIONS = 300  # turns: typed messages so far back are tried as well
MOST_TYPED = 3  # of them, the last ones
LONGEST = 100  # turns of a counterfactual: 20 s
LEAD = 5  # turns shown before what was changed


@dataclass
class Inquiry:
    """The questions of one page.

    Args:
        aside: answers; None: the session is none that can be run again, and says so.
        rows: gives the session's rows; talk: gives the session itself.
        emit: sends one message to the page.
    """

    aside: Aside | None
    rows: Callable[[], Sequence[Row]]
    talk: Callable[[], Any]
    emit: Callable[..., None]
    snapshots: Snapshots = field(default_factory=Snapshots)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def after_turn(self, _: Row) -> None:
        """Keep what is needed to run the last minutes again."""
        if self.aside is not None and isinstance(self.talk(), Session):
            self.snapshots.keep(self.talk())

    def why(self, seq: int | None) -> None:
        """What did the decision of chunk `seq` hang on? None: the last time it began to speak, or now."""
        self._ask("why", lambda rows: self._why(rows, seq))

    def what_if(self, span: tuple[int, int], parts: Sequence[str], typed: str) -> None:
        """What if the chunks `[first, end)` had been blank in these parts, or these words been typed there?"""
        self._ask("whatif", lambda rows: self._what_if(rows, span, parts, typed))

    def _ask(self, kind: str, ask: Callable[[list[Row]], None]) -> None:
        rows = list(self.rows())
        try:
            if self.aside is None or not isinstance(self.talk(), Session):
                raise SessionError("this session was not made from a checkpoint, so that it cannot be run again aside.")
            if not rows:
                raise SessionError("nothing has happened yet: start a session first.")
            ask(rows)
        except ValueError as error:
            self.emit({"kind": kind, "failed": _sentence(error)})

    def _why(self, rows: list[Row], seq: int | None) -> None:
        row = _last_onset(rows) if seq is None else _row_of(rows, seq)
        typed = [other.turn for other in rows[: row.turn + 1] if other.typed and row.turn - other.turn < INSTRUCTIONS]
        typed = typed[-MOST_TYPED:]
        first = max(0, row.turn + 1 - WINDOW)
        excerpt, earlier = self._excerpt(first, row.turn + 1), None
        if typed and typed[0] < excerpt.first:
            with suppress(SessionError):  # it may lie too far back by now
                earlier = self._excerpt(typed[0], row.turn + 1)
        assert self.aside is not None
        window = {"from": rows[first].seq, "to": row.seq + 1}
        self.emit({"kind": "why", "share": 0.0, "turn": row.seq, "tried": [], "causes": []} | window)
        self.aside.ask(
            why, excerpt, row.turn - excerpt.first, SECONDS, earlier,
            told=lambda found: self.emit(_why_message(found, excerpt, rows)),
            done=lambda found: self.emit(_why_message(found, excerpt, rows)),
            failed=lambda sentence: self.emit({"kind": "why", "failed": _sentence(sentence)}),
        )  # fmt: skip

    def _what_if(self, rows: list[Row], span: tuple[int, int], parts: Sequence[str], typed: str) -> None:
        first, last = _row_of(rows, span[0]).turn, _row_of(rows, max(span[0], span[1] - 1)).turn
        end = min(rows[-1].turn + 1, first + LONGEST)
        excerpt = self._excerpt(max(0, first - LEAD), end)
        known = [part for part in parts if part in PARTS]
        change = Change(first - excerpt.first, min(last + 1, end) - excerpt.first, known, typed.strip())
        change.of(excerpt.recording.inputs)  # what is wrong with it is said at once
        shown = max(0, first - LEAD)
        assert self.aside is not None
        self.emit({"kind": "whatif", "share": 0.0})
        self.aside.ask(
            what_if, excerpt, change,
            told=lambda share: self.emit({"kind": "whatif", "share": round(share, 3)}),
            done=lambda child: self.emit(*_what_if_message(child, excerpt, rows, shown)),
            failed=lambda sentence: self.emit({"kind": "whatif", "failed": _sentence(sentence)}),
        )  # fmt: skip

    def _excerpt(self, first: int, end: int) -> Excerpt:
        """The session's turns from the last state that was kept before `first`, up to `end`."""
        session = self.talk()
        state = self.snapshots.before(first)
        if state is None and (self.snapshots.oldest is None or end <= INSTRUCTIONS):
            state = Session(session.model, session.tokenizer, session.seed).state  # from the beginning
        if state is None:
            since = heard_start(self.snapshots.oldest or 0)
            raise SessionError(f"that lies too far back: the session can be run again from its second {since:.0f} on.")
        return cut(session, state, end)

    def close(self) -> None:
        """End the second process."""
        if self.aside is not None:
            self.aside.close()


def _sentence(error: object) -> str:
    words = str(error)
    return words[:1].upper() + words[1:]


def _row_of(rows: Sequence[Row], seq: int) -> Row:
    """The row of a chunk. Raises SessionError when the session did not have it (lost, or part of a recording)."""
    for row in reversed(rows):
        if row.seq == seq:
            return row
    raise SessionError(f"the live session had no turn at {heard_start(max(0, seq)):.1f} s: choose one of its own.")


def _last_onset(rows: Sequence[Row]) -> Row:
    """Where it last began to speak within the window; else the newest turn."""
    for n in range(len(rows) - 1, max(0, len(rows) - WINDOW), -1):
        if rows[n].decision == SPEAK != rows[n - 1].decision:
            return rows[n]
    return rows[-1]


def _why_message(found: Why, excerpt: Excerpt, rows: Sequence[Row]) -> dict[str, Any]:
    def seq(turn: int) -> int:
        return rows[min(excerpt.first + turn, len(rows) - 1)].seq

    def told(part: Any) -> dict[str, Any]:
        return {
            "stream": part.stream, "from": seq(part.turns[0]), "to": seq(part.turns[1] - 1) + 1, "words": part.words,
            "p": round(part.p_speak, 4), "decision": part.decision, "said": part.said, "flips": part.flips,
        }  # fmt: skip

    return {
        "kind": "why", "share": round(found.share, 3), "turn": seq(found.turn), "p": round(found.p_speak, 4),
        "from": rows[max(0, excerpt.first + found.turn + 1 - WINDOW)].seq, "to": seq(found.turn) + 1,
        "tried": [told(part) for part in found.parts], "causes": [told(cause) for cause in found.causes],
        "sentence": found.sentence(lambda turn: heard_start(seq(turn))),
        "layers": [round(value, 3) for value in found.layers], "runs": found.runs,
    }  # fmt: skip


def _what_if_message(
    child: Recording, excerpt: Excerpt, rows: Sequence[Row], shown: int
) -> tuple[dict[str, Any], list[bytes]]:
    """`(content, buffers)`: both ways turn by turn, and both as sound: what was heard and what was said, together."""
    skip = shown - excerpt.first
    ways = {"was": excerpt.recording, "would": child}
    found = diff(excerpt.recording, child)
    content: dict[str, Any] = {"kind": "whatif", "share": 1.0, "parts": list(ways)}
    for name, recording in ways.items():
        content[name] = [_turn(recording, n, rows[excerpt.first + n]) for n in range(skip, recording.turns)]
    seconds = None if found.first is None else heard_start(rows[excerpt.first + found.first].seq)
    said = [f"\u201c{words}\u201d" if words else "nothing" for words in found.said]
    content["sentence"] = (
        f"Nothing would have been decided otherwise; p(speak) moves by {found.largest[0]:.2f} at most."
        if seconds is None
        else f"From {seconds:.1f} s on it goes another way: it said {said[0]}, and would have said {said[1]}."
    )
    return content, [to_pcm(_mixed(recording, skip)) for recording in ways.values()]


def _turn(recording: Recording, n: int, row: Row) -> dict[str, Any]:
    here = slice(n * TURN_SAMPLES, (n + 1) * TURN_SAMPLES)
    typed = " ".join(text for at, text in recording.inputs.typed if at == n)
    loud = [loudness(recording.inputs.audio[here]), loudness(recording.audio_out[here])]
    return row.header() | {
        "decision": recording.decisions[n], "p_speak": round(float(recording.p_speak[n]), 5), "missed": 0, "read": {},
        "words": recording.words[n], "typed": typed, "loud": loud, "heard": "", "request": "",
    }  # fmt: skip


def _mixed(recording: Recording, skip: int) -> np.ndarray:
    """What a person in the room would have heard from turn `skip` on: float32 [n]."""
    room = np.concatenate([recording.inputs.audio, np.zeros(TURN_SAMPLES, np.float32)])
    return (0.7 * room + recording.played_audio()[: len(room)])[skip * TURN_SAMPLES :]
