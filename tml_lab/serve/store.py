"""The engine's folder: for each session its journal, snapshots of its state, and who may write to it.

    FOLDER/lock                     held by the engine that runs
    FOLDER/<id>/session.json        name, hash of the writer's key, seed, hash of the weights
    FOLDER/<id>/000000.journal      see `journal`
    FOLDER/<id>/75.state            the state before turn 75, as one frame

A session comes back from its newest whole snapshot and the journal's turns after it; without a whole snapshot all turns
are run again. No content of a session is ever logged.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from tml_lab.model.state import State, clone_state
from tml_lab.serve.contract import BusyError, ServeError
from tml_lab.serve.journal import STATE, Journal, framed, frames_of
from tml_lab.serve.journal_reel import JournalReel
from tml_lab.serve.json_lines import note, short
from tml_lab.serve.records import TurnIn, put_on_tape
from tml_lab.stream.session import Session
from tml_lab.stream.tape import Tape
from tml_lab.stream.turn_result import TurnResult

FORMAT, VERSION = "tml-session", 1
ABOUT, CLOSED = "session.json", ".closed-"
MILESTONE = 1500  # turns; the first snapshot after each multiple is kept, so that a fork into the past comes soon


@dataclass(frozen=True)
class About:
    """What is kept of a session beside its turns; `key` is the SHA-256 of the writer's key, in hex."""

    id: str
    key: str
    seed: int
    checkpoint: str
    attention: tuple[int, int] | None = None
    policy: dict[str, Any] = field(default_factory=dict)


@dataclass
class Past:
    """A session as it was read back.

    Args:
        known: turns whose inputs are in the journal; those from `session.turn` on are to be run again.
        results: of the last turns before `session.turn`, and what these were given, for writers who ask again.
        lost: what was lost, one sentence; empty when nothing was.
    """

    known: int
    results: list[tuple[TurnResult, TurnIn]]
    lost: str


class Shelf:
    """One session's folder."""

    def __init__(self, folder: Path, about: About, writer: ThreadPoolExecutor) -> None:
        self.folder, self.about, self.journal = folder, about, Journal(folder)
        self.failed = 0  # snapshots that the disk did not take
        self.written = 0
        self._writer = writer
        self._writing: Future[None] | None = None
        self._newest = -1  # turn of the newest snapshot on disk
        self.taken = 0  # turn of the last one that was taken, whatever became of it

    def put_about(self) -> None:
        """Write `session.json`. Raises OSError."""
        whole = {"format": FORMAT, "version": VERSION, **asdict(self.about)}
        _replace(self.folder / ABOUT, json.dumps(whole, indent=1).encode())

    def snapshots(self) -> list[int]:
        """Turns before which there is one, the newest first."""
        return sorted((int(p.stem) for p in self.folder.glob("*.state") if p.stem.isdigit()), reverse=True)

    def snapshot(self, session: Session, wait: bool = False) -> None:
        """Copy the state at once and write it in the background; or wait until it is written.

        While the disk is still busy with the last one, this one is left out: the journal holds every turn.
        """
        if self._writing is not None and not self._writing.done():
            if not wait:
                return
            self._writing.result()
        turn = session.turn
        if turn == self._newest:
            return
        self.taken = turn
        state = {name: tensor.cpu() for name, tensor in clone_state(session.state).items()}
        header = {"turn": turn, "watched": json.dumps(session.attention)}
        self._writing = self._writer.submit(self._write_state, turn, state, header)
        if wait:
            self._writing.result()

    def _write_state(self, turn: int, state: State, header: dict[str, Any]) -> None:
        try:
            block = save({n: t.contiguous() for n, t in state.items()}, {k: str(v) for k, v in header.items()})
            _replace(self.folder / f"{turn}.state", framed(STATE, turn, block))
            self.journal.sync()
        except OSError as error:
            self.failed += 1
            note("state not written", logging.WARNING, error, session=short(self.about.id), turn=turn)
            return
        self._newest, self.written = turn, self.written + 1
        self._forget_old()

    def _forget_old(self) -> None:
        """The two newest stay, and the first one after each milestone."""
        turns = self.snapshots()
        first: dict[int, int] = {}
        for turn in turns:  # newest first: the last to be noted is the oldest
            first[turn // MILESTONE] = turn
        for turn in set(turns[2:]) - set(first.values()):
            with contextlib.suppress(OSError):
                (self.folder / f"{turn}.state").unlink()

    def branch(self, folder: Path, about: About, turns: int) -> Shelf:
        """The folder of a fork, with the first `turns` turns of this session. Raises OSError."""
        twin = Shelf(folder, about, self._writer)
        twin.journal = self.journal.branch(folder, turns)
        for turn in self.snapshots():
            if turn <= turns:
                with contextlib.suppress(OSError):  # it may be gone by now; then more turns are run again
                    os.link(self.folder / f"{turn}.state", folder / f"{turn}.state")
        twin.put_about()
        return twin

    def restore(self, session: Session, replies: int) -> Past:
        """Bring a fresh session to the newest state that can be trusted; what is left is run by the engine.

        Raises OSError or RecordError.
        """
        journal = self.journal = Journal(self.folder)
        journal.recover()
        newest = max(self.snapshots(), default=0)
        for turn in self.snapshots():
            if turn <= journal.done and self._take_state(session, turn):
                self._newest = self.taken = turn
                break
        tape = session.tape = Tape(JournalReel(journal))
        results: list[tuple[TurnResult, TurnIn]] = []
        for turn in range(session.turn):
            given, out = journal.input(turn), journal.output(turn)
            put_on_tape(tape, given, out)
            if turn >= session.turn - replies:
                results.append((out.result, given))
        for turn in self.snapshots():
            if turn > journal.turns:  # of a future that is lost: another one comes now
                (self.folder / f"{turn}.state").unlink()
        return Past(journal.turns, results, self._lost(newest))

    def _lost(self, newest: int) -> str:
        """What `recover` could not keep, one sentence."""
        journal = self.journal
        if newest > journal.turns:
            return f"the journal is damaged: turns {journal.turns} to {newest - 1}, and what came later, are lost."
        if journal.torn:
            if journal.turns > journal.done:
                return ""  # a result was torn; it is computed anew
            return f"turn {journal.turns} was being written when the server stopped: it is lost, send it again."
        if journal.dropped:
            return f"the journal is damaged: turn {journal.turns} and what came later are lost."
        return ""

    def _take_state(self, session: Session, turn: int) -> bool:
        """Put a snapshot into a fresh session; whether it was whole."""
        try:
            found = list(frames_of(self.folder / f"{turn}.state"))
            (_, kind, at, block) = found[0]
            state = load(block)
            fits = kind == STATE and at == turn == int(state["turn"]) and state.keys() == session.state.keys()
            fits = fits and all(_like(tensor, session.state[name]) for name, tensor in state.items())
        except (OSError, IndexError, KeyError, ValueError, SafetensorError):
            fits = False
        if not fits:
            note("state damaged, an older one is used", logging.WARNING, session=short(self.about.id), turn=turn)
            return False
        session.state = {name: tensor.to(session.state[name].device) for name, tensor in state.items()}
        with contextlib.suppress(KeyError, TypeError, ValueError):
            session.attention = _watched(block)
        return True

    def close(self) -> None:
        """Let the files go; what is owed is written, if it goes."""
        if self._writing is not None:
            self._writing.result()
        self.journal.close()

    def remove(self) -> None:
        """Delete the session from the disk; a name of its own first, so that no half of it ever comes back."""
        self.close()
        gone = self.folder.with_name(CLOSED + self.folder.name)
        with contextlib.suppress(OSError):
            self.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _like(tensor: Tensor, fresh: Tensor) -> bool:
    """Whether a tensor has the type and the shape of a fresh one; what has no fixed length may have another one."""
    if tensor.dtype != fresh.dtype or tensor.ndim != fresh.ndim:
        return False
    return tensor.shape == fresh.shape or (tensor.dtype == torch.uint8 and tensor.shape[1:] == fresh.shape[1:])


def _watched(block: bytes) -> tuple[int, int] | None:
    """The watched head in a snapshot's metadata."""
    length = int.from_bytes(block[:8], "little")
    head = json.loads(json.loads(block[8 : 8 + length])["__metadata__"]["watched"])
    return None if head is None else (head[0], head[1])


def _replace(path: Path, data: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    part = path.with_name(path.name + ".part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


class Store:
    """All sessions' folders; one engine at a time. Raises ServeError when another engine holds it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "lock").open("w")
        except OSError as error:
            raise ServeError(f"sessions cannot be kept in {folder}: {error.strerror or error}.") from error
        try:
            import fcntl

            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # no such locks on Windows
            pass
        except OSError as error:
            raise ServeError(f"another engine keeps its sessions in {folder}: give each its own folder.") from error
        self.writer = ThreadPoolExecutor(1, thread_name_prefix="tml-snapshots")

    def create(self, about: About) -> Shelf:
        """A folder for a fresh session. Raises BusyError when the disk does not take it."""
        shelf = Shelf(self.folder / about.id, about, self.writer)
        try:
            shelf.folder.mkdir()
            shelf.put_about()
        except OSError as error:
            shelf.remove()
            raise disk_refused(error) from error
        return shelf

    def branch(self, parent: Shelf, about: About, turns: int) -> Shelf:
        """A folder for a fork. Raises BusyError when the disk does not take it."""
        folder = self.folder / about.id
        try:
            folder.mkdir()
            return parent.branch(folder, about, turns)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise disk_refused(error) from error

    def found(self) -> Iterator[Shelf | tuple[str, str]]:
        """Each session that is there; or its name, and why it cannot come back, one sentence."""
        for gone in self.folder.glob(CLOSED + "*"):
            shutil.rmtree(gone, ignore_errors=True)
        for folder in sorted(path for path in self.folder.iterdir() if path.is_dir()):
            if not (folder / ABOUT).exists() and not any(folder.glob("*.journal")):
                shutil.rmtree(folder, ignore_errors=True)  # it was being opened; nobody knows its name
                continue
            try:
                whole = json.loads((folder / ABOUT).read_text())
                if whole.pop("format") != FORMAT or whole.pop("version") != VERSION:
                    raise ValueError("another format")
                about = About(**whole)
                typed = {"id": str, "key": str, "seed": int, "checkpoint": str, "policy": dict}
                if any(type(getattr(about, name)) is not kind for name, kind in typed.items()):
                    raise ValueError("of another type")
                bytes.fromhex(about.key)
                if about.id != folder.name:
                    raise ValueError("of another name")
                yield Shelf(folder, about, self.writer)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                yield folder.name, f"session {folder.name} cannot come back: its {ABOUT} is damaged."

    def close(self) -> None:
        """Wait for the snapshots in work and let the folder go."""
        self.writer.shutdown()
        self._lock.close()


def disk_refused(error: OSError) -> BusyError:
    """What a caller is told when the disk does not take a write."""
    return BusyError(f"the server's disk takes no more ({error.strerror or error}): try again later.", retry_after=5.0)

