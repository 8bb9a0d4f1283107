"""Chapter 02's exercises: the stub, the right answer and seeded wrong answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tml_lab.course import checks
from tml_lab.course.exercise import Exercise, WrongAnswer
from tml_lab.signal import dmel as dmel_module

EXERCISES = {name: getattr(checks, name) for name in checks.__all__ if name.startswith("ch02_")}
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
    exercise: Exercise = EXERCISES[name]
    mistake = exercise.mistakes[i]
    with pytest.raises(WrongAnswer, match=r"expected") as failure:
        exercise(mistake.function)
    assert mistake.hint in str(failure.value)
    assert getattr(dmel_module, exercise.attribute) is exercise.reference  # a wrong answer stays outside


def test_a_right_answer_runs_inside_the_library(capsys: pytest.CaptureFixture[str]) -> None:
    calls: list[torch.Size] = []

    def quantize(values: torch.Tensor) -> torch.Tensor:
        calls.append(values.shape)
        return (values[..., None] - dmel_module.BIN_CENTERS).abs().argmin(dim=-1).to(torch.uint8)

    assert checks.ch02_quantize(quantize) is quantize
    assert "yours now runs inside tml_lab.signal.dmel" in capsys.readouterr().out
    calls.clear()
    dmel_module.DMelStream().push(torch.zeros(1600))
    assert calls == [(2, 80)]


@pytest.mark.parametrize("name", EXERCISES)
def test_an_independent_solution_passes(name: str) -> None:
    def advance(tail: torch.Tensor, chunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        heard, frames = torch.cat([tail, chunk]), []
        while len(heard) >= 1600:
            frames.append(heard[:1600])
            heard = heard[800:]
        return (torch.stack(frames) if frames else torch.zeros(0, 1600)), heard

    def causal_frames(samples: torch.Tensor) -> torch.Tensor:
        frames = torch.zeros(-(-len(samples) // 800), 1600)
        for i in range(len(frames)):
            for half, start in enumerate((800 * (i - 1), 800 * i)):
                piece = samples[start : start + 800] if start >= 0 else samples[:0]
                frames[i, 800 * half : 800 * half + len(piece)] = piece
        return frames

    def quantize(values: torch.Tensor) -> torch.Tensor:
        return ((values.clamp(-7, 2) + 7) / 0.6).round().to(torch.uint8)

    solution = {"advance": advance, "causal_frames": causal_frames, "quantize": quantize}
    exercise: Exercise = EXERCISES[name]
    assert exercise(solution[exercise.attribute]) is solution[exercise.attribute]


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda values: None, "is there a `return`"),
        (lambda values: values[:1], "the shape is"),
        (lambda values: values[99], "stopped with IndexError"),
        (lambda values: torch.zeros_like(values, dtype=torch.uint8), r"differ, first at \["),
        (lambda values: values, "the numbers are torch.float32, expected torch.uint8"),
    ],
)
def test_other_failures_are_sentences(attempt: Any, sentence: str) -> None:
    with pytest.raises(WrongAnswer, match=sentence):
        checks.ch02_quantize(attempt)


def test_changing_an_argument_is_noticed() -> None:
    def quantize(values: torch.Tensor) -> torch.Tensor:
        bins = checks.ch02_quantize.reference(values)
        values.clamp_(-7, 2)
        return bins

    with pytest.raises(WrongAnswer, match="changed in place"):
        checks.ch02_quantize(quantize)


def test_hints_come_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    exercise = checks.ch02_advance
    for _ in range(len(exercise.hints) + 1):
        exercise.hint()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("hint 1 of 3") and lines[2] == lines[3]
