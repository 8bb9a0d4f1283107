"""Why now and what if: on an excerpt of a session, cut out of its middle, against runs by hand."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from tml_lab.config import TURN_SAMPLES
from tml_lab.interp.cache import run_with_cache
from tml_lab.interp.cause import smallest_flip
from tml_lab.interp.decision import decision_lens
from tml_lab.interp.names import InterpError
from tml_lab.interp.rewind import Rewind
from tml_lab.interp.variants import blank, quietest
from tml_lab.interp.what_if import Change, what_if
from tml_lab.interp.why import Why, Without, why
from tml_lab.model.state import clone_state
from tml_lab.stream.excerpt import Excerpt, cut
from tml_lab.stream.recording import Inputs, Recording
from tml_lab.stream.replay import differences, replay
from tml_lab.stream.session import Session

FIRST = 6


@pytest.fixture(scope="module")
def excerpt(session, model) -> Excerpt:
    """The session's turns 6..19."""
    again = Session(model, session.tokenizer, seed=2)
    recording = session.recording()
    for turn in range(FIRST):
        again.step(*recording.inputs.turn(turn))
    return cut(session, clone_state(again.state))


def test_an_excerpt_run_again_is_the_same_to_the_bit(session, model, excerpt):
    again = pickle.loads(pickle.dumps(excerpt))
    assert (again.first, again.turns) == (FIRST, 14)
    run = again.session(model, session.tokenizer)
    for turn in range(again.turns):
        run.step(*again.recording.inputs.turn(turn))
    assert differences(excerpt.recording, run.recording()) == []
    whole = session.recording()
    assert excerpt.recording.decisions == whole.decisions[FIRST:]
    assert np.array_equal(excerpt.recording.audio_out, whole.audio_out[FIRST * TURN_SAMPLES :])


def test_every_answer_is_what_the_whole_session_does_without_it(session, model, excerpt):
    told: list[Why] = []
    found = why(excerpt, model, session.tokenizer, 9, seconds=1.6, told=told.append)
    parent = session.recording()
    assert {part.stream for part in found.parts} == {"heard", "typed", "seen"}
    part_of = {"heard": "audio", "typed": "typed", "seen": "frames"}
    at = FIRST + found.turn
    quiet = quietest(Inputs(excerpt.recording.inputs.audio[: 10 * TURN_SAMPLES]))  # of what was heard by then
    for part in found.parts:
        gone = range(FIRST + part.turns[0], FIRST + part.turns[1])
        inputs = blank(parent.inputs, gone, [part_of[part.stream]])
        if part.stream == "heard":
            audio = np.array(parent.inputs.audio)
            audio.reshape(-1, TURN_SAMPLES)[gone] = quiet
            inputs = replace(inputs, audio=audio)
        other = replay(replace(parent, inputs=inputs), model, session.tokenizer)
        assert part.p_speak == float(other.p_speak[at])
        assert part.flips == (part.decision != parent.decisions[at])
    assert [len(one.parts) for one in told] == list(range(1, len(found.parts) + 1)) and found.share == 1
    lens = decision_lens(run_with_cache(model, session.tokenizer, parent))[:, at]
    np.testing.assert_allclose(found.layers, lens, atol=1e-3)


def test_a_cause_changes_the_decision_and_is_said_in_words(session, model, excerpt):
    decided = excerpt.recording.decisions
    found = [why(excerpt, model, session.tokenizer, turn, seconds=1.0) for turn in range(4, 10)]
    caused = [one for one in found if one.causes and one.causes[0].stream == "heard"]
    assert caused, "no decision of these hangs on what was heard"
    one = caused[0]
    span = one.causes[0].turns
    child = what_if(excerpt, model, session.tokenizer, Change(*span, parts=("audio",)))
    assert child.decisions[one.turn] == one.causes[0].decision != decided[one.turn]
    seconds = f"{100 + span[0] / 5:.1f}\u2013{100 + span[1] / 5:.1f} s"
    assert f"Without what was heard at {seconds} it would have" in one.sentence(lambda turn: 100 + turn / 5)


def test_instructions_from_before_the_excerpt_are_tried_in_an_earlier_one(session, model):
    parent = session.recording()
    again = Session(model, session.tokenizer, seed=2)
    earlier = cut(session, clone_state(again.state), 18)
    for turn in range(13):
        again.step(*parent.inputs.turn(turn))
    found = why(cut(session, clone_state(again.state), 18), model, session.tokenizer, 4, earlier=earlier)
    typed = [part for part in found.parts if part.stream == "typed"]
    assert [part.turns for part in typed] == [(11 - 13, 12 - 13), (2 - 13, 3 - 13)]
    for part in typed:
        inputs = blank(parent.inputs, [part.turns[0] + 13], ["typed"])
        other = replay(replace(parent, inputs=inputs), model, session.tokenizer)
        assert part.p_speak == float(other.p_speak[17])


def test_sentences():
    silent = Why(30, "<silent>", 0.1, "", False, share=1.0)
    assert silent.sentence() == (
        "At 6.0 s it stayed silent. Nothing in these seconds, taken away, changes that: it hangs on what came before, "
        "or on little."
    )
    typed = Without("typed", (5, 6), "count", "<silent>", 0.0, "", True)
    seen = Without("seen", (20, 25), "", "<speak>", 0.9, "red", True)
    spoke = Why(30, "<speak>", 0.9, "one", True, causes=(typed, seen))
    assert spoke.sentence() == (
        "At 6.0 s it began to speak (\u201cone\u201d). Without the words typed at 1.0 s (\u201ccount\u201d) it would "
        "have stayed silent. Without what was seen at 4.0\u20135.0 s it would have spoken (\u201cred\u201d)."
    )


def test_what_if_keeps_the_past_and_types_other_words(session, model, excerpt):
    child = what_if(excerpt, model, session.tokenizer, Change(5, 7, parts=("typed",), typed="three two"))
    assert np.array_equal(child.p_speak[:5], excerpt.recording.p_speak[:5])
    assert not np.array_equal(child.p_speak[5:], excerpt.recording.p_speak[5:])
    assert (5, "three two") in child.inputs.typed and child.turns == excerpt.turns
    for change in (Change(5, 5), Change(5, 99), Change(5, 6, parts=())):
        with pytest.raises(InterpError):
            what_if(excerpt, model, session.tokenizer, change)


def test_what_was_steered_is_not_explained(session, model, excerpt):
    p_speak = excerpt.recording.p_speak.copy()
    p_speak[3] = 1 - p_speak[3]
    steered = replace(excerpt, recording=replace(excerpt.recording, p_speak=p_speak))
    with pytest.raises(InterpError, match="come out otherwise"):
        why(steered, model, session.tokenizer, 9)


def test_the_smallest_flip_of_an_excerpt_is_that_of_the_session(session, model, excerpt):
    whole: Recording = session.recording()
    rewind = Rewind(excerpt.recording, model, session.tokenizer, start=excerpt.session(model, session.tokenizer))
    for turn in (8, 12):
        how = {"seconds": 1.0, "parts": ("typed", "frames")}
        found = smallest_flip(excerpt.recording, model, session.tokenizer, turn, rewind=rewind, **how)
        other = smallest_flip(whole, model, session.tokenizer, FIRST + turn, **how)
        assert tuple(FIRST + n for n in found.turns) == other.turns
