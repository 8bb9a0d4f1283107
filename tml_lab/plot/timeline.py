"""A recording on one time axis: a page that needs nothing but a browser, and a plotly figure for notebooks.

The page runs the same modules as the widget `tml_widgets.Timeline`. Input lanes stand on the heard clock, output lanes
on the played clock, one turn later. Colours are Okabe and Ito's, told apart with any kind of colour vision.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from tml_lab.config import SAMPLE_RATE, TURN_SECONDS
from tml_lab.plot.attention import watched_track
from tml_lab.plot.decision import decision_track
from tml_lab.plot.esm import link
from tml_lab.plot.lanes import Lane, usual_lanes
from tml_lab.plot.sound import heard_wave, said_track, typed_track, wave_track
from tml_lab.plot.style import ON_DARK
from tml_lab.plot.timeline_data import alt_text, beside, decided, facts, typed_words
from tml_lab.plot.track import stack
from tml_lab.stream.clock import TURNS_PER_SECOND, Clock
from tml_lab.stream.recording import Recording, seconds_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

STATIC = Path(__file__).parent / "static" / "timeline"
EMBED_BYTES = 1_000_000  # sound up to this size lies inside a page that may also link it
MOST_SOUND_BYTES = 40_000_000  # and no page holds more
DETAIL_BYTES = 1_000_000  # of each lane's tiles; beyond, the finest are left out


def timeline_content(
    recording: Recording, lanes: Sequence[Lane], title: str = ""
) -> tuple[dict[str, Any], list[bytes]]:
    """What the browser needs before anything is drawn: JSON-ready values, and buffers that they point into."""
    buffers: list[bytes] = []

    def packed(array: np.ndarray) -> dict[str, Any]:
        kind = "u1" if array.dtype == np.uint8 else "f4"
        buffers.append(np.ascontiguousarray(array, f"<{kind}").tobytes())
        return {"buffer": len(buffers) - 1, "kind": kind}

    decisions = decided(recording)
    names = sorted(set(decisions))
    code = {name: n for n, name in enumerate(names)}
    codes = np.array([code[name] for name in decisions], np.uint8)
    header = {
        "title": title, "facts": facts(recording), "alt": alt_text(recording), "seconds": seconds_of(recording),
        "turns": recording.turns, "turnSeconds": TURN_SECONDS, "turnsPerSecond": TURNS_PER_SECOND,
        "dark": ON_DARK,
        "decisions": {"names": names, "codes": packed(codes), "p": packed(np.asarray(recording.p_speak))},
        "lanes": [_lane(lane) | {"arrays": {n: packed(a) for n, a in lane.arrays.items()}} for lane in lanes],
    }  # fmt: skip
    return header, buffers


def _lane(lane: Lane) -> dict[str, Any]:
    """A lane without its arrays."""
    tiles = lane.tiles and {
        "form": lane.tiles.form, "columns": lane.tiles.columns, "seconds": lane.tiles.seconds,
        "start": lane.tiles.start, "finest": 0,
        "counts": [lane.tiles.count(level) for level in range(len(lane.tiles.seconds))],
    }  # fmt: skip
    return {
        "name": lane.name, "kind": lane.kind, "group": lane.group, "alt": lane.alt, "note": lane.note,
        "colour": lane.colour, "height": lane.height, "data": lane.data, "shown": lane.shown, "tiles": tiles,
    }  # fmt: skip


def timeline_html(
    recording: Recording,
    title: str,
    audio: tuple[str, str] | None = None,
    lanes: Sequence[Lane] | None = None,
    view: dict[str, Any] | None = None,
) -> str:
    """The page, as text.

    Args:
        audio: addresses of two sound files from second 0 on: what was heard, and the own voice; used when the sound is
            not small. None: it lies inside the page; above 40 MB (about an hour) it cannot be heard.
        lanes: in place of the usual ones.
        view: what is seen first: "t", "selection" and "view" (seconds), "theme" and "size", as the widget's traits.
    """
    lanes = usual_lanes(recording) if lanes is None else lanes
    header, buffers = timeline_content(recording, lanes, title)
    tiles = _tiles(lanes, header, buffers)
    sound = _sound(recording, audio, buffers)
    first = {"header": header, "sizes": [len(buffer) for buffer in buffers], "tiles": tiles, "sound": sound}
    first["view"] = view or _first_view(recording)
    parts = {
        "title": html.escape(title),
        "alt": html.escape(header["alt"]),
        "beside": _beside(recording),
        "css": (STATIC / "timeline.css").read_text(encoding="utf-8"),
        # "</" would end the script element inside which the data lies.
        "header": json.dumps(first, separators=(",", ":")).replace("</", "<\\/"),
        "bytes": base64.b64encode(zlib.compress(b"".join(buffers), 6)).decode(),
        "js": link(STATIC / "page.js"),
    }
    page = (STATIC / "page.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace("{{" + name + "}}", text)
    return page


def write_timeline(recording: Recording, path: Path, title: str, voice: Path | None = None) -> Path:
    """Write the page; long sound is linked: `recording/heard.wav` beside it, and `voice`."""
    heard = path.parent / "recording" / "heard.wav"
    beside = voice is not None and voice.exists() and heard.exists()
    audio = (
        (os.path.relpath(heard, path.parent), os.path.relpath(voice, path.parent))
        if beside and voice
        else None
    )
    path.write_text(timeline_html(recording, title, audio), encoding="utf-8")
    return path


def _first_view(recording: Recording) -> dict[str, Any]:
    """The turn that decided to say the first word, and half a minute around it."""
    said, seconds = recording.said(), seconds_of(recording)
    word = said[0][1] if said else TURN_SECONDS
    view = [max(0.0, word - 6), max(0.0, word - 6) + 30] if seconds > 40 else None
    return {"t": round(max(0.0, word - TURN_SECONDS), 4), "view": view}


def _tiles(lanes: Sequence[Lane], header: dict[str, Any], buffers: list[bytes]) -> dict[str, int]:
    """Put tiles into the page, the coarse ones first, until a lane has enough: "lane/level/index" -> buffer."""
    places: dict[str, int] = {}
    for n, lane in enumerate(lanes):
        if lane.tiles is None:
            continue
        room, level = DETAIL_BYTES, len(lane.tiles.seconds)
        while level > 0:
            size = len(lane.tiles.tile(level - 1, 0)) * lane.tiles.count(level - 1)
            if size > room and level < len(lane.tiles.seconds):
                break
            level, room = level - 1, room - size
            for index in range(lane.tiles.count(level)):
                places[f"{n}/{level}/{index}"] = len(buffers)
                buffers.append(lane.tiles.tile(level, index))
        header["lanes"][n]["tiles"]["finest"] = level
    return places


def _sound(recording: Recording, audio: tuple[str, str] | None, buffers: list[bytes]) -> dict[str, Any] | None:
    """Where the page finds the sound: in its buffers as FLAC, or at the addresses; None: nowhere."""
    if audio is not None and seconds_of(recording) > 120:  # not even tried: it would be too large
        return {"addresses": list(audio)}
    files = []
    for sound in (np.asarray(recording.inputs.audio), recording.played_audio()):
        file = io.BytesIO()
        soundfile.write(file, np.clip(sound, -1, 1), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        files.append(file.getvalue())
    if sum(map(len, files)) > (EMBED_BYTES if audio is not None else MOST_SOUND_BYTES):
        return {"addresses": list(audio)} if audio is not None else None
    buffers += files
    return {"buffers": [len(buffers) - 2, len(buffers) - 1]}


def _beside(recording: Recording) -> str:
    """What was asked of the background model, and what it drew, as a table; empty when there was nothing."""
    rows = "".join(f"<tr><td>{at:.1f} s</td><td>{html.escape(text)}</td></tr>" for at, text in beside(recording))
    summary = "What was asked of the background model, and what it drew"
    return f"<details><summary>{summary}</summary><table>{rows}</table></details>" if rows else ""


def timeline(recording: Recording, height: int = 600) -> go.Figure:
    """A plotly figure with a shared time axis: heard, p(speak) with decisions, said, own voice, attention.

    For notebooks, after the fact; the page of `write_timeline` also plays the sound. All stands where a listener would
    meet it, so p(speak) and attention stand where the turn is played; `tml_lab.plot.linked.LinkedTracks` shows them
    where it heard.
    """
    tracks = [heard_wave(recording), *([typed_track(recording)] if typed_words(recording) else [])]
    tracks += [decision_track(recording, clock=Clock.PLAYED), said_track(recording)]
    tracks += [wave_track(recording.audio_out, "audio_out")]
    tracks += [watched_track(recording.attention, Clock.PLAYED)] if recording.attention else []
    return stack(tracks, recording, height=height, marks=False).update_xaxes(title_text="seconds")
