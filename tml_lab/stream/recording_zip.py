"""A recording as one file: its folder's files in a zip, to be sent and shared."""

from __future__ import annotations

import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np

from tml_lab.stream.recording import Recording, RecordingError
from tml_lab.stream.recording_io import HEADER, TURNS
from tml_lab.stream.reels import FRAMES, HEARD, OWN

FILES = (HEADER, TURNS, HEARD, OWN, FRAMES)
MAX_UNPACKED = 4 << 30  # bytes; four hours of sound have 1.8 GB


def save_zip(recording: Recording, file: str | Path | IO[bytes]) -> None:
    """Write a recording as one zip file. Raises RecordingError when it cannot be written."""
    with tempfile.TemporaryDirectory(prefix="tml-recording-") as scratch:
        folder = recording.save(Path(scratch))
        try:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                for name in FILES:
                    if (folder / name).exists():
                        # The pictures are compressed already.
                        how = zipfile.ZIP_STORED if name == FRAMES else zipfile.ZIP_DEFLATED
                        archive.write(folder / name, name, how)
        except OSError as error:
            raise RecordingError(f"cannot write the recording to {file}: {error.strerror or error}") from error


def load_zip(file: str | Path | IO[bytes], max_bytes: int = MAX_UNPACKED) -> Recording:
    """Read `save_zip`'s file; all of it lies in memory afterwards.

    Raises RecordingError, in one sentence, when it is damaged, holds other files or more than `max_bytes` unpacked.
    """
    with tempfile.TemporaryDirectory(prefix="tml-recording-") as scratch:
        try:
            with zipfile.ZipFile(file) as archive:
                entries = archive.infolist()
                strangers = [entry.filename for entry in entries if entry.filename not in FILES]
                if strangers or len({entry.filename for entry in entries}) != len(entries):
                    raise RecordingError(f"{file} is no recording: it holds other files than a recording's.")
                if (size := sum(entry.file_size for entry in entries)) > max_bytes:
                    raise RecordingError(f"{file} would have {size} bytes unpacked, and {max_bytes} are allowed.")
                archive.extractall(scratch)  # reads no more of an entry than the size it states
        except (OSError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
            raise RecordingError(f"{file} cannot be read as a zip of a recording ({error}).") from error
        found = Recording.load(Path(scratch))
        frames = None if found.inputs.frames is None else list(found.inputs.frames)
        inputs = replace(found.inputs, audio=np.array(found.inputs.audio), frames=frames)
        return replace(found, inputs=inputs, audio_out=np.array(found.audio_out))
