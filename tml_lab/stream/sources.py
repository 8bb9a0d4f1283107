"""Files as the model would have met them live: sound and pictures one turn at a time, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES, VIDEO_FPS, VIDEO_FRAMES_PER_TURN, VIDEO_SIZE
from tml_lab.signal.audio import StreamResampler, check_rate
from tml_lab.signal.errors import SignalError

_BLOCK_SECONDS = 1.0
_LOUD = 1.001  # resampling may overshoot full scale a little


class SoundFile:
    """A sound file, cut into turns of float32 [3200] at 16 kHz mono; the last one is padded with silence.

    Iterating reads the file once. `notes` then holds one sentence for each thing odd but usable.

    Raises SignalError, in one sentence, when the file is missing, empty, no sound, or holds NaN.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        if not self.path.is_file():
            raise SignalError(f"there is no sound file at {self.path}: check the name and the folder")
        if self.path.stat().st_size == 0:
            raise SignalError(f"{self.path} is an empty file (0 bytes): record or copy it again")
        try:
            with soundfile.SoundFile(self.path) as file:
                self.rate, self.channels, self.frames = file.samplerate, file.channels, file.frames
        except (soundfile.SoundFileError, OSError) as error:
            reason = str(getattr(error, "error_string", None) or getattr(error, "strerror", None) or error)
            raise SignalError(
                f"{self.path} cannot be read as sound ({reason.rstrip('.')}): convert it to WAV or FLAC"
            ) from None
        if self.frames == 0:
            raise SignalError(f"{self.path} is a sound file without a single sample: record or copy it again")
        check_rate(self.rate)

    @property
    def seconds(self) -> float:
        """Length that the file states."""
        return self.frames / self.rate

    @property
    def turns(self) -> int:
        """Number of turns that the stated length fills."""
        return -(-round(self.frames * SAMPLE_RATE / self.rate) // TURN_SAMPLES) or 1

    def __iter__(self) -> Iterator[np.ndarray]:
        resampler = StreamResampler(self.rate)
        rest = np.zeros(0, np.float32)
        for samples in self._resampled(resampler):
            rest = np.concatenate([rest, samples])
            whole = len(rest) - len(rest) % TURN_SAMPLES
            yield from rest[:whole].reshape(-1, TURN_SAMPLES)
            rest = rest[whole:]
        if len(rest):
            yield np.pad(rest, (0, TURN_SAMPLES - len(rest)))

    def _resampled(self, resampler: StreamResampler) -> Iterator[np.ndarray]:
        """float32 [k] blocks at 16 kHz; fills `notes`."""
        read = clipped = 0
        peak = 0.0
        try:
            with soundfile.SoundFile(self.path) as file:
                stated = _stated_bytes(self.path)
                while len(block := file.read(int(self.rate * _BLOCK_SECONDS), "float32", always_2d=True)):
                    try:
                        yield resampler.push(block)
                    except SignalError:
                        where = read + int(np.flatnonzero(~np.isfinite(block).all(1))[0])
                        raise SignalError(
                            f"{self.path} holds NaN or infinity at {where / self.rate:.3f} s: repair it there"
                        ) from None
                    peak = max(peak, float(np.abs(block).max()))
                    clipped += int((np.abs(block) >= 0.999).any(1).sum())
                    read += len(block)
                yield resampler.push(np.zeros(0, np.float32), last=True)
        except soundfile.SoundFileError:
            self.notes.append(
                f"{self.path.name} cannot be decoded after {read / self.rate:.1f} s: used up to there."
            )
            return
        if read < self.frames or stated > self.path.stat().st_size:
            self.notes.append(
                f"{self.path.name} is cut off: used the {read / self.rate:.1f} s that are there."
            )
        if peak > _LOUD:
            self.notes.append(f"the sound reaches {peak:.3g}, beyond -1..1: lower its level.")
        elif clipped > 0.01 * max(read, 1):
            self.notes.append("over 1 % of the samples are clipped: record at a lower level.")


def _stated_bytes(path: Path) -> int:
    """Where a WAV's header says that its sound ends, in bytes of the file; 0 for all others.

    libsndfile silently shortens a truncated WAV to what is there.
    """
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return 0
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                # A length this large was never filled in: the file was written as a stream.
                return file.tell() + length if length < 0x7FFF_F000 else 0
            file.seek(length + length % 2, 1)
    return 0


class VideoFile:
    """A video file at 10 frames/s: one pair of pictures uint8 [2, 120, 160, 3] a turn, None after its end.

    Each picture is the last one shown at its instant. Shapes other than 4:3 get black borders.

    Raises SignalError, in one sentence, when the file is missing or holds no video.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise SignalError(f"there is no video file at {self.path}: check the name and the folder")
        self._container = _open_video(self.path)
        self._pictures = self._decode()
        self._now: np.ndarray | None = None
        self._next = next(self._pictures, None)
        if self._next is None:
            raise SignalError(f"{self.path} holds no picture that can be decoded: convert it to MP4 or WebM")
        self._turn = 0

    def next_turn(self) -> np.ndarray | None:
        """The pictures of the next turn, uint8 [2, 120, 160, 3], or None when the video is over."""
        pair = [self._at(Fraction(self._turn * VIDEO_FRAMES_PER_TURN + k, VIDEO_FPS)) for k in range(2)]
        self._turn += 1
        if pair[0] is None or (self._next is None and pair[0] is pair[1] is None):
            return None
        return np.stack([pair[0], pair[0] if pair[1] is None else pair[1]])

    def _at(self, seconds: Fraction) -> np.ndarray | None:
        while self._next is not None and self._next[0] <= seconds:
            self._now = self._next[1]
            self._shown_until = self._next[0] + self._next[2]
            self._next = next(self._pictures, None)
        if self._now is None:  # a video that begins late: its first picture stands in
            return self._next[1] if self._next is not None else None
        return None if self._next is None and seconds >= self._shown_until else self._now

    def _decode(self) -> Iterator[tuple[Fraction, np.ndarray, Fraction]]:
        """`(start, picture [120, 160, 3], duration)` in seconds from the first picture on."""
        from av.error import FFmpegError

        stream = self._container.streams.video[0]
        stream.codec_context.thread_count = 1  # the cores are the model's; and threads of its own outlive no fork
        rate = stream.average_rate or Fraction(25)
        first: Fraction | None = None
        try:
            for n, frame in enumerate(self._container.decode(stream)):
                pts, base = (n, 1 / rate) if frame.pts is None else (frame.pts, frame.time_base or 1 / rate)
                at: Fraction = pts * Fraction(base)
                if first is None:
                    first = at
                yield at - first, _fit(frame.to_ndarray(format="rgb24")), 1 / Fraction(rate)
        except FFmpegError:
            return  # a truncated file: what could be decoded is what was seen
        finally:
            self._container.close()


def _open_video(path: Path) -> Any:
    """An open `av` container that holds video."""
    try:
        import av
        from av.error import FFmpegError
    except ModuleNotFoundError:
        raise SignalError("reading video needs the package av: pip install av") from None
    try:
        container = av.open(str(path))
    except (FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SignalError(f"{path} cannot be read as video ({reason}): convert it to MP4 or WebM") from None
    if not container.streams.video:
        raise SignalError(f"{path} holds no video track: give a file with pictures")
    return container


def _fit(picture: np.ndarray) -> np.ndarray:
    """RGB uint8 [H, W, 3] -> [120, 160, 3], scaled as a whole, centred on black."""
    import av

    width, height = VIDEO_SIZE
    scale = min(width / picture.shape[1], height / picture.shape[0])
    w, h = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    small = frame.reformat(width=w, height=h, interpolation="AREA").to_ndarray(format="rgb24")
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - h) // 2, (width - w) // 2
    canvas[top : top + h, left : left + w] = small
    return canvas
