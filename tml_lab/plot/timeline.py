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

from tml_lab.config import SAMPLE_RATE, TURN_SECONDS
from tml_lab.plot.timeline_data import alt_text, beside, envelope, timeline_data, typed_words
from tml_lab.stream.clock import played_start
from tml_lab.stream.recording import Recording, seconds_of
from tml_lab.stream.tokens import STREAM_LABELS

if TYPE_CHECKING:
    import plotly.graph_objects as go

STATIC = Path(__file__).parent / "static"
EMBED_BYTES = 1_000_000  # sound up to this size lies inside the page
COLOURS = {
    "audio_in": "#0072b2", "text_in": "#aa4488", "video_in": "#009e73",
    "text_out": "#d55e00", "audio_out": "#b8860b",
}  # fmt: skip
SILENT_COLOUR = "#b7bfc7"


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

    For notebooks, after the fact; the page of `write_timeline` also plays the sound.
    """
    import plotly.graph_objects as go
    from plotly.subplots import make_subplots

    watched = recording.attention
    names = ["heard", "p(speak)", "said", "own voice"]
    names += [f"L{watched.layer}H{watched.head} looks at"] if watched else []
    heights = [0.24, 0.26, 0.13, 0.15, 0.22][: len(names)]
    figure = make_subplots(len(names), 1, shared_xaxes=True, vertical_spacing=0.035, row_heights=heights)
    _add_wave(figure, recording.inputs.audio, 0.0, "audio_in", 1)
    length = seconds_of(recording)
    _add_words(figure, [(text, start) for start, text in typed_words(recording)], "text_in", 1, length)
    _add_decisions(figure, recording, 2)
    figure.update_yaxes(range=[0, 1], showticklabels=False, showgrid=False, row=3, col=1)
    _add_words(figure, [(word, start) for word, start, _ in recording.said()], "text_out", 3, length)
    _add_wave(figure, recording.audio_out, TURN_SECONDS, "audio_out", 4)
    if watched:
        times = [played_start(n) for n in range(recording.turns)]
        for i, stream in enumerate(watched.streams):
            trace = go.Scatter(
                x=times, y=watched.share[:, i], name=STREAM_LABELS[stream], stackgroup="s", mode="lines",
                line={"width": 0, "color": COLOURS[stream], "shape": "hv"}, hovertemplate="%{y:.0%}",
            )  # fmt: skip
            figure.add_trace(trace, row=5, col=1)
        figure.update_yaxes(range=[0, 1], row=5, col=1)
    for row, name in enumerate(names, 1):
        figure.update_yaxes(title={"text": name, "font": {"size": 12}}, fixedrange=True, row=row, col=1)
    figure.update_xaxes(title={"text": "seconds", "standoff": 6}, row=len(names), col=1)
    figure.update_xaxes(range=[0, length], showspikes=True, spikemode="across", spikethickness=1)
    figure.update_layout(
        height=height, template="plotly_white", hovermode="x unified", bargap=0,
        margin={"l": 60, "r": 16, "t": 16, "b": 72},
        legend={"orientation": "h", "yanchor": "top", "y": -0.11},
        meta={"description": alt_text(recording)},
    )  # fmt: skip
    return figure


def _add_words(
    figure: go.Figure, words: list[tuple[str, float]], stream: str, row: int, seconds: float
) -> None:
    """Words as labels at their start; neighbours stand on three levels, so that they can be read.

    One trace and no annotations: a ten-minute conversation has thousands of words.
    """
    import plotly.graph_objects as go

    free = [-1.0] * 3  # where the last label of each level ends, if the figure is some 900 pixels wide
    levels = []
    for i, (word, start) in enumerate(words):
        level = next((k for k in range(3) if start >= free[k]), i % 3)
        free[level] = start + len(word) * seconds * 0.009
        levels.append(level)
    low, high = getattr(figure.layout, f"yaxis{row if row > 1 else ''}").range
    figure.add_trace(
        go.Scatter(
            x=[start for _, start in words], y=[high - (high - low) * (0.17 + level / 3) for level in levels],
            text=[html.escape(word) for word, _ in words], mode="text", textposition="middle right",
            textfont={"color": COLOURS[stream], "size": 13}, name=STREAM_LABELS[stream],
            hoverinfo="skip", showlegend=False,
        ),
        row=row, col=1,
    )  # fmt: skip


def _add_wave(figure: go.Figure, audio: np.ndarray, offset: float, stream: str, row: int) -> None:
    """An envelope as a filled outline; long recordings are drawn with fewer bins."""
    import plotly.graph_objects as go

    bins = 10 if len(audio) < 60 * SAMPLE_RATE else 1
    low_high = envelope(audio, bins)  # [n, 2]
    times = offset + (np.arange(len(low_high)) + 0.5) * (TURN_SECONDS / bins)
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([times, times[::-1]]), y=np.concatenate([low_high[:, 1], low_high[::-1, 0]]),
            fill="toself", mode="lines", line={"width": 0.5, "color": COLOURS[stream]},
            name=STREAM_LABELS[stream], hoverinfo="skip", showlegend=False,
        ),
        row=row, col=1,
    )  # fmt: skip
    top = max(0.05, float(np.abs(low_high).max(initial=0.0)))
    figure.update_yaxes(range=[-top, top], showticklabels=False, row=row, col=1)


def _add_decisions(figure: go.Figure, recording: Recording, row: int) -> None:
    """p(speak) of each turn as a bar where the turn is played, orange where the decision is to speak."""
    import plotly.graph_objects as go

    times = [played_start(n) + TURN_SECONDS / 2 for n in range(recording.turns)]
    colours = [COLOURS["text_out"] if d == "<speak>" else SILENT_COLOUR for d in recording.decisions]
    notes = [
        f"turn {n}: {d} {' '.join(w)}"
        for n, (d, w) in enumerate(zip(recording.decisions, recording.words, strict=True))
    ]
    figure.add_trace(
        go.Bar(
            x=times, y=recording.p_speak, width=TURN_SECONDS, name="p(speak)", showlegend=False,
            marker={"color": colours, "line": {"width": 0}},
            customdata=notes, hovertemplate="%{customdata}, p(speak) %{y:.2f}<extra></extra>",
        ),
        row=row, col=1,
    )  # fmt: skip
    line = {"dash": "dot", "color": "#667079", "width": 1}
    figure.add_shape(type="line", x0=0, x1=1, xref="x domain", y0=0.5, y1=0.5, line=line, row=row, col=1)
    figure.update_yaxes(range=[0, 1.02], row=row, col=1)
