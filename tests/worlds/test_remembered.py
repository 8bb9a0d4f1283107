"""The rules of the closed world: every wording is understood, and what is typed is a wording that was trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tml_lab.stream.compact import Rule
from tml_lab.worlds.remembered import compact, rules
from tml_lab.worlds.wordings import WORDINGS
from tml_lab.worlds.wordings_more import FACTS, MORE_WORDINGS

SLOTS = {"x": "anna", "n": "nine"}
TRAINED = {wording for group in (*WORDINGS.values(), *MORE_WORDINGS.values()) for wording in group}
TRAINED |= {wording for told, _ in FACTS.values() for wording in told}


@pytest.mark.parametrize("rule", rules(more=True), ids=lambda rule: rule.name)
def test_every_wording_is_understood_and_repeated_in_a_trained_one(rule: Rule) -> None:
    policy = replace(compact(every=10, more=True), standing_every=10)
    for wording in rule.wordings:
        assert wording in TRAINED or any(wording in whole for whole in TRAINED)
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


def test_other_talk_is_not_remembered() -> None:
    policy = compact()
    for text in ("what is my name", "anna is my name", "i do not know", "stop", "every number", "my name is"):
        assert policy.after(policy.fresh(), 0, 0, text, (), "<silent>", (), None)["known"] == []
