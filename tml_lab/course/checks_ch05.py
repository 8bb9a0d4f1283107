"""Exercises of notebooks/05_mixture_of_experts.ipynb."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tml_kernels.experts import experts_reference
from tml_kernels.router import Routed
from tml_lab.course.exercise import Exercise, Mistake
from tml_lab.train.balance import BALANCE_RATE


def _asked(seed: int) -> tuple[Tensor, Tensor, Tensor, int, float]:
    """Tokens, a router's rows, a bias large enough to change choices."""
    generator = torch.Generator().manual_seed(seed)
    n, d, n_experts, n_shared = 8 + seed % 4, 3 + seed % 5, 4 + seed % 4, 1 + seed % 2
    x = torch.randn(n, d, generator=generator)
    weight = 0.7 * torch.randn(n_experts + n_shared, d, generator=generator)
    return x, weight, 0.8 * torch.randn(n_experts, generator=generator), 1 + (seed + 1) % 3, 2.5


def _route(x: Tensor, weight: Tensor, bias: Tensor, top_k: int, scale: float, chosen_by: str = "score + bias",
           weighed: str = "score", sink: bool = True, largest: bool = True) -> Routed:  # fmt: skip
    """As it should be, or not: chosen by the score alone or by logit, weighed with the bias or by softmax, no sink."""
    score, n_experts = (x @ weight.T).sigmoid(), len(bias)
    rank = {"score + bias": score[:, :n_experts] + bias, "score": score[:, :n_experts],
            "logit + bias": (x @ weight.T)[:, :n_experts] + bias}[chosen_by]  # fmt: skip
    chosen = rank.topk(top_k, dim=-1, largest=largest).indices.sort(-1).values
    routed = rank if weighed == "rank" else (x @ weight.T).exp() if weighed == "softmax" else score
    shared = (x @ weight.T).exp() if weighed == "softmax" else score
    kept = torch.cat([routed.gather(1, chosen), shared[:, n_experts:]], 1)
    whole = kept.sum(1, keepdim=True)
    if not sink:
        whole = torch.cat([kept[:, :top_k].sum(1, keepdim=True)] * top_k + [torch.ones_like(whole)] * (
            kept.shape[1] - top_k), 1)  # fmt: skip
    weights = scale * kept / whole
    return weights[:, :top_k], chosen, weights[:, top_k:]


def _unscaled(x: Tensor, weight: Tensor, bias: Tensor, top_k: int, scale: float) -> Routed:
    return _route(x, weight, bias, top_k, 1.0)


ch05_route_reference = Exercise(
    module="tml_kernels.router",
    attribute="route_reference",
    cases=_asked,
    hints=(
        "Two different things: who is chosen (score + bias, routed experts only), and how much the kept ones count.",
        "score = sigmoid(x @ weight.T). chosen = topk(score[:, :n_experts] + bias), then sort by number. Keep the "
        "scores of the chosen and of all shared ones, without the bias.",
        "kept = cat([routed.gather(1, chosen), shared], 1); weights = scale * kept / kept.sum(1, keepdim=True); return "
        "weights[:, :top_k], chosen, weights[:, top_k:].",
    ),
    mistakes=(
        Mistake(lambda *a: _route(*a, chosen_by="score"), "the bias was left out of the choice"),
        Mistake(lambda *a: _route(*a, chosen_by="logit + bias"), "the bias is added to the sigmoid, not to the logit"),
        Mistake(lambda *a: _route(*a, weighed="rank"), "the bias takes part in the choice only, not in the weights"),
        Mistake(lambda *a: _route(*a, weighed="softmax"), "sigmoid scores divided by their sum, not exponentials"),
        Mistake(lambda *a: _route(*a, sink=False), "the shared scores belong into the sum that all are divided by"),
        Mistake(lambda *a: _route(*a, largest=False), "the largest top_k, not the smallest"),
        Mistake(_unscaled, "a token's weights add up to `scale`"),
    ),
    atol=1e-5,
)  # fmt: skip


def _pairs(seed: int) -> tuple[Tensor, ...]:
    """Few tokens, each with its own experts; NaN in the matrices of those whom nobody chose."""
    generator = torch.Generator().manual_seed(seed)
    n, d, inner, n_experts, top_k = 1 + seed % 3, (4, 5)[seed % 2], 3 + seed % 2, 6, 2 + seed % 2
    chosen = torch.rand(n, n_experts, generator=generator).argsort(dim=1)[:, :top_k].sort(1).values
    weight = 0.2 + torch.rand(n, top_k, generator=generator)
    gate_up = torch.randn(n_experts, 2 * inner, d, generator=generator)
    down = torch.randn(n_experts, d, inner, generator=generator)
    unused = [e for e in range(n_experts) if e not in chosen]
    gate_up[unused], down[unused] = torch.nan, torch.nan
    return torch.randn(n, d, generator=generator), weight, chosen, gate_up, down


def _gathered(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor, act: Any = F.silu) -> Tensor:
    gate, up = torch.einsum("nd,nkid->nki", x, gate_up[chosen]).chunk(2, -1)
    return (torch.einsum("nki,nkdi->nkd", act(gate) * up, down[chosen]) * weight[..., None]).sum(1)


def _swapped(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    return _gathered(x, weight, chosen, torch.cat(gate_up.chunk(2, dim=1)[::-1], 1), down)


def _unweighted(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    return _gathered(x, torch.ones_like(weight), chosen, gate_up, down)


def _first_only(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    return _gathered(x, weight[:, :1], chosen[:, :1], gate_up, down)


def _one_choice_for_all(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    return _gathered(x, weight, chosen[:1].expand_as(chosen), gate_up, down)


ch05_experts_gathered = Exercise(
    module="tml_kernels.experts",
    attribute="experts_gathered",
    cases=_pairs,
    hints=(
        "gate_up[chosen] is [n, top_k, 2 * inner, d]: each pair of token and expert has its own matrix. That is the "
        "gather. What is the product of x [n, d] with it?",
        "torch.einsum('nd,nkid->nki', x, gate_up[chosen]).chunk(2, dim=-1) gives gate and up; then silu(gate) * up.",
        "said = torch.einsum('nki,nkdi->nkd', silu(gate) * up, down[chosen]); (said * weight[..., None]).sum(1).",
    ),
    mistakes=(
        Mistake(experts_reference, "what nobody chose must not be read (it holds NaN here): pick first, then multiply"),
        Mistake(_swapped, "gate and up are swapped: the first `inner` rows are the gate"),
        Mistake(_unweighted, "each expert counts by its weight"),
        Mistake(lambda *a: _gathered(*a, act=torch.sigmoid), "the gate is silu(g) = g * sigmoid(g), not sigmoid(g)"),
        Mistake(_first_only, "a token has top_k experts, and their answers are added"),
        Mistake(_one_choice_for_all, "every token has chosen for itself"),
    ),
    atol=1e-4,
)  # fmt: skip


def _many(seed: int) -> tuple[Tensor, ...]:
    """More tokens, no NaN; in some cases an expert that nobody chose."""
    generator = torch.Generator().manual_seed(50 + seed)
    n, d, inner, n_experts, top_k = 3 + seed, 4, 3, (3, 7)[seed % 2], 2
    chosen = torch.rand(n, n_experts, generator=generator).argsort(dim=1)[:, :top_k]
    weight = 0.2 + torch.rand(n, top_k, generator=generator)
    gate_up = torch.randn(n_experts, 2 * inner, d, generator=generator)
    return torch.randn(n, d, generator=generator), weight, chosen, gate_up, torch.randn(
        n_experts, d, inner, generator=generator)  # fmt: skip


def _last_writes(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """Each expert puts its answers in place of what is there."""
    out = torch.zeros_like(x)
    for e in range(len(down)):
        token, slot = (chosen == e).nonzero(as_tuple=True)
        gate, up = (x[token] @ gate_up[e].T).chunk(2, -1)
        out[token] = (F.silu(gate) * up) @ down[e].T * weight[token, slot, None]
    return out


def _first_slots_weight(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    return experts_reference(x, weight[:, :1].expand_as(weight), chosen, gate_up, down)


def _by_number(x: Tensor, weight: Tensor, chosen: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """The weights of the unsorted pairs with the experts of the sorted ones."""
    return experts_reference(x, weight, chosen.sort(1).values, gate_up, down)


ch05_experts_grouped = Exercise(
    module="tml_kernels.experts",
    attribute="experts_grouped",
    cases=_many,
    hints=(
        "Expert by expert: which tokens chose it, and in which of their slots? (chosen == e).nonzero(as_tuple=True).",
        "One product for all of them: swiglu(x[token], gate_up[e], down[e]), times weight[token, slot, None].",
        "out = zeros(n, d); for e in range(len(down)): out = out.index_add(0, token, said). Skip idle experts.",
    ),
    mistakes=(
        Mistake(_unweighted, "each expert counts by its weight"),
        Mistake(_last_writes, "a token has several experts: add to what is there, do not replace it"),
        Mistake(_first_slots_weight, "each (token, expert) pair has its weight: weight[token, slot]"),
        Mistake(_by_number, "sorted experts, unsorted weights: a pair's weight must move with it"),
    ),
    atol=1e-4,
)  # fmt: skip


def _loads(seed: int) -> tuple[Tensor, Tensor, float]:
    """Counts, one of them exactly the mean in some cases."""
    generator = torch.Generator().manual_seed(seed)
    n = 4 + seed % 5
    load = torch.randint(0, 20, (n,), generator=generator).float()
    if seed % 3 == 2:
        load[0] = load[1:].mean()
    return torch.randn(n, generator=generator), load, (BALANCE_RATE, 0.1, 0.01)[seed % 3]


def _in_proportion(bias: Tensor, load: Tensor, rate: float = BALANCE_RATE) -> Tensor:
    return bias + rate * (load.mean() - load)


def _of_the_share(bias: Tensor, load: Tensor, rate: float = BALANCE_RATE) -> Tensor:
    return bias + rate * (load.mean() - load) / load.mean()


ch05_nudged = Exercise(
    module="tml_lab.train.balance",
    attribute="nudged",
    cases=_loads,
    hints=(
        "Who has less than the mean shall be chosen more often. Does its bias go up or down?",
        "Only the direction counts, not how much is missing: sign(), which is 0 where nothing is missing.",
        "bias + rate * (load.mean() - load).sign()",
    ),
    mistakes=(
        Mistake(
            lambda bias, load, rate=BALANCE_RATE: bias - rate * (load.mean() - load).sign(),
            "the wrong way: the busy become busier, until one expert has it all",
        ),
        Mistake(_in_proportion, "steps of one size: the sign of what is missing, not its amount"),
        Mistake(_of_the_share, "steps of one size: the sign of what is missing, not its share"),
        Mistake(
            lambda bias, load, rate=BALANCE_RATE: rate * (load.mean() - load).sign(),
            "the bias adds up over the batches: begin with the old one",
        ),
        Mistake(
            lambda bias, load, rate=BALANCE_RATE: bias + rate * torch.where(load > load.mean(), -1.0, 1.0),
            "an expert with exactly the mean load stays where it is",
        ),
    ),
    atol=1e-6,
)  # fmt: skip
