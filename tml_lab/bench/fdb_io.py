"""Output folders in Full-Duplex-Bench's form (v1, and what v1.5's `get_timing.py` reads): its own scripts run on them.

`tml bench fdb --folders DIR` writes `DIR/<task>/<item>`: `input.wav` (the user), `output.wav` (the system's own voice;
the reply voice for speakers that have none), `output.json` (`{"text", "chunks": [{"text", "timestamp": [start,
end]}]}`), and the task's own annotation (`pause.json`, `turn_taking.json`, `interrupt.json`). Full-Duplex-Bench's
scripts and recordings are CC BY-NC (https://github.com/DanielLin94144/Full-Duplex-Bench): none of them is kept here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from tml_lab.bench.emissions import Emissions, to_chunks
from tml_lab.bench.own_voice import voice_of
from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES
from tml_lab.worlds.reply_voice import reply_audio
from tml_lab.worlds.stage import Episode

if TYPE_CHECKING:
    from tml_lab.model.vocoder import Vocoder

TASKS = {  # benchmark -> the task's own name
    "fdb_pause": "pause_handling",
    "fdb_smooth_turn": "smooth_turn_taking",
    "fdb_interruption": "user_interruption",
    "fdb_backchannel": "backchannel",
    "fdb15": "v1.5_overlap",
}
ANNOTATION = {
    "fdb_pause": "pause.json",
    "fdb_smooth_turn": "turn_taking.json",
    "fdb_interruption": "interrupt.json",
}


def annotate(task: str, item: Episode) -> list[dict[str, Any]]:
    """The task's annotation of one item, as Full-Duplex-Bench writes it."""
    user = [segment for segment in item.segments if segment.role == "user"]
    if task == "fdb_pause":
        gaps = [(a.end, b.start) for a, b in pairwise(user) if b.start > a.end]
        return [{"text": "[PAUSE]", "timestamp": list(gap)} for gap in gaps]
    due = item.expects[0].due if item.expects else item.n_turns / 5
    if task == "fdb_smooth_turn":
        return [{"text": "[TURN-TAKING]", "timestamp": [due, due]}]
    interrupting = next((s for s in user if abs(s.end - due) < 1e-6), user[-1])
    context = " ".join(
        [text for _, text in item.typed] + [s.text for s in user if s.end <= interrupting.start]
    )
    span = [interrupting.start, interrupting.end]
    return [{"context": context, "interrupt": interrupting.text, "timestamp": span}]


def render(log: Emissions) -> np.ndarray:
    """The log in the reply voice: f32 [turns * 3200] on the played clock; a word is cut where its
    `<speak>` ends."""
    sound = np.zeros((log.turns + 1) * TURN_SAMPLES, np.float32)
    for word, (_, text) in zip(log.spoken(), log.words, strict=True):
        try:
            clip = np.asarray(reply_audio(text), np.float32)
        except KeyError:  # a word outside the reply voice stays silent
            continue
        start = round(word.start * SAMPLE_RATE)
        length = min(len(clip), round((word.end - word.start) * SAMPLE_RATE), len(sound) - start)
        sound[start : start + length] = clip[:length]
    return sound[: log.turns * TURN_SAMPLES]


def write_folders(
    root: Path, task: str, items: Sequence[Episode], logs: Sequence[Emissions], vocoder: Vocoder | None = None
) -> list[Path]:
    """Write `root/<task>/<index>/...` for every item; returns the folders.

    Args:
        root: made where it is missing; files in it are overwritten.
        task: a name of `TASKS`.
        items: the episodes played.
        logs: what was said in them.
        vocoder: the model's, for logs that kept its voice.
    """
    folders = []
    for index, (item, log) in enumerate(zip(items, logs, strict=True), start=1):
        folder = root / TASKS[task] / str(index)
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "input.wav", item.audio, SAMPLE_RATE)
        own = vocoder is not None and bool(log.voice)
        soundfile.write(folder / "output.wav", voice_of(log, vocoder) if own else render(log), SAMPLE_RATE)
        words = log.spoken()
        if task == "fdb_interruption":  # FDB transcribes what is said after the interruption began
            began = annotate(task, item)[0]["timestamp"][0]
            words = [word for word in words if word.start >= began]
        (folder / "output.json").write_text(json.dumps(to_chunks(words), indent=1) + "\n")
        if task in ANNOTATION:
            (folder / ANNOTATION[task]).write_text(json.dumps(annotate(task, item), indent=1) + "\n")
        folders.append(folder)
    return folders
