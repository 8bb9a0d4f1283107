"""Getting to know a voice: who speaks in its scenes, and a run from a reading to a checkpoint that can be used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tml_lab.bench.known_voice import compare, scenes
from tml_lab.model.checkpoint import load_checkpoint
from tml_lab.train.adapt import _begin, adapt, bank_with
from tml_lab.worlds.curriculum import training_episode
from tml_lab.worlds.humans import people_in
from tml_lab.worlds.lexicon import NUMBERS
from tml_lab.worlds.reading import ReadingError, open_voice, write_voice
from tml_lab.worlds.stage import open_stage
from tml_lab.worlds.voices import VoiceBank, recorded_voice

ASKS = "repeat every number you hear"


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven numbers of a recorded voice, each twice, and something that passes for a sentence."""
    person = next(p for p in people_in("words_train") if p.name.startswith("flite"))
    words = [(w, person.clip(w)) for w in NUMBERS if w in person.texts]
    sentence = np.concatenate([clip for _, clip in words[:5]])
    return write_voice(tmp_path_factory.mktemp("voice"), [*words, *words, (ASKS, sentence)])


def test_the_person_says_most_and_asks_what_they_have_read(voice: Path) -> None:
    person = recorded_voice(open_voice(voice))
    bank = bank_with(person, VoiceBank("train", [recorded_voice(p) for p in people_in("words_train")[:6]]))
    assert sum(v is person for v in bank.voices) == 18
    stage = open_stage(bank, np.random.default_rng(0), "train")
    stage.put(ASKS, typed=0.0)
    sound = stage.sounds[-1][1]
    assert len(sound) > 16_000, "the sentence as it was read, in whatever manner"


def test_scenes_stay_the_same_without_a_guest() -> None:
    bank = VoiceBank.open("train", quiet=True)
    assert bank.guest is None
    again = VoiceBank("train", bank.voices)
    for seed in range(3):
        np.testing.assert_array_equal(training_episode(seed, bank).audio, training_episode(seed, again).audio)


def test_from_a_reading_to_a_checkpoint(voice: Path, tmp_path: Path) -> None:
    out = adapt(voice, tmp_path / "me", minutes=5, init="pico", processes=1, steps=2, episodes=8)
    model, _ = load_checkpoint(out)
    assert model.cfg.name == "pico"
    assert len(scenes(open_voice(voice), 2)) == 4
    assert "answered rightly and in time" in compare(voice, "pico", out, n=1)
    assert (out / "run" / "log.jsonl").read_text().count("\n") == 2


def test_another_reading_begins_anew(voice: Path, tmp_path: Path) -> None:
    run = tmp_path / "me" / "run"
    _begin(run, voice, "pico")
    (run / "trainer.pt").write_bytes(b"half a run")
    _begin(run, voice, "pico")
    assert (run / "trainer.pt").is_file(), "the same voice goes on"
    person = open_voice(voice)
    more = [(text, clip) for text in person.texts for clip in person.every_take(text)]
    longer = write_voice(tmp_path / "longer", [*more, ("red", more[0][1])])
    _begin(run, longer, "pico")
    assert not (run / "trainer.pt").exists(), "another reading does not go on with the scenes of the old one"


def test_what_lies_there_of_somebody_else_stays(voice: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="holds something else: choose another folder"):
        _begin(tmp_path / "run", voice, "pico")
    assert (tmp_path / "run" / "thesis.txt").is_file()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ReadingError, match="there is no folder"):
        adapt(tmp_path / "nobody", tmp_path / "me")
