"""Replies that begin later than they are due, and what is right until they do."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.stream.layout import NO_TARGET, Stream
from tml_lab.train.feed import Feed, episode_layout
from tml_lab.train.losses import onsets
from tml_lab.train.overdue import MOST, NEVER_LATE, put_off, replies
from tml_lab.train.shards import Rendered, write_shard
from tml_lab.worlds.reply_voice import reply_turns
from tml_lab.worlds.vocabulary import closed_world

TOKENIZER = TextTokenizer.build(closed_world())
SILENCE, BEGIN = TOKENIZER.id(SILENT), TOKENIZER.id(SPEAK)


def told(*said: tuple[int, str], n_turns: int = 60, family: str = "appears") -> Rendered:
    """A scene in which words are said, each from a turn on."""
    speaking = [(turn + k, word, k) for turn, word in said for k in range(reply_turns(word))]
    return Rendered(family, torch.full((4 * n_turns, 80), -5.0).half(), [], speaking)


def decisions(episode: Rendered) -> tuple[list[int], list[int]]:
    """What is fed back as each turn's decision, and what would have been right: ids, turn by turn."""
    layout, _ = episode_layout(episode, TOKENIZER, first_turn=7)
    decided = [i for i in range(1, len(layout.stream))
               if layout.stream[i] == Stream.TEXT_OUT and layout.stream[i - 1] == Stream.AUDIO_IN]  # fmt: skip
    assert len(decided) == episode.n_turns
    return layout.token[decided].tolist(), layout.target[[i - 1 for i in decided]].tolist()


def test_it_was_silent_and_should_have_begun_until_it_does() -> None:
    early = told((10, "seven"))
    late = put_off(early, 1.0, np.random.default_rng(0))
    begins = late.speaking[0][0]
    assert 10 < begins <= 10 + MOST and late.missed == [*range(10, begins)]
    assert [(turn - begins, word, k) for turn, word, k in late.speaking] == [
        (turn - 10, word, k) for turn, word, k in early.speaking
    ]
    fed, right = decisions(late)
    assert fed[10:begins] == [SILENCE] * (begins - 10) and right[10:begins] == [BEGIN] * (begins - 10)
    assert fed[begins] == right[begins] == BEGIN
    changed = {*range(10, begins)}
    assert all(fed[i] == right[i] for i in range(late.n_turns) if i not in changed)


def test_only_the_turn_in_which_it_begins_counts_as_an_onset() -> None:
    late = put_off(told((10, "seven"), (30, "two")), 1.0, np.random.default_rng(1))
    layout, _ = episode_layout(late, TOKENIZER, 0)
    asked = torch.from_numpy(layout.target[layout.target != NO_TARGET])
    assert int(onsets(asked, SILENCE).sum()) == 2 < len(late.missed)
    assert int((asked == BEGIN).sum()) == len(late.speaking) + len(late.missed)


@given(
    waits=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    words=st.lists(st.sampled_from(["seven", "two", "left", "careful"]), min_size=6, max_size=6),
    more=st.integers(0, 9), seed=st.integers(0, 99), share=st.floats(0, 1),
)  # fmt: skip
def test_nothing_is_lost_or_said_twice_or_out_of_order(
    waits: list[int], words: list[str], more: int, seed: int, share: float
) -> None:
    said, turn = [], 0
    for wait, word in zip(waits, words, strict=False):
        said.append((turn + wait, word))
        turn += wait + reply_turns(word)
    early = told(*said, n_turns=turn + more + 1)
    late = put_off(early, share, np.random.default_rng(seed))
    assert [(word, k) for _, word, k in late.speaking] == [(word, k) for _, word, k in early.speaking]
    turns = [turn for turn, _, _ in late.speaking]
    assert turns == sorted({*turns}) and turns[-1] < late.n_turns
    assert not {*late.missed} & {*turns} and len(late.missed) <= MOST * len(replies(early.speaking))
    behind = [now - before for now, before in zip(turns, [t for t, _, _ in early.speaking], strict=True)]
    assert all(0 <= by <= MOST for by in behind)
    decisions(late)


@pytest.mark.parametrize("family", [*sorted(NEVER_LATE), "next_number+opposite"])
def test_some_scenes_know_no_late_reply(family: str) -> None:
    early = told((10, "seven"), family=family)
    assert put_off(early, 1.0, np.random.default_rng(0)) == early


def test_who_was_broken_off_or_recites_is_not_put_off() -> None:
    broken = told((10, "seven"))
    broken = replace(broken, speaking=broken.speaking[:-1])
    step = reply_turns("seven")
    recital = told(*((10 + step * i, "seven") for i in range(5)))
    assert len(replies(recital.speaking)) == 1
    for episode in (broken, recital):
        assert put_off(episode, 1.0, np.random.default_rng(0)).speaking == episode.speaking


def test_a_feed_puts_off_the_share_it_is_asked_for(scenes, tmp_path: Path) -> None:
    write_shard(tmp_path / "episodes-00000.safetensors", scenes(40))

    def shown(share: float) -> int:
        batches = iter(Feed(tmp_path, TOKENIZER, seed=1, budget=4096, late_share=share))
        return sum(int((b.target == BEGIN).sum()) for b in islice(batches, 4))

    assert shown(0.0) < shown(0.5) < shown(1.0)
