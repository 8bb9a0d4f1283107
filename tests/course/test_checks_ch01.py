"""Chapter 01's exercises: the stub, right answers and seeded wrong ones."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tml_lab.course import checks
from tml_lab.course.exercise import Exercise, WrongAnswer

EXERCISES: dict[str, Exercise] = {
    name: getattr(checks, name) for name in checks.__all__ if name.startswith("ch01_")
}
MISTAKES = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


@pytest.fixture(autouse=True)
def _library_as_it_was() -> Iterator[None]:
    yield
    for exercise in EXERCISES.values():
        exercise.restore()


def stub(*_: Any) -> Any:
    raise NotImplementedError


@pytest.mark.parametrize("name", EXERCISES)
def test_not_started_goes_on_with_the_reference(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert EXERCISES[name](stub) is EXERCISES[name].reference
    assert "not started" in capsys.readouterr().out


@pytest.mark.parametrize(("name", "i"), MISTAKES)
def test_known_mistakes_are_recognised(name: str, i: int) -> None:
    exercise = EXERCISES[name]
    mistake = exercise.mistakes[i]
    with pytest.raises(WrongAnswer, match="expected") as failure:
        exercise(mistake.function)
    assert mistake.hint in str(failure.value)
    assert getattr(importlib.import_module(exercise.module), exercise.attribute) is exercise.reference


def turn_hearing(seconds: float) -> int:
    turn = math.floor(seconds * 5)
    return turn - 1 if turn / 5 > seconds else turn


RIGHT = {
    "ch01_played_span": lambda turn: ((turn + 1) / 5, (turn + 2) / 5),
    "ch01_turn_hearing": turn_hearing,
    "ch01_clock_digits": lambda turns, powers: torch.stack([(turns // p) % 10 for p in powers], dim=1),
}


@pytest.mark.parametrize("name", EXERCISES)
def test_a_right_answer_runs_inside_the_library(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    exercise = EXERCISES[name]
    assert exercise(RIGHT[name]) is RIGHT[name]
    assert getattr(importlib.import_module(exercise.module), exercise.attribute) is RIGHT[name]
    assert f"yours now runs inside {exercise.module}" in capsys.readouterr().out


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_go_from_a_nudge_to_nearly_the_answer(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(4):
        EXERCISES[name].hint()
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == ["hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 3 of 3"]
