"""Every exercise of every chapter: the stub, an independent right answer, the known wrong ones, the hints."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.course import answers_ch04_05
from tml_kernels.experts import experts_reference
from tml_lab.bench.baselines.endpointer import Endpoints
from tml_lab.bench.emissions import Word
from tml_lab.bench.grading import UTTERANCE_GAP
from tml_lab.course import checks
from tml_lab.course.exercise import Exercise, WrongAnswer
from tml_lab.model.text import SPECIALS
from tml_lab.signal.patches import IMAGE_MEAN, IMAGE_STD
from tml_lab.stream.layout import NO_TARGET
from tml_lab.worlds.seen.body import View

EXERCISES: dict[str, Exercise] = {name: getattr(checks, name) for name in checks.__all__}
MISTAKES = [(name, i) for name, exercise in EXERCISES.items() for i in range(len(exercise.mistakes))]


@pytest.fixture(autouse=True)
def _library_as_it_was() -> Iterator[None]:
    yield
    for exercise in EXERCISES.values():
        exercise.restore()


def stub(*_: Any) -> Any:
    raise NotImplementedError


def turn_hearing(seconds: float) -> int:
    turn = math.floor(seconds * 5)
    return turn - 1 if turn / 5 > seconds else turn


def quantize(values: Tensor) -> Tensor:
    return ((values.clamp(-7, 2) + 7) / 0.6).round().to(torch.uint8)


def causal_frames(samples: Tensor) -> Tensor:
    frames = torch.zeros(-(-len(samples) // 800), 1600)
    for i in range(len(frames)):
        for half, start in enumerate((800 * (i - 1), 800 * i)):
            piece = samples[start : start + 800] if start >= 0 else samples[:0]
            frames[i, 800 * half : 800 * half + len(piece)] = piece
    return frames


def advance(tail: Tensor, chunk: Tensor) -> tuple[Tensor, Tensor]:
    heard, frames = torch.cat([tail, chunk]), []
    while len(heard) >= 1600:
        frames.append(heard[:1600])
        heard = heard[800:]
    return (torch.stack(frames) if frames else torch.zeros(0, 1600)), heard


def turns_to_patches(pixels: Tensor) -> Tensor:
    found = []
    height, width = pixels.shape[2:4]
    for turn in pixels:
        for top in range(0, height, 40):
            for left in range(0, width, 40):
                patch = torch.full((2, 40, 40, 3), -1.0)
                piece = turn[:, top : top + 40, left : left + 40].float()
                patch[:, : piece.shape[1], : piece.shape[2]] = piece
                found.append((patch - 255.0 * IMAGE_MEAN) / (255.0 * IMAGE_STD))
    return torch.stack(found)


def fold(x: Tensor, time: int, space: int) -> Tensor:
    rows = x.unfold(1, time, time).unfold(2, space, space).unfold(3, space, space)  # [n, T', H', W', c, t, s, s]
    return rows.movedim(4, -1).flatten(4)


def project(points: np.ndarray, view: View) -> np.ndarray:
    cy, sy, ct, st = np.cos(view.yaw), np.sin(view.yaw), np.cos(view.tilt), np.sin(view.tilt)
    turned = points @ np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    x, y, near = (turned @ np.array([[1, 0, 0], [0, ct, st], [0, -st, ct]])).T
    size = view.scale * 4 / (4 - near)
    return np.array([view.x + size * x, view.y - size * y, near]).T


def reply_turn(due: float, margin: float) -> int:
    turn = 0
    while (turn + 1) / 5 < due + margin - 1e-7:
        turn += 1
    return turn


def token_weights(target: Tensor, silent: int, silent_weight: float, word_weight: float) -> Tensor:
    kinds = {silent: silent_weight}
    return torch.tensor([kinds.get(int(t), word_weight if t >= len(SPECIALS) else 1.0) for t in target])


def weighted_cross_entropy(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    asked = target != NO_TARGET
    picked = logits.log_softmax(-1)[asked].gather(1, target[asked, None])[:, 0]
    return -(picked * weight[asked]).sum() / max(float(weight.sum()), 1e-6)


def split_bounds(first: int, n_keys: int, split: int) -> list[tuple[int, int]]:
    bounds: list[tuple[int, int]] = []
    for position in range(first, first + n_keys):
        if bounds and position % split:
            bounds[-1] = (bounds[-1][0], position + 1)
        else:
            bounds.append((position, position + 1))
    return bounds


def partial_softmax(scores: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    largest = scores.max(dim=-1, keepdim=True).values
    weight = torch.where(scores == -torch.inf, 0.0, (scores - largest).exp())
    return largest, weight.sum(-1, keepdim=True), weight @ values


def merge(left: Any, right: Any) -> tuple[Tensor, Tensor, Tensor]:
    largest = torch.maximum(left[0], right[0])
    factors = [torch.where(side[0] == -torch.inf, 0.0, (side[0] - largest).exp()) for side in (left, right)]
    total, mixed = (factors[0] * left[i] + factors[1] * right[i] for i in (1, 2))
    return largest, total, mixed


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    shared = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return shared / (max(a[1], b[1]) - min(a[0], b[0]))


def utterances(words: list[Word], gap: float = UTTERANCE_GAP) -> list[list[Word]]:
    groups: list[list[Word]] = []
    end = -math.inf
    for word in sorted(words, key=lambda w: w.start):
        if word.start - end > gap + 1e-6:
            groups.append([])
        groups[-1].append(word)
        end = max(end, word.end)
    return groups


def takeover(words: list[Word]) -> bool:
    if not words:
        return False
    return len(words) > 3 or max(w.end for w in words) - min(w.start for w in words) >= 1 - 1e-6


def pauc(span: tuple[float, float], replies: list[tuple[float, int]]) -> float:
    a, b = span
    edges = [a, *(a + (at - a) / 2 for at, _ in replies), b]
    heights = [0.5]
    for _, points in replies:
        heights.append(max(points, heights[-1] if len(heights) > 1 else 0))
    return sum(h * (edges[i + 1] - edges[i]) for i, h in enumerate(heights)) / (2 * (b - a))


def is_speech(probabilities: list[float]) -> list[bool]:
    state, found = 0.5, []
    for p in probabilities:
        state = 0.35 if p >= state else 0.5
        found.append(state == 0.35)
    return found


def follow(speech: list[bool], turns: int, silence: float = 0.6) -> Endpoints:
    speaking, endpoint = [False] * turns, [False] * turns
    start, spoke, over = 0, False, True  # where the present run began; whether there was speech that has not ended
    for i, above in enumerate(speech):
        if i == 0 or above != speech[i - 1]:
            start = i
        seconds = 0.032 * (i - start + 1)
        turn = min((512 * (i + 1) - 1) // 3200, turns - 1)
        if above and seconds >= 0.1:
            spoke, over = True, False
        if not above and spoke and not over and seconds >= silence:
            over, spoke, endpoint[turn] = True, False, True
        speaking[turn] = above and seconds >= 0.1
    return Endpoints(tuple(speaking), tuple(endpoint))


def cut_rows(pattern: torch.Tensor, gone: torch.Tensor) -> torch.Tensor:
    found = pattern.clone()
    for head in range(len(pattern)):
        for query in range(len(gone)):
            if gone[query].any():
                found[head, query, gone[query]] = 0.0
                if found[head, query].any():
                    found[head, query] /= found[head, query].sum()
    return found


def trade_off(harmful: list[float], harmless: list[float]) -> list[tuple[float, float, float]]:
    rows, left, right = [(math.inf, 0.0, 0.0)], 0, 0
    for score in sorted(set(harmful + harmless))[::-1]:
        left, right = left + harmful.count(score), right + harmless.count(score)
        rows.append((score, left / len(harmful), right / len(harmless)))
    return rows


def minimal(broken: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    kept: list[tuple[str, ...]] = []
    for composition in sorted(broken, key=len):
        if not any(all(name in composition for name in other) for other in kept):
            kept.append(composition)
    return kept


def next_arm(tries: list[int], means: list[float], explore: float = 0.5) -> int:
    total = sum(tries)
    return max(range(len(tries)), key=lambda i: (
        math.inf if not tries[i] else means[i] + explore * (math.log(total) / tries[i]) ** 0.5, -i))  # fmt: skip


def seconds_left(timer: Any, turn: int) -> float:
    passed = 0 if timer.started is None else turn - timer.started
    return max(timer.seconds - passed / 5, 0.0)


def panel_at(history: Any, turn: int) -> list:
    there: list[Any] = []
    for change in history:
        if change.turn <= turn:
            place = [item.id for item in there].index(change.id) if change.id in [i.id for i in there] else len(there)
            there[place : place + 1] = [] if change.put is None else [change.put]
    return there


def fit_turn(typed: str, ready: list[str]) -> tuple[str, list[str]]:
    for n in range(len(ready), -1, -1):
        read = " ".join([*([typed] if typed else []), *ready[:n]])
        if n == 0 or (len(read) <= 500 and len(read) <= len(typed) + 200):
            return read, ready[n:]
    raise AssertionError


RIGHT: dict[str, Callable[..., Any]] = {
    "ch01_played_span": lambda turn: ((turn + 1) / 5, (turn + 2) / 5),
    "ch01_turn_hearing": turn_hearing,
    "ch01_clock_digits": lambda turns, powers: torch.stack([(turns // p) % 10 for p in powers], dim=1),
    "ch02_quantize": quantize,
    "ch02_causal_frames": causal_frames,
    "ch02_advance": advance,
    "ch03_turns_to_patches": turns_to_patches,
    "ch03_fold": fold,
    "ch03_project": project,
    **answers_ch04_05.RIGHT,
    "ch07_reply_turn": reply_turn,
    "ch07_token_weights": token_weights,
    "ch07_weighted_cross_entropy": weighted_cross_entropy,
    "ch09_split_bounds": split_bounds,
    "ch09_partial_softmax": partial_softmax,
    "ch09_merge": merge,
    "ch10_rms_norm_triton": lambda x, weight, eps: weight * x / (x.square().mean(-1, keepdim=True) + eps).sqrt(),
    "ch10_matmul_triton": lambda x, weight: x @ weight.T,
    "ch10_experts_triton": experts_reference,
    "ch11_fit_turn": fit_turn,
    "ch11_panel_at": panel_at,
    "ch11_seconds_left": seconds_left,
    "ch12_overlap": overlap,
    "ch12_utterances": utterances,
    "ch12_takeover": takeover,
    "ch12_pauc": pauc,
    "ch13_is_speech": is_speech,
    "ch13_follow": follow,
    "ch14_lens_difference": lambda resid, norm_weight, eps, direction: (
        torch.nn.functional.rms_norm(resid, resid.shape[-1:], norm_weight, eps) @ direction
    ),
    "ch14_pool": lambda pattern, cell, n_cells: pattern @ torch.nn.functional.one_hot(cell, n_cells).float(),
    "ch14_cut_rows": cut_rows,
    "ch14_restored": lambda patched, clean, corrupt: 1 - (clean - patched) / (clean - corrupt),
    "ch16_trade_off": trade_off,
    "ch16_minimal": minimal,
    "ch16_next_arm": next_arm,
}


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
def test_an_independent_right_answer_runs_inside_the_library(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    exercise = EXERCISES[name]
    assert exercise(RIGHT[name]) is RIGHT[name]
    assert in_the_library(exercise) is RIGHT[name]
    assert f"yours now runs inside {exercise.module}" in capsys.readouterr().out


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
