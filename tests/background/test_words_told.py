"""With a request that a tool is told the conversation for go the words that the model's own listening head read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.background.test_colleague import QUIET, TOKENIZER, Tells, scripted, wait_until_idle
from tml_lab.background.agent import BackgroundAgent
from tml_lab.background.colleague import Assisted
from tml_lab.background.context import ContextPackage
from tml_lab.config import TURN_SAMPLES
from tml_lab.stream.recording import SKIPPED
from tml_lab.stream.replay import differences
from tml_lab.stream.session import Session
from tml_lab.stream.words_heard import WordsHeard


class Asked(Tells):
    """Keeps the package that came with its last question."""

    package: ContextPackage

    def knowing(self, context: Callable[[], str]) -> Asked:
        self.package = ContextPackage.from_json(context())
        return self


def words_of(package: ContextPackage) -> list[tuple[int, str]]:
    return [(entry.turn, entry.text) for entry in package.transcript if entry.stream == "audio_in" and entry.text]


def test_a_tool_that_wants_it_is_told_the_words_that_were_heard() -> None:
    turns = (*[""] * 7, "ask it", "")
    noise = np.random.default_rng(5).standard_normal((len(turns), TURN_SAMPLES)).astype(np.float32) / 8
    alone = Session(scripted(*turns), TOKENIZER)
    ear, heard = WordsHeard(alone), []
    for turn, sound in enumerate(noise):
        if turn == 3:
            alone.step(SKIPPED)
            continue
        with ear.turn():
            alone.step(sound)
        heard += [(turn, word) for word in ear.words]
    expected = [(turn, word) for turn, word in heard if turn <= 7]
    assert len({turn for turn, _ in expected}) > 2, "random weights should read something into noise"
    with BackgroundAgent([asked := Asked("yes")]) as agent:
        session = Assisted(Session(scripted(*turns), TOKENIZER), agent)
        for turn, sound in enumerate(noise):
            session.step(SKIPPED if turn == 3 else sound)
        wait_until_idle(agent)
    assert words_of(asked.package) == expected
    assert differences(alone.recording(), session.recording()) == []  # whoever listens changes nothing


@pytest.mark.parametrize(
    ("tool", "given", "listened"),
    [(Tells("yes"), None, 0), (Asked("yes"), None, 3), (Asked("yes"), [["five"]], 0)],
)
def test_nobody_listens_where_no_tool_is_told_or_somebody_else_does(
    tool: Tells, given: list[list[str]] | None, listened: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, real = [], WordsHeard.turn
    monkeypatch.setattr(WordsHeard, "turn", lambda ear: turns.append(ear) or real(ear))
    with BackgroundAgent([tool]) as agent:
        session = Assisted(Session(scripted("", "ask it", ""), TOKENIZER), agent, heard=given and (lambda: given))
        for _ in range(3):
            session.step(QUIET)
        wait_until_idle(agent)
    assert len(turns) == listened
    if given and isinstance(tool, Asked):
        assert words_of(tool.package) == [(0, "five")]
