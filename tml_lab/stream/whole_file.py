"""Files that are there whole or not at all: written beside their place, and put into it once all is on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tml_lab.stream.recording import RecordingError


@contextmanager
def whole_file(path: Path, what: str) -> Iterator[Path]:
    """A scratch path in the folder of `path`, with its suffix; at the end it takes the place of `path`.

    Whatever goes wrong, nothing half written is left, and what stood at `path` before still stands there.

    Args:
        what: what is being written, for the message.

    Raises RecordingError, in one sentence, when the disk is full, or the folder cannot be written.
    """
    # The suffix stays: writers choose their format by it.
    scratch = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())  # a full disk may show only here
        os.replace(scratch, path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise RecordingError(
            f"cannot write {what} to {path} ({reason}): nothing was written; free some space or choose another place."
        ) from error
    finally:
        with suppress(OSError):  # it was moved, or there was no such folder
            scratch.unlink()
