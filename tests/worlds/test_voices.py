"""The voice bank: splits, sameness for the same request, level, silence; engines that are absent."""

from __future__ import annotations

import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tml_lab.worlds import voices as voices_module
from tml_lab.worlds.clips import ClipCache, level, speech_dbfs, trim
from tml_lab.worlds.engines_espeak import DROPPED
from tml_lab.worlds.engines_rhvoice import Rhvoice
from tml_lab.worlds.style import Style, restyle
from tml_lab.worlds.voices import TEST_VARIANTS, Voice, VoiceBank, normal_text


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    patch = pytest.MonkeyPatch()
    patch.setenv("TML_LAB_CACHE", str(tmp_path_factory.mktemp("cache")))
    voices_module._clip_cache.cache_clear()
    yield
    voices_module._clip_cache.cache_clear()
    patch.undo()


@pytest.fixture(scope="module")
def bank() -> VoiceBank:
    pytest.importorskip("espeakng_loader")
    return VoiceBank.open("train", quiet=True)


def test_train_and_test_share_no_voice(bank: VoiceBank) -> None:
    test = VoiceBank.open("test", quiet=True)
    train_names = {voice.name for voice in bank.voices}
    assert not train_names & {voice.name for voice in test.voices}
    assert {f"espeak/{variant}" for variant in TEST_VARIANTS} <= {voice.name for voice in test.voices}
    assert sum(voice.engine == "espeak" for voice in bank.voices) == 83
    assert not train_names & {f"espeak/{variant}" for variant in DROPPED}


@pytest.mark.parametrize("engine", ["espeak", "flite", "rhvoice", "pico", "festival"])
def test_same_request_same_audio_whatever_was_said_before(engine: str) -> None:
    able = [v for s in ("train", "test") for v in VoiceBank.open(s, quiet=True).voices if v.engine == engine]
    if not able:
        pytest.skip(f"{engine} is not installed")
    bank = VoiceBank("train", able)
    for voice in able[:: max(1, len(able) // 6)]:
        first = bank.say("seven", voice, np.random.default_rng(1))
        bank.say(
            "stop" if engine != "espeak" else "quite another sentence", able[0], np.random.default_rng(2)
        )
        assert np.array_equal(bank.say("seven", voice, np.random.default_rng(1)), first), voice.name
        assert not np.array_equal(bank.say("seven", voice, np.random.default_rng(3)), first), voice.name


def test_an_engine_by_itself_repeats_itself_too() -> None:
    """Without the cache: what is on another machine must be the same."""
    for name in ("pico", "festival", "flite", "rhvoice"):
        engine, _ = voices_module._engine(name)
        if engine is None:
            continue
        for voice in engine.voices:
            first = engine.synth("seven", voice)
            engine.synth("nine minus eight is what", voice)
            assert np.array_equal(engine.synth("seven", voice), first), (name, voice)


@pytest.mark.parametrize(("text", "language"), [("three", "en"), ("rojo tres", "es")])
def test_trills_do_not_depend_on_what_was_said_before(bank: VoiceBank, text: str, language: str) -> None:
    # espeak counts glottal cycles through its whole life and shapes trills by the count
    scot = replace(bank.voice("espeak/m1"), accent="en-gb-scotland")
    said = set()
    for before in ("one", "two", "well then", "good morning to you", "five", "six or seven"):
        bank.say(before, bank.voice("espeak/f2"), None)
        said.add(bank.say(text, scot, None, language=language).tobytes())
    assert len(said) == 1


def test_sources_name_every_voice(bank: VoiceBank) -> None:
    page = (Path(__file__).parents[2] / "data" / "SOURCES.md").read_text(encoding="utf-8")
    test = VoiceBank.open("test", quiet=True)
    names = [v.name.split("/")[1] for v in bank.voices + test.voices if v.kind == "synthetic"]
    assert not [name for name in names if f"`{name}`" not in page]


def test_said_clips_are_level_and_trimmed(bank: VoiceBank) -> None:
    rng = np.random.default_rng(0)
    for _ in range(12):
        voice = bank.choose(rng, kind="synthetic")
        audio = bank.say("repeat every number you hear", voice, rng)
        assert audio.dtype == np.float32 and audio.ndim == 1
        assert 0.6 < len(audio) / 16000 < 4.0
        assert abs(speech_dbfs(audio) + 23) < 1.5 and np.abs(audio).max() <= 1.0
        ends = np.concatenate([audio[:80], audio[-80:]])
        assert np.sqrt(np.mean(ends**2)) < 0.03


def test_rate_shortens_and_accent_changes_the_sound(bank: VoiceBank) -> None:
    voice = bank.voice("espeak/m1")
    rng = np.random.default_rng(0)
    slow, fast = (bank.say("what is three plus five", voice, rng, style=Style(rate=r)) for r in (0.8, 1.3))
    assert 1.3 < len(slow) / len(fast) < 2.0
    plain = bank.say("water in the garden", voice, None)
    scottish = bank.say("water in the garden", Voice("espeak/m1", "espeak", accent="en-gb-scotland"), None)
    assert len(plain) != len(scottish) or not np.array_equal(plain, scottish)


def test_choice_is_spread_over_engines(bank: VoiceBank) -> None:
    rng = np.random.default_rng(0)
    chosen = [bank.choose(rng) for _ in range(300)]
    assert {voice.kind for voice in chosen} == {"synthetic"}  # a person could not say just any text
    present = {voice.engine for voice in bank.voices if voice.kind == "synthetic"}
    assert {voice.engine for voice in chosen} == present
    assert len({voice.accent for voice in chosen if voice.engine == "espeak"}) >= 6


def test_what_cannot_be_said_is_refused(bank: VoiceBank) -> None:
    with pytest.raises(ValueError, match="cannot say"):
        bank.say("  ", bank.voices[0], None)
    with pytest.raises(KeyError, match="has no voice"):
        bank.voice("espeak/nobody")
    with pytest.raises(ValueError, match="split must be one of"):
        VoiceBank.open("training")  # type: ignore[arg-type]


class _Person:
    name, sex, package, licence = "somebody", None, "a-package", "CC0"
    texts = ("Seven!", "good morning")

    def clip(self, text: str, rng: np.random.Generator) -> np.ndarray:
        assert text in self.texts
        tone = 0.1 * np.sin(np.arange(8000, dtype=np.float32) * (0.1 if text == "Seven!" else 0.2))
        return np.pad(tone, 4000).astype(np.float32)


def test_people_come_from_the_humans_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("tml_lab.worlds.humans")
    module.human_voices = lambda split: [_Person()] if split in ("train", "human") else []  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tml_lab.worlds.humans", module)
    bank = VoiceBank.open("human", quiet=True)
    assert [voice.kind for voice in bank.voices] == ["human"]
    voice = bank.voices[0]
    assert voice.can_say("seven") and voice.can_say("Good morning.") and not voice.can_say("eight")
    assert bank.human_words(voice) == ("seven", "good morning")
    audio = bank.say("seven", voice, None)
    assert abs(len(audio) - 8000) < 600 and abs(speech_dbfs(audio) + 23) < 0.5
    with pytest.raises(ValueError, match="nobody can say"):
        bank.choose(np.random.default_rng(0), ["eight"])
    assert "somebody" in {v.name for v in VoiceBank.open("train", quiet=True).voices}
    assert all(v.kind == "synthetic" for v in VoiceBank.open("test", quiet=True).voices)


def test_an_engine_that_is_installed_and_does_not_speak_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "RHVoice-test"
    program.write_text("#!/bin/sh\nexit 255\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    voices_module._engine.cache_clear()
    try:
        engine, how = voices_module._engine("rhvoice")
        assert engine is None and "rhvoice-english" in how
        with pytest.raises(RuntimeError, match="RHVoice-test does not speak"):
            Rhvoice()
    finally:
        voices_module._engine.cache_clear()


def test_absent_engines_are_named_once_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    voices_module._engine.cache_clear()
    try:
        bank = VoiceBank.open("train")
        said = capsys.readouterr().err
        assert "flite" in said and "apt install flite" in said and said.count("\n") == 1
        assert bank.voices and all(voice.engine != "flite" for voice in bank.voices)
    finally:
        voices_module._engine.cache_clear()


def test_trim_and_level() -> None:
    tone = (0.3 * np.sin(np.arange(3200) * 0.3)).astype(np.float32)
    padded = np.concatenate([np.zeros(4000, np.float32), tone, np.zeros(8000, np.float32)])
    assert 3200 <= len(trim(padded)) <= 3200 + 2 * 240
    assert abs(speech_dbfs(level(padded)) + 23) < 0.1
    assert len(trim(np.zeros(1000, np.float32))) == 0
    assert np.array_equal(level(np.zeros(1000, np.float32)), np.zeros(1000, np.float32))


def test_restyle_keeps_duration_when_only_warped() -> None:
    tone = np.sin(np.arange(16000, dtype=np.float32) * 2 * np.pi * 200 / 16000)
    warped = restyle(tone, Style(warp=1.1))
    pytest.importorskip("espeakng_loader")
    assert abs(len(warped) - 16000) < 800
    assert abs(len(restyle(tone, Style(rate=1.25))) - 12800) < 800
    peak = np.argmax(np.abs(np.fft.rfft(warped * np.hanning(len(warped))))) * 16000 / len(warped)
    assert abs(peak - 220) < 6


def test_cache_makes_a_clip_once_and_reads_the_same_numbers(tmp_path) -> None:
    made = []

    def make() -> np.ndarray:
        made.append(1)
        return np.linspace(-0.5, 0.5, 100, dtype=np.float32)

    first = ClipCache(tmp_path / "c.sqlite").get("a", make)
    again = ClipCache(tmp_path / "c.sqlite").get("a", make)
    assert len(made) == 1 and np.array_equal(first, again)
    assert np.abs(first - np.linspace(-0.5, 0.5, 100)).max() < 1e-4


def test_normal_text() -> None:
    assert normal_text("  What's  this, ONE-two?") == "what's this one two"
