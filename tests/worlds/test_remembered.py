"""The rules of the closed world: every wording is understood, and what is typed is a wording that was trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import checkpoint_dir, load_checkpoint
from tml_lab.stream.compact import Rule
from tml_lab.stream.policy import PolicyError, SinksAndWindow
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session
from tml_lab.worlds.remembered import POLICIES, compact, instructions, rules, usual_policy
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_more import FACTS, MORE_WORDINGS
from tml_lab.worlds.wordings_seen import SEEN_WORDINGS

SLOTS = {"x": "anna", "n": "nine", "thing": "red ball"}
GROUPS = (*WORDINGS.values(), *MORE_WORDINGS.values(), *SEEN_WORDINGS.values())
TRAINED = {wording for group in GROUPS for wording in group}
TRAINED |= {wording for told, _ in FACTS.values() for wording in told}


@pytest.mark.parametrize("rule", rules(more=True), ids=lambda rule: rule.name)
def test_every_wording_is_understood_and_repeated_in_a_trained_one(rule: Rule) -> None:
    policy = replace(compact(every=10, more=True), standing_every=10)
    for wording in rule.wordings:
        wording_trained = wording.replace("{thing}", "{x}")
        assert wording_trained in TRAINED or any(wording in whole for whole in TRAINED)
        start = policy.fresh()
        if rule.kind in ("stop", "cancel"):
            before = "remind me in nine seconds" if rule.kind == "cancel" else "repeat each number"
            start = policy.after(start, 0, 0, before, (), "<silent>", (), None)
            assert len(start["known"]) == 1
        text = wording.format(**SLOTS)
        for spoken in (False, True):
            typed, heard = (None, text.split()) if spoken else (text, ())
            memory = policy.after(start, 5, 25, typed, heard, "<silent>", (), None)
            if rule.kind in ("stop", "cancel"):
                assert memory["known"] == []
                continue
            (item,) = memory["known"]
            assert item["kind"] == rule.kind and item["name"] == rule.name
            note = policy.note(memory, 12, 60)
            if rule.kind in ("hold", "pause"):
                assert note is None
                continue
            left = {**SLOTS, "n": "eight"}
            assert note in {other.format(**left) for other in rule.wordings}


def test_a_policy_is_known_by_its_name() -> None:
    assert list(POLICIES) == ["window", "sinks+window", "instructions", "compact"]
    assert usual_policy() == instructions() and usual_policy("compact") == compact()
    assert usual_policy("sinks+window") == SinksAndWindow()
    assert {rule.kind for rule in instructions(more=True).rules} == {"standing", "hold", "pause", "stop"}
    with pytest.raises(PolicyError, match=r"'elephant'; choose from window, sinks\+window, instructions, compact"):
        usual_policy("elephant")


@pytest.mark.skipif(not (checkpoint_dir("nano") / "config.json").is_file(), reason="no nano: run `make train`")
def test_until_something_is_typed_again_not_a_bit_differs() -> None:
    """And afterwards replay, fork and what was saved are exact."""
    model, tokenizer = load_checkpoint("nano")
    room = 0.003 * np.random.default_rng(1).standard_normal((70, TURN_SAMPLES)).astype(np.float32)
    typed = {2: "my name is anna", 60: "what is my name"}
    bare, usual = Session(model, tokenizer, seed=2), Session(model, tokenizer, seed=2, policy=compact())
    for n, heard in enumerate(room):
        for session in (bare, usual):
            session.step(heard, None, typed.get(n))
        if n == 30:
            early = usual.fork()
    one, other = bare.recording(), usual.recording()
    first, words = other.notes[0]
    assert words == "my name is anna" and 35 < first < 60
    assert differences(one.until(first), other.until(first)) == []
    assert one.p_speak[first:].tolist() != other.p_speak[first:].tolist()
    assert differences(replay(other, model, tokenizer), other) == []
    for n in range(31, 70):
        early.step(room[n], None, typed.get(n))
    for fork in (early, usual.fork(at=50)):
        assert differences(fork.recording(), other.until(fork.turn)) == []
        assert fork.recording().notes == other.until(fork.turn).notes


def test_other_talk_is_not_remembered() -> None:
    policy = compact()
    for text in ("what is my name", "anna is my name", "i do not know", "stop", "every number", "my name is"):
        assert policy.after(policy.fresh(), 0, 0, text, (), "<silent>", (), None)["known"] == []
