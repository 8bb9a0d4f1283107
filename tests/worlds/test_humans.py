"""Recordings of people: whole packages on one side, clean clips, honest labels' bookkeeping."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tml_lab.config import SAMPLE_RATE
from tml_lab.worlds.build_humans import trim_recording
from tml_lab.worlds.clips import speech_dbfs
from tml_lab.worlds.human_background import BACKGROUND
from tml_lab.worlds.human_packages import ENGLISH
from tml_lab.worlds.human_sources import cut_words, plain
from tml_lab.worlds.humans import FOLDERS, foreign_speech, human_noise, human_voices, recordings_dir
from tml_lab.worlds.lexicon import UNITS

DIGITS = UNITS[:10]  # zero .. nine


def _say_digits(split: str) -> list:
    return [person for person in human_voices(split) if sum(digit in person.texts for digit in DIGITS) >= 8]


def test_no_package_and_no_person_on_both_sides() -> None:
    train, held_out = human_voices("train"), human_voices("human")
    assert not {p.package for p in train} & {p.package for p in held_out}
    assert not {p.name for p in train} & {p.name for p in held_out}
    assert "Voxeo" not in {p.author for p in train}


def test_enough_people_say_digits() -> None:
    train, held_out = _say_digits("train"), _say_digits("human")
    assert len(train) >= 9
    assert {p.sex for p in train} == {"f", "m"}
    assert {p.sex for p in held_out} == {"f", "m"}
    for person in held_out:
        assert set(DIGITS) <= set(person.texts), person.name


@pytest.mark.parametrize("split", ["train", "human"])
def test_every_digit_clip_is_short_level_speech(split: str) -> None:
    for person in _say_digits(split):
        for digit in set(DIGITS) & set(person.texts):
            for _ in range(2):
                clip = person.clip(digit, np.random.default_rng(0))
                assert clip.dtype == np.float32 and np.isfinite(clip).all()
                assert 0.12 < len(clip) / SAMPLE_RATE < 1.3, (person.name, digit, len(clip) / SAMPLE_RATE)
                assert -30 < speech_dbfs(clip) < -18, (person.name, digit)
                assert np.abs(clip).max() < 1


def test_clip_is_a_fresh_copy_and_rng_picks_takes() -> None:
    person = max(human_voices("train"), key=lambda p: p.takes("three"))
    first = person.clip("three")
    first[:] = 0
    assert np.abs(person.clip("three")).max() > 0.01
    assert person.takes("three") >= 2
    rng = np.random.default_rng(1)
    assert len({person.clip("three", rng).tobytes() for _ in range(30)}) == person.takes("three")


def test_unknown_text_and_split_say_what_to_do() -> None:
    person = human_voices("train")[0]
    with pytest.raises(KeyError, match=r"see \.texts"):
        person.clip("supercalifragilistic")
    with pytest.raises(ValueError, match="train, human"):
        human_voices("test")  # type: ignore[arg-type]


def test_every_committed_package_has_a_recipe_with_licence_and_author() -> None:
    recipes = {(source.folder, source.package): source for source in ENGLISH + BACKGROUND}
    found = set()
    for folder in (*FOLDERS.values(), "foreign", "noise"):
        for path in (recordings_dir() / folder).glob("*.json"):
            index = json.loads(path.read_text(encoding="utf-8"))
            source = recipes[folder, index["package"]]
            assert (index["licence"], index["author"], index["split"]) == (source.licence, source.author, source.split)
            assert "NC" not in index["licence"]
            found.add((folder, index["package"]))
    assert found == set(recipes)


def test_everything_is_written_down_and_compact() -> None:
    documented = (recordings_dir().parent / "SOURCES_humans.md").read_text(encoding="utf-8")
    for source in ENGLISH + BACKGROUND:
        assert f"`{source.package}`" in documented, source.package
    folders = (*FOLDERS.values(), "foreign", "noise")
    size = sum(path.stat().st_size for folder in folders for path in (recordings_dir() / folder).iterdir())
    assert size < 25e6


def test_background_has_both_splits_and_no_silence() -> None:
    for clips in (foreign_speech("train"), foreign_speech("human"), human_noise()):
        assert sum(map(len, clips)) / SAMPLE_RATE > 60
        assert all(np.abs(clip).max() > 1e-3 for clip in clips)


def test_trim_cuts_a_noisy_line_to_the_word() -> None:
    rng = np.random.default_rng(0)
    audio = rng.standard_normal(2 * SAMPLE_RATE).astype(np.float32) * 0.003  # a hissing line, 2 s
    word = np.sin(2 * np.pi * 200 * np.arange(8000) / SAMPLE_RATE).astype(np.float32) * 0.3  # 0.5 s
    audio[12000:20000] += word
    clip = trim_recording(audio)
    assert 0.5 <= len(clip) / SAMPLE_RATE <= 0.66


def test_plain_spells_digits_and_drops_directions() -> None:
    assert plain("Press 1 (one), then # [beep] or 20!") == "press one then pound or twenty"


def test_words_are_cut_where_they_are_said() -> None:
    pytest.importorskip("pocketsphinx", reason="the builder's aligner: pip install pocketsphinx")
    person = next(p for p in human_voices("train") if p.name == "kajongg-female1")
    phrase = person.clip("bamboo nine")
    ((word, clip),) = cut_words(phrase, "bamboo nine", {"nine"})
    assert word == "nine"
    assert 0.25 < len(clip) / len(phrase) < 0.8
