"""Further families without a camera: what is due is said in time, in words that exist, and nothing else."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tml_lab.bench.grading import check_item
from tml_lab.config import TURN_SECONDS
from tml_lab.model.text import TextTokenizer, plain
from tml_lab.worlds.curriculum import FURTHER_WEIGHTS, LESSONS, training_episode
from tml_lab.worlds.episode import FURTHER, TESTED, episode
from tml_lab.worlds.families.manner import MANNERS
from tml_lab.worlds.families.memory import statement_of
from tml_lab.worlds.families.safety import REFUSAL
from tml_lab.worlds.families.schedule import APART
from tml_lab.worlds.lexicon import DAYS, FRENCH, GERMAN, ITALIAN, MORE_REPLY_WORDS, NUMBERS, REPLY_WORDS
from tml_lab.worlds.reply_voice import reply_words
from tml_lab.worlds.vocabulary import closed_world
from tml_lab.worlds.voices import VoiceBank
from tml_lab.worlds.wordings_more import FACTS, MORE_WORDINGS


@pytest.fixture(scope="module")
def bank() -> VoiceBank:
    return VoiceBank.open("train", quiet=True)


@pytest.mark.parametrize("family", [*FURTHER, *TESTED])
def test_script_and_grades_fit_together(family: str, bank: VoiceBank) -> None:
    for seed in range(3):
        scene = episode(family, seed, "train", bank)
        if family not in (*TESTED, "recite_on"):  # a whole list has no wrong answers to stand among
            check_item(scene.expects)
        said = [(TURN_SECONDS * (s.turn + 1), s.word) for s in scene.script]
        for expect in scene.expects:
            late = 3.0 if expect.kind == "answer" else 1.5
            on_time = [w for at, w in said if expect.due - 0.4 <= at <= expect.due + late]
            assert expect.words[0] in on_time, (family, seed, expect, said)
            assert not set(expect.words) & set(expect.contrast)
        assert {w for _, w in said} <= set(REPLY_WORDS + MORE_REPLY_WORDS) & set(reply_words())
        heard = {w for _, text in scene.typed for w in text.split()} | {
            w for s in scene.segments if s.role == "user" for w in re.findall(r"[a-z]+", plain(s.text.lower()))
        }
        assert heard <= set(closed_world())


def test_reminders_are_apart_and_one_called_off_does_not_come(bank: VoiceBank) -> None:
    for seed in range(10):
        dues = sorted(expect.due for expect in episode("reminders", seed, "test", bank).expects)
        assert all(b - a >= APART for a, b in pairwise(dues))
    silent = spoken = 0
    for seed in range(10):
        scene = episode("called_off", seed, "test", bank)
        texts = [text for _, text in scene.typed] + [s.text for s in scene.segments]
        if set(texts) & set(MORE_WORDINGS["cancel"]):
            assert not scene.script and not scene.expects
            silent += 1
        else:
            assert [s.word for s in scene.script] == ["reminder"]
            spoken += 1
    assert silent and spoken


def test_what_was_corrected_is_what_is_answered(bank: VoiceBank) -> None:
    corrected = 0
    for seed in range(12):
        scene = episode("facts", seed, "train", bank)
        told = sorted([(s.start, s.text) for s in scene.segments] + [(0.2 * t, text) for t, text in scene.typed])
        last: dict[str, str] = {}
        current = ""
        for _, text in told:
            for fact, (facts, _) in FACTS.items():
                for wording in facts:
                    match = re.fullmatch(re.escape(wording).replace(re.escape("{x}"), r"(\w+)"), text)
                    if match:
                        current, last[fact] = fact, match[1]
            match = re.fullmatch(r"(?:no|sorry i mean|no wait) (\w+)", text)
            if match:
                last[current] = match[1]
                corrected += 1
        answers = [e.words[0] for e in scene.expects if e.words[0] in last.values()]
        assert len(answers) >= len(last) and set(last.values()) <= {e.words[0] for e in scene.expects}
    assert corrected


def test_manners_can_be_told_apart_by_ear() -> None:
    assert len({manner("seven") for manner in MANNERS.values()}) == len(MANNERS)
    assert set(MANNERS) <= set(MORE_WORDINGS)


def test_right_statements_are_left_alone_and_wrong_ones_corrected(bank: VoiceBank) -> None:
    for seed in range(6):
        scene = episode("wrong", seed, "train", bank)
        assert all(e.words[0] == "no" and len(e.words) == 2 for e in scene.expects)
        typed = [((turn + 1) * TURN_SECONDS, text) for turn, text in scene.typed]
        put = [*typed, *((s.end, s.text) for s in scene.segments)]  # when it was complete, and what
        stated = [(end, text) for end, text in put if " is " in f" {text} " and text not in MORE_WORDINGS["wrong"]]
        assert len(stated) >= len(scene.expects)
        for expect in scene.expects:
            wrong = next(text for end, text in stated if abs(end - expect.due) < 1e-6)
            assert wrong.split()[-1] != expect.words[1]
    assert statement_of("what is two plus three") == statement_of("two plus three is what") == "two plus three"
    assert statement_of("which colour is a leaf") == "a leaf"


def test_refusals_are_spoken_and_look_alikes_are_not_refused(bank: VoiceBank) -> None:
    for seed in range(5):
        refused = episode("refused", seed, "train", bank)
        assert refused.expects and all(e.words == REFUSAL for e in refused.expects)
        assert "sorry" not in {s.word for s in episode("harmless", seed, "train", bank).script}


def test_each_language_has_its_words_and_the_vocabulary_reads_them() -> None:
    tokenizer = TextTokenizer.build(closed_world())
    for language in (FRENCH, GERMAN, ITALIAN):
        assert len(language) == 26 and set(language.values()) >= {*NUMBERS[1:11], *DAYS}
        for word in language:
            assert tokenizer.encode(word) == [tokenizer.id(plain(word))]
    assert tokenizer.encode("Weiß") == tokenizer.encode("weiss") and plain("lunedì") == "lunedi"


def test_the_list_is_said_to_its_end_unless_it_is_interrupted(bank: VoiceBank) -> None:
    for kind in ("none", "backchannel", "to_others", "background"):
        words = [s.word for s in episode(f"overlap_{kind}", 3, "test", bank).script]
        assert words in (list(NUMBERS[1:11]), list(DAYS))
    scene = episode("overlap_interruption", 3, "test", bank)
    assert len(scene.expects) == 1 and [s.word for s in scene.script][-1] == scene.expects[0].words[0]


def test_the_lesson_holds_them_all(bank: VoiceBank) -> None:
    assert set(FURTHER_WEIGHTS) == set(FURTHER) == set(LESSONS["further"])
    assert not set(TESTED) & set(LESSONS["everything"]) and set(FURTHER) <= set(LESSONS["everything"])
    assert training_episode(1, bank, "further").family in FURTHER
