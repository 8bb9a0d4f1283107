"""Families with the camera on: what is due is in view when it is due, and said in words that exist."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from tml_kernels.draw import draw
from tml_lab.bench.grading import check_item
from tml_lab.config import TURN_SECONDS, VIDEO_FPS, VIDEO_FRAMES_PER_TURN
from tml_lab.worlds.curriculum import LESSONS, SEEING_WEIGHTS, training_episode
from tml_lab.worlds.episode import FAMILIES, SEEING, episode
from tml_lab.worlds.lexicon import MORE_REPLY_WORDS, NUMBERS, REPLY_WORDS
from tml_lab.worlds.reply_voice import reply_words
from tml_lab.worlds.understands import EVERYTHING_PATH, describe_everything
from tml_lab.worlds.vocabulary import closed_world
from tml_lab.worlds.voices import VoiceBank


@pytest.fixture(scope="module")
def bank() -> VoiceBank:
    return VoiceBank.open("train", quiet=True)


def changes(shapes: np.ndarray, seconds: float) -> bool:
    """Whether the picture is another one a little after `seconds` than just before."""
    frame = int(seconds * VIDEO_FPS)
    two = torch.from_numpy(shapes[[max(0, frame - 1), min(len(shapes) - 1, frame + 4)]].astype(np.float32))
    before, after = draw(torch.full((2, 120, 160, 3), 128.0), two)
    return float((before - after).abs().max()) > 30


@pytest.mark.parametrize("family", list(SEEING))
def test_script_sound_and_scene_fit_together(family: str, bank: VoiceBank) -> None:
    for seed in range(3):
        scene = episode(family, seed, "train", bank)
        assert scene.scene is not None
        shapes = scene.scene.shapes
        assert len(shapes) == scene.n_turns * VIDEO_FRAMES_PER_TURN and np.isfinite(shapes).all()
        check_item(scene.expects)
        said = [(TURN_SECONDS * (s.turn + 1), s.word) for s in scene.script]
        for expect in scene.expects:
            late = 3.0 if expect.kind == "answer" else 1.5
            assert any(w == expect.words[0] and expect.due <= at <= expect.due + late for at, w in said), (seed, expect)
            assert not set(expect.words) & set(expect.contrast)
            assert set(expect.words) <= set(REPLY_WORDS + MORE_REPLY_WORDS) & set(reply_words())
            if family in ("appears", "new_colour", "which_way", "warn", "read"):
                assert changes(shapes, expect.due), (family, seed, expect)
        words = {w for _, text in scene.typed for w in text.split()} | {
            w for s in scene.segments if s.role == "user" for w in re.findall(r"[a-z]+", s.text)
        }
        assert words <= set(closed_world())


def test_the_same_scene_for_the_same_seed(bank: VoiceBank) -> None:
    first, again, other = (episode("count_actions", seed, "test", bank) for seed in (4, 4, 5))
    assert first.scene and again.scene and other.scene
    assert np.array_equal(first.scene.shapes, again.scene.shapes) and first.scene.seed == again.scene.seed
    assert first.scene.shapes.shape != other.scene.shapes.shape or not np.array_equal(
        first.scene.shapes, other.scene.shapes
    )


def test_a_session_hears_reads_and_sees_the_episode(bank: VoiceBank) -> None:
    scene, unseen = episode("start_stop", 4, "test", bank), episode("repeat_numbers", 0, "train", bank)
    inputs, film = scene.inputs(), scene.pictures()
    assert film is not None and inputs.frames is not None and unseen.inputs().frames is None
    assert inputs.turns == scene.n_turns and np.array_equal(inputs.audio, scene.audio)
    assert all(np.array_equal(shown, drawn) for shown, drawn in zip(inputs.frames, film, strict=True))
    assert list(inputs.typed) == sorted(scene.typed) and list(unseen.inputs().typed) == sorted(unseen.typed)


def test_repetitions_are_counted_in_order_and_as_many_as_asked_in_a_test(bank: VoiceBank) -> None:
    lengths = []
    for seed in range(8):
        counted = [expect.words[0] for expect in episode("count_actions", seed, "test", bank).expects]
        assert counted == list(NUMBERS[1 : len(counted) + 1])
        lengths.append(len(counted))
    assert min(lengths) >= 3 and max(lengths) <= 20 and len(set(lengths)) > 4


def test_start_and_stop_take_turns(bank: VoiceBank) -> None:
    for seed in range(6):
        expects = episode("start_stop", seed, "train", bank).expects
        assert [e.words[0] for e in expects] == ["start", "stop"] * (len(expects) // 2)
        for start, stop in zip(expects[::2], expects[1::2], strict=True):
            assert 0.8 <= stop.due - start.due <= 8.1


def test_a_warning_is_for_what_was_named_alone(bank: VoiceBank) -> None:
    warned = [len(episode("warn", seed, "train", bank).expects) for seed in range(12)]
    shown = [episode("warn", seed, "train", bank).scene for seed in range(12)]
    things = [scene.shapes.shape[1] // 4 for scene in shown if scene]
    assert all(n <= m for n, m in zip(warned, things, strict=True)) and sum(warned) < sum(things)
    assert max(warned) > 1


def test_what_is_to_be_seen_is_written_from_the_code() -> None:
    assert EVERYTHING_PATH.read_text() == describe_everything(), "run python -m tml_lab.worlds.understands"


def test_lessons_hold_what_they_say_and_nothing_is_asked_of_watching(bank: VoiceBank) -> None:
    assert set(SEEING_WEIGHTS) == set(SEEING) == set(LESSONS["seeing"])
    assert set(LESSONS["everything"]) == {*LESSONS["all"], *LESSONS["further"], *SEEING}
    assert not set(FAMILIES) & set(SEEING)
    for seed in range(4):
        scene = training_episode(seed, bank, "seeing")
        assert scene.family in SEEING and scene.scene is not None
    assert not episode("watch", 0, "train", bank).script
    assert episode("repeat_numbers", 0, "train", bank).scene is None
