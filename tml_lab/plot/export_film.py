"""A film of a recording: the camera's pictures above a strip of both voices and p(speak), with the sound in sync."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tml_lab.config import SAMPLE_RATE, TURN_SECONDS, VIDEO_FPS
from tml_lab.plot.export_sound import pieces, to_int16
from tml_lab.plot.pictures import NO_PYAV, can_encode, small
from tml_lab.plot.style import COLOURS, INK, LINE, PAPER, SILENT_COLOUR, SPEAK_COLOUR
from tml_lab.stream.clock import heard_span, played_span, turn_hearing
from tml_lab.stream.recording import Recording, RecordingError

WIDTH, PICTURE, STRIP = 640, 480, 240  # pixels: the camera is 4:3
SHOWN = 8.0  # seconds in the strip
BIN = 0.02  # seconds of one bar of a wave
_NOW = 0.75  # where in the strip the present stands
_HEARD, _SPEAK, _OWN = (10, 90), (100, 140), (150, 230)  # rows of the strip


def write_film(recording: Recording, path: Path, start: float, end: float) -> None:
    """Write an MP4 of H.264 and AAC, 10 pictures a second; left what was heard, right the own voice.

    Raises RecordingError without PyAV; OSError when it cannot be written.
    """
    if not can_encode():
        raise RecordingError(f"a film cannot be written: {NO_PYAV}.")
    import av
    from av.error import FFmpegError

    try:
        with path.open("wb") as file, av.open(file, "w", format="mp4") as container:
            _encode(container, recording, start, end)
    except FFmpegError as error:
        raise OSError(getattr(error, "errno", errno.EIO) or errno.EIO, str(error.strerror or error)) from error


def _encode(container: Any, recording: Recording, start: float, end: float) -> None:
    """Picture by picture, each with the sound of its tenth of a second."""
    import av

    camera = recording.inputs.frames is not None
    height = (PICTURE if camera else 0) + STRIP
    video = container.add_stream("libx264", rate=VIDEO_FPS, options={"crf": "23", "preset": "veryfast"})
    video.width, video.height, video.pix_fmt = WIDTH, height, "yuv420p"
    audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="stereo", options={"b": "96k"})
    strip = Strip(recording, start, end)
    sound = _tenths(recording, start, end)
    for n in range(int(np.ceil((end - start) * VIDEO_FPS - 1e-9))):
        picture = strip.at(start + n / VIDEO_FPS)
        if camera:
            picture = np.concatenate([_seen(recording, start + n / VIDEO_FPS), picture])
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = n, Fraction(1, VIDEO_FPS)
        container.mux(video.encode(frame))
        samples = next(sound)
        heard = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T).reshape(1, -1), "s16", "stereo")
        heard.sample_rate, heard.pts = SAMPLE_RATE, n * (SAMPLE_RATE // VIDEO_FPS)
        heard.time_base = Fraction(1, SAMPLE_RATE)
        container.mux(audio.encode(heard))
    for stream in (video, audio):
        container.mux(stream.encode(None))


def _tenths(recording: Recording, start: float, end: float) -> Iterator[np.ndarray]:
    """int16 [2, 1600], the last one filled up with silence."""
    size = SAMPLE_RATE // VIDEO_FPS
    for piece in pieces(recording, start, end):  # of whole tenths, but for the last one
        piece = np.pad(piece, ((0, 0), (0, -piece.shape[1] % size)))
        for at in range(0, piece.shape[1], size):
            yield to_int16(piece[:, at : at + size])


def _seen(recording: Recording, t: float) -> np.ndarray:
    """The camera's picture at second `t` (heard clock), black where there was none: uint8 [480, 640, 3]."""
    frames, turn = recording.inputs.frames, turn_hearing(t)
    pair = frames[turn] if frames is not None and turn < len(frames) else None
    if pair is None:
        return np.zeros((PICTURE, WIDTH, 3), np.uint8)
    second_half = (t - heard_span(turn)[0]) >= TURN_SECONDS / 2 - 1e-6
    return small(pair[1 if second_half else 0], WIDTH, PICTURE)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[at : at + 2], 16) for at in (1, 3, 5))


class Strip:
    """The last seconds and the next few: both waves, and p(speak) between them, where each is met."""

    def __init__(self, recording: Recording, start: float, end: float) -> None:
        self.recording, self.start = recording, start
        size = round(BIN * SAMPLE_RATE)
        bins = [np.abs(np.pad(piece, ((0, 0), (0, -piece.shape[1] % size)))).reshape(2, -1, size).max(2)
                for piece in pieces(recording, start, end)]  # fmt: skip
        self.loud = np.nan_to_num(np.concatenate(bins, 1))  # [2, bins]
        self.loud /= np.maximum(self.loud.max(1, keepdims=True, initial=0.0), 0.05)

    def at(self, t: float) -> np.ndarray:
        """uint8 [240, 640, 3] at second `t`."""
        picture = np.full((STRIP, WIDTH, 3), _rgb(PAPER), np.uint8)
        seconds = t + (np.arange(WIDTH) / WIDTH - _NOW) * SHOWN  # [640], of each column
        self._waves(picture, seconds)
        self._speaks(picture, t)
        now = round(_NOW * WIDTH)
        picture[:, now - 1 : now + 1] = _rgb(INK)
        return picture

    def _waves(self, picture: np.ndarray, seconds: np.ndarray) -> None:
        bins = np.floor((seconds - self.start) / BIN + 1e-6).astype(int)
        there = (bins >= 0) & (bins < self.loud.shape[1])
        for loud, (top, bottom), stream in zip(self.loud, (_HEARD, _OWN), ("audio_in", "audio_out"), strict=True):
            half = (bottom - top) // 2
            tall = np.where(there, loud[bins.clip(0, len(loud) - 1)] * half, 0)
            rows = np.abs(np.arange(top, bottom) - (top + half) + 0.5)  # [rows], distance from the middle
            picture[top + half] = _rgb(LINE)
            picture[top:bottom][rows[:, None] < tall[None]] = _rgb(COLOURS[stream])

    def _speaks(self, picture: np.ndarray, t: float) -> None:
        """p(speak) where what it decided is played."""
        top, bottom = _SPEAK
        first = max(0, turn_hearing(max(t - SHOWN, 0.0)) - 1)
        for turn in range(first, min(self.recording.turns, turn_hearing(t + SHOWN) + 1)):
            left, right = (round((s - t) / SHOWN * WIDTH + _NOW * WIDTH) for s in played_span(turn))
            tall = round(float(np.nan_to_num(self.recording.p_speak[turn])) * (bottom - top))
            speaks = self.recording.decisions[turn] != "<silent>"
            colour = _rgb(SPEAK_COLOUR if speaks else SILENT_COLOUR)
            picture[bottom - max(1, tall) : bottom, max(0, left) : max(0, right - 1)] = colour
