"""What a bad line does to an episode: turns are lost, the script keeps its time, and nothing unheard is asked for."""

from __future__ import annotations

import numpy as np
import pytest

from tml_lab.config import SAMPLE_RATE, TURN_SAMPLES
from tml_lab.worlds.curriculum import SPOILED, training_episode
from tml_lab.worlds.reply_voice import reply_audio
from tml_lab.worlds.spoiled import MAX_SKIP, Room, Spoiling, echo, leak, own_voice, spoil, without
from tml_lab.worlds.stage import Episode, Expect, Say, Segment
from tml_lab.worlds.voices import VoiceBank


@pytest.fixture
def scene() -> Episode:
    """Four seconds: somebody says "remind me" in 0.4 .. 1.6 s, and "five" is said from turn 12 on."""
    audio = np.random.default_rng(0).uniform(-0.1, 0.1, 20 * TURN_SAMPLES).astype(np.float32)
    speaking = {12: ("five", 0), 13: ("five", 1)}
    return Episode(
        "toy", audio, [(0, "stop")], [Say(12, "five")], speaking, [Expect(("five",), 2.6, 1.0, ("six",), "time")],
        [Segment(0.4, 1.6, "remind me", "user")], 0, "train",
    )  # fmt: skip


def test_gaps_are_silent_and_the_script_keeps_its_time(scene):
    lost = without(scene, {10, 12}, set(), {10})
    turns = lost.audio.reshape(-1, TURN_SAMPLES)
    assert not turns[[10, 12]].any() and (turns[11] == scene.audio.reshape(-1, TURN_SAMPLES)[11]).all()
    assert (lost.gaps, lost.unseen, lost.excused_from) == ([10, 12], [10], None)
    assert (lost.speaking, lost.expects, lost.n_turns) == (scene.speaking, scene.expects, 20)
    assert scene.gaps == [] and scene.audio.all()


@pytest.mark.parametrize(("lost", "excused"), [({3}, None), ({3, 4}, None), ({3, 4, 5}, 2), ({9, 10, 11, 15}, None)])
def test_from_a_sentence_that_cannot_be_guessed_on_nothing_is_asked(scene, lost, excused):
    assert without(scene, lost, set(), set()).excused_from == excused


@pytest.mark.parametrize("turn", [0, 12])
def test_a_turn_in_which_something_is_said_or_read_is_not_skipped(scene, turn):
    with pytest.raises(ValueError, match=f"turn {turn} cannot be skipped"):
        without(scene, set(), {turn}, set())


def test_a_bad_line_is_the_same_again_and_skips_no_long_runs(scene):
    how = Spoiling(lossy=1.0, broken=0.5, blind=1.0, leaky=0.5, losses=0.4)
    seen = []
    for seed in range(40):
        one, again = (spoil(scene, np.random.default_rng(seed), how) for _ in range(2))
        assert (one.gaps, one.skipped) == (again.gaps, again.skipped) and (one.audio == again.audio).all()
        assert not set(one.gaps) & set(one.skipped) and not {0, 12, 13} & set(one.skipped)
        runs = np.split(np.array(one.skipped), np.flatnonzero(np.diff(one.skipped) != 1) + 1)
        assert max(map(len, runs)) <= MAX_SKIP
        seen.append((len(one.gaps) > 2, len(one.skipped) > 0, one.excused_from is None))
    assert all(0 < sum(column) < 40 for column in zip(*seen, strict=True))


def test_the_own_voice_comes_back_late_and_weaker(scene):
    own = own_voice(scene)
    said = reply_audio("five")
    assert (own[13 * TURN_SAMPLES :][: 2 * TURN_SAMPLES] == said[: 2 * TURN_SAMPLES]).all()
    assert not own[: 13 * TURN_SAMPLES].any()
    back = echo(own, Room(np.random.default_rng(1), -10.0, delay=0.2))
    first = np.flatnonzero(np.abs(back) > 1e-4)[0] / SAMPLE_RATE
    assert 2.79 < first < 2.95 and len(back) == len(own)
    loud = 10 * np.log10(np.sum(back**2) / np.sum(own**2))
    assert -14 < loud < -7
    heard = leak(scene, np.random.default_rng(1), -10.0)
    assert (heard.script, heard.speaking, heard.expects) == (scene.script, scene.speaking, scene.expects)
    np.testing.assert_allclose(heard.audio[: 13 * TURN_SAMPLES], scene.audio[: 13 * TURN_SAMPLES], atol=1e-6)
    assert np.abs(heard.audio - scene.audio).max() > 0.01


def test_only_the_lessons_that_say_so_are_spoiled():
    assert set(SPOILED) == {"everything"}
    bank = VoiceBank.open("train", quiet=True)
    drawn = [training_episode(seed, bank, "everything") for seed in range(12)]
    assert any(e.gaps or e.skipped for e in drawn) and not all(e.gaps or e.skipped for e in drawn)
    plain = [training_episode(seed, bank, "all") for seed in range(6)]
    assert not any(e.gaps or e.skipped or e.unseen for e in plain)


def test_a_room_turn_by_turn_is_the_room_at_once():
    rng = np.random.default_rng(0)
    own = rng.uniform(-0.5, 0.5, (6, TURN_SAMPLES)).astype(np.float32)
    live = Room(np.random.default_rng(2), -6.0)
    heard = [live.heard()]  # nothing was played yet
    for turn in own:
        live.played(turn)
        heard.append(live.heard())
    whole = echo(own.reshape(-1), Room(np.random.default_rng(2), -6.0))
    np.testing.assert_allclose(np.concatenate(heard[1:]), whole, atol=1e-5)
    assert not heard[0].any() and np.abs(heard[1][: SAMPLE_RATE // 10]).max() < 1e-6  # nothing but rounding
