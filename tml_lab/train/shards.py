"""Training episodes rendered once and kept on disk: log-mel frames and scripts, a few hundred to a file."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from tml_lab.config import FRAMES_PER_TURN, TURN_SAMPLES, VIDEO_FRAMES_PER_TURN
from tml_lab.model.text import normalise_text
from tml_lab.signal.dmel import log_mel
from tml_lab.worlds.curriculum import GLIMPSES, training_episode
from tml_lab.worlds.families.hearing import DICTATION
from tml_lab.worlds.seen.cast import COLUMNS
from tml_lab.worlds.seen.scene import Script
from tml_lab.worlds.stage import Episode
from tml_lab.worlds.voices import VoiceBank

LINE = ("numbers", "gaps", "unseen", "excused_from")  # what a bad line made of an episode


@dataclass
class Rendered:
    """An episode as the trainer needs it. `mel`: float16 [turns * 4, 80] log10 mel; `typed`: (turn, text);
    `speaking`: (turn, word, how many turns into the word); `heard`: every word the user says, in order; `scene`: what
    the camera sees, where that matters; `asking`: (turn, what the background model is asked); what comes back is typed.

    Over a bad line (`tml_lab.worlds.spoiled`): turns that were skipped are not there any more, all turns are counted
    without them, and `numbers` has each turn's number on the clock (empty: nothing was skipped). `gaps`: turns in which
    nothing was heard; `unseen`: turns without pictures; from `excused_from` on nothing is asked.

    `missed`: turns in which a reply was due that begins later (`tml_lab.train.overdue`); never kept in a file.
    """

    family: str
    mel: Tensor
    typed: list[tuple[int, str]]
    speaking: list[tuple[int, str, int]]
    heard: list[str] = field(default_factory=list)
    scene: Script | None = None
    asking: list[tuple[int, str]] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    gaps: list[int] = field(default_factory=list)
    unseen: list[int] = field(default_factory=list)
    excused_from: int | None = None
    missed: list[int] = field(default_factory=list)

    @property
    def n_turns(self) -> int:
        """Length in turns."""
        return len(self.mel) // FRAMES_PER_TURN


def render(episode: Episode) -> Rendered:
    """Waveform -> log-mel; skipped turns are left out, everything else as it is."""
    numbers = sorted({*range(episode.n_turns)} - {*episode.skipped})
    place = {number: turn for turn, number in enumerate(numbers)}
    turns = episode.audio.reshape(-1, TURN_SAMPLES)[numbers]
    mel = log_mel(torch.from_numpy(turns.reshape(-1)))  # [turns * 4, 80]
    speaking = [(place[turn], word, k) for turn, (word, k) in sorted(episode.speaking.items())]
    heard = [word for s in episode.segments if s.role == "user" for word in normalise_text(s.text).split()]
    typed = [(place[turn], text) for turn, text in sorted([*episode.typed, *episode.results])]
    asking = [(place[turn], text) for turn, text in episode.requests]
    scene = episode.scene
    if scene is not None and episode.skipped:
        kept = np.isin(np.arange(len(scene.shapes)) // VIDEO_FRAMES_PER_TURN, numbers)  # [frames]
        scene = scene.only(kept)
    excused = episode.excused_from
    return Rendered(
        episode.family, mel.half(), typed, speaking, heard, scene, asking, numbers if episode.skipped else [],
        [place[turn] for turn in episode.gaps], [place[turn] for turn in episode.unseen],
        None if excused is None else sum(number < excused for number in numbers),
    )  # fmt: skip


def write_shard(path: Path, episodes: list[Rendered]) -> None:
    """One safetensors file with all frames end to end, all scenes' shapes likewise, and the scripts as JSON."""
    rows = [
        {"family": e.family, "turns": e.n_turns, "typed": e.typed, "speaking": e.speaking, "heard": e.heard}
        | ({"scene": [*e.scene.shapes.shape, e.scene.seed]} if e.scene else {})
        | ({"plain": True} if e.scene and e.scene.plain else {})
        | ({"cast": [*e.scene.cast.shape[1:]]} if e.scene and e.scene.cast is not None else {})
        | ({"asking": e.asking} if e.asking else {})
        | {name: value for name in LINE if (value := getattr(e, name)) not in ([], None)}
        for e in episodes
    ]
    tensors = {"mel": torch.cat([e.mel for e in episodes])}
    scenes = [torch.from_numpy(e.scene.shapes).flatten() for e in episodes if e.scene]
    tensors |= {"shapes": torch.cat(scenes)} if scenes else {}
    casts = [torch.from_numpy(e.scene.cast).flatten() for e in episodes if e.scene and e.scene.cast is not None]
    tensors |= {"cast": torch.cat(casts)} if casts else {}
    scratch = path.with_suffix(".tmp")
    save_file(tensors, str(scratch), {"episodes": json.dumps(rows)})
    scratch.replace(path)


def read_shard(path: Path) -> Iterator[Rendered]:
    """The episodes of one file."""
    with safe_open(str(path), framework="pt") as file:
        mel, rows = file.get_tensor("mel"), json.loads(file.metadata()["episodes"])
        numbers = {name: file.get_tensor(name).numpy() for name in ("shapes", "cast") if name in file.keys()}  # noqa: SIM118
    start, scenes = 0, _scenes(rows, numbers)
    for row, scene in zip(rows, scenes, strict=True):
        end = start + row["turns"] * FRAMES_PER_TURN
        typed = [(int(t), str(text)) for t, text in row["typed"]]
        speaking = [(int(t), str(word), int(k)) for t, word, k in row["speaking"]]
        asking = [(int(t), str(text)) for t, text in row.get("asking", [])]
        line = {name: row[name] for name in LINE if name in row}
        yield Rendered(row["family"], mel[start:end], typed, speaking, row["heard"], scene, asking, **line)
        start = end


def _scenes(rows: Sequence[dict[str, Any]], numbers: dict[str, np.ndarray]) -> Iterator[Script | None]:
    """Each episode's scene, from all shapes and casts of a file end to end; None where there is nothing to see."""
    place, name = 0, 0
    for row in rows:
        if "scene" not in row:
            yield None
            continue
        frames, n_shapes, n_numbers, seed = row["scene"]
        n, cast = frames * n_shapes * n_numbers, None
        if row.get("cast", [0, 0])[1] == COLUMNS:  # else it was rendered when casts told less, or not at all
            shape = (frames, *row["cast"])
            cast = numbers["cast"][name : name + math.prod(shape)].reshape(shape)
            name += math.prod(shape)
        shapes = numbers["shapes"][place : place + n].reshape(frames, n_shapes, n_numbers)
        place += n
        yield Script(shapes, seed, plain=row.get("plain", False), cast=cast)


SHARD = 200  # episodes in one file


def make_shard(
    folder: Path, index: int, size: int = SHARD, bank: VoiceBank | None = None, lesson: str = "all"
) -> Path:
    """Render episodes `index * size ...` into `folder`, unless the file is there already."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"episodes-{index:05d}.safetensors"
    if not path.exists():
        bank = bank or VoiceBank.open("train", quiet=True)
        episodes = [render(training_episode(index * size + i, bank, lesson)) for i in range(size)]
        if lesson == GLIMPSES:
            rng = np.random.default_rng([zlib.crc32(lesson.encode()), index])
            episodes = [glimpse for episode in episodes for glimpse in glimpses(episode, rng)]
        write_shard(path, episodes)
    return path


TURNS = 3  # of a glimpse: what happens in its last ones is seen from what went before
OF_EACH = 4  # glimpses of a scene


def glimpses(episode: Rendered, rng: np.random.Generator) -> Iterator[Rendered]:
    """A few turns from anywhere in a scene, `OF_EACH` times; nothing of a shorter one, or of one without pictures.

    Turn after turn a scene shows the same things before the same wall: a batch of whole scenes holds two or three
    sights, one of glimpses, for the same work, forty. Only the eyes learn from them: no decision is asked for, and no
    word that is heard.
    """
    if episode.scene is None or episode.n_turns < TURNS:
        return
    for start in rng.integers(0, episode.n_turns - TURNS + 1, OF_EACH).tolist():
        frames = slice(start * VIDEO_FRAMES_PER_TURN, (start + TURNS) * VIDEO_FRAMES_PER_TURN)
        mel = episode.mel[start * FRAMES_PER_TURN : (start + TURNS) * FRAMES_PER_TURN]
        yield Rendered(DICTATION, mel, [], [], scene=episode.scene.only(frames), excused_from=0)


Bank = Callable[[], VoiceBank]


def ensure_episodes(
    folder: Path, n_episodes: int, workers: int | None = None, lesson: str = "all", bank: Bank | None = None
) -> None:
    """Render what is missing of `n_episodes` of a lesson into `folder`, several processes at once (by default one for
    each core), with time left. `bank` opens the voices in each process, those of training unless it is given.

    About 0.05 s an episode on one core; an interrupted run goes on with the files that are not there yet.
    """
    size = min(SHARD, n_episodes)
    missing = [i for i in range(-(-n_episodes // size)) if not (folder / f"episodes-{i:05d}.safetensors").exists()]
    if not missing:
        return
    VoiceBank.open("train")  # says once which engines are absent
    context = get_context("spawn")
    with ProcessPoolExecutor(workers or os.cpu_count(), mp_context=context, initializer=_one_thread) as pool:
        jobs = [pool.submit(_make, folder, i, size, lesson, bank) for i in missing]
        for job in track(as_completed(jobs), "render episodes", total=len(jobs)):
            job.result()


def _make(folder: Path, index: int, size: int, lesson: str, bank: Bank | None) -> Path:
    return make_shard(folder, index, size, bank() if bank else None, lesson)


def _one_thread() -> None:
    torch.set_num_threads(1)
