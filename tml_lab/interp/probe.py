"""Linear probes that cannot be had without what keeps them honest.

    probe = fit_probe(turns, "since_asked", layer=5)
    print(probe)                     # score, control task, baselines, and what pushing its direction does

A probe's score alone says little. Three things come with every one of them:

- a *control task*: random labels, one for each type of input, that a probe can only learn by heart. The score on the
  real labels less the score on these is the *selectivity*. Source: Hewitt and Liang 2019.
- *baselines*: the same fit from the embedding, before any layer, and from the turn's number alone.
- a *causal check*: does pushing the stream along the probe's direction move the decisions, more than pushing it along
  random directions does?
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from tml_lab.interp.baselines import Features, embedding, turn_number
from tml_lab.interp.causal import STRENGTHS, CausalCheck, check_cause, pattern_of
from tml_lab.interp.linear import Readout, Score, fit, score
from tml_lab.interp.names import InterpError
from tml_lab.interp.sets import TurnSet

CONTROL = "control task"


@dataclass(frozen=True, eq=False)
class Probe:
    """A readout of one label from one layer, with its controls; made by `fit_probe`.

    Args:
        label, layer: what it reads, and from the residual stream after which layer.
        readout: the fitted weights.
        toward: the class whose reading the causal check pushes up; None for a number.
        score: on episodes that the fit has not seen: R2 of a number, balanced accuracy of a class.
        control: the score of the same fit on the control task.
        baselines: {"embedding", "turn number", ...: score}.
        causal: what the decisions do when the direction is pushed or taken away.
        direction: float32 [d_model], how the stream moves as the reading rises by one.
        turns: turns fitted on, and turns scored on.
    """

    label: str
    layer: int
    readout: Readout
    toward: object
    score: Score
    control: Score
    baselines: Mapping[str, Score]
    causal: CausalCheck
    direction: np.ndarray
    turns: tuple[int, int]

    def __post_init__(self) -> None:
        whole = isinstance(self.control, Score) and isinstance(self.causal, CausalCheck)
        if not whole or not {"embedding", "turn number"} <= set(self.baselines):
            raise InterpError("a probe needs its control task, its baselines and its causal check: use fit_probe.")

    @property
    def selectivity(self) -> float:
        """Score less control score."""
        return self.score.value - self.control.value

    def read(self, x: np.ndarray) -> np.ndarray:
        """The label's value for each row of `x [rows, d_model]`."""
        return self.readout.predict(x)

    def __str__(self) -> str:
        lines = [
            f"{self.label} from layer {self.layer}: {self.score}, {self.turns[0]} turns fitted, {self.turns[1]} scored",
            f"  control task {self.control}, selectivity {self.selectivity:.2f}",
            *(f"  from {name} {value}" for name, value in self.baselines.items()),
            f"  pushed by one sd: {self.causal.slope:+.2f} logits, {self.causal.times_random:.1f} times a random "
            f"direction; taken away: {self.causal.erased:.2f}, random {self.causal.random_erased.mean():.2f}",
        ]
        return "\n".join(lines)


def control_labels(y: np.ndarray, types: np.ndarray, seed: int) -> np.ndarray:
    """Labels `[rows]` drawn from `y`, the same wherever the type of input is the same."""
    kinds, index = np.unique(types, return_inverse=True)
    return np.random.default_rng(seed).choice(y, len(kinds))[index]


def fit_probe(
    turns: TurnSet,
    label: str,
    layer: int,
    where: np.ndarray | None = None,
    types: Features = lambda turns: turns.turn,
    baselines: Mapping[str, Features] | None = None,
    toward: object = None,
    strengths: tuple[float, ...] = STRENGTHS,
    n_random: int = 3,
    recordings: int = 4,
    seed: int = 0,
) -> Probe:
    """Fit a probe on part of the episodes, score it on the others, and put it to its three tests.

    Args:
        label: a name in `turns.labels`. Floats are read as numbers (turns where they are NaN are left out), all else
            as classes.
        where: bool [turns], which turns to use; None: all.
        types: gives the type of each turn's input for the control task; by default its number, which the clock tells
            the model in every episode alike.
        baselines: further features to fit the same label from, beside the embedding and the turn's number.
        toward: the class to push towards; the last one by default.
        strengths, n_random, recordings: of the causal check, see `check_cause`.
        seed: of the split, the control task and the random directions.

    Raises InterpError when the label is unknown, the layer was not collected, or a class is missing on one side.
    """
    y = turns.label(label)
    numeric = np.issubdtype(y.dtype, np.floating)
    mask = np.ones(len(turns), bool) if where is None else np.asarray(where, bool)
    turns = turns.where(mask & np.isfinite(y) if numeric else mask)
    turns = turns.with_label(CONTROL, control_labels(turns.labels[label], types(turns), seed))
    train, test = turns.split(seed=seed)
    if not numeric:
        _check_classes(label, train, test)

    def at(of: TurnSet) -> np.ndarray:
        return of.at_layer(layer)

    def scored(features: Features, name: str) -> Score:
        guess = fit(features(train), train.labels[name], train.episode, numeric).predict(features(test))
        return score(test.labels[name], guess, test.episode, numeric)

    readout = fit(at(train), train.labels[label], train.episode, numeric)
    ways: dict[str, Features] = {"embedding": embedding, "turn number": turn_number, **(baselines or {})}
    weight, named = _towards(readout, toward)
    return Probe(
        label,
        layer,
        readout,
        named,
        score=score(test.labels[label], readout.predict(at(test)), test.episode, numeric),
        control=scored(at, CONTROL),
        baselines={name: scored(features, label) for name, features in ways.items()},
        causal=check_cause(test, layer, weight, at(train), strengths, n_random, recordings, seed),
        direction=pattern_of(at(train), weight),
        turns=(len(train), len(test)),
    )


def _check_classes(label: str, train: TurnSet, test: TurnSet) -> None:
    """Raises InterpError unless both sides have the same classes, two at least."""
    fitted, scored = (set(np.unique(side.labels[label])) for side in (train, test))
    if fitted != scored:
        raise InterpError(f"a class of {label!r} occurs on one side of the split only: draw more episodes.")
    if len(fitted) < 2:
        raise InterpError(f"{label!r} has one value in all these turns: there is nothing to tell apart.")


def fit_probes(
    turns: TurnSet, label: str, layers: Collection[int] | None = None, **options: object
) -> dict[int, Probe]:
    """A probe of each layer; all that was collected by default. Options and errors as `fit_probe`."""
    chosen = sorted(turns.resid) if layers is None else layers
    return {layer: fit_probe(turns, label, layer, **options) for layer in chosen}  # type: ignore[arg-type]


def _towards(readout: Readout, toward: object) -> tuple[np.ndarray, object]:
    """The weight whose reading is pushed: of the number, or of one class less the mean of the others."""
    if readout.classes is None:
        return readout.weight[:, 0], None
    classes = readout.classes.tolist()
    toward = classes[-1] if toward is None else toward
    if toward not in classes:
        raise InterpError(f"there is no class {toward!r} to push towards: there are {', '.join(map(str, classes))}.")
    own = classes.index(toward)
    rest = np.delete(readout.weight, own, 1).mean(1)
    return readout.weight[:, own] - rest, toward
