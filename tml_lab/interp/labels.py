"""What was going on in each turn of an episode: the answers that probes are asked to find in the model's inside.

A label says what holds at the end of a turn, when its decision is made. It comes from the episode, which knows who
spoke when and what was asked, and from the recording, which knows when the model spoke; never from the model's inside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.model.text import SPEAK

if TYPE_CHECKING:
    from tml_lab.stream.recording import Recording
    from tml_lab.worlds.stage import Episode, Segment

SPEAKERS = ("nobody", "user", "other", "model")
GAPS = ("none", "pause", "end")
RUN_GAP = 0.4  # seconds of quiet that do not end a run of speech
OWED = 2.0  # seconds after something was due in which the model may well speak
Labels = dict[str, np.ndarray]


def label_turns(episode: Episode, recording: Recording) -> Labels:
    """Labels of each turn, arrays [turns]; float32 labels are NaN where they have no meaning.

    - `speaker` int64, index into SPEAKERS: who fills at least half of the turn; the user before others, others before
      the model's own voice.
    - `model_speaks`, `decides_speak`, `onset` bool: the own voice is heard in it; `<speak>` is decided at its end; and
      not at the end of the one before.
    - `since_start`, `since_stop` float32: seconds since the user's latest run of speech began, and since it ended (0
      while it lasts). Runs are parted by RUN_GAP seconds of quiet.
    - `since_asked`, `until_due` float32: seconds since the latest instruction or question was complete, and until the
      next thing is due that only the clock calls for.
    - `ends_in` int64: turns until the user's turn ends, 0 in the turn in which it ends; -1 where he has not the floor.
    - `gap` int64, index into GAPS, and `gap_turn` int64: the quiet after the user's words, a pause inside his turn or
      its end, and which turn of it this is: 0 is the turn in which the words ended; -1 outside.
    - `talked` float32: seconds from the beginning of the user's turn to the end of his words, in such a quiet.
    - `owed` bool: something was due in the last OWED seconds.
    - `count` float32: repetitions of the action seen so far, in the families that count them.
    """
    turns = recording.turns
    now = TURN_SECONDS * np.arange(1, turns + 1)  # [turns]
    user = [s for s in episode.segments if s.role == "user"]
    others = [s for s in episode.segments if s.role in ("other", "background")]
    decides = np.array([decision == SPEAK for decision in recording.decisions], bool)
    sounds = np.concatenate([[False], decides[:-1]])  # turn n's sound is played while turn n + 1 is heard
    speaker = np.where(sounds, SPEAKERS.index("model"), 0)
    speaker[_share(others, turns) >= 0.5] = SPEAKERS.index("other")
    speaker[_share(user, turns) >= 0.5] = SPEAKERS.index("user")
    asked = asked_at(episode)
    labels = {
        "speaker": speaker,
        "model_speaks": sounds,
        "decides_speak": decides,
        "onset": decides & ~sounds,
        "since_asked": _since(asked, now),
        "until_due": _until([e.due for e in episode.expects if e.kind == "time"], now),
        "owed": _since([e.due for e in episode.expects], now) < OWED,
        "count": _count(episode, now),
    }
    return labels | _of_runs(user, now) | _of_user_turns(user, asked, turns)


def asked_at(episode: Episode) -> list[float]:
    """Seconds at which a question, a cue or an instruction was complete, ascending."""
    dues = [e.due for e in episode.expects if e.kind == "time"]
    found = set()
    for expect in episode.expects:
        at = expect.due - (expect.asked or 0.0)
        # the second tick counts from the first: nothing new was asked
        if expect.asked is None or not any(abs(at - due) < 1e-6 for due in dues):
            found.add(round(at, 6))
    return sorted(found)


def _share(segments: list[Segment], turns: int) -> np.ndarray:
    """The part of each turn that the segments fill, 0..1: [turns]."""
    start = TURN_SECONDS * np.arange(turns)
    filled = np.zeros(turns)
    for s in segments:
        filled += np.clip(np.minimum(s.end, start + TURN_SECONDS) - np.maximum(s.start, start), 0, None)
    return filled / TURN_SECONDS


def _since(moments: list[float], now: np.ndarray) -> np.ndarray:
    """Seconds since the latest of the moments: float32 [turns], NaN before the first."""
    times = np.array(sorted(moments), float)
    at = np.searchsorted(times, now + 1e-6) - 1
    return np.where(at >= 0, now - times[at.clip(0)] if len(times) else np.nan, np.nan).astype(np.float32)


def _until(moments: list[float], now: np.ndarray) -> np.ndarray:
    """Seconds until the next of the moments: float32 [turns], NaN after the last."""
    return _since([-moment for moment in moments], -now)


def _count(episode: Episode, now: np.ndarray) -> np.ndarray:
    if not episode.family.startswith("count_"):
        return np.full(len(now), np.nan, np.float32)
    dues = np.array([e.due for e in episode.expects if e.kind == "cue"])
    return (dues[None] <= now[:, None]).sum(1).astype(np.float32)


def _of_runs(user: list[Segment], now: np.ndarray) -> Labels:
    runs: list[list[float]] = []
    for s in sorted(user, key=lambda s: s.start):
        if runs and s.start - runs[-1][1] < RUN_GAP:
            runs[-1][1] = max(runs[-1][1], s.end)
        else:
            runs.append([s.start, s.end])
    start, stop = _since([run[0] for run in runs], now), _since([run[1] for run in runs], now)
    lasts = np.isfinite(start) & ~(start >= stop)  # it began after the latest end, or none has ended yet
    return {"since_start": start, "since_stop": np.where(lasts, np.float32(0), stop)}


def _of_user_turns(user: list[Segment], asked: list[float], turns: int) -> Labels:
    ends_in, gap_turn = np.full(turns, -1), np.full(turns, -1)
    gap, talked = np.zeros(turns, np.int64), np.full(turns, np.nan, np.float32)
    began: Segment | None = None
    segments = sorted(user, key=lambda s: s.start)
    for i, s in enumerate(segments):
        last = int((s.end - 1e-6) / TURN_SECONDS)
        follows = i + 1 < len(segments)
        quiet = np.arange(last, min(turns, int(segments[i + 1].start / TURN_SECONDS) if follows else turns))
        began = s if began is None else began
        is_end = any(abs(s.end - at) < 1e-3 for at in asked)
        if is_end or follows:  # what comes after the last words of all is neither
            gap[quiet] = GAPS.index("end" if is_end else "pause")
            gap_turn[quiet] = quiet - last
            talked[quiet] = s.end - began.start
        if is_end:
            floor = np.arange(int(began.start / TURN_SECONDS), min(last + 1, turns))
            ends_in[floor] = last - floor
            began = None
    return {"ends_in": ends_in, "gap": gap, "gap_turn": gap_turn, "talked": talked}
