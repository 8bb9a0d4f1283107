"""Exercises: check a learner's function, name what is wrong, and put what is right into the running model.

quantize = checks.ch02_quantize(quantize)   # in the cell after the stub
checks.ch02_quantize.hint()                 # one hint a call, each says more
checks.ch02_quantize.solution()             # one right answer, from notebooks/solutions

With `TML_SOLVED=1` in the environment a stub counts as its solution.
"""

from __future__ import annotations

import ast
import copy
import importlib
import importlib.util
import os
import sys
import textwrap
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tml_lab.course import progress

SOLUTIONS = Path(__file__).resolve().parents[2] / "notebooks" / "solutions"
N_CASES = 12  # random cases for each check
WRAP = textwrap.TextWrapper(100, break_long_words=False, break_on_hyphens=False)


class WrongAnswer(AssertionError):
    """A learner's function is not right yet; the message says where it differs, and gives a hint."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows: where the learner's own code stopped, if it did, and the sentence; nothing of ours."""
        frames = traceback.extract_tb(self.__cause__.__traceback__)[1:] if self.__cause__ else []
        sentence, hint, told = str(self).partition(" Hint: ")
        where = [f"{frame.name}, line {frame.lineno}:  {frame.line}" for frame in frames]
        said = [WRAP.fill(line) for line in (sentence, hint.strip() + " " + told) if line.strip()]
        return [*where, "\x1b[31mNot yet.\x1b[0m", *said]


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that people give, and what to tell them; also a test that the check can fail."""

    function: Callable[..., Any]
    hint: str


@dataclass
class Exercise:
    """One function of the library that learners write themselves.

    Args:
        module, attribute: where the library keeps the function, and where a right answer goes.
        cases: seed -> arguments of random shapes.
        hints: from a nudge to nearly the answer.
        mistakes: wrong answers to recognise.
        atol: largest absolute difference that still counts as equal.
        needs: a package without which nothing can be checked here.
    """

    module: str
    attribute: str
    cases: Callable[[int], tuple[Any, ...]]
    hints: tuple[str, ...]
    mistakes: tuple[Mistake, ...] = ()
    atol: float = 0.0
    needs: str = ""
    reference: Callable[..., Any] = field(init=False)
    _n_hints_given: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.reference = getattr(importlib.import_module(self.module), self.attribute)

    def __call__(self, attempt: Callable[..., Any]) -> Callable[..., Any]:
        """Check an attempt. Not started: the reference comes back, so that the chapter runs on.

        Right: the attempt comes back and takes the reference's place in the library.
        Raises: WrongAnswer saying which output, shape or index differs first.
        """
        if self.needs and importlib.util.find_spec(self.needs) is None:
            print(f"{self.attribute}: not checked, {self.needs} is not installed here; the chapter goes on")
            return self.reference
        for seed in range(N_CASES):
            arguments = self.cases(seed)
            expected = self.reference(*copy.deepcopy(arguments))
            given = copy.deepcopy(arguments)
            try:
                answer = attempt(*given)
            except NotImplementedError:
                if os.environ.get("TML_SOLVED") == "1":
                    return self(self._solved())
                print(f"{self.attribute}: not started; the chapter goes on with the library's own")
                return self.reference
            except Exception as error:
                shapes = ", ".join(describe(a) for a in arguments)
                raise WrongAnswer(
                    f"{self.attribute}({shapes}) stopped with {type(error).__name__}: {error}"
                ) from error
            difference = first_difference(answer, expected, self.atol)
            if difference is None and first_difference(given, arguments, 0.0):
                difference = "the answer is right, but an argument was changed in place; work on a copy"
            if difference:
                raise WrongAnswer(self._sentence(arguments, answer, difference))
        setattr(importlib.import_module(self.module), self.attribute, attempt)
        print(f"{self.attribute}: right in {N_CASES} random cases; yours now runs inside {self.module}")
        if attempt.__module__ != self.name:  # a solution that was looked up is nobody's progress
            progress.solved(self.name)
        return attempt

    @property
    def chapter(self) -> str:
        """Its number, two digits."""
        return self.cases.__module__.rpartition("_ch")[2]

    @property
    def name(self) -> str:
        """The name in `checks`: `ch02_quantize`."""
        return f"ch{self.chapter}_{self.attribute}"

    def hint(self) -> None:
        """Print the next hint; after the last one, the last one again."""
        number = min(self._n_hints_given, len(self.hints) - 1)
        self._n_hints_given += 1
        print(f"hint {number + 1} of {len(self.hints)}: {self.hints[number]}")

    def solution(self) -> None:
        """Print one right answer. Raises FileNotFoundError where the course's folder is not beside the library."""
        source = self._solutions().read_text(encoding="utf-8")
        for part in ast.parse(source).body:
            if isinstance(part, ast.FunctionDef) and part.name == self.attribute:
                print(ast.get_source_segment(source, part))

    def _solutions(self) -> Path:
        path = SOLUTIONS / f"ch{self.chapter}.py"
        if not path.exists():
            raise FileNotFoundError(
                f"there is no {path}: the solutions come with the repository, beside the notebooks."
            )
        return path

    def _solved(self) -> Callable[..., Any]:
        """The solution as a function; Triton reads a kernel's source from its file, so it is imported from there."""
        spec = importlib.util.spec_from_file_location(self.name, self._solutions())
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[self.name] = module
        spec.loader.exec_module(module)
        return getattr(module, self.attribute)  # type: ignore[no-any-return]

    def restore(self) -> None:
        """Put the library's own function back."""
        setattr(importlib.import_module(self.module), self.attribute, self.reference)

    def _sentence(self, arguments: tuple[Any, ...], answer: Any, difference: str) -> str:
        shapes = ", ".join(describe(a) for a in arguments)
        hint = self._recognise(arguments, answer) or f"for a hint run checks.{self.name}.hint()"
        return f"{self.attribute}({shapes}): {difference}. Hint: {hint}"

    def _recognise(self, arguments: tuple[Any, ...], answer: Any) -> str | None:
        """The hint of the known mistake that gives this very answer."""
        for mistake in self.mistakes:
            if first_difference(answer, mistake.function(*copy.deepcopy(arguments)), self.atol) is None:
                return mistake.hint
        return None


def describe(value: Any) -> str:
    """`f32[3, 80]` for a tensor or an array, also inside a tuple; `bytes[40]` for many bytes; else the repr."""
    if isinstance(value, tuple) and any(isinstance(part, Tensor | np.ndarray) for part in value):
        return f"({', '.join(describe(part) for part in value)})"
    if isinstance(value, bytes) and len(value) > 16:
        return f"bytes[{len(value)}]"
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if isinstance(value, Tensor):
        kind = str(value.dtype).removeprefix("torch.").replace("float", "f")
        return f"{kind}{list(value.shape)}"
    return repr(value)


def first_difference(answer: Any, expected: Any, atol: float) -> str | None:
    """What differs first between an answer and the expected value, in words; None if nothing does."""
    if isinstance(expected, tuple):
        if not isinstance(answer, tuple) or len(answer) != len(expected):
            return f"it must return a tuple of {len(expected)}, got {describe(answer)}"
        for i, (a, e) in enumerate(zip(answer, expected, strict=True)):
            if difference := first_difference(a, e, atol):
                return f"output {i}: {difference}"
        return None
    if isinstance(expected, np.ndarray):
        expected = torch.from_numpy(expected)
        answer = torch.from_numpy(answer) if isinstance(answer, np.ndarray) else answer
    if isinstance(expected, float) and isinstance(answer, int | float) and abs(answer - expected) <= atol:
        return None
    if answer is None and expected is not None and not isinstance(expected, Tensor):
        return f"got None, expected {describe(expected)} (is there a `return`?)"
    if isinstance(expected, bytes) and isinstance(answer, bytes) and answer != expected:
        return _first_byte(answer, expected)
    if not isinstance(expected, Tensor):
        return None if answer == expected else f"got {answer!r}, expected {expected!r}"
    if not isinstance(answer, Tensor):
        return f"it must return a tensor, got {type(answer).__name__} (is there a `return`?)"
    if answer.shape != expected.shape:
        return f"the shape is {list(answer.shape)}, expected {list(expected.shape)}"
    if answer.dtype != expected.dtype:
        return f"the numbers are {answer.dtype}, expected {expected.dtype}"
    off = ~torch.isclose(answer.double(), expected.double(), rtol=0.0, atol=atol, equal_nan=True)
    if not bool(off.any()):
        return None
    where = tuple(off.nonzero()[0].tolist())
    got, wanted = answer[where].item(), expected[where].item()
    return (
        f"{int(off.sum())} of {off.numel()} differ, first at {list(where)}: got {got:g}, expected {wanted:g}"
    )


def _first_byte(answer: bytes, expected: bytes) -> str:
    """Where two different strings of bytes part."""
    if len(answer) != len(expected):
        return f"got {len(answer)} bytes, expected {len(expected)}"
    off = [i for i, (a, e) in enumerate(zip(answer, expected, strict=True)) if a != e]
    got, wanted = answer[off[0]], expected[off[0]]
    return f"{len(off)} of {len(expected)} bytes differ, first byte {off[0]}: got {got:#04x}, expected {wanted:#04x}"
