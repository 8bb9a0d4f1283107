"""A summary in text turns: what is learned, what is typed again and when; on plain data, without a model."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tml_lab.stream.compact import Compact, Rule

NAME = Rule("told", "name", ("my name is {x}", "i am called {x}"))
REPEAT = Rule("standing", "repeat", ("repeat every number you hear", "repeat each number"))
NEXT = Rule("standing", "next", ("say the next number",))
REMIND = Rule("reminder", "remind", ("remind me in {n} seconds", "in {n} seconds remind me"), "reminder")
TICK = Rule("hold", "tick", ("tick every {n} seconds",))
PAUSE = Rule("pause", "counting", ("remind me",))
ENDS = (Rule("cancel", "cancel", ("forget it",)), Rule("stop", "stop", ("stop",)))
RULES = (NAME, REPEAT, NEXT, REMIND, TICK, PAUSE, *ENDS)
POLICY = Compact(rules=RULES, every=50, standing_every=50)
Lived = list[tuple[int, str]]


def live(turns: int, typed: dict[int, str] | None = None, heard: dict[int, str] | None = None,
         said: dict[int, str] | None = None, memory: Any = None, start: int = 0,
         ) -> tuple[dict[str, Any], Lived]:  # fmt: skip
    """Turns of five positions; returns what is known, and the notes."""
    memory = memory or POLICY.fresh()
    notes: Lived = []
    for turn in range(start, start + turns):
        text = (typed or {}).get(turn)
        note = POLICY.note(memory, turn, 5 * turn) if text is None else None
        notes += [(turn, note)] if note else []
        words = (said or {}).get(turn, "").split()
        decision = "<speak>" if words else "<silent>"
        memory = POLICY.after(memory, turn, 5 * turn, text, (heard or {}).get(turn, "").split(), decision, words, note)
        memory = json.loads(json.dumps(memory))  # as it lies in a session's state
    return memory, notes


def texts(memory: dict[str, Any]) -> list[str]:
    return [item["text"] for item in memory["known"]]


def test_a_name_is_typed_again_in_its_plainest_wording() -> None:
    memory, notes = live(40, typed={2: "Hello, I am called Anna!"})
    assert texts(memory) == ["my name is anna"]
    assert notes == [(12, "my name is anna"), (22, "my name is anna"), (32, "my name is anna")]


def test_a_name_is_heard_word_by_word_and_a_new_one_takes_its_place() -> None:
    memory, _ = live(30, heard={2: "my", 3: "name is", 5: "anna", 20: "i am called", 22: "tom"})
    assert texts(memory) == ["my name is tom"]
    memory, _ = live(30, heard={2: "my name is", 9: "anna"})  # a long pause: not one sentence
    assert texts(memory) == []


def test_one_instruction_stands_until_stop_is_all_that_is_said() -> None:
    memory, notes = live(20, typed={1: "repeat each number"})
    assert texts(memory) == ["repeat each number"] and notes == [(11, "repeat each number")]
    both, _ = live(8, heard={22: "say the next number"}, memory=memory, start=20)
    assert texts(both) == ["say the next number"]
    talked, _ = live(8, heard={30: "i say", 31: "stop"}, memory=both, start=28)
    assert texts(talked) == ["say the next number"]
    stopped, notes = live(30, heard={40: "stop"}, memory=talked, start=36)
    assert texts(stopped) == [] and all(turn < 40 for turn, _ in notes)


def test_a_reminder_goes_on_with_the_time_that_is_left() -> None:
    memory, notes = live(30, typed={0: "in twenty four seconds remind me"})
    assert notes == [(10, "remind me in twenty two seconds"), (20, "remind me in twenty seconds")]
    given, notes = live(110, said={121: "reminder"}, memory=memory, start=30)
    assert texts(given) == [] and notes[-1][0] < 121
    assert texts(live(130, typed={0: "remind me in twenty seconds"})[0]) == []  # over, given or not
    both = {0: "remind me in twenty seconds", 3: "remind me in nine seconds"}
    assert len(texts(live(5, typed=both)[0])) == 2
    memory, _ = live(9, typed=both, heard={5: "forget it"})
    assert texts(memory) == []


def test_while_the_model_counts_nothing_is_typed() -> None:
    """A reminder of two seconds is over before fifteen turns have made it forget; ticking goes on until stop."""
    told = {0: "my name is anna", 9: "remind me in two seconds"}
    _, notes = live(40, typed=told, said={19: "reminder"})
    assert notes[0][0] == 25  # given, and quiet again
    _, notes = live(40, typed=told)
    assert notes[0][0] == 21  # not given: over when turn 20 is
    _, notes = live(60, typed={0: "my name is anna", 5: "tick every two seconds"}, heard={40: "stop"})
    assert notes[0][0] == 46
    _, notes = live(80, typed={0: "my name is anna"}, heard={5: "remind me in", 6: "ted seconds"})
    assert notes[0][0] == 61  # a number that was not heard: as long as the longest could be


def test_a_fact_waits_for_quiet_and_an_instruction_not_for_ever() -> None:
    talk = dict.fromkeys(range(3, 30), "and")
    _, notes = live(40, typed={2: "my name is anna"}, heard=talk)
    assert notes == [(35, "my name is anna")]
    _, notes = live(40, typed={2: "repeat each number"}, heard=talk)
    assert [turn for turn, _ in notes] == [14, 26, 36]  # in talk at 1.2 times its age
    _, notes = live(18, typed={2: "repeat each number"}, said=dict.fromkeys(range(9, 12), "yes"))
    assert [turn for turn, _ in notes] == [17]  # never within a second of its own words


def test_an_instruction_is_typed_as_rarely_as_it_may() -> None:
    policy = Compact(rules=RULES, every=50, standing_every=400)
    memory = policy.after(policy.fresh(), 0, 0, "repeat each number", (), "<silent>", (), None)
    assert [policy.note(memory, turn, 5 * turn) for turn in (40, 79, 80)] == [None, None, "repeat each number"]


def test_several_things_come_one_after_the_other() -> None:
    _, notes = live(30, typed={1: "my name is anna", 2: "repeat each number"})
    assert notes[:2] == [(11, "my name is anna"), (14, "repeat each number")]


SPOKEN = [w.format(x="anna", n="ten") for rule in RULES for w in rule.wordings]
WORDS = ["my", "name", "is", "anna", "repeat", "each", "number", "stop", "seconds"]


@given(
    st.dictionaries(st.integers(0, 80), st.sampled_from([*SPOKEN, "remind me", "my name is", ""])),
    st.dictionaries(st.integers(0, 80), st.sampled_from(WORDS)),
)
def test_notes_are_wordings_of_the_rules_and_memory_is_bounded(typed: dict[int, str], heard: dict[int, str]) -> None:
    memory, notes = live(90, typed, heard)
    for turn, note in notes:
        assert not typed.get(turn) and any(
            note in (wording, "my name is anna") or note.startswith("remind me in ")
            for rule in RULES
            for wording in rule.wordings
        )
    assert len(memory["words"]) <= 16
    assert sum(item["kind"] != "reminder" for item in memory["known"]) <= 4
    assert all(one < other for (one, _), (other, _) in pairwise(notes))
