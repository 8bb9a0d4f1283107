"""`tml play`: stream a recording through the model turn by turn, as if live, and write down what happened.

    OUT/output.wav      the model's voice, 16 kHz, aligned: sample 0 is the recording's second 0
    OUT/output.json     {"text", "chunks": [{"text", "timestamp": [start, end]}]}, seconds played;
                        with a colleague also "requests" to it and the changes of its "panel", by turns;
                        where something was not heard also "gaps": [[start, end]], seconds heard
    OUT/recording/      the Recording: replay it, fork it, look inside it
    OUT/timeline.html   one page with everything on one time axis, to be opened in any browser

Memory does not grow with the sound's length: sound and pictures are read, and written, one turn at a time.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, replace
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import soundfile
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tml_lab.background.colleague import Assisted, with_colleague
from tml_lab.background.panel import to_plain
from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES, TURN_SECONDS
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.model.device import check_device
from tml_lab.model.interaction import InteractionModel
from tml_lab.plot.timeline import write_timeline
from tml_lab.plot.timeline_data import gap_spans, missing_in_words
from tml_lab.stream.clock import turn_hearing
from tml_lab.stream.recording import Recording
from tml_lab.stream.recording_io import save_columns
from tml_lab.stream.reels import FolderReel
from tml_lab.stream.session import Session
from tml_lab.stream.sources import SoundFile, VideoFile
from tml_lab.worlds.remembered import usual_policy

TAIL_SECONDS = 2.0  # of silence after the input's end, so that an answer can come


class PlayError(ValueError):
    """`play` cannot do what was asked; the message is one sentence that says why."""


def play(
    input: str | Path,
    out: str | Path,
    *,
    video: str | Path | None = None,
    text: Iterable[str | tuple[float, str]] = (),
    checkpoint: str | Path = "nano",
    device: str = "cpu",
    seed: int = 0,
    tail: float = TAIL_SECONDS,
    attention: str | None = "auto",
    colleague: bool = False,
    policy: str | None = None,
    console: Console | None = None,
) -> Recording:
    """Stream a sound file through the model and write the results into the folder `out`.

    Args:
        input: any sound file libsndfile reads, any length and sampling rate.
        video: what the camera sees meanwhile; None: no camera.
        text: typed words, `(seconds, words)` or "SECONDS: words"; each arrives in the turn that hears it.
        checkpoint: a shipped name or a folder.
        device: "cpu" or "cuda".
        tail: seconds of silence appended to the input.
        attention: head to watch, such as "L5H0"; "auto": the first head of the last global layer; None: none.
        colleague: what the model asks (`<delegate>`) is answered by the built-in tools. While one is at work the
            turns go at the pace of real time, so that its answer comes where it would have come.
        policy: what it remembers by, one of `tml_lab.worlds.remembered.POLICIES`; None: the usual one.
        console: where progress is shown; None: stderr.

    Returns the Recording. Raises ValueError (PlayError, SignalError, DeviceError ...) in one sentence.
    """
    console = console or Console(stderr=True, highlight=False, soft_wrap=True)
    typed = _typed_by_turn(text)
    if not (0 <= tail <= 3600):
        raise PlayError(f"the tail must be 0 to 3600 seconds of silence, not {tail}.")
    check_device(device)
    sound = SoundFile(input)
    pictures = VideoFile(video) if video is not None else None
    model, tokenizer = load_checkpoint(checkpoint, device)
    watched = _head(attention, model)
    folder = _prepare(Path(out))

    reel = FolderReel(folder / "recording")
    session = Session(model, tokenizer, seed, watched, reel, usual_policy(policy))
    silent_turns = -(-round(tail * SAMPLE_RATE) // TURN_SAMPLES)
    turns = chain(sound, repeat(np.zeros(TURN_SAMPLES, np.float32), silent_turns))
    last_typed = max(typed, default=-1)
    if last_typed >= sound.turns + silent_turns:
        raise PlayError(
            f"words are typed at {last_typed * TURN_SECONDS:.1f} s, after the end at "
            f"{(sound.turns + silent_turns) * TURN_SECONDS:.1f} s: type earlier, or use a longer --tail."
        )
    assisted = with_colleague(session) if colleague else None
    began = time.perf_counter()
    with soundfile.SoundFile(folder / "output.wav", "w", SAMPLE_RATE, 1, "PCM_16") as voice:
        voice.write(np.zeros(TURN_SAMPLES, np.float32))  # turn 0 is played one turn after the start
        try:
            for n, audio in _progress(turns, sound.turns + silent_turns, console):
                frames = pictures.next_turn() if pictures is not None else None
                voice.write(_step(assisted or session, audio, frames, typed.get(n)))
        finally:  # after Ctrl-C, what was computed is still a whole recording
            reel.close()
            if assisted is not None:
                assisted.close()
            about = {"source": Path(input).name, "tail_seconds": tail}
            panel = to_plain(assisted.history) if assisted is not None else ()
            save_columns(replace(session.recording(about), panel=panel), folder / "recording", session.tape.turns)
    recording = Recording.load(folder / "recording")
    _write_words(recording, folder, assisted)
    write_timeline(recording, folder / "timeline.html", title=Path(input).name, voice=folder / "output.wav")
    _report(recording, sound, time.perf_counter() - began, folder, console)
    return recording


def _step(session: Session | Assisted, audio: np.ndarray, frames: np.ndarray | None, typed: str | None) -> np.ndarray:
    """One turn; its sound, float32 [3200]."""
    began = time.monotonic()
    sound = session.step(audio, frames, typed).audio
    if isinstance(session, Assisted):
        session.wait(began + TURN_SECONDS - time.monotonic())
    return sound


def _typed_by_turn(text: Iterable[str | tuple[float, str]]) -> dict[int, str]:
    """`{turn: words}`; words typed within one turn are joined."""
    by_turn: dict[int, str] = {}
    for entry in text:
        seconds, words = parse_typed(entry) if isinstance(entry, str) else entry
        turn = turn_hearing(seconds)
        by_turn[turn] = f"{by_turn[turn]} {words}" if turn in by_turn else words
    return by_turn


def parse_typed(entry: str) -> tuple[float, str]:
    """`"2.5: repeat every number"` -> `(2.5, "repeat every number")`. Raises PlayError."""
    seconds, colon, words = entry.partition(":")
    try:
        at = float(seconds)
    except ValueError:
        at = -1.0
    if not (colon and words.strip() and 0 <= at < float("inf")):
        raise PlayError(f'{entry!r} must read "SECONDS: words", such as "2.5: repeat every number".')
    return at, words.strip()


def _head(attention: str | None, model: InteractionModel) -> tuple[int, int] | None:
    """ "L5H0" -> (5, 0)."""
    if attention is None or attention == "none":
        return None
    if attention == "auto":
        kinds = model.cfg.layer_types
        return max((i for i, kind in enumerate(kinds) if kind == "global"), default=len(kinds) - 1), 0
    layer, split, head = attention.upper().removeprefix("L").partition("H")
    if not (split and layer.isdigit() and head.isdigit()):
        raise PlayError(f"{attention!r} is not a head: write it as L5H0, layer 5 head 0.")
    return int(layer), int(head)


def _prepare(folder: Path) -> Path:
    """Make the output folder; say plainly when it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(13, "permission denied")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PlayError(f"cannot write into {folder} ({reason}): choose another --out folder.") from None
    return folder


def _progress(turns: Iterable[np.ndarray], total: int, console: Console) -> Iterator[tuple[int, np.ndarray]]:
    """Number the turns and show how far the stream is."""
    columns = (
        TextColumn("{task.fields[at]}"), BarColumn(), TextColumn("{task.percentage:3.0f} %"),
        TimeRemainingColumn(), TextColumn("left"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=total, at="0.0 s")
        for n, audio in enumerate(turns):
            yield n, audio
            progress.update(
                task, advance=1, at=f"{(n + 1) * TURN_SECONDS:.1f} s of {total * TURN_SECONDS:.1f} s"
            )


def _write_words(recording: Recording, folder: Path, assisted: Assisted | None) -> None:
    """`output.json` in Full-Duplex-Bench's form, and what a colleague did."""
    chunks = [
        {"text": word, "timestamp": [round(start, 3), round(end, 3)]} for word, start, end in recording.said()
    ]
    content: dict[str, object] = {"text": recording.text, "chunks": chunks}
    if recording.gaps:
        content["gaps"] = gap_spans(recording)
    if assisted is not None:
        content["requests"] = [asdict(task) for task in assisted.tasks.values()]
        content["panel"] = recording.panel
    (folder / "output.json").write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _report(recording: Recording, sound: SoundFile, took: float, folder: Path, console: Console) -> None:
    """Three lines: what was odd, what was said, where it is."""
    for note in sound.notes:
        console.print(f"note: {note}", markup=False)
    for what in missing_in_words(recording):
        console.print(what, markup=False)
    heard = recording.turns * TURN_SECONDS
    per_turn = 1e3 * np.percentile(recording.timings["total"], [50, 99])
    console.print(
        f"{heard:.1f} s in {took:.1f} s ({heard / took:.1f} x real time; "
        f"a turn of 200 ms takes {per_turn[0]:.0f} ms, p99 {per_turn[1]:.0f} ms)",
        markup=False,
    )
    said = ", ".join(f"{word} at {start:.1f} s" for word, start, _ in recording.said()[:12])
    more = len(recording.said()) - 12
    console.print(f"said: {said or 'nothing'}{f', and {more} more' if more > 0 else ''}", markup=False)
    console.print(f"see {folder / 'timeline.html'}", markup=False)
