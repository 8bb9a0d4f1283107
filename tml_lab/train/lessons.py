"""The episodes of a run: a lesson's rendered before it, or more and more of them while it goes on.

A GPU reads episodes faster than any folder made before would last.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from tml_lab.config import TrainConfig
from tml_lab.train.parallel import join, wait_for_all
from tml_lab.train.shards import ensure_episodes, make_shard
from tml_lab.worlds.curriculum import LESSONS, SPOILED
from tml_lab.worlds.voices import VoiceBank

Lessons = tuple[tuple[Path, float], ...]  # folders of episodes, each until a share of the run
SHARD = 100  # episodes in one file: the first ones are there soon
FIRST = 2  # files from each process before training begins


def render_lessons(cfg: TrainConfig, meanwhile: int = 0) -> Lessons:
    """The folders of the curriculum's episodes under `data/cache/`; what is missing is rendered, unless so many
    processes are to do that `meanwhile`.

    Raises ValueError for a lesson that does not exist, or where there are several to be rendered meanwhile.
    """
    check_lessons(cfg.curriculum, meanwhile)
    lessons = []
    for lesson, until in cfg.curriculum:
        lessons.append((Path("data/cache") / folder_name(lesson, bool(meanwhile)), until))
        if join()[0] == 0 and not meanwhile:
            ensure_episodes(lessons[-1][0], cfg.n_episodes, lesson=lesson)
    wait_for_all()
    return tuple(lessons)


def check_lessons(curriculum: Sequence[tuple[str, float]], meanwhile: int = 0) -> None:
    """Raises ValueError for a lesson that does not exist, or where there are several to be rendered `meanwhile`."""
    if meanwhile and len(curriculum) > 1:
        raise ValueError("episodes are rendered meanwhile for one lesson only: name it (--lesson all)")
    for lesson, _ in curriculum:
        if lesson not in LESSONS:
            raise ValueError(f"no lesson is called {lesson!r}; choose one of {', '.join(LESSONS)}")


def folder_name(lesson: str, meanwhile: bool = False) -> str:
    """Where a lesson's episodes lie. Those over a bad line (`SPOILED`) have a folder of their own."""
    return f"episodes-{lesson}{'-spoiled' if lesson in SPOILED else ''}{'-meanwhile' if meanwhile else ''}"


@contextmanager
def rendered_meanwhile(folder: Path, workers: int, lesson: str = "all") -> Iterator[None]:
    """Inside, `workers` processes go on adding new episodes of a lesson to `folder`, each file's from its own number.

    Nothing happens without workers, and of several training processes the first one's render for all. What is there
    already is kept and counted. Raises RuntimeError when a process ends before its first files are
    there.
    """
    if not workers or join()[0] > 0:
        yield
        return
    VoiceBank.open("train")  # says once which engines are absent
    folder.mkdir(parents=True, exist_ok=True)
    context = get_context("spawn")
    processes = [
        context.Process(target=_go_on, args=(folder, first, workers, lesson), daemon=True) for first in range(workers)
    ]
    for process in processes:
        process.start()
    over = threading.Event()
    try:
        _wait(folder, FIRST * workers, processes)
        threading.Thread(target=_tell_of_the_first_to_end, args=(processes, over), daemon=True).start()
        yield
    finally:
        over.set()
        for process in processes:
            process.terminate()  # a file appears whole or not at all
        for process in processes:
            process.join()


def _tell_of_the_first_to_end(processes: Sequence[BaseProcess], over: threading.Event) -> None:
    """Says so on stderr when one of the processes ends before all is `over`: the run goes on, with scenes it knows."""
    ended = wait([process.sentinel for process in processes])  # known before the process counts as not alive
    if not over.is_set():
        left = len(processes) - len(ended)
        print(
            f"a process that rendered episodes has ended, its last words are above; {left} of {len(processes)} go on",
            file=sys.stderr,
        )


def _wait(folder: Path, n_files: int, processes: Sequence[BaseProcess]) -> None:
    while len(list(folder.glob("*.safetensors"))) < n_files:
        if not all(process.is_alive() for process in processes):
            raise RuntimeError(f"a process that rendered episodes into {folder} has ended; its last words are above")
        time.sleep(0.2)


def _go_on(folder: Path, first: int, step: int, lesson: str) -> None:
    import torch

    torch.set_num_threads(1)
    if hasattr(os, "nice"):
        os.nice(10)  # a GPU waits for the process that launches its work: on busy cores a step took a quarter longer
    bank = VoiceBank.open("train", quiet=True)
    index = first
    while True:
        make_shard(folder, index, SHARD, bank, lesson)
        index += step
