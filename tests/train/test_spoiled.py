"""A bad line in training: positions, clock and targets are those that a session over such a line would have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tml_lab.config import TURN_SAMPLES, VIDEO_SIZE
from tml_lab.model.text import SILENT, SPEAK, TextTokenizer
from tml_lab.signal.dmel import dmel
from tml_lab.stream.layout import NO_TARGET, Stream
from tml_lab.train.feed import collate, episode_layout
from tml_lab.train.lessons import folder_name
from tml_lab.train.pictures import n_patches
from tml_lab.train.shards import Rendered, read_shard, render, write_shard
from tml_lab.train.vary import as_heard
from tml_lab.worlds.seen.scene import Scene
from tml_lab.worlds.spoiled import without
from tml_lab.worlds.stage import Episode, Say, Segment

TOKENIZER = TextTokenizer.build(["five", "remind", "me", "stop"])


@pytest.fixture
def episode() -> Episode:
    """Twenty turns; "stop" is typed in turn 6, "five" said from turn 12 on."""
    rng = np.random.default_rng(0)
    audio = rng.uniform(-0.1, 0.1, 20 * TURN_SAMPLES).astype(np.float32)
    scene = Scene(np.random.default_rng(0)).script(40)
    speaking = {12: ("five", 0), 13: ("five", 1)}
    heard = [Segment(1.0, 3.0, "remind me", "user")]
    return Episode("toy", audio, [(6, "stop")], [Say(12, "five")], speaking, [], heard, 0, "train", scene)


def test_skipped_turns_have_no_positions_and_the_clock_shows_them(episode):
    lost = render(without(episode, {9}, {4, 5, 10}, {3, 9}))
    assert lost.n_turns == 17 and lost.numbers == [n for n in range(20) if n not in (4, 5, 10)]
    assert lost.typed == [(4, "stop")] and [turn for turn, _, _ in lost.speaking] == [9, 10]
    assert (lost.gaps, lost.unseen) == ([7], [3, 7]) and len(lost.scene.shapes) == 34
    layout, _ = episode_layout(lost, TOKENIZER, first_turn=100, seen=2)
    assert sorted(set(layout.turn.tolist())) == [100 + n for n in lost.numbers]
    speaks = layout.turn[layout.target == TOKENIZER.id(SPEAK)]
    assert speaks.tolist() == [112, 113]  # due by the clock, as it was
    seen = np.bincount(layout.turn[layout.stream == Stream.VIDEO_IN] - 100, minlength=20)
    assert seen.tolist() == [0 if n in (3, 4, 5, 9, 10) else 2 for n in range(20)]


def test_the_frames_are_those_of_the_sound_that_was_run(episode):
    lost = without(episode, {9}, {4, 5}, set())
    run = np.delete(lost.audio.reshape(-1, TURN_SAMPLES), [4, 5], axis=0)
    rendered = render(lost)
    plain = replace(rendered, gaps=[])
    frames = as_heard(rendered, np.random.default_rng(3)).view(-1, 4, 80)
    nothing = dmel(np.zeros(TURN_SAMPLES, np.float32))[1:]
    assert torch.equal(frames[7, 1:], nothing) and not torch.equal(frames[7, 0], nothing[0])  # a hop of sound before it
    other = as_heard(plain, np.random.default_rng(3)).view(-1, 4, 80)
    assert torch.equal(frames[[*range(7), *range(8, 18)]], other[[*range(7), *range(8, 18)]])
    exact = dmel(run.reshape(-1)).view(-1, 4, 80)
    assert torch.equal(exact[7, 1:], nothing)


def test_what_could_not_be_heard_is_not_asked(episode):
    guessed, lost = (render(without(episode, gaps, set(), set())) for gaps in ({6, 7}, {6, 7, 8, 9, 10}))
    assert (guessed.excused_from, lost.excused_from) == (None, 5)
    layout, voice = episode_layout(lost, TOKENIZER, 0)
    assert (layout.target[layout.turn >= 5] == NO_TARGET).all()
    before = layout.target[layout.turn < 5]
    assert (before[before != NO_TARGET] == TOKENIZER.id(SILENT)).sum() == 5
    assert len(voice) == 8  # how the word sounds is learned all the same
    batch = collate([guessed, lost], TOKENIZER, np.random.default_rng(0))
    assert batch.n_frames.tolist() == [80, 0] and batch.n_words.tolist() == [2, 0] and batch.n_turns == 40


def test_in_a_gap_what_is_due_is_said(episode):
    lost = render(without(episode, {11, 12, 13, 14}, set(), set()))
    assert lost.excused_from is None
    layout, _ = episode_layout(lost, TOKENIZER, 0)
    assert layout.turn[layout.target == TOKENIZER.id(SPEAK)].tolist() == [12, 13]


def test_pictures_that_were_lost_are_not_drawn_into_the_others(episode):
    whole, lost = render(episode), render(without(episode, set(), set(), {2, 3, 17}))
    batches = [collate([one], TOKENIZER, np.random.default_rng(0), VIDEO_SIZE) for one in (whole, lost)]
    one, other = (batch.to(torch.device("cpu")).tokens for batch in batches)
    per_turn = n_patches(VIDEO_SIZE)
    assert batches[0].shown is None and len(other.patches) == len(one.patches) - 3 * per_turn
    assert len(other.patches) == int((other.stream == Stream.VIDEO_IN).sum())
    kept = [n for n in range(20) if n not in (2, 3, 17)]
    assert torch.equal(other.patches, one.patches.view(20, per_turn, *one.patches.shape[1:])[kept].flatten(0, 1))


def test_shards_keep_what_the_line_did(episode, tmp_path: Path):
    lost = without(episode, {*range(5, 15)}, set(), set())
    some = [render(without(episode, {9}, {4}, {3})), render(episode), render(lost)]
    write_shard(tmp_path / "a.safetensors", some)
    for one, back in zip(some, read_shard(tmp_path / "a.safetensors"), strict=True):
        for name in ("numbers", "gaps", "unseen", "excused_from", "typed", "speaking"):
            assert getattr(one, name) == getattr(back, name)


def test_a_row_without_anything_to_listen_to_has_a_loss(episode):
    from tml_lab.model.listen import listen_loss

    logits = torch.randn(2, 80, TOKENIZER.size, requires_grad=True)
    lost = render(without(episode, {*range(5, 15)}, set(), set()))
    batch = collate([lost, lost], TOKENIZER, np.random.default_rng(0))
    loss = listen_loss(logits, batch.n_frames, batch.words, batch.n_words)
    loss.backward()
    assert float(loss.detach()) == 0.0 and logits.grad is not None and not logits.grad.any()


def test_lessons_over_a_bad_line_have_a_folder_of_their_own():
    assert folder_name("all") == "episodes-all" and folder_name("all", True) == "episodes-all-meanwhile"
    assert folder_name("everything") == "episodes-everything-spoiled"
    assert isinstance(Rendered("toy", torch.zeros(4, 80), [], []), Rendered)
