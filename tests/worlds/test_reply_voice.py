"""The reply voice's asset: complete, whole turns, audible, and the same as its mel."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from tml_lab.config import OUT_FRAMES_PER_TURN, TURN_SAMPLES
from tml_lab.model.vocoder import VOCODER_DELAY
from tml_lab.signal.out_mel import normalise, out_mel
from tml_lab.worlds import reply_voice
from tml_lab.worlds.build_reply_voice import DELAY, LEAD, TAIL, pad_to_turns, trim
from tml_lab.worlds.lexicon import REPLY_WORDS
from tml_lab.worlds.reply_voice import (
    ASSET,
    MAX_TURNS,
    ReplyVoiceError,
    reply_audio,
    reply_mel,
    reply_turns,
    reply_words,
    silence_mel,
)


def test_it_has_every_word_the_model_may_say() -> None:
    assert set(REPLY_WORDS) <= set(reply_words())


@pytest.mark.parametrize("word", REPLY_WORDS)
def test_a_word_lasts_whole_turns_and_its_mel_fits(word: str) -> None:
    clip, mel, turns = reply_audio(word), reply_mel(word), reply_turns(word)
    assert 1 <= turns <= MAX_TURNS
    assert clip.shape == (turns * TURN_SAMPLES,) and clip.dtype == np.float32
    assert mel.shape == (turns * OUT_FRAMES_PER_TURN, 80)
    assert torch.equal(mel, normalise(out_mel(clip.copy())))
    # The word begins within 30 ms, is loud, is not clipped, and leaves room for the vocoder's delay.
    loud = np.flatnonzero(np.abs(clip) > 0.002)
    assert loud[0] < 480
    assert len(clip) - loud[-1] >= VOCODER_DELAY
    assert 0.1 < np.abs(clip).max() < 1.0
    # and no turn is wholly silent: the length is the shortest that holds the word
    assert np.abs(clip[(turns - 1) * TURN_SAMPLES - VOCODER_DELAY - TAIL :]).max() > 0.001


def test_words_sound_different() -> None:
    means = torch.stack([reply_mel(word).mean(dim=0) for word in REPLY_WORDS])  # [words, 80]
    distance = torch.cdist(means, means) + 1e3 * torch.eye(len(means))
    assert distance.min() > 0.1


def test_an_unknown_word_says_what_to_do() -> None:
    with pytest.raises(ReplyVoiceError, match=r"no word 'xylophone'.*build_reply_voice"):
        reply_turns("xylophone")


def test_clips_cannot_be_written_into() -> None:
    with pytest.raises(ValueError, match="read-only"):
        reply_audio("seven")[0] = 1.0


@pytest.fixture
def other_asset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(reply_voice, "ASSET", tmp_path / "reply.flac")
    monkeypatch.setattr(reply_voice, "_clips", reply_voice._clips.__wrapped__)
    return tmp_path / "reply.flac"


def test_a_missing_asset_says_what_to_run(other_asset: Path) -> None:
    with pytest.raises(ReplyVoiceError, match=r"cannot be read.*build_reply_voice"):
        reply_voice.reply_audio("seven")


def test_an_index_of_another_build_is_noticed(other_asset: Path) -> None:
    other_asset.write_bytes(ASSET.read_bytes())
    index = json.loads(ASSET.with_suffix(".json").read_text())
    index["turns"].pop("seven")
    other_asset.with_suffix(".json").write_text(json.dumps(index))
    with pytest.raises(ReplyVoiceError, match="do not fit"):
        reply_voice.reply_audio("monday")


def test_trimming_finds_the_word_and_sets_its_level() -> None:
    tone = 0.01 * np.sin(np.arange(4000) * 0.3).astype(np.float32)
    word = trim(np.concatenate([np.zeros(8000, np.float32), tone, np.zeros(8000, np.float32)]))
    assert abs(len(word) - (4000 + LEAD + TAIL)) <= 80
    assert np.sqrt((word[LEAD + 200 : LEAD + 3800] ** 2).mean()) == pytest.approx(10 ** (-21 / 20), rel=0.05)


def test_padding_leaves_room_for_the_vocoder() -> None:
    assert DELAY == VOCODER_DELAY
    assert len(pad_to_turns(np.ones(3200 - DELAY, np.float32))) == 3200
    assert len(pad_to_turns(np.ones(3200 - DELAY + 1, np.float32))) == 6400


def test_silence_is_what_frames_after_a_word_look_like() -> None:
    assert silence_mel().shape == (OUT_FRAMES_PER_TURN, 80)
    roomy = max(REPLY_WORDS, key=lambda word: np.flatnonzero(reply_audio(word)[::-1])[0])
    assert torch.equal(silence_mel()[-1], reply_mel(roomy)[-1])
