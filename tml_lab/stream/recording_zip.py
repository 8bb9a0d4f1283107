"""A recording as one file to share: `conversation.tml.zip`, the parts of its folder in a zip.

A file that comes from somebody else is not trusted: of a zip only the parts of a recording are unpacked, under
their own names, into a folder made for them, and never more bytes than were agreed on.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from tml_lab.stream.recording import Recording, RecordingError
from tml_lab.stream.recording_io import HEADER, TURNS, load_folder, save_folder
from tml_lab.stream.reels import DAMAGED_ZIP, FRAMES, HEARD, OWN
from tml_lab.stream.whole_file import whole_file

PARTS = (HEADER, TURNS, HEARD, OWN, FRAMES)
MOST_BYTES = 4 << 30
"""What a zip may unpack to: some ten hours of sound, or two with a camera."""
_PIECE = 1 << 20

def save_zip(recording: Recording, path: Path) -> Path:
    """Write a whole recording as one file; see `Recording.save`."""
    with whole_file(path, "the recording") as scratch, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        try:
            save_folder(recording, Path(folder))
        except RecordingError as error:
            raise RecordingError(str(error).replace(folder, str(path))) from error
        with zipfile.ZipFile(scratch, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            for name in PARTS:
                part = Path(folder) / name
                if part.exists():  # pictures are deflated already
                    archive.write(part, name, zipfile.ZIP_STORED if name == FRAMES else None)
    return path


def load_zip(path: Path, most_bytes: int = MOST_BYTES) -> Recording:
    """Read `save_zip`'s file, or a folder of `Recording.save` that somebody zipped.

    It is unpacked into a temporary folder, which goes with the recording.

    Args:
        most_bytes: it must not unpack to more.

    Raises RecordingError, in one sentence, for anything else than a whole recording.
    """
    folder = tempfile.TemporaryDirectory(prefix="tml-recording-", ignore_cleanup_errors=True)
    try:
        with zipfile.ZipFile(path) as archive:
            left = most_bytes
            for name, member in _parts_of(archive, path).items():
                left = _unpack(archive, member, Path(folder.name) / name, left)
                if left < 0:
                    raise RecordingError(
                        f"{path} unpacks to more than {most_bytes / 1e6:.0f} MB: it is no recording, or too long a one."
                    )
        # The pictures keep the folder; mapped sound outlives it.
        return load_folder(Path(folder.name), keeps=folder, called=path)
    except RecordingError:
        raise
    except DAMAGED_ZIP as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
        raise RecordingError(
            f"{path} cannot be read as a zipped recording ({reason}): the file is truncated or damaged."
        ) from error


def _parts_of(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """The members that are parts of the recording, by the name that each gets; all others are left alone."""
    members = archive.infolist()
    headers = [m.filename for m in members if m.filename.rsplit("/", 1)[-1] == HEADER and "__MACOSX" not in m.filename]
    if len(headers) != 1:
        found = "no recording" if not headers else f"{len(headers)} recordings"
        raise RecordingError(f"{path} holds {found}: give the file that Recording.save wrote.")
    before = headers[0].removesuffix(HEADER)  # a folder, when somebody zipped one
    parts: dict[str, zipfile.ZipInfo] = {}
    for member in members:
        name = member.filename.removeprefix(before)
        if name not in PARTS or not member.filename.startswith(before):
            continue
        if name in parts:
            raise RecordingError(f"{path} holds {name} twice: it was damaged, or put together by hand.")
        if member.flag_bits & 1:
            raise RecordingError(f"{path} is encrypted: unpack it with its password, and load the folder.")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise RecordingError(f"{path} is compressed in a way that is not read here: zip the folder anew.")
        parts[name] = member
    return parts


def _unpack(archive: zipfile.ZipFile, member: zipfile.ZipInfo, to: Path, left: int) -> int:
    """Write one member; how many of the `left` bytes remain, below 0 as soon as it were too many."""
    # What is counted is what comes out, whatever size the zip promises.
    with archive.open(member) as packed, to.open("wb") as file:
        while left >= 0 and (piece := packed.read(_PIECE)):
            left -= len(piece)
            file.write(piece)
    return left
