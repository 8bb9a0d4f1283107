"""The second process: it answers, tells how far it is, gives way to a later question, and comes back when it dies."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tml_lab.model.checkpoint import new_model, save_checkpoint
from tml_lab.model.text import TextTokenizer
from tml_lab.serve.aside import ENDED, NICE, Aside


def count(excerpt: Any, model: Any, tokenizer: Any, to: int, told: Callable[[Any], None]) -> Any:
    """A question for the tests: counts, and says what it was given and how it runs."""
    for n in range(to):
        told(n)
    return excerpt, model.cfg.name, tokenizer.size, os.getpid(), os.nice(0)


def for_ever(excerpt: Any, model: Any, tokenizer: Any, told: Callable[[Any], None]) -> Any:
    """Only a later question ends it."""
    while True:
        told("busy")


def wrong(excerpt: Any, model: Any, tokenizer: Any, told: Callable[[Any], None]) -> Any:
    raise ValueError("a plain sentence.")


def dies(excerpt: Any, model: Any, tokenizer: Any, told: Callable[[Any], None]) -> Any:
    os._exit(3)


@pytest.fixture(scope="module")
def aside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aside]:
    folder = tmp_path_factory.mktemp("pico")
    tokenizer = TextTokenizer.build(["one"])
    save_checkpoint(folder, new_model("pico", tokenizer, seed=1), tokenizer, {})
    process = Aside(str(folder))
    yield process
    process.close()


class Heard:
    """What a question brought."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.first = threading.Event()
        self.ended: queue.Queue[tuple[str, Any]] = queue.Queue()

    def ask(self, aside: Aside, question: Callable[..., Any], excerpt: Any, *more: Any) -> Heard:
        aside.ask(
            question, excerpt, *more, told=self._tell,
            done=lambda value: self.ended.put(("done", value)), failed=lambda value: self.ended.put(("failed", value)),
        )  # fmt: skip
        return self

    def _tell(self, value: Any) -> None:
        self.told.append(value)
        self.first.set()

    def end(self) -> tuple[str, Any]:
        return self.ended.get(timeout=60)


def test_it_answers_in_another_process_of_low_priority(aside: Aside) -> None:
    heard = Heard().ask(aside, count, {"any": "thing"}, 3)
    kind, (excerpt, name, size, process, nice) = heard.end()
    assert kind == "done" and heard.told == [0, 1, 2]
    assert (excerpt, name) == ({"any": "thing"}, "pico") and size > 1
    assert process != os.getpid() and nice >= NICE


def test_a_later_question_takes_the_place_of_the_one_in_work(aside: Aside) -> None:
    first = Heard().ask(aside, for_ever, None)
    assert first.first.wait(60)
    second = Heard().ask(aside, count, "second", 1)
    assert second.end()[1][0] == "second"
    assert first.ended.empty()


def test_what_is_wrong_is_said_and_the_next_question_is_answered(aside: Aside) -> None:
    assert Heard().ask(aside, wrong, None).end() == ("failed", "a plain sentence.")
    assert Heard().ask(aside, count, None, 0).end()[0] == "done"


def test_it_comes_back_when_it_has_died(aside: Aside) -> None:
    assert Heard().ask(aside, dies, None).end() == ("failed", ENDED)
    assert Heard().ask(aside, count, None, 0).end()[0] == "done"


def test_a_missing_checkpoint_ends_it_in_words(tmp_path: Path) -> None:
    process = Aside(str(tmp_path / "nowhere"))
    kind, sentence = Heard().ask(process, count, None, 0).end()
    process.close()
    assert kind == "failed" and sentence
