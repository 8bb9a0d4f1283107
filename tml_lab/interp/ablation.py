"""Ablation over a set of recordings: what each head, expert or neuron matters for the decisions, one at a time.

    table = ablate(model, tokenizer, recordings, baseline="mean")
    table.flipped.sel(part="L3H2", kind="begins")          share of the turns where speech began, and now does not
    table.change.sel(kind="silent").max("part")            how far <speak> less <silent> moves, at most

A neuron is written `L3E7N12`: number 12 of the `d_expert` inside expert 7 of layer 3. Its output is its activation
times the expert's weight times a column of `down`; that is taken away behind the ShortConv, exactly.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
import xarray as xr
from rich.progress import track
from torch import Tensor

from tml_kernels.experts import gated
from tml_lab.interp.cache import full_name, run_with_cache
from tml_lab.interp.circuit import KINDS, Case, case, decide
from tml_lab.interp.components import Parts, StandIns, block_of, masked_hooks, output_names, through
from tml_lab.interp.names import InterpError, check_layer
from tml_lab.interp.stand_ins import means, resample
from tml_lab.interp.watch import Hook, Hooks
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.moe import MoE
from tml_lab.model.text import DECISIONS, SILENT, SPEAK, TextTokenizer
from tml_lab.stream.recording import Recording

Baseline = Literal["zero", "mean", "resample"]
_NEURON = re.compile(r"L(\d+)([ES])(\d+)N(\d+)")


def ablate(
    model: InteractionModel, tokenizer: TextTokenizer, recordings: Sequence[Recording],
    parts: Sequence[str] | None = None, baseline: Baseline = "mean", seed: int = 0, progress: bool = True,
) -> xr.Dataset:  # fmt: skip
    """Take out each part alone, and decide all turns of all recordings anew; what was said before stays as it was.

    Args:
        parts: labels as in `Parts`, and neurons; all heads and experts by default.
        baseline: what stands in its place: nothing, its mean by role over these recordings, or what it gave in another
            of them (see `tml_lab.interp.stand_ins`). Neurons: nothing.
        seed: of the draws of `resample`.

    Returns over `part` and `kind` of turn (`KINDS`): `change`, the mean change of `<speak>` less `<silent>`; `moved`,
    the mean of its size; `flipped`, the share of turns decided otherwise; and `turns` per kind. NaN where a kind has no
    turns. Raises InterpError for a part that is not there, or too few recordings.
    """
    every = Parts(model.cfg)
    labels = list(every.labels if parts is None else parts)
    jobs = [(label, *_layer_of(model, every, label)) for label in labels]
    if baseline not in ("zero", "mean", "resample"):
        raise InterpError(f"no baseline is called {baseline!r}; choose zero, mean or resample.")
    if not recordings:
        raise InterpError("there is no recording to ablate anything in.")
    average = means(model, tokenizer, recordings) if baseline == "mean" else StandIns()
    shape = len(labels), len(KINDS)
    sums = {name: np.zeros(shape) for name in ("change", "moved", "flipped")}
    turns, rng = np.zeros(len(KINDS)), np.random.default_rng(seed)
    for n, recording in enumerate(track(recordings, "ablating", disable=not progress)):
        whole = case(model, tokenizer, recording)
        stand_ins = average
        if baseline == "resample":
            others = [recordings[i] for i in range(len(recordings)) if i != n]
            stand_ins = _drawn(model, tokenizer, whole, others, rng)
        inputs = _layer_inputs(model, tokenizer, recording)
        turns += np.bincount(whole.kinds, minlength=len(KINDS))
        for row, (label, layer, is_neuron) in enumerate(jobs):
            hooks = (
                neuron_hooks(model, label) if is_neuron else masked_hooks(model, 1 - every.mask([label]), stand_ins)
            )
            with torch.no_grad():
                _count(sums, row, whole, decide(model, whole, hooks, layer, inputs[layer]))
    with np.errstate(invalid="ignore"):
        data = {name: (("part", "kind"), (total / turns).astype(np.float32)) for name, total in sums.items()}
    coords = {"part": labels, "kind": list(KINDS), "layer": ("part", [layer for _, layer, _ in jobs])}
    return xr.Dataset({**data, "turns": ("kind", turns.astype(int))}, coords, {"baseline": baseline})


def _layer_of(model: InteractionModel, every: Parts, label: str) -> tuple[int, bool]:
    """The layer of a part, and whether it is a neuron."""
    if _NEURON.fullmatch(label):
        return _read_neuron(model, label)[0], True
    return every.layer_of(label), False


def _layer_inputs(model: InteractionModel, tokenizer: TextTokenizer, recording: Recording) -> list[Tensor]:
    """The residual stream before each layer: what comes before a part need not be computed again."""
    names = [full_name("resid_pre", layer) for layer in range(model.cfg.n_layers)]
    cache = run_with_cache(model, tokenizer, recording, names)
    return [cache[name] for name in names]


def _drawn(
    model: InteractionModel, tokenizer: TextTokenizer, whole: Case, others: Sequence[Recording],
    rng: np.random.Generator,
) -> StandIns:  # fmt: skip
    """A resample from one of the other recordings: all of them at once would fill the memory."""
    if not others:
        raise InterpError("a resample needs at least two recordings: each is given what another one computed.")
    other = others[int(rng.integers(len(others)))]
    cache = run_with_cache(model, tokenizer, other, output_names(model.cfg))
    return resample(whole.recording.tokens, [cache], rng)


def _count(sums: dict[str, np.ndarray], row: int, whole: Case, logits: Tensor) -> None:
    """Add one recording's turns to the sums, by kind of turn."""
    speak, silent = DECISIONS.index(SPEAK), DECISIONS.index(SILENT)
    moved = (logits - whole.logits)[:, [speak, silent]].double().cpu().numpy()  # [turns, 2]
    change = moved[:, 0] - moved[:, 1]
    flipped = (logits.argmax(-1) != whole.logits.argmax(-1)).double().cpu().numpy()
    for name, values in (("change", change), ("moved", np.abs(change)), ("flipped", flipped)):
        sums[name][row] += np.bincount(whole.kinds, values, len(KINDS))


def _read_neuron(model: InteractionModel, label: str) -> tuple[int, bool, int, int]:
    """`(layer, shared, expert, neuron)`. Raises InterpError for one that the model has not."""
    found = _NEURON.fullmatch(label)
    if found is None:
        raise InterpError(f"{label!r} is no neuron: write it like L3E7N12, or L3S0N12 of a shared expert.")
    layer, expert, neuron = int(found[1]), int(found[3]), int(found[4])
    check_layer(model.cfg, layer)
    mlp = block_of(model, layer).mlp
    if not isinstance(mlp, MoE):
        raise InterpError(f"layer {layer} has a dense MLP and no experts, so no {label}.")
    n = mlp.n_shared if found[2] == "S" else mlp.n_experts
    if expert >= n or neuron >= model.cfg.d_expert:
        raise InterpError(f"there is no {label}: {n} such experts, neurons 0..{model.cfg.d_expert - 1} in each.")
    return layer, found[2] == "S", expert, neuron


def neuron_hooks(model: InteractionModel, label: str) -> Hooks:
    """Hooks that take one neuron's output away, in a whole recording offline. They need `NEEDS`."""
    layer, shared, expert, neuron = _read_neuron(model, label)

    def take_away(out: Tensor, hook: Hook) -> Tensor:
        if hook.piece.start:
            raise InterpError(f"{label} can be ablated in whole recordings only, not while streaming.")
        given = _neuron_output(model, layer, shared, expert, neuron, hook)
        return out - through(block_of(model, layer).mlp_conv, given)

    return [(full_name("mlp_out", layer), take_away)]


def _neuron_output(
    model: InteractionModel, layer: int, shared: bool, expert: int, neuron: int, hook: Hook
) -> Tensor:
    """What one neuron adds before the ShortConv: [positions, d_model]."""
    block = block_of(model, layer)
    mlp = block.mlp
    assert isinstance(mlp, MoE)
    if shared:
        into, down, weight = mlp.shared_gate_up[expert], mlp.shared_down[expert], hook.tap["shared_weights"][:, expert]
    else:
        into, down = mlp.gate_up[expert], mlp.down[expert]
        weight = (hook.tap["expert_weights"] * (hook.tap["experts"] == expert)).sum(-1)  # [positions]
    inner = down.shape[1]
    x = block.mlp_norm(hook.tap["resid_mid"][0])  # [positions, d_model]
    active = gated(x @ into[[neuron, inner + neuron]].T)[:, 0]  # [positions]
    return (active * weight)[:, None] * down[:, neuron]

