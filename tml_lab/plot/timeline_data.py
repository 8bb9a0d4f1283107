"""What a timeline says of a recording: envelopes of the sound, words, spans of pictures and gaps, all in one line."""

from __future__ import annotations

from collections.abc import Sequence
from heapq import merge

import numpy as np

from tml_lab.background.panel import describe, from_plain
from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.clock import heard_start, played_start
from tml_lab.stream.recording import Recording

BINS_PER_TURN = 20  # of the drawn envelope: 10 ms each


def envelope(audio: np.ndarray, bins_per_turn: int = BINS_PER_TURN) -> np.ndarray:
    """Least and greatest sample of each bin: float32 [turns * 3200] -> float32 [turns * bins_per_turn, 2].

    Works turn by turn, so that a recording mapped from disk is never wholly in memory.
    """
    turns = len(audio) // TURN_SAMPLES
    out = np.zeros((turns, bins_per_turn, 2), np.float32)
    for n in range(turns):
        bins = np.asarray(audio[n * TURN_SAMPLES : (n + 1) * TURN_SAMPLES]).reshape(bins_per_turn, -1)
        out[n, :, 0], out[n, :, 1] = bins.min(1), bins.max(1)  # [bins_per_turn, 160] -> [bins_per_turn]
    return out.reshape(-1, 2)


def typed_words(recording: Recording) -> list[tuple[float, str]]:
    """`(seconds, words)` on the heard clock; behind an arrow what the session's policy of memory typed again."""
    again = [(turn, f"\u21bb {text}") for turn, text in recording.notes]
    return [(heard_start(turn), text) for turn, text in merge(recording.inputs.typed, again, key=lambda row: row[0])]


def beside(recording: Recording) -> list[tuple[float, str]]:
    """`(seconds, words)` on the played clock: each request, and each change of the panel."""
    asked = [(turn, f"asked: {request}") for turn, request in recording.requests()]
    drawn = [
        (change.turn, describe(change.put, change.turn) if change.put else f"Taken away: {change.id}.")
        for change in from_plain(recording.panel)
    ]
    return [(played_start(turn), text) for turn, text in sorted(asked + drawn, key=lambda row: row[0])]


def camera_spans(recording: Recording) -> list[tuple[float, float]]:
    """`[start, end)` in seconds on the heard clock, for each run of turns with pictures."""
    table = recording.tokens
    turns = np.unique(table.turn[table.where("video_in")])
    return _spans(turns)


def gap_spans(recording: Recording) -> list[tuple[float, float]]:
    """`[start, end)` in seconds on the heard clock, for each run of turns whose sound was lost: heard as silence."""
    return _spans(sorted({*recording.gaps}.difference(recording.inputs.skipped)))


def skipped_spans(recording: Recording) -> list[tuple[float, float]]:
    """The same for each run of turns that were never computed: the session caught up with the world."""
    return _spans(recording.inputs.skipped)


def decided(recording: Recording) -> list[str]:
    """Each turn's decision; "<skipped>" where there was none, because the turn was never computed."""
    skipped = {*recording.inputs.skipped}
    return ["<skipped>" if n in skipped else name for n, name in enumerate(recording.decisions)]


def _spans(turns: Sequence[int] | np.ndarray) -> list[tuple[float, float]]:
    return [(heard_start(run[0]), heard_start(run[-1] + 1)) for run in _runs(turns)]


def _runs(turns: Sequence[int] | np.ndarray) -> list[list[int]]:
    """Ascending turns, those that follow each other together."""
    some = np.asarray(turns, int)
    runs = np.split(some, np.flatnonzero(np.diff(some) != 1) + 1) if len(some) else []
    return [run.tolist() for run in runs]


def missing_in_words(recording: Recording, most: int = 6) -> list[str]:
    """Of each kind that there is: "not heard: 0.6 s in 2 places: 1.0 to 1.2 s, 4.0 to 4.4 s"."""
    kinds = {"not heard": gap_spans(recording), "skipped, never computed": skipped_spans(recording)}
    return [f"{what}: {_in_words(spans, most)}" for what, spans in kinds.items() if spans]


def _in_words(spans: Sequence[tuple[float, float]], most: int) -> str:
    each = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in spans[:most])
    more = f", and {len(spans) - most} more" if len(spans) > most else ""
    return f"{_seconds(spans):.1f} s in {len(spans)} place{'s' if len(spans) > 1 else ''}: {each}{more}"


def _seconds(spans: Sequence[tuple[float, float]]) -> float:
    """Of all together."""
    return sum(end - start for start, end in spans)


def facts(recording: Recording) -> str:
    """One line about the recording."""
    speaking = sum(decision == "<speak>" for decision in recording.decisions)
    words = len(recording.said())
    parts = [
        f"{heard_start(recording.turns):.1f} s, {recording.turns} turns",
        f"words said: {words}, turns spoken: {speaking}",
        f"{recording.checkpoint.get('name', 'a model')} {recording.checkpoint.get('sha256', '')[:8]}".strip(),
        f"seed {recording.seed}",
        *([f"not heard: {_seconds(lost):.1f} s"] if (lost := gap_spans(recording)) else []),
        *([f"skipped: {_seconds(skipped):.1f} s"] if (skipped := skipped_spans(recording)) else []),
        *([f"said too late to be played: {heard_start(len(recording.unplayed)):.1f} s"] if recording.unplayed else []),
    ]
    return " · ".join(parts)


def alt_text(recording: Recording) -> str:
    """The timeline in words, for those who cannot see it."""
    said = ", ".join(f"{word} at {start:.1f} seconds" for word, start, _ in recording.said()[:20])
    more = len(recording.said()) - 20
    missing = "".join(f" {what.capitalize()}." for what in missing_in_words(recording))
    return (
        f"Timeline of {heard_start(recording.turns):.1f} seconds: what was heard, the probability of "
        f"speaking at each turn of 0.2 seconds, and what was said. Said: {said or 'nothing'}"
        f"{f', and {more} more words' if more > 0 else ''}.{missing}"
    )
