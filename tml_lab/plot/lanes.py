"""Lanes: what one row of a timeline shows, as numbers for a canvas. Any `Track` can be one.

What goes by turns is small, and sent whole; sound and pictures are drawn from tiles (`tml_lab.plot.tiles`). Lanes
stand in three groups: what goes in (heard clock), what is inside (over the turn that it heard), what comes out (played
clock).
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from tml_lab.config import TURN_SECONDS
from tml_lab.plot.attention import watched_track
from tml_lab.plot.decision import decision_track
from tml_lab.plot.pictures import can_encode
from tml_lab.plot.style import AMOUNT, COLOURS, INK, SERIES, SILENT_COLOUR, SPEAK_COLOUR
from tml_lab.plot.tiles import (
    QUIETEST,
    BackTiles,
    DMelTiles,
    PictureTiles,
    SpectrogramTiles,
    Tiles,
    WaveTiles,
)
from tml_lab.plot.timeline_data import decided, gap_spans, missing_in_words, skipped_spans, typed_words
from tml_lab.plot.track import Track
from tml_lab.stream.clock import heard_start
from tml_lab.stream.recording import Attention, Recording
from tml_lab.stream.tokens import STREAM_LABELS

Group = Literal["in", "inside", "out"]
Words = Sequence[tuple[float, float, str]]
"""`(start, end, words)` in seconds; a point where both are one."""
OTHER_COLOUR = SERIES[6]
"""Decisions that are neither silence nor speech."""
MISSING = 255
"""Of a heat map: no number there."""


@dataclass(frozen=True, eq=False)
class Lane:
    """One row.

    Args:
        name: stands beside it; `note`, small, under it.
        kind: how it is drawn: wave, image, pictures, tier, bars, stack, lines, grid or back.
        group: where it stands, and on which clock.
        alt: what it shows, in words.
        height: in pixels.
        data: what JSON holds of it; `arrays`: the rest.
        tiles: where it is drawn from, when it is too long to be sent whole.
        shown: whether it is there before anyone asks for it.
    """

    name: str
    kind: str
    group: Group
    alt: str = ""
    note: str = ""
    colour: str = INK
    height: int = 48
    data: dict[str, Any] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    tiles: Tiles | None = None
    shown: bool = True


def usual_lanes(recording: Recording, heard: Words = ()) -> list[Lane]:
    """The lanes of any recording, from top to bottom.

    Args:
        heard: the transcript of what was heard, where one is known.
    """
    wave, *lanes = sound_lanes(np.asarray(recording.inputs.audio), "audio_in", "in", 0.0)
    lanes.insert(0, _with_missing(wave, recording))
    if recording.inputs.frames is not None and can_encode():
        pictures = PictureTiles(recording.inputs.frames)
        lanes.append(Lane("seen", "pictures", "in", "What the camera saw.", "camera", COLOURS["video_in"], 54,
                          tiles=pictures))  # fmt: skip
    if typed := [(start, start, words) for start, words in typed_words(recording)]:
        lanes.append(tier("typed", "in", typed, COLOURS["text_in"], "and answers"))
    if heard:
        lanes.append(tier("words", "in", heard, COLOURS["audio_in"], "in what was heard"))
    lanes += [decision_tier(recording), lane_of(decision_track(recording), note="line: one half")]
    if (watched := recording.attention) is not None:
        head = f"L{watched.layer}H{watched.head}"
        lanes.append(replace(lane_of(watched_track(watched)), name=f"attention {head}"))
        lanes.append(back_lane(watched, f"Where {head} looked from the cursor's turn."))
    lanes.append(tier("said", "out", said_words(recording), COLOURS["text_out"], "words"))
    return lanes + sound_lanes(np.asarray(recording.audio_out), "audio_out", "out", heard_start(1))


def sound_lanes(audio: np.ndarray, stream: str, group: Group, start: float) -> list[Lane]:
    """Waveform, spectrogram and, of what was heard, dMel: float32 [turns * 3200] that begins at `start` seconds."""
    name, colour = STREAM_LABELS[stream], COLOURS[stream]
    wave, heard = WaveTiles(audio, start), stream == "audio_in"
    scale = {"peak": max(wave.peak, 0.02)}
    loudest = (20 * np.log10(scale["peak"]) - QUIETEST) / -QUIETEST  # 0..1, as a spectrogram's tiles hold it
    ends = [max(0.0, loudest - 0.75), loudest - 0.08]  # 54 dB
    what = "heard" if heard else "of the own voice"
    lanes = [Lane(name, "wave", group, f"The sound {what}.", "waveform", colour, 56, scale, tiles=wave)]
    spectra = SpectrogramTiles(audio, start)
    look = {"smooth": True, "ends": ends}
    alt = f"Loudness by frequency, of the sound {what}."
    lanes.append(
        Lane(f"{name}: spectrogram", "image", group, alt, "0 to 8 kHz", colour, 68, look, tiles=spectra, shown=heard)
    )
    if heard:
        look = {"smooth": False, "ends": [0.15, 1.0]}
        alt = "What the model hears: 80 bands in 16 steps, four times a turn."
        lanes.append(
            Lane("heard: dMel", "image", group, alt, "the model's input", colour, 60, look, tiles=DMelTiles(audio))
        )
    return lanes


def _with_missing(wave: Lane, recording: Recording) -> Lane:
    """The sound heard, with the turns of which there is none: each kind has a pattern of its own, and stands below."""
    kinds = {"gap": gap_spans(recording), "skipped": skipped_spans(recording)}
    there = {name: spans for name, spans in kinds.items() if spans}
    told = "".join(f" {what.capitalize()}." for what in missing_in_words(recording))
    return replace(wave, data={**wave.data, "missing": there}, alt=wave.alt + told) if there else wave


def back_lane(watched: Attention, alt: str) -> Lane:
    """Where a head looked back to from the cursor's turn."""
    data = {
        "streams": [STREAM_LABELS.get(name, name) for name in watched.streams],
        "colours": [COLOURS.get(name, INK) for name in watched.streams],
        "later": [name.endswith("_out") for name in watched.streams], "lags": int(watched.lag.shape[2]),
    }  # fmt: skip
    return Lane("looked back", "back", "inside", alt, "from this turn", INK, 60, data, tiles=BackTiles(watched))


def tier(name: str, group: Group, words: Words, colour: str, note: str = "") -> Lane:
    """Words as intervals, or as points where they have no length, in the order of their begin."""
    rows = sorted((round(float(a), 4), round(float(b), 4), str(text)) for a, b, text in words)
    return Lane(name, "tier", group, f"{len(rows)} {name}.", note, colour, 30, {"words": rows})


def said_words(recording: Recording) -> list[tuple[float, float, str]]:
    """`(start, end, word)` on the played clock."""
    return [(start, end, word) for word, start, end in recording.said()]


def decision_runs(recording: Recording) -> list[tuple[float, float, str]]:
    """`(start, end, name)` on the heard clock, for each run of turns that decided the same, or were skipped."""
    names = np.asarray(decided(recording), object)
    edges = np.flatnonzero(names[1:] != names[:-1]) + 1 if len(names) else np.zeros(0, int)
    ends = [*edges.tolist(), len(names)] if len(names) else []
    return [(heard_start(a), heard_start(b), str(names[a])) for a, b in zip([0, *edges.tolist()], ends, strict=False)]


def decision_tier(recording: Recording) -> Lane:
    """What it decided, turns of one kind together."""
    runs = [(a, b, name.strip("<>")) for a, b, name in decision_runs(recording)]
    lane = tier("decision", "inside", runs, SPEAK_COLOUR, "every 0.2 s")
    kinds = {name for _, _, name in runs}
    colours = {name: {"silent": SILENT_COLOUR, "speak": SPEAK_COLOUR}.get(name, OTHER_COLOUR) for name in kinds}
    return replace(lane, data={**lane.data, "colours": colours}, height=24)


def lane_of(track: Track, group: Group = "inside", note: str = "") -> Lane:
    """A track as a lane. Raises ValueError for one that is drawn by none of bars, lines, a heat map and words."""
    traces = [trace for trace in track.traces if trace.get("name") != "reader"]
    name = html.unescape(track.name)
    # without turns a track has nothing but what would catch the pointer
    made: tuple[str, dict[str, Any], dict[str, np.ndarray]] | None = None if traces else ("tier", {"words": []}, {})
    if heat := [trace for trace in traces if trace["type"] == "heatmap"]:
        made = _grid(heat[0], track)
    elif bars := [trace for trace in traces if trace["type"] == "bar"]:
        made = _stack(bars) if len(bars) > 1 else _bars(bars[0], track)
    elif words := [trace for trace in traces if trace.get("mode") == "markers" and "text" in trace]:
        rows = [(x, x, html.unescape(text)) for x, text in zip(words[0]["x"], words[0]["text"], strict=True)]
        made = ("tier", {"words": rows}, {})
    elif lines := [trace for trace in traces if trace.get("mode") == "lines"]:
        made = _lines(lines, track)
    if made is None:
        raise ValueError(f"the track {name!r} has no bars, lines, heat map or words that a timeline could draw.")
    kind, data, arrays = made
    height = 30 if kind == "tier" else round(56 * min(max(track.height, 0.8), 3.2))
    colour = next((t["marker"]["line"]["color"] for t in traces if kind == "tier" and "line" in t["marker"]), INK)
    return Lane(name, kind, group, track.alt, note, colour, height, data, arrays)


def _numbers(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)  # None becomes nan


def _range(track: Track, *values: np.ndarray) -> list[float]:
    """The ends of the y axis."""
    if "range" in track.axis:
        return [float(end) for end in track.axis["range"]]
    finite = np.concatenate([v[np.isfinite(v)] for v in values] or [np.zeros(0)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    room = 0.06 * (high - low) or 0.5
    return [low - room, high + room]


def _bars(trace: dict[str, Any], track: Track) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    colours = trace["marker"]["color"]
    each = list(colours) if not isinstance(colours, str) else [colours] * len(trace["x"])
    palette = sorted(set(each))
    x, values = _numbers(trace["x"]) - TURN_SECONDS / 2, _numbers(trace["y"])
    codes = np.array([palette.index(colour) for colour in each], np.uint8)
    data = {"width": TURN_SECONDS, "palette": palette, "range": _range(track, values), "label": trace.get("name", "")}
    return "bars", data, {"x": x, "values": values, "codes": codes}


def _stack(traces: list[dict[str, Any]]) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    x = _numbers(traces[0]["x"]) - TURN_SECONDS / 2
    values = np.stack([_numbers(trace["y"]) for trace in traces], -1)  # [turns, series]
    data = {"width": TURN_SECONDS, "names": [trace["name"] for trace in traces]}
    return "stack", data | {"colours": [t["marker"]["color"] for t in traces]}, {"x": x, "values": values}


def _lines(traces: list[dict[str, Any]], track: Track) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    arrays: dict[str, np.ndarray] = {}
    series = []
    for n, trace in enumerate(traces):
        arrays |= {f"x{n}": _numbers(trace["x"]), f"y{n}": _numbers(trace["y"])}
        look = trace["line"]
        series.append({"name": html.unescape(str(trace.get("name", ""))), "colour": look.get("color", INK),
                       "dash": look.get("dash", "solid"), "step": look.get("shape") == "hvh",
                       "filled": trace.get("fill") == "toself"})  # fmt: skip
    ends = _range(track, *(arrays[f"y{n}"] for n in range(len(traces))))
    return "lines", {"series": series, "range": ends}, arrays


def _grid(trace: dict[str, Any], track: Track) -> tuple[str, dict[str, Any], dict[str, np.ndarray]]:
    values = _numbers(trace["z"]).reshape(len(trace["y"]), -1)  # [rows, turns]
    told = _numbers(trace["customdata"]).reshape(values.shape) if "customdata" in trace else values
    labels = [str(label) for label in trace["y"]]
    low_end, high_end = track.axis.get("range", [1, 0])
    if low_end < high_end:  # upwards: the first row at the bottom
        values, told, labels = values[::-1], told[::-1], labels[::-1]
    low, high = float(trace["zmin"]), float(trace["zmax"])
    cells = np.round((values - low) / max(high - low, 1e-9) * (MISSING - 1)).clip(0, MISSING - 1)
    cells = np.where(np.isfinite(values), cells, MISSING).astype(np.uint8)
    scale = trace.get("colorscale", AMOUNT)
    data = {"labels": labels, "scale": scale, "turns": values.shape[1], "start": trace["x0"] - trace["dx"] / 2,
            "width": trace["dx"]}  # fmt: skip
    return "grid", data, {"cells": cells, "values": np.ascontiguousarray(told, np.float32)}
