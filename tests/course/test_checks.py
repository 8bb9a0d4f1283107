"""Every exercise of every chapter: the stub, the solution, the known wrong answers, the hints."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator
from typing import Any

import pytest

from tml_lab.course import checks, progress
from tml_lab.course.exercise import Exercise, WrongAnswer

EXERCISES: dict[str, Exercise] = {name: getattr(checks, name) for name in checks.__all__}
MISTAKES = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


@pytest.fixture(autouse=True)
def _library_as_it_was() -> Iterator[None]:
    yield
    for exercise in EXERCISES.values():
        exercise.restore()


def stub(*_: Any) -> Any:
    raise NotImplementedError


@pytest.fixture(autouse=True)
def _what_it_needs(request: pytest.FixtureRequest) -> None:
    name = getattr(request.node, "callspec", None) and request.node.callspec.params.get("name", "")
    if name and EXERCISES[name].needs and importlib.util.find_spec(EXERCISES[name].needs) is None:
        pytest.skip(f"{EXERCISES[name].needs} is not installed here")


def in_the_library(exercise: Exercise) -> Any:
    return getattr(importlib.import_module(exercise.module), exercise.attribute)


@pytest.mark.parametrize("name", EXERCISES)
def test_not_started_goes_on_with_the_reference(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert EXERCISES[name](stub) is EXERCISES[name].reference
    assert "not started" in capsys.readouterr().out


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_is_right_and_runs_inside_the_library(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With TML_SOLVED=1 a stub counts as its solution, which is code of its own; nobody gets a tick for it."""
    monkeypatch.setenv("TML_SOLVED", "1")
    exercise = EXERCISES[name]
    answer = exercise(stub)
    assert in_the_library(exercise) is answer is not exercise.reference
    assert f"yours now runs inside {exercise.module}" in capsys.readouterr().out
    assert name not in progress.read()
    exercise.solution()
    assert capsys.readouterr().out.startswith(f"def {exercise.attribute}(")


@pytest.mark.parametrize("name", EXERCISES)
def test_an_exercise_knows_its_name(name: str) -> None:
    assert EXERCISES[name].name == name


@pytest.mark.parametrize(("name", "i"), MISTAKES)
def test_known_mistakes_are_recognised(name: str, i: int) -> None:
    exercise = EXERCISES[name]
    mistake = exercise.mistakes[i]
    with pytest.raises(WrongAnswer, match="expected") as failure:
        exercise(mistake.function)
    assert mistake.hint in str(failure.value)
    assert in_the_library(exercise) is exercise.reference  # a wrong answer stays outside


@pytest.mark.parametrize("name", EXERCISES)
def test_hints_go_from_a_nudge_to_nearly_the_answer(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(4):
        EXERCISES[name].hint()
    lines = capsys.readouterr().out.splitlines()
    assert [line[:11] for line in lines] == ["hint 1 of 3", "hint 2 of 3", "hint 3 of 3", "hint 3 of 3"]
    assert lines[2] == lines[3]
