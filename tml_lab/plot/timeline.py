"""A recording on one time axis: a page that needs nothing but a browser, and a plotly figure for notebooks.

Input tiers stand on the heard clock, output tiers on the played clock, one turn later: all stands where a
listener would meet it. Colours are Okabe and Ito's, told apart with any kind of colour vision.
"""

from __future__ import annotations

import base64
import html
import io
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from tml_lab.config import SAMPLE_RATE
from tml_lab.plot.attention import watched_track
from tml_lab.plot.decision import decision_track
from tml_lab.plot.sound import said_track, typed_track, wave_track
from tml_lab.plot.timeline_data import alt_text, beside, timeline_data
from tml_lab.plot.track import stack
from tml_lab.stream.clock import Clock
from tml_lab.stream.recording import Recording, seconds_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

STATIC = Path(__file__).parent / "static"
EMBED_BYTES = 1_000_000  # sound up to this size lies inside the page


def timeline_html(recording: Recording, title: str, audio: tuple[str, str] | None = None) -> str:
    """The page, as text.

    Args:
        audio: addresses of two sound files from second 0 on: what was heard, and the own voice.
            None: the sound lies inside the page when it is small, else it cannot be played.
    """
    data = timeline_data(recording)
    inside = _embedded(recording)
    if inside is not None:
        data["audio"] = {"heard": inside[0], "own": inside[1]}
    elif audio is not None:
        data["audio"] = {"heard": audio[0], "own": audio[1]}
    else:
        data["audio"] = None
    parts = {
        "title": html.escape(title),
        "alt": html.escape(alt_text(recording)),
        "beside": _beside(recording),
        "css": (STATIC / "timeline.css").read_text(),
        "js": (STATIC / "timeline.js").read_text() + (STATIC / "timeline_controls.js").read_text(),
        # "</" would end the script element inside which the data lies.
        "data": json.dumps(data, separators=(",", ":")).replace("</", "<\\/"),
    }
    page = (STATIC / "timeline.html").read_text()
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


def _beside(recording: Recording) -> str:
    """What was asked of the background model, and what it drew, as a table; empty when there was nothing."""
    rows = "".join(f"<tr><td>{at:.1f} s</td><td>{html.escape(text)}</td></tr>" for at, text in beside(recording))
    summary = "What was asked of the background model, and what it drew"
    return f"<details><summary>{summary}</summary><table>{rows}</table></details>" if rows else ""


def _embedded(recording: Recording) -> tuple[str, str] | None:
    """Both sounds as FLAC data addresses, or None when they are too large together."""
    if seconds_of(recording) > 120:  # not even tried: it would be too large
        return None
    encoded = []
    for sound in (np.asarray(recording.inputs.audio), recording.played_audio()):
        file = io.BytesIO()
        soundfile.write(file, np.clip(sound, -1, 1), SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        encoded.append(base64.b64encode(file.getvalue()).decode())
    if sum(map(len, encoded)) > EMBED_BYTES:
        return None
    return f"data:audio/flac;base64,{encoded[0]}", f"data:audio/flac;base64,{encoded[1]}"


def timeline(recording: Recording, height: int = 600) -> go.Figure:
    """A plotly figure with a shared time axis: heard, p(speak) with decisions, said, own voice, attention.

    For notebooks, after the fact; the page of `write_timeline` also plays the sound. All stands where a listener would
    meet it, so p(speak) and attention stand where the turn is played; `tml_lab.plot.linked.LinkedTracks` shows them where
    it heard.
    """
    tracks = [wave_track(recording.inputs.audio), *([typed_track(recording)] if recording.inputs.typed else [])]
    tracks += [decision_track(recording, clock=Clock.PLAYED), said_track(recording)]
    tracks += [wave_track(recording.audio_out, "audio_out")]
    tracks += [watched_track(recording.attention, Clock.PLAYED)] if recording.attention else []
    return stack(tracks, recording, height=height, marks=False)
