"""Tracks of what went in and came out: waveforms and words, each on its own clock."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tml_lab.config import SAMPLE_RATE, TURN_SECONDS
from tml_lab.plot.style import COLOURS, INK, SOFT, listed, plain
from tml_lab.plot.timeline_data import envelope, gap_spans, missing_in_words, typed_words
from tml_lab.plot.track import Track, middles, reader
from tml_lab.stream.clock import heard_start, span
from tml_lab.stream.recording import Recording, seconds_of
from tml_lab.stream.tokens import CLOCKS, STREAM_LABELS

LEVELS = 3  # neighbouring words stand on so many heights, so that they can be read
ADVANCE = 0.010  # of the axis, that a letter takes when the figure is some 900 pixels wide


def wave_track(audio: np.ndarray, stream: str = "audio_in", name: str | None = None) -> Track:
    """The envelope of a sound: float32 [turns * 3200], in the place where it was heard or is played.

    Ten bins a turn up to a minute, fewer in longer sounds.
    """
    bins = 10 if len(audio) < 60 * SAMPLE_RATE else 1
    low_high = envelope(audio, bins)  # [n, 2]
    times = span(0, CLOCKS[stream])[0] + (np.arange(len(low_high)) + 0.5) * (TURN_SECONDS / bins)
    top = max(0.05, float(np.abs(low_high).max(initial=0.0)))
    outline = {
        "type": "scatter", "mode": "lines", "fill": "toself", "line": {"width": 0.5, "color": COLOURS[stream]},
        "fillcolor": COLOURS[stream], "x": plain(np.concatenate([times, times[::-1]]).round(3)),
        "y": plain(np.concatenate([low_high[:, 1], low_high[::-1, 0]]).round(4)),
        "name": STREAM_LABELS[stream], "hoverinfo": "skip", "showlegend": False,
    }  # fmt: skip
    loud = np.abs(low_high).max(1, initial=0.0)
    alt = f"The sound {_verb(stream)}"
    alt += f" is loudest at {times[loud.argmax()]:.1f} s." if loud.max(initial=0.0) > 1e-4 else " is silence."
    axis = {"range": [-top, top], "showticklabels": False, "showgrid": False}
    catcher = reader(middles(len(low_high) // bins, CLOCKS[stream]))
    return Track(name or STREAM_LABELS[stream], (outline, catcher), alt, axis, 0.7)


def heard_wave(recording: Recording) -> Track:
    """What was heard; along the middle, where there was no sound: a bar in gaps, a cross in each skipped turn."""
    track, spans, skipped = wave_track(recording.inputs.audio), gap_spans(recording), recording.inputs.skipped
    shared = {"type": "scatter", "showlegend": True}
    bars = {
        **shared, "mode": "lines", "line": {"width": 6, "color": SOFT}, "connectgaps": False, "opacity": 0.6,
        "x": [t for start, end in spans for t in (start, end, None)], "y": [0.0, 0.0, None] * len(spans),
        "name": "gap", "hovertemplate": "gap: nothing was heard<extra></extra>",
    }  # fmt: skip
    crosses = {
        **shared, "mode": "markers", "marker": {"symbol": "x-thin", "size": 9, "line": {"width": 2, "color": INK}},
        "x": middles(skipped), "y": [0.0] * len(skipped),
        "name": "skipped", "hovertemplate": "skipped: this turn was never computed<extra></extra>",
    }  # fmt: skip
    *traces, catcher = track.traces
    there = [trace for trace in (bars, crosses) if trace["x"]]
    told = "".join(f" {what.capitalize()}." for what in missing_in_words(recording))
    return replace(track, traces=(*traces, *there, catcher), alt=track.alt + told)


def _verb(stream: str) -> str:
    return "of its own voice" if stream == "audio_out" else "that was heard"


def words_track(
    words: Sequence[tuple[str, float]], seconds: float, stream: str = "text_out", name: str | None = None
) -> Track:
    """Words at the second where each begins, `(word, seconds)`, on an axis of `seconds`.

    One trace and no annotations: a ten-minute conversation has thousands of words.
    """
    free, levels = [-1.0] * LEVELS, list[int]()  # free: where the last label of each level ends
    for i, (word, start) in enumerate(words):
        level = next((k for k in range(LEVELS) if start >= free[k]), i % LEVELS)
        free[level] = start + (len(word) + 1) * seconds * ADVANCE
        levels.append(level)
    label = name or STREAM_LABELS[stream]
    used = max(levels, default=0) + 1
    heights = plain([1 - (0.5 + level) / used for level in levels])
    starts = [round(float(start), 4) for _, start in words]
    safe = [html.escape(word) for word, _ in words]
    shared = {"type": "scatter", "x": starts, "y": heights, "name": label, "showlegend": False}
    ticks = {  # where each begins; the text alone would leave that open
        "mode": "markers", "marker": {"symbol": "line-ns", "size": 11, "line": {"width": 2, "color": COLOURS[stream]}},
        "text": safe, "hovertemplate": f"{label}: %{{text}}<extra></extra>",
    }  # fmt: skip
    text = {
        "mode": "text", "text": ["\u2009" + word for word in safe], "textposition": "middle right", "hoverinfo": "skip",
        "textfont": {"color": COLOURS[stream], "size": 13}, "cliponaxis": False,
    }  # fmt: skip
    catcher = reader(middles(round(seconds / TURN_SECONDS)), y=0.5)
    spoken = listed([f"{word} at {start:.1f} s" for word, start in words], 12)
    alt = f"{label.capitalize()}: {spoken or 'nothing'}."
    axis = {"range": [0, 1], "showticklabels": False, "showgrid": False}
    return Track(label, ({**shared, **ticks}, {**shared, **text}, catcher), alt, axis, 0.06 + 0.19 * used)


def typed_track(recording: Recording) -> Track:
    """What was typed, where it arrived."""
    words = [(text, start) for start, text in typed_words(recording)]
    return words_track(words, seconds_of(recording), "text_in")


def said_track(recording: Recording) -> Track:
    """What the model said, where it sounds: one turn after it was decided."""
    return words_track([(word, start) for word, start, _ in recording.said()], seconds_of(recording), "text_out")


def heard_track(recording: Recording, heard: Sequence[Sequence[str]]) -> Track:
    """The words that the listening head named, per turn as `words_heard` gives them, at the turn's begin.

    A word is named when the head is sure of it, often a little after it ended.
    """
    words = [(word, heard_start(n)) for n, some in enumerate(heard) for word in some]
    return words_track(words, seconds_of(recording), "audio_in", "words it heard")
