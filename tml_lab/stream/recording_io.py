"""Recordings on disk: a folder of float32 WAV (any player opens it), safetensors and JSON.

recording.json       header: turns, seed, checkpoint, configuration, typed and said words, gaps
turns.safetensors    one row per turn, and the token table
heard.wav, own.wav   float32, 16 kHz, mono: bit for bit what went in and came out
frames.npz           one uint8 [2, H, W, 3] per turn that had pictures
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES
from tml_lab.stream.recording import Attention, Inputs, Recording, RecordingError
from tml_lab.stream.recording_checks import check_columns, check_header
from tml_lab.stream.reels import FRAMES, HEARD, OWN, FolderReel, FrameFile, read_sound
from tml_lab.stream.tokens import TokenTable

FORMAT, VERSION = "tml-recording", 1
HEADER, TURNS = "recording.json", "turns.safetensors"


def save_folder(recording: Recording, folder: Path) -> Path:
    """Write a whole recording; see `Recording.save`."""
    reel = FolderReel(folder)
    inputs = recording.inputs
    for turn in range(max(inputs.turns, recording.turns)):
        here = slice(turn * TURN_SAMPLES, (turn + 1) * TURN_SAMPLES)
        frames = inputs.frames[turn] if inputs.frames is not None else None
        reel.write(inputs.audio[here], recording.audio_out[here], frames)
    reel.close()
    return save_columns(recording, folder, inputs.turns)


def save_columns(recording: Recording, folder: Path, input_turns: int) -> Path:
    """Write header and columns beside the sound that a `FolderReel` has already written there."""
    from safetensors.numpy import save_file

    header: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "sample_rate": SAMPLE_RATE,
        "turns": recording.turns,
        "input_turns": input_turns,
        "seed": recording.seed,
        "checkpoint": dict(recording.checkpoint),
        "config": dict(recording.config),
        "typed": recording.inputs.typed,
        "words": [(n, word) for n, words in enumerate(recording.words) for word in words],
        "decisions": sorted(set(recording.decisions)),
        "token_names": {str(i): name for i, name in recording.tokens.names.items()},
        "timings": list(recording.timings),
        "about": dict(recording.about),
        **({"panel": recording.panel} if recording.panel else {}),
        **({"gaps": recording.gaps} if recording.gaps else {}),
        **({"unplayed": recording.unplayed} if recording.unplayed else {}),
        **({"skipped": recording.inputs.skipped} if recording.inputs.skipped else {}),
        **({"policy": dict(recording.policy)} if recording.policy else {}),
        **({"notes": recording.notes} if recording.notes else {}),
    }
    code = {name: i for i, name in enumerate(header["decisions"])}
    table = recording.tokens
    columns = {
        "decision": np.array([code[name] for name in recording.decisions], np.int16),
        "p_speak": recording.p_speak.astype(np.float32),
        "voice": recording.voice,
        "tokens.stream": table.stream,
        "tokens.turn": table.turn,
        "tokens.slot": table.slot,
        "tokens.id": table.token_id,
        **{f"timings.{stage}": np.asarray(s, np.float32) for stage, s in recording.timings.items()},
    }
    if (seen := recording.attention) is not None:
        header["attention"] = {"layer": seen.layer, "head": seen.head, "streams": seen.streams}
        columns |= {"attention.lag": seen.lag, "attention.share": seen.share.astype(np.float32)}
    try:
        save_file({name: np.ascontiguousarray(c) for name, c in columns.items()}, folder / TURNS)
        # The header comes last: a folder without it is a recording that was cut short.
        (folder / HEADER).write_text(json.dumps(header, indent=1))
    except OSError as error:
        raise RecordingError(f"cannot write the recording to {folder}: {error.strerror or error}") from error
    return folder


def load_folder(folder: Path, keeps: object = None, called: Path | None = None) -> Recording:
    """Read a recording; see `Recording.load`.

    Args:
        keeps: something that must live as long as the pictures, which are read when they are asked for.
        called: what messages call the folder.
    """
    try:
        return _load(folder, keeps)
    except RecordingError as error:
        if called is None:
            raise
        raise RecordingError(str(error).replace(str(folder), str(called))) from error


def _load(folder: Path, keeps: object) -> Recording:
    header, columns = _header(folder), _columns(folder)
    check_header(header, str(folder / HEADER))
    check_columns(header, columns, str(folder / TURNS))
    try:
        turns = int(header["turns"])
        words: list[tuple[str, ...]] = [()] * turns
        for turn, word in header["words"]:
            words[turn] += (word,)
        inputs = Inputs(
            read_sound(folder / HEARD, header["input_turns"]),
            tuple((turn, text) for turn, text in header["typed"]),
            FrameFile(folder / FRAMES, header["input_turns"], keeps) if (folder / FRAMES).exists() else None,
            tuple(header.get("gaps", ())),
            tuple(header.get("skipped", ())),
        )
        seen = header.get("attention")
        attention = seen and Attention(
            seen["layer"], seen["head"], tuple(seen["streams"]),
            columns["attention.lag"], columns["attention.share"],
        )  # fmt: skip
        recording = Recording(
            inputs=inputs,
            decisions=tuple(header["decisions"][code] for code in columns["decision"]),
            p_speak=columns["p_speak"],
            words=tuple(words),
            audio_out=read_sound(folder / OWN, turns),
            tokens=TokenTable(
                columns["tokens.stream"], columns["tokens.turn"], columns["tokens.slot"],
                columns["tokens.id"], {int(i): name for i, name in header["token_names"].items()},
            ),
            voice=columns["voice"],
            seed=int(header["seed"]),
            checkpoint=header["checkpoint"],
            config=header["config"],
            timings={stage: columns[f"timings.{stage}"] for stage in header["timings"]},
            attention=attention,
            about=header["about"],
            panel=tuple(header.get("panel", ())),
            unplayed=tuple(int(turn) for turn in header.get("unplayed", ())),
            policy=header.get("policy", {}),
            notes=tuple((turn, text) for turn, text in header.get("notes", ())),
        )  # fmt: skip
    except RecordingError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise RecordingError(
            f"{folder} is not a whole recording: {error} is missing or out of range."
        ) from error
    return recording


def _header(folder: Path) -> dict[str, Any]:
    path = folder / HEADER
    if not folder.is_dir():
        raise RecordingError(f"there is no recording at {folder}: give the folder that Recording.save wrote.")
    if not path.exists():
        raise RecordingError(
            f"{folder} has no {HEADER}: the recording was never finished, or this is another folder."
        )
    try:
        header = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise RecordingError(
            f"{path} cannot be read as JSON ({error}): the file is truncated or damaged."
        ) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise RecordingError(f"{path} is JSON, but not a recording of this lab.")
    if header.get("version") != VERSION:
        raise RecordingError(
            f"{path} has format version {header.get('version')}; this lab reads "
            f"version {VERSION}: update the lab."
        )
    return header


def _columns(folder: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = folder / TURNS
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RecordingError(
            f"{path} cannot be read ({error}): the file is missing, truncated or damaged."
        ) from error
