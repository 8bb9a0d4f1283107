"""The circuit of a decision: the few heads and experts that make it alone, everything else held at its mean.

    cases = [case(model, tokenizer, recording) for recording in recordings]
    closing = close_gates(model, cases, means(model, tokenizer, recordings), budget=9)
    mask = Parts(model.cfg).mask(closing.circuit)
    preserved(cases, decide_all(model, cases, mask, stand_ins))       is it faithful?
    preserved(cases, decide_all(model, cases, 1 - mask, stand_ins))   is it complete?

The past is given: what was said and heard before stays as it was, and each turn is decided anew. Silence is the
majority, and most turns decide as the turn before did: so shares are counted apart for turns with speech, with silence,
and for those where it begins or ends.
Source: Wang et al. 2022 (faithfulness, completeness); Louizos et al. 2018 (hard-concrete gates); Cao et al. 2021
(gates on a model's parts, its weights fixed).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from rich.progress import track
from torch import Tensor

from tml_lab.interp.cache import EMBED, at_once, run_with_cache
from tml_lab.interp.components import NEEDS, Parts, StandIns, masked_hooks
from tml_lab.interp.names import InterpError
from tml_lab.interp.watch import Hooks, Watch
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.text import DECISIONS, SILENT, SPEAK, TextTokenizer
from tml_lab.stream.recording import Recording
from tml_lab.stream.replay import decision_positions

KINDS = ("silent", "begins", "speaks", "ends")
"""Of a turn: silent as before, speech begins, goes on, ends (the first turn without it)."""


@dataclass(frozen=True, eq=False)
class Case:
    """One recording, ready to be decided again and again.

    Args:
        x: float32 [positions, d_model], its embeddings.
        logits: float32 [turns, decisions], the whole model's, in the order of `DECISIONS`.
        decision_ids: of `DECISIONS` in the vocabulary.
    """

    recording: Recording
    x: Tensor
    logits: Tensor
    decision_ids: tuple[int, ...]

    @property
    def decided(self) -> np.ndarray:
        """int64 [turns]: the whole model's decision, an index into `DECISIONS`."""
        return self.logits.argmax(-1).cpu().numpy()

    @property
    def kinds(self) -> np.ndarray:
        """int64 [turns]: an index into `KINDS`."""
        now = self.decided == DECISIONS.index(SPEAK)
        before = np.concatenate([[False], now[:-1]])
        return np.select([now & ~before, now & before, before], [1, 2, 3], 0)


@torch.no_grad()
def case(model: InteractionModel, tokenizer: TextTokenizer, recording: Recording) -> Case:
    """Run the whole model once. Raises what `run_with_cache` raises, and InterpError for a deterministic model."""
    if model.deterministic:
        raise InterpError("parts are taken out inside the blocks: set model.deterministic = False for it.")
    cache = run_with_cache(model, tokenizer, recording, [EMBED])
    ids = tuple(tokenizer.id(name) for name in DECISIONS)
    at = torch.as_tensor(cache.decision_positions, device=cache.logits.device)
    return Case(recording, cache[EMBED], cache.logits[at][:, ids], ids)


def decide(
    model: InteractionModel, case: Case, hooks: Hooks, layer: int = 0, resid_pre: Tensor | None = None
) -> Tensor:
    """The decisions' logits under hooks: float32 [turns, decisions]. Gradients reach what the hooks hold.

    Args:
        layer, resid_pre: begin with this layer, on its input [positions, d_model]; the hooks stand there or later.
    """
    watch = Watch(model.cfg, hooks, needs=NEEDS)
    x = case.x if resid_pre is None else resid_pre
    hidden = at_once(model, x, watch, case.recording.tokens, layer)  # [positions, d_model]
    at = torch.as_tensor(decision_positions(case.recording), device=hidden.device)
    return model.text_logits(hidden[at])[:, case.decision_ids].float()


def decide_all(
    model: InteractionModel, cases: Sequence[Case], mask: Tensor, stand_ins: StandIns | None = None, shift: float = 0.0
) -> list[np.ndarray]:
    """What is decided with `mask [parts]` of the model: per case int64 [turns], indices into `DECISIONS`.

    `shift` is added to the logit of `<speak>` (see `fit_shift`).
    """
    return [choose(logits, shift) for logits in logits_all(model, cases, mask, stand_ins)]


@torch.no_grad()
def logits_all(
    model: InteractionModel, cases: Sequence[Case], mask: Tensor, stand_ins: StandIns | None = None
) -> list[Tensor]:
    """The decisions' logits with `mask [parts]` of the model: per case float32 [turns, decisions]."""
    hooks = masked_hooks(model, mask, stand_ins)
    return [decide(model, each, hooks) for each in cases]


def choose(logits: Tensor, shift: float = 0.0) -> np.ndarray:
    """The likeliest decisions of `logits [turns, decisions]`, `shift` added to `<speak>`: int64 [turns]."""
    push = torch.zeros(len(DECISIONS), device=logits.device)
    push[DECISIONS.index(SPEAK)] = shift
    return (logits + push).argmax(-1).cpu().numpy()


@torch.no_grad()
def fit_shift(
    model: InteractionModel, cases: Sequence[Case], mask: Tensor, stand_ins: StandIns | None = None,
    kinds: Sequence[str] = (),
) -> float:  # fmt: skip
    """The one number that, added to `<speak>` less `<silent>`, keeps most decisions, speech and silence counted alike.

    What is held at its mean may leave all decisions on one side though their order is right: this tells such a circuit
    from one that knows nothing. Fit it on other recordings than those it is measured on. `kinds`: of turns that count;
    all by default.
    """
    speak, silent = DECISIONS.index(SPEAK), DECISIONS.index(SILENT)
    logits = [row.cpu().numpy() for row in logits_all(model, cases, mask, stand_ins)]
    difference = np.concatenate([row[:, speak] - row[:, silent] for row in logits])
    spoke = np.concatenate([each.decided == speak for each in cases])
    counted = np.isin(np.concatenate([each.kinds for each in cases]), [KINDS.index(k) for k in kinds or KINDS])
    difference, spoke = difference[counted], spoke[counted]
    order = np.unique(difference)
    between = np.concatenate([[0.0], (order[1:] + order[:-1]) / 2])  # no shift, if nothing is better
    balanced = [(difference[spoke] > t).mean() + (difference[~spoke] <= t).mean() for t in between]
    return -float(between[int(np.argmax(balanced))])


@dataclass(frozen=True)
class Preserved:
    """Shares of turns decided as the whole model decided them.

    Args:
        overall: of all turns.
        balanced: mean of the shares where it spoke and where it was silent; 0.5 is what a constant gets.
        kinds: for each of `KINDS`; NaN where there are no such turns. turns: how many there are.
    """

    overall: float
    balanced: float
    kinds: dict[str, float]
    turns: dict[str, int]


def preserved(cases: Sequence[Case], decided: Sequence[np.ndarray]) -> Preserved:
    """Compare decisions (per case [turns]) with the whole model's."""
    same = np.concatenate([np.asarray(d) == each.decided for each, d in zip(cases, decided, strict=True)])
    kinds = np.concatenate([each.kinds for each in cases])

    def share(*which: str) -> float:
        here = same[np.isin(kinds, [KINDS.index(kind) for kind in which])]
        return float(here.mean()) if len(here) else math.nan

    balanced = float(np.nanmean([share("begins", "speaks"), share("silent", "ends")]))
    counts = {kind: int((kinds == n).sum()) for n, kind in enumerate(KINDS)}
    return Preserved(float(same.mean()), balanced, {kind: share(kind) for kind in KINDS}, counts)


def trivial(cases: Sequence[Case]) -> dict[str, Preserved]:
    """What needs no model: always silent, and as the turn before was decided."""
    silent = [np.full(len(each.decided), DECISIONS.index(SILENT)) for each in cases]
    before = [np.concatenate([[DECISIONS.index(SILENT)], each.decided[:-1]]) for each in cases]
    return {"always silent": preserved(cases, silent), "as the turn before": preserved(cases, before)}


def _weights(cases: Sequence[Case], kinds: Sequence[str]) -> list[Tensor]:
    """Per case [turns]: each of the kinds of turn counts as much as another, no others count; all of them sum to the
    number of cases."""
    counts = np.bincount(np.concatenate([each.kinds for each in cases]), minlength=len(KINDS))
    counts[[n for n, kind in enumerate(KINDS) if kind not in kinds]] = 0
    scale = len(cases) * (counts > 0) / (max(1, (counts > 0).sum()) * np.maximum(counts, 1))
    return [torch.as_tensor(scale[each.kinds], dtype=torch.float32, device=each.x.device) for each in cases]


def loss_of(
    model: InteractionModel, case: Case, weight: Tensor, mask: Tensor, stand_ins: StandIns | None
) -> Tensor:
    """KL divergence from the whole model's decisions to the masked one's, weighted by turn."""
    mine = F.log_softmax(decide(model, case, masked_hooks(model, mask, stand_ins)), -1)  # [turns, decisions]
    theirs = F.log_softmax(case.logits, -1)
    return (weight * (theirs.exp() * (theirs - mine)).sum(-1)).sum()


BETA, LOW, HIGH = 2 / 3, -0.1, 1.1  # of the hard-concrete gates, as Louizos et al. have them


def _gates(openness: Tensor, noise: Tensor) -> Tensor:
    """Hard-concrete gates in 0..1, exactly 0 or 1 most of the time."""
    soft = torch.sigmoid((noise.log() - (1 - noise).log() + openness) / BETA)
    return (soft * (HIGH - LOW) + LOW).clamp(0, 1)


def _open(openness: Tensor) -> Tensor:
    """The probability that each gate is not zero."""
    return torch.sigmoid(openness - BETA * math.log(-LOW / HIGH))


@dataclass(frozen=True)
class Closing:
    """How gates were closed.

    Args:
        order: the parts, from the one whose gate stayed open longest.
        circuit: as many as the budget allows, whose gates were open most in the last third of the steps.
        losses: float32 [steps], without the price.
    """

    order: tuple[str, ...]
    circuit: tuple[str, ...]
    losses: np.ndarray


def close_gates(
    model: InteractionModel, cases: Sequence[Case], stand_ins: StandIns | None, budget: int, steps: int = 300,
    among: Sequence[str] | None = None, kinds: Sequence[str] = KINDS, seed: int = 0, rate: float = 0.15,
    price: float = 40.0, progress: bool = True,
) -> Closing:  # fmt: skip
    """Order parts by need: every part has a gate, and they are closed bit by bit.

    Over the first two thirds of the steps the number of gates that may be open falls from all to `budget`; gradients
    decide which. Parts are ordered by how long their gates stayed open.

    Args:
        cases: one a step, in random order.
        among: whose gates are open at first; all by default, the others stay closed.
        kinds: of turns that count; `("silent", "begins")` asks what begins to speak.
        price: what a whole model too many costs, in nats.
    """
    parts, rng = Parts(model.cfg), torch.Generator().manual_seed(seed)
    there = parts.mask(parts.labels if among is None else among)
    first, last = float(there.mean()), budget / len(parts)
    openness = torch.full((len(parts),), 2.5, requires_grad=True)
    optimizer, weights = torch.optim.Adam([openness], lr=rate), _weights(cases, kinds)
    stayed, late, queue, losses = torch.zeros(len(parts)), torch.zeros(len(parts)), list[int](), []
    for step in track(range(steps), "closing gates", disable=not progress):
        queue = queue or torch.randperm(len(cases), generator=rng).tolist()
        n = queue.pop()
        allowed = max(last, first + (last - first) * step / (2 / 3 * steps))
        noise = torch.rand(len(parts), generator=rng).clamp(1e-4, 1 - 1e-4)
        loss = loss_of(model, cases[n], weights[n], there * _gates(openness, noise), stand_ins)
        losses.append(float(loss.detach()))
        loss = loss + price * F.relu((there * _open(openness)).mean() - allowed)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        stayed += there * (_open(openness).detach() + 1e-3)
        late += (step >= 2 / 3 * steps) * there * (_open(openness).detach() + 1e-3)
    order, best = (torch.argsort(-total, stable=True).tolist() for total in (stayed, late))
    circuit = tuple(parts.labels[n] for n in sorted(best[:budget]))
    return Closing(tuple(parts.labels[n] for n in order if there[n]), circuit, np.array(losses, np.float32))


def exchange(
    model: InteractionModel, cases: Sequence[Case], stand_ins: StandIns | None, circuit: Sequence[str],
    kinds: Sequence[str] = KINDS, tries: int = 12, progress: bool = True,
) -> list[str]:  # fmt: skip
    """A circuit of the same size with a smaller loss on the cases: parts inside it are exchanged for parts outside.

    The gradient of the mask says what each exchange would bring, to first order; the most promising ones are tried one
    after the other, and kept when the loss itself falls.
    """
    parts, kept, weights = Parts(model.cfg), set(circuit), _weights(cases, kinds)

    def look(labels: set[str]) -> tuple[float, Tensor]:
        mask = parts.mask(labels).requires_grad_()
        total = 0.0
        for each, weight in zip(cases, weights, strict=True):
            loss = loss_of(model, each, weight, mask, stand_ins)
            loss.backward()
            total += float(loss.detach())
        assert mask.grad is not None
        return total, mask.grad

    best, slope = look(kept)
    tried: set[tuple[str, str]] = set()
    for _ in track(range(tries), "exchanging", disable=not progress):
        promise = {
            (out, new): float(slope[parts.index(new)] - slope[parts.index(out)])
            for out in kept for new in parts.labels if new not in kept and (out, new) not in tried
        }  # fmt: skip
        if not promise:
            break
        pair = min(promise, key=promise.__getitem__)
        tried.add(pair)
        loss, there = look(kept - {pair[0]} | {pair[1]})
        if loss < best:
            best, slope, kept = loss, there, kept - {pair[0]} | {pair[1]}
    return sorted(kept, key=parts.index)
