"""What an exercise says of wrong answers, on chapter 02's `quantize`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from tml_lab.course import checks
from tml_lab.course.exercise import WrongAnswer
from tml_lab.signal import dmel as dmel_module


@pytest.fixture(autouse=True)
def _library_as_it_was() -> Iterator[None]:
    yield
    checks.ch02_quantize.restore()


def test_a_right_answer_is_what_the_library_calls() -> None:
    calls: list[torch.Size] = []

    def quantize(values: torch.Tensor) -> torch.Tensor:
        calls.append(values.shape)
        return (values[..., None] - dmel_module.BIN_CENTERS).abs().argmin(dim=-1).to(torch.uint8)

    assert checks.ch02_quantize(quantize) is quantize
    calls.clear()
    dmel_module.DMelStream().push(torch.zeros(1600))
    assert calls == [(2, 80)]


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda values: None, "is there a `return`"),
        (lambda values: values[:1], "the shape is"),
        (lambda values: values[99], "stopped with IndexError"),
        (lambda values: torch.zeros_like(values, dtype=torch.uint8), r"differ, first at \["),
        (lambda values: values, r"the numbers are torch\.float32, expected torch\.uint8"),
    ],
)
def test_other_failures_are_sentences(attempt: Any, sentence: str) -> None:
    with pytest.raises(WrongAnswer, match=sentence):
        checks.ch02_quantize(attempt)


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda kind, turn, payload: None, r"got None, expected bytes\[\d+\] \(is there a `return`\?\)"),
        (lambda kind, turn, payload: payload, "got 49 bytes, expected 62"),
        (lambda kind, turn, payload: bytes(13) + payload, "8 of 62 bytes differ, first byte 0: got 0x00"),
    ],
)
def test_bytes_are_not_poured_out(attempt: Any, sentence: str) -> None:
    with pytest.raises(WrongAnswer, match=sentence) as failure:
        checks.ch08_framed(attempt)
    assert "\\x" not in str(failure.value)
    assert "checks.ch08_framed.hint()" in str(failure.value)


def test_tensors_in_a_tuple_are_told_by_their_shapes() -> None:
    with pytest.raises(WrongAnswer, match=r"^merge\(\(f32\[1, 1\], f32\[1, 1\], f32\[1, 1\]\), \("):
        checks.ch09_merge(lambda left, right: left)


def test_a_notebook_shows_the_sentence_and_the_learners_line_alone() -> None:
    shell = InteractiveShell()
    shell.run_cell("import torch\nfrom tml_lab.course import checks", silent=True)

    def shown(body: str) -> str:
        with capture_output() as said:
            shell.run_cell(f"def quantize(values):\n    {body}\nchecks.ch02_quantize(quantize)")
        return said.stdout + said.stderr

    wrong = shown("return torch.zeros_like(values, dtype=torch.uint8)")
    assert "differ, first at [" in wrong and "Hint: " in wrong
    assert "Traceback" not in wrong and "exercise.py" not in wrong
    assert max(map(len, wrong.splitlines())) <= 100
    assert "quantize, line 2:  return value" in shown("return value") and "Hint" not in shown("return value")


def test_changing_an_argument_is_noticed() -> None:
    def quantize(values: torch.Tensor) -> torch.Tensor:
        bins = checks.ch02_quantize.reference(values)
        values.clamp_(-7, 2)
        return bins

    with pytest.raises(WrongAnswer, match="changed in place"):
        checks.ch02_quantize(quantize)


def test_without_what_it_needs_the_chapter_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(checks.ch02_quantize, "needs", "a_package_that_nobody_has")
    assert checks.ch02_quantize(lambda values: None) is checks.ch02_quantize.reference
    assert "not checked" in capsys.readouterr().out
