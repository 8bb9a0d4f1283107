"""Test items: episodes of held-out splits, drawn by seed, and cut where a benchmark needs only their
beginning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache

from tml_lab.bench.grading import check_item
from tml_lab.config import TURN_SAMPLES, VIDEO_FRAMES_PER_TURN
from tml_lab.worlds.episode import episode
from tml_lab.worlds.seen.footage import is_drawn
from tml_lab.worlds.stage import Episode
from tml_lab.worlds.voices import VoiceBank

SEEDS_PER_RUN = 1_000_000  # seed 1 draws from 1,000,000 on, so that runs with different seeds share no item
_ATTEMPTS = 40  # drawn per item wanted before a filter is taken to be impossible


@cache
def bank_of(split: str) -> VoiceBank:
    """The voices of a held-out split. Raises ValueError for `train`: nothing may be graded on training
    voices."""
    if split == "test":
        return VoiceBank.open("test")
    if split == "human":
        return VoiceBank.open("human")
    raise ValueError(
        f"items are drawn from the splits test and human, not {split!r}: nothing else is held out."
    )


def episodes_of(family: str, seed: int, split: str) -> Iterator[Episode]:
    """Endless episodes of one family; the same for the same seed."""
    bank = bank_of(split)
    index = 0
    while True:
        yield episode(family, seed * SEEDS_PER_RUN + index, split, bank)
        index += 1


def draw(
    families: Sequence[str],
    n: int,
    seed: int,
    split: str,
    shape: Callable[[Episode], Episode | None] | None = None,
) -> list[Episode]:
    """`n` items of each family.

    Args:
        families: names from `tml_lab.worlds.episode.FAMILIES`.
        n: items per family.
        seed: of the draw.
        split: `test` or `human`.
        shape: turns an episode into the item (cutting it, say), or into None when it is none.

    Raises ValueError when a family gives too few episodes that `shape` accepts.
    """
    items: list[Episode] = []
    for family in families:
        found: list[Episode] = []
        for attempt, drawn in enumerate(episodes_of(family, seed, split)):
            if len(found) == n:
                break
            if attempt >= _ATTEMPTS * n:
                raise ValueError(f"family {family!r} gave {len(found)} usable items in {attempt} episodes.")
            drawn = before_held_out(drawn)
            item = shape(drawn) if shape is not None else drawn
            if item is not None:
                found.append(item)
        items += found
    return items


def before_held_out(item: Episode) -> Episode:
    """The item; one scene in three is put before a real clip that training never shows.

    Which ones, their seeds say. Scenes before a plain wall stay there, and so do all without PyAV, which says so once.
    """
    scene = item.scene
    if scene is None or scene.plain or not is_drawn(scene.seed):
        return item
    return replace(item, scene=scene.before_footage("test"))


def graded(item: Episode) -> Episode:
    """The item itself, once its contrast sets are found large enough to be graded."""
    check_item(item.expects)
    return item


def cut(item: Episode, turns: int) -> Episode:
    """The first `turns` turns of an episode, with what was said and expected in them."""
    turns = min(turns, item.n_turns)
    return replace(
        item,
        audio=item.audio[: turns * TURN_SAMPLES],
        typed=[(turn, text) for turn, text in item.typed if turn < turns],
        script=[say for say in item.script if say.turn < turns],
        speaking={turn: what for turn, what in item.speaking.items() if turn < turns},
        expects=[expect for expect in item.expects if expect.due < turns / 5],
        segments=[segment for segment in item.segments if segment.start < turns / 5],
        scene=None if item.scene is None else item.scene.first(turns * VIDEO_FRAMES_PER_TURN),
    )
