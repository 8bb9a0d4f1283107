"""Sound from files and microphones to what the lab works on: mono float32 at 16 kHz."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import soundfile
import soxr

from tml_lab.config import SAMPLE_RATE
from tml_lab.signal.errors import SignalError

MIN_RATE = 4_000  # Hz; below, no speech is left
MAX_RATE = 384_000
_CLIPPED_SHARE = 0.01  # of the samples at full scale: more is audible damage


def as_mono_16k(samples: np.ndarray, rate: int | float) -> np.ndarray:
    """Any sound to mono 16 kHz: channels averaged, integers scaled to -1..1, the rate converted by soxr.

    Args: samples `[n]` or `[n, channels]`, float or int16/int32/uint8; rate in Hz.
    Returns: f32 `[round(n * 16000 / rate)]`.
    Raises: SignalError for a wrong shape, rate or kind of number, and for NaN or infinity.
    Warns: UserWarning when the sound exceeds -1..1 or is clipped at full scale.
    """
    check_rate(rate)
    sound = _as_float(np.asarray(samples))
    if sound.ndim == 2:
        if sound.shape[1] > sound.shape[0] and sound.shape[0] <= 8:
            raise SignalError(f"sound of shape {sound.shape} looks like [channels, n]; transpose it first")
        sound = sound.mean(axis=1, dtype=np.float32)  # [n]
    elif sound.ndim != 1:
        raise SignalError(f"sound must have the shape [n] or [n, channels], got {sound.shape}")
    if not np.isfinite(sound).all():
        first = int(np.flatnonzero(~np.isfinite(sound))[0])
        raise SignalError(f"sound holds NaN or infinity, first at sample {first}; repair or cut it")
    _warn_if_too_loud(sound)
    if rate != SAMPLE_RATE and sound.size:
        sound = soxr.resample(sound, rate, SAMPLE_RATE)
    return np.ascontiguousarray(sound, dtype=np.float32)


def read_audio(path: str | Path) -> np.ndarray:
    """Read a sound file (wav, flac, ogg, mp3) as mono 16 kHz: f32 `[n]`.

    Raises: SignalError in one sentence if the file is missing, empty, or not a sound.
    Warns: UserWarning if the file ends before the length that it states.
    """
    path = Path(path)
    if not path.is_file():
        raise SignalError(f"no sound file at {path}; check the name and the folder")
    if path.stat().st_size == 0:
        raise SignalError(f"{path} is an empty file (0 bytes); record or copy it again")
    try:
        with soundfile.SoundFile(path) as file:
            stated, rate = file.frames, file.samplerate
            samples = file.read(dtype="float32", always_2d=True)  # [n, channels]
    except soundfile.LibsndfileError as error:
        raise SignalError(
            f"{path} cannot be read as sound ({error.error_string.rstrip('.')}); convert it to WAV or FLAC"
        ) from None
    if samples.shape[0] == 0:
        raise SignalError(f"{path} is a sound file without a single sample; record or copy it again")
    if _is_cut_off(path, samples) or samples.shape[0] < stated:
        warnings.warn(
            f"{path} ends before its stated length; using the {samples.shape[0]} samples there are",
            stacklevel=2,
        )
    return as_mono_16k(samples, rate)


class StreamResampler:
    """Converts a stream of microphone blocks to mono 16 kHz; the same samples come out however it is cut.

    Args: rate in Hz of what comes in. Raises: SignalError for a rate outside 4..384 kHz.
    """

    def __init__(self, rate: int | float) -> None:
        check_rate(rate)
        self.rate = rate
        same = rate == SAMPLE_RATE
        self._stream = None if same else soxr.ResampleStream(rate, SAMPLE_RATE, 1, dtype="float32")

    def push(self, chunk: np.ndarray, last: bool = False) -> np.ndarray:
        """Convert a block `[n]` or `[n, channels]` -> f32 `[k]`; `last` drains what is held back."""
        sound = _as_float(np.asarray(chunk))
        if sound.ndim == 2:
            sound = sound.mean(axis=1, dtype=np.float32)  # [n]
        elif sound.ndim != 1:
            raise SignalError(f"a block of sound must have the shape [n] or [n, channels], got {sound.shape}")
        if not np.isfinite(sound).all():
            raise SignalError("a block of sound holds NaN or infinity; check the microphone or the sender")
        if self._stream is None:
            return np.ascontiguousarray(sound, dtype=np.float32)
        if not sound.size and not last:
            return np.zeros(0, dtype=np.float32)
        return self._stream.resample_chunk(np.ascontiguousarray(sound), last=last)


def check_rate(rate: int | float) -> None:
    """Raise SignalError unless `rate` is a sampling rate in Hz that speech can be read from."""
    if isinstance(rate, bool) or not isinstance(rate, int | float | np.integer | np.floating):
        raise SignalError(f"a sampling rate must be a number of Hz, got {rate!r}")
    if not MIN_RATE <= rate <= MAX_RATE:
        raise SignalError(f"the rate {rate} Hz is outside {MIN_RATE}..{MAX_RATE} Hz; is it given in kHz?")


def _as_float(samples: np.ndarray) -> np.ndarray:
    """Samples of any usual kind as float32 in -1..1, same shape."""
    if np.issubdtype(samples.dtype, np.floating):
        return samples.astype(np.float32, copy=False)
    if samples.dtype == np.uint8:  # WAV's 8-bit samples are unsigned
        return (samples.astype(np.float32) - 128.0) / 128.0
    if samples.dtype in (np.int16, np.int32):
        return (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    raise SignalError(f"sound of type {samples.dtype} is not understood; give float, int16 or int32")


def _warn_if_too_loud(sound: np.ndarray) -> None:
    """Say so when samples leave -1..1 or stick to its ends; the sound is left as it is."""
    if not sound.size:
        return
    peak = float(np.abs(sound).max())
    if peak > 1.0 + 1e-3:
        # Resampled sound may overshoot a little; int16 values passed as floats are the usual mistake.
        hint = "divide int16 values by 32768" if peak > 100 else "lower its level"
        warnings.warn(f"sound reaches {peak:.3g}, beyond -1..1; {hint}", stacklevel=3)
    elif float(np.mean(np.abs(sound) >= 0.999)) > _CLIPPED_SHARE:
        warnings.warn(
            "sound is clipped: over 1 % of it is at full scale; record at a lower level", stacklevel=3
        )


def _is_cut_off(path: Path, samples: np.ndarray) -> bool:
    """Whether a WAV's header promises more sound than the file holds (libsndfile reads on without a word)."""
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
            return False
        size = path.stat().st_size
        while len(chunk := file.read(8)) == 8:
            length = int.from_bytes(chunk[4:], "little")
            if chunk[:4] == b"data":
                streamed = length >= 0x7FFF_F000  # written while recording: the length was never filled in
                return not streamed and file.tell() + length > size
            file.seek(length + length % 2, 1)
    return False
