"""Its own voice in its microphone: what is heard, and what counts as an answer to oneself."""

from __future__ import annotations

import numpy as np
import pytest

from tests.bench.scenes import answer, scene, user
from tml_lab.bench import echo
from tml_lab.bench.emissions import spoken_as
from tml_lab.bench.runner import play_alone
from tml_lab.config import TURN_SAMPLES
from tml_lab.model.checkpoint import new_model
from tml_lab.model.text import SILENT, TextTokenizer
from tml_lab.stream.session import Session

TOKENIZER = TextTokenizer.build(["one", "two", "stop"])


def test_without_echo_it_is_the_item_and_with_it_the_own_voice_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    model = new_model("pico", TOKENIZER, seed=3).eval()
    model.unembed.weight.data[TOKENIZER.id(SILENT)] = -model.unembed.weight.data[TOKENIZER.id("<speak>")]
    item = scene("a", 14, typed=[(1, "stop")], seed=1)
    heard: dict[float | None, list[np.ndarray]] = {}
    own: list[np.ndarray] = []
    step = Session.step

    def listen(self, audio=None, frames=None, text=None):
        result = step(self, audio, frames, text)
        heard.setdefault(level, []).append(np.array(audio))
        own.append(result.audio)
        return result

    monkeypatch.setattr(Session, "step", listen)
    level = None
    (log,) = echo.EchoPlayer(model, TOKENIZER, None).play([item])
    alone = play_alone(model, TOKENIZER, item)
    assert log == alone and any(d != SILENT for d in log.decisions)
    own.clear()
    for level in (-20.0, -6.0):
        (log,) = echo.EchoPlayer(model, TOKENIZER, level).play([item])
    more = {at: np.stack(some[:14]) - item.audio.reshape(14, TURN_SAMPLES) for at, some in heard.items()}
    spoke = next(n for n, d in enumerate(log.decisions) if d != SILENT)
    assert not more[None].any() and not more[-6.0][: spoke + 1].any()
    power = {at: float(np.square(sound).sum()) for at, sound in more.items()}
    assert power[-6.0] > 3 * power[-20.0] > 0
    assert power[-6.0] < float(np.square(own[14:]).sum())  # it comes back weaker


def test_an_answer_to_itself_begins_soon_after_its_own_words_and_where_nothing_is_due() -> None:
    item = scene("a", 60, [], [answer("five", 2.0)], [user(1.0, 2.0)])
    assert echo.self_answers(item, spoken_as(60, [(11, "five")])) == (0, 0)
    assert echo.self_answers(item, spoken_as(60, [(11, "five"), (25, "five")])) == (1, 1)
    assert echo.self_answers(item, spoken_as(60, [(40, "six")])) == (1, 0)  # nothing of its own before it


def test_items_end_in_the_rooms_own_quiet() -> None:
    item = scene("a", 10)
    longer = echo.with_rest(item)
    turns = longer.audio.reshape(-1, TURN_SAMPLES)
    assert len(turns) == 40 and (turns[10:] == turns[10]).all()
    assert (np.square(turns[:10]).mean(1) >= np.square(turns[10]).mean() - 1e-9).all()


def test_levels_stand_beside_no_echo() -> None:
    names = [player.name for player in echo.players(None, None)]  # type: ignore[arg-type]
    assert names == ["no echo", "echo at -20 dB", "echo at -10 dB", "echo at -6 dB"]
