"""A recording, or a part of it, for other programs: one call, and the file's name says what kind.

    export(recording, Path("talk.TextGrid"))     tiers for Praat and ELAN
    export(recording, Path("talk.wav"))          left what was heard, right the own voice
    export(recording, Path("talk.mp4"))          the camera, or a drawn strip, with both voices
    export(recording, Path("talk.html"))         the timeline as a page that needs nothing else
    export(recording, Path("talk.tml.zip"))      the Recording itself

Whatever goes wrong, no half file is left, and what stood there before still stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tml_lab.plot.export_sound import write_wav
from tml_lab.plot.lanes import Lane, Words
from tml_lab.stream.recording import Recording, RecordingError, seconds_of
from tml_lab.stream.whole_file import whole_file

KINDS = {"TextGrid": ".TextGrid", "WAV": ".wav", "MP4": ".mp4", "HTML": ".html", "Recording": ".tml.zip"}
"""What a menu calls each kind, and the suffix."""
Span = tuple[float, float]


def export(
    recording: Recording,
    path: Path,
    span: Span | None = None,
    *,
    lanes: Sequence[Lane] | None = None,
    heard: Words = (),
    title: str = "",
    view: dict[str, Any] | None = None,
) -> Path:
    """Write `path`; returns it.

    Args:
        span: `(start, end)` in seconds: only this, and second 0 of the file is its start. None: all of it.
        lanes, title, view: of the page, see `timeline_html`.
        heard: the transcript of what was heard, `(start, end, words)`.

    Raises RecordingError, in one sentence, for another suffix, an empty span, and what cannot be written.
    """
    kind = path.suffix.lower()
    start, end = _checked(recording, span)
    if kind == ".textgrid":
        from tml_lab.plot.export_textgrid import textgrid

        with whole_file(path, "the TextGrid") as scratch:
            scratch.write_text(textgrid(recording, start, end, heard), encoding="utf-8")
    elif kind == ".wav":
        with whole_file(path, "the sound") as scratch:
            write_wav(recording, scratch, start, end)
    elif kind == ".mp4":
        from tml_lab.plot.export_film import write_film

        with whole_file(path, "the film") as scratch:
            write_film(recording, scratch, start, end)
    elif kind in (".html", ".zip") and span is not None:
        raise RecordingError(f"a {kind} file holds the whole recording: export it without a selection.")
    elif kind == ".html":
        from tml_lab.plot.timeline import timeline_html

        with whole_file(path, "the page") as scratch:
            page = timeline_html(recording, title or path.stem, lanes=lanes, view=view)
            scratch.write_text(page, encoding="utf-8")
    elif kind == ".zip":
        recording.save(path)
    else:
        known = ", ".join(KINDS.values())
        raise RecordingError(f"{path.name} does not say what kind of file it should be: it can end in {known}.")
    return path


def _checked(recording: Recording, span: Span | None) -> Span:
    length = seconds_of(recording)
    start, end = (0.0, length) if span is None else (max(0.0, float(span[0])), min(length, float(span[1])))
    if not end > start:
        raise RecordingError(f"there is nothing between {start:.2f} and {end:.2f} s: the recording has {length:.1f} s.")
    return start, end
