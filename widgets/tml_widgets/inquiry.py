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
from tml_lab.serve.handle import Handle
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

    def why(self, turn: int | None) -> None:
        """What did the decision of `turn` hang on? None: the last time it began to speak, or now."""
        self._ask("why", lambda rows: self._why(rows, turn))

    def what_if(self, span: tuple[int, int], parts: Sequence[str], typed: str) -> None:
        """What if the turns `[first, end)` had been blank in these parts, or these words been typed there?"""
        self._ask("whatif", lambda rows: self._what_if(rows, span, parts, typed))

    def _ask(self, kind: str, ask: Callable[[list[Row]], None]) -> None:
        rows = list(self.rows())
        try:
            if not rows:
                raise SessionError("nothing has happened yet: start a session first.")
            if isinstance(self.talk(), Handle):
                raise SessionError("this model runs elsewhere: save the session, and replay it where its weights are.")
            if self.aside is None or not isinstance(self.talk(), Session):
                raise SessionError("this session was not made from a checkpoint, so that it cannot be run again aside.")
            ask(rows)
        except ValueError as error:
            self.emit({"kind": kind, "failed": _sentence(error)})

    def _why(self, rows: list[Row], turn: int | None) -> None:
        row = _last_onset(rows) if turn is None else _row_of(rows, turn)
        typed = [other.turn for other in rows if other.typed and 0 <= row.turn - other.turn < INSTRUCTIONS]
        typed = typed[-MOST_TYPED:]
        first = max(0, row.turn + 1 - WINDOW)
        excerpt, earlier = self._excerpt(first, row.turn + 1), None
        if typed and typed[0] < excerpt.first:
            with suppress(SessionError):  # it may lie too far back by now
                earlier = self._excerpt(typed[0], row.turn + 1)
        assert self.aside is not None
        window = {"from": first, "to": row.turn + 1}
        self.emit({"kind": "why", "share": 0.0, "turn": row.turn, "tried": [], "causes": []} | window)
        self.aside.ask(
            why, excerpt, row.turn - excerpt.first, SECONDS, earlier,
            told=lambda found: self.emit(_why_message(found, excerpt.first)),
            done=lambda found: self.emit(_why_message(found, excerpt.first)),
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
            done=lambda child: self.emit(*_what_if_message(child, excerpt, shown)),
            failed=lambda sentence: self.emit({"kind": "whatif", "failed": _sentence(sentence)}),
        )  # fmt: skip

    def _excerpt(self, first: int, end: int) -> Excerpt:
        """The session's turns from the last state that was kept before `first`, up to `end`."""
        session = self.talk()
        state = self.snapshots.before(first)
        if state is None and (self.snapshots.oldest is None or end <= INSTRUCTIONS):
            fresh = Session(session.model, session.tokenizer, session.seed, policy=session.policy)
            state = fresh.state  # from the beginning
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


def _row_of(rows: Sequence[Row], turn: int) -> Row:
    """A turn's row. Raises SessionError when the session has none: it was skipped, or has not come yet."""
    for row in reversed(rows):
        if row.turn == turn:
            return row
    raise SessionError(f"the session ran no turn at {heard_start(max(0, turn)):.1f} s: choose another.")


def _last_onset(rows: Sequence[Row]) -> Row:
    """Where it last began to speak within the window; else the newest turn."""
    for n in range(len(rows) - 1, max(0, len(rows) - WINDOW), -1):
        if rows[n].decision == SPEAK != rows[n - 1].decision:
            return rows[n]
    return rows[-1]


def _why_message(found: Why, first: int) -> dict[str, Any]:
    """A `why` message, in the session's turns; `first`: that of the excerpt's turn 0."""

    def told(part: Any) -> dict[str, Any]:
        return {
            "stream": part.stream, "from": first + part.turns[0], "to": first + part.turns[1], "words": part.words,
            "p": round(part.p_speak, 4), "decision": part.decision, "said": part.said, "flips": part.flips,
        }  # fmt: skip

    turn = first + found.turn
    return {
        "kind": "why", "share": round(found.share, 3), "turn": turn, "p": round(found.p_speak, 4),
        "from": max(0, turn + 1 - WINDOW), "to": turn + 1,
        "tried": [told(part) for part in found.parts], "causes": [told(cause) for cause in found.causes],
        "sentence": found.sentence(lambda n: heard_start(first + n)),
        "layers": [round(value, 3) for value in found.layers], "runs": found.runs,
    }  # fmt: skip


def _what_if_message(child: Recording, excerpt: Excerpt, shown: int) -> tuple[dict[str, Any], list[bytes]]:
    """`(content, buffers)`: both ways turn by turn, and both as sound: what was heard and what was said, together."""
    skip = shown - excerpt.first
    ways = {"was": excerpt.recording, "would": child}
    found = diff(excerpt.recording, child)
    content: dict[str, Any] = {"kind": "whatif", "share": 1.0, "parts": list(ways)}
    for name, recording in ways.items():
        run = [n for n in range(skip, recording.turns) if n not in recording.inputs.skipped]
        content[name] = [_turn(recording, n, excerpt.first + n) for n in run]
    seconds = None if found.first is None else heard_start(excerpt.first + found.first)
    said = [f"\u201c{words}\u201d" if words else "nothing" for words in found.said]
    content["sentence"] = (
        f"Nothing would have been decided otherwise; p(speak) moves by {found.largest[0]:.2f} at most."
        if seconds is None
        else f"From {seconds:.1f} s on it goes another way: it said {said[0]}, and would have said {said[1]}."
    )
    return content, [to_pcm(_mixed(recording, skip)) for recording in ways.values()]


def _turn(recording: Recording, n: int, turn: int) -> dict[str, Any]:
    """A recording's turn `n` as a page reads one, under the session's number."""
    here = slice(n * TURN_SAMPLES, (n + 1) * TURN_SAMPLES)
    row = Row(
        turn, turn, recording.decisions[n], float(recording.p_speak[n]), recording.words[n], (),
        " ".join(text for at, text in recording.inputs.typed if at == n), 0.0, 0.0, int(n in recording.inputs.gaps),
        note=" ".join(text for at, text in recording.notes if at == n),
    )  # fmt: skip
    loud = [loudness(recording.inputs.audio[here]), loudness(recording.audio_out[here])]
    return row.header() | {"loud": loud}


def _mixed(recording: Recording, skip: int) -> np.ndarray:
    """What a person in the room would have heard from turn `skip` on: float32 [n]."""
    room = np.concatenate([recording.inputs.audio, np.zeros(TURN_SAMPLES, np.float32)])
    return (0.7 * room + recording.played_audio()[: len(room)])[skip * TURN_SAMPLES :]
