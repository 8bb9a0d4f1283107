"""An append-only journal of one session: what goes in before its turn is run, and what came of it.

    frame    length, CRC-32, kind, turn (little-endian), then the payload
    kinds    INPUT before the turn; OUTPUT after it; VOID: the input before was not run after all
    files    segments of some 16 MB; a fork shares the whole ones with its parent by hard links

After kill -9 the last frame may be torn: it is found by its length and checksum, and cut off. What a failing disk did
not take of the OUTPUTs is owed, in memory, and goes out with the next frame; it can be computed anew from the inputs.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from tml_lab.serve.records import RecordError, TurnIn, TurnOut, pack_input, unpack_input, unpack_output

FRAME = struct.Struct("<IIBI")
INPUT, OUTPUT, VOID, STATE = 1, 2, 3, 4
SEGMENT = 16_000_000  # bytes after which the next segment begins
LONGEST = 256_000_000  # bytes; a longer frame is damage
Place = tuple[int, int]  # (segment, byte in it)


def framed(kind: int, turn: int, payload: bytes) -> bytes:
    """One frame. The checksum covers all that follows it."""
    rest = struct.pack("<BI", kind, turn)
    return FRAME.pack(len(payload), zlib.crc32(payload, zlib.crc32(rest)), kind, turn) + payload


def frames_of(path: Path) -> Iterator[tuple[int, int, int, bytes]]:
    """`(byte, kind, turn, payload)` of each whole frame, up to the first that is not. Raises OSError."""
    with path.open("rb") as file:
        at = 0
        while len(head := file.read(FRAME.size)) == FRAME.size:
            length, checksum, kind, turn = FRAME.unpack(head)
            payload = file.read(length) if length <= LONGEST else b""
            if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[8:])) != checksum:
                return
            yield at, kind, turn, payload
            at += FRAME.size + length


def _write_all(file: FileIO, data: bytes) -> None:
    """Raises OSError, with a part of it written."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


class Journal:
    """The journal in a folder; `recover` reads what is there, and then it goes on where it ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.inputs: list[Place] = []  # of each turn
        self.outputs: list[Place] = []  # of each turn that is written
        self.bytes = 0  # in all segments
        self.dropped = 0  # bytes that `recover` cut off
        self.torn = False  # these were one frame at the very end, which was being written
        self._owed: list[bytes] = []  # frames that the disk did not take
        self._owed_turns: dict[int, bytes] = {}  # payloads of the OUTPUTs among them
        self._segment, self._size, self._synced = 0, 0, 0
        self._file: FileIO | None = None

    @property
    def turns(self) -> int:
        """Turns with an input."""
        return len(self.inputs)

    @property
    def done(self) -> int:
        """Turns with an output, owed ones included."""
        return len(self.outputs) + len(self._owed_turns)

    def path(self, segment: int) -> Path:
        """A segment's file."""
        return self.folder / f"{segment:06d}.journal"

    def begin(self, given: TurnIn) -> None:
        """Write the next turn's input. Raises OSError: it is then not in the journal, and nothing else is lost."""
        if self._size > SEGMENT:
            self._close()
            self._segment, self._size = self._segment + 1, 0
        place = self._put(framed(INPUT, self.turns, pack_input(given)))
        self.inputs.append(place)

    def end(self, payload: bytes) -> bool:
        """Write what came of the turn that waits for it longest; False: the disk did not take it, it is owed."""
        turn = self.done
        frame = framed(OUTPUT, turn, payload)
        try:
            place = self._put(frame)
        except OSError:
            self._owed.append(frame)
            self._owed_turns[turn] = payload
            return False
        self.outputs.append(place)
        return True

    def void(self) -> None:
        """Take the last input back: its turn was not run. Its outputs are none."""
        frame = framed(VOID, self.turns - 1, b"")
        self.inputs.pop()
        try:
            self._put(frame)
        except OSError:
            self._owed.append(frame)

    def input(self, turn: int) -> TurnIn:
        """A turn's input, read back. Raises OSError or RecordError."""
        return unpack_input(self._payload(self.inputs[turn]))

    def output(self, turn: int) -> TurnOut:
        """What came of a turn, read back. Raises OSError or RecordError."""
        owed = self._owed_turns.get(turn)
        return unpack_output(self._payload(self.outputs[turn]) if owed is None else owed)

    def _payload(self, place: Place) -> bytes:
        segment, at = place
        with self.path(segment).open("rb") as file:
            file.seek(at)
            head = file.read(FRAME.size)
            payload = file.read(FRAME.unpack(head)[0]) if len(head) == FRAME.size else b""
        if not payload or zlib.crc32(payload, zlib.crc32(head[8:])) != FRAME.unpack(head)[1]:
            raise RecordError(f"{self.path(segment)} changed under the journal at byte {at}.")
        return payload

    def _put(self, frame: bytes) -> Place:
        """What is owed, and then the frame; its place. Raises OSError, with the file as it was."""
        before = self._size
        try:
            if self._file is None:
                self._file = FileIO(self.path(self._segment), "ab")
            _write_all(self._file, b"".join([*self._owed, frame]))
        except OSError:
            if self._file is not None:  # a part of a frame must not stay
                with contextlib.suppress(OSError):
                    self._file.truncate(before)
            raise
        at = before
        for owed in self._owed:
            if FRAME.unpack_from(owed)[2] == OUTPUT:
                self.outputs.append((self._segment, at))
                self._owed_turns.pop(FRAME.unpack_from(owed)[3])
            at += len(owed)
        self._owed.clear()
        self._size = at + len(frame)
        self.bytes += self._size - before
        return self._segment, at

    def sync(self) -> None:
        """Have the disk keep what was written, through a power cut; from another thread. Raises OSError."""
        newest = self._segment
        for segment in range(self._synced, newest + 1):
            with contextlib.suppress(FileNotFoundError), self.path(segment).open("r+b") as file:
                os.fsync(file.fileno())
        self._synced = newest

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """Write what is owed, if it goes, and let the file go."""
        if self._owed:
            with contextlib.suppress(OSError):
                self._put(b"")
        self._close()

    def recover(self) -> None:
        """Read what the folder holds and cut off what is not whole. Raises OSError."""
        while (path := self.path(self._segment)).exists():
            end = 0
            for at, kind, turn, payload in frames_of(path):
                if not self._takes(kind, turn, (self._segment, at)):
                    break
                end = at + FRAME.size + len(payload)
            size = path.stat().st_size
            self._size, self.bytes = end, self.bytes + end
            more = self.path(self._segment + 1).exists()
            if end < size:
                self.dropped, self.torn = size - end, not more and _reaches_the_end(path, end)
                os.truncate(path, end)
                self._set_aside()
                return
            if not more:
                return
            self._segment, self._size = self._segment + 1, 0

    def _takes(self, kind: int, turn: int, place: Place) -> bool:
        """Whether a frame can come here."""
        if kind == INPUT and turn == self.turns:
            self.inputs.append(place)
        elif kind == OUTPUT and turn == len(self.outputs) < self.turns:
            self.outputs.append(place)
        elif kind == VOID and turn == self.turns - 1 >= len(self.outputs):
            self.inputs.pop()
        else:
            return False
        return True

    def _set_aside(self) -> None:
        """Segments behind a damaged one cannot be joined to what is before it."""
        for path in sorted(self.folder.glob("*.journal")):
            if path > self.path(self._segment):
                self.dropped += path.stat().st_size
                path.rename(path.with_suffix(".lost"))

    def branch(self, folder: Path, turns: int) -> Journal:
        """A journal in another folder that has the first `turns` turns of this one. Raises OSError."""
        if turns < self.turns:
            last, cut = self.inputs[turns]
        else:
            last, cut = self._segment, self._size
        twin = Journal(folder)
        for segment in range(last):
            _link(self.path(segment), twin.path(segment))
            twin.bytes += self.path(segment).stat().st_size
        if cut:
            with self.path(last).open("rb") as old, twin.path(last).open("wb") as new:
                new.write(old.read(cut))  # at most a segment
        twin.inputs = self.inputs[:turns]
        twin.outputs = [place for place in self.outputs[:turns] if place < (last, cut)]
        twin._segment, twin._size, twin.bytes = last, cut, twin.bytes + cut
        if turns == self.turns:  # what is owed comes after all that is written
            twin._owed, twin._owed_turns = list(self._owed), dict(self._owed_turns)
        return twin


def _reaches_the_end(path: Path, at: int) -> bool:
    """Whether the frame that begins at this byte would end with the file or later."""
    with path.open("rb") as file:
        file.seek(at)
        head = file.read(FRAME.size)
    return len(head) < FRAME.size or at + FRAME.size + FRAME.unpack(head)[0] >= path.stat().st_size


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:  # a file system without hard links
        shutil.copyfile(old, new)
