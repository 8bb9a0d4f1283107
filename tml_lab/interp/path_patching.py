"""Path patching: what one part says to another, along the edge between them, and to nobody else.

    edge = Edge("L2H1", "L4H0", inputs="q")
    run_with_edges(base, [edge])                          the receiver's queries do not see the sender: an edge cut
    run_with_edges(base, [edge], source=other_cache)      they see what the sender gave in another run: a path patched
    patch_paths(base, other_cache, "decision")            every sender's direct effect on the decision

The receiver reads the residual stream with the sender's output exchanged; every other reader sees it as it was. What
the receiver then does differently runs on freely. With the decision as receiver only the final norm and the unembedding
see the change.
Source: Wang et al. 2022 (IOI); Goldowsky-Dill et al. 2023, "Localizing Model Behavior with Path Patching".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import xarray as xr
from rich.progress import track
from torch import Tensor

from tml_lab.interp.cache import Cache, full_name, run_offline
from tml_lab.interp.components import NEEDS, Parts, StandIns, block_of, mlp_outputs, outputs_of, through
from tml_lab.interp.decision import decision
from tml_lab.interp.names import InterpError
from tml_lab.interp.patching import check_alike
from tml_lab.interp.watch import Hook, HookFunction
from tml_lab.model.backbone import Block
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.moe import MoE
from tml_lab.model.tap import Tap

Inputs = Literal["all", "q", "k", "v"]
DECISION = "decision"
Source = Cache | StandIns | None
"""What comes in the sender's place: another recording's run, a stand-in (such as `Means`), or nothing."""


@dataclass(frozen=True)
class Edge:
    """From a part to a later one.

    Args:
        sender: a head or an expert, as `L2H1`. receiver: another, or `"decision"`.
        inputs: of a receiving head, what sees the change: its queries, keys, values, or all of them.
    """

    sender: str
    receiver: str = DECISION
    inputs: Inputs = "all"


@torch.no_grad()
def run_with_edges(base: Cache, edges: Sequence[Edge], source: Source = None) -> Cache:
    """One offline pass over the recording of `base`, with all these edges patched (or cut) at once.

    What an edge carries is the difference between what the sender gives in this very pass and what comes in its place.
    `base` may be empty of tensors; a source needs `output_names`. Raises InterpError for an edge that does not lead to
    a later part, or a source with other positions.
    """
    model = base.model
    if model.deterministic:
        raise InterpError("edges are cut inside the blocks: set model.deterministic = False for it.")
    if isinstance(source, Cache):
        check_alike(base, source)
    for edge in edges:
        _check(model, edge)
    passed = _Passed({}, {})
    receivers = dict.fromkeys(edge.receiver for edge in edges)
    hooks = [_receive(model, label, [e for e in edges if e.receiver == label], passed) for label in receivers]
    # after the receivers: a part may be both, and then sends what it gives by now
    hooks += [_send(model, label, source, passed) for label in dict.fromkeys(edge.sender for edge in edges)]
    return run_offline(model, base.tokenizer, base.recording, (), hooks, {*NEEDS, "resid_pre", "k", "v"})


def patch_paths(
    base: Cache, source: Source, receiver: str = DECISION, senders: Sequence[str] | None = None, inputs: Inputs = "all",
    progress: bool = True,
) -> xr.DataArray:  # fmt: skip
    """Every sender's edge to one receiver, patched alone: the change of `<speak>` less `<silent>`, `[sender, turn]`.

    `senders`: all parts before the receiver by default. Raises as `run_with_edges`.
    """
    every = Parts(base.model.cfg)
    before = every.labels if receiver == DECISION else every.labels[: every.index(receiver)]
    if senders is None:
        senders = [label for label in before if receiver == DECISION or _place(every, label) < _place(every, receiver)]
    own = decision(base).logit_difference
    rows = [
        decision(run_with_edges(base, [Edge(sender, receiver, inputs)], source)).logit_difference - own
        for sender in track(senders, "patching paths", disable=not progress)
    ]
    values = np.stack(rows) if rows else np.zeros((0, base.turns), np.float32)
    coords = {"sender": list(senders), "turn": np.arange(base.turns)}
    return xr.DataArray(values, coords, ("sender", "turn"), "change", {"receiver": receiver, "inputs": inputs})


@dataclass
class _Passed:
    """What is known so far in a pass: how each sender changes the residual stream, and what renewed experts give."""

    changes: dict[str, Tensor]
    renewed: dict[str, Tensor]

    def change(self, edges: Sequence[Edge], inputs: str) -> Tensor | None:
        """The sum of what the edges change for queries, keys or values: [positions, d_model], or None."""
        found = [self.changes[edge.sender] for edge in edges if edge.inputs in (inputs, "all")]
        return sum(found[1:], found[0]) if found else None


def _is_head(label: str) -> bool:
    return "H" in label


def _place(parts: Parts, label: str) -> tuple[int, bool]:
    """Before which others a part is computed: heads before the MLP of their layer."""
    return parts.layer_of(label), not _is_head(label)


def _check(model: InteractionModel, edge: Edge) -> None:
    parts = Parts(model.cfg)
    start = _place(parts, edge.sender)
    if edge.inputs not in ("all", "q", "k", "v"):
        raise InterpError(f"a head has no inputs called {edge.inputs!r}; choose all, q, k or v.")
    if edge.inputs != "all" and not _is_head(edge.receiver):
        raise InterpError(f"{edge.receiver} has no queries, keys or values: leave inputs out.")
    if edge.receiver != DECISION and start >= _place(parts, edge.receiver):
        raise InterpError(f"no edge leads from {edge.sender} to {edge.receiver}, which is not computed after it.")


def _send(model: InteractionModel, label: str, source: Source, passed: _Passed) -> tuple[str, HookFunction]:
    """A hook that notes how another thing in the sender's place would change the residual stream."""
    parts = Parts(model.cfg)
    layer = parts.layer_of(label)
    heads, mlp = parts.spans(layer)
    block, at = block_of(model, layer), parts.index(label)

    def from_head(z: Tensor, hook: Hook) -> None:
        head = at - heads.start
        weight = block.attn.o_proj.weight.view(-1, *z.shape[1:])[:, head]  # [d_model, d_head]
        other = _other_z(source, layer, hook, z)[:, head]
        passed.changes[label] = through(block.attn_conv, (other - z[:, head]) @ weight.T)

    def from_expert(out: Tensor, hook: Hook) -> None:
        now = passed.renewed.get(label)
        if now is None:
            now = outputs_of(block, hook.tap["resid_mid"][0], _routed(block, hook))[:, at - mlp.start]
        other = _other_out(source, layer, hook)
        other = torch.zeros_like(now) if other is None else other[:, at - mlp.start]
        passed.changes[label] = through(block.mlp_conv, other - now)

    return (full_name("z", layer), from_head) if _is_head(label) else (full_name("mlp_out", layer), from_expert)


def _routed(block: Block, hook: Hook) -> tuple[Tensor, Tensor, Tensor] | None:
    """What the router said in this pass."""
    if not isinstance(block.mlp, MoE):
        return None
    return hook.tap["expert_weights"], hook.tap["experts"], hook.tap["shared_weights"]


def _other_z(source: Source, layer: int, hook: Hook, like: Tensor) -> Tensor:
    """What comes in the heads' place: [positions, heads, d_head]."""
    other = source["z", layer] if isinstance(source, Cache) else source.z(layer, hook) if source else None
    return torch.zeros_like(like) if other is None else other


def _other_out(source: Source, layer: int, hook: Hook) -> Tensor | None:
    """What comes in the experts' place: [positions, experts, d_model]."""
    return mlp_outputs(source, layer) if isinstance(source, Cache) else source.out(layer, hook, 0) if source else None


def _receive(
    model: InteractionModel, label: str, edges: Sequence[Edge], passed: _Passed
) -> tuple[str, HookFunction]:
    """A hook that lets the receiver compute anew from a residual stream with the changes."""
    if label == DECISION:
        last = full_name("resid_post", model.cfg.n_layers - 1)
        return last, lambda x, hook: x + sum(passed.changes[edge.sender] for edge in edges)
    parts = Parts(model.cfg)
    layer = parts.layer_of(label)
    heads, mlp = parts.spans(layer)
    block, at = block_of(model, layer), parts.index(label)

    def head(z: Tensor, hook: Hook) -> Tensor:
        z[:, at - heads.start] = _attend(block, hook, edges, passed)[:, at - heads.start]
        return z

    def expert(out: Tensor, hook: Hook) -> Tensor:
        mid, change = hook.tap["resid_mid"][0], passed.change(edges, "all")
        assert change is not None
        passed.renewed[label] = new = outputs_of(block, mid + change, None)[:, at - mlp.start]
        return out + through(block.mlp_conv, new - outputs_of(block, mid, _routed(block, hook))[:, at - mlp.start])

    return (full_name("z", layer), head) if _is_head(label) else (full_name("mlp_out", layer), expert)


def _attend(block: Block, hook: Hook, edges: Sequence[Edge], passed: _Passed) -> Tensor:
    """A layer's `z [positions, heads, d_head]`, where queries, keys and values may read different residual streams."""
    resid, attn = hook.tap["resid_pre"][0], block.attn  # [positions, d_model]
    changes = {name: passed.change(edges, name) for name in "qkv"}
    fresh: dict[str, Tensor] = {}
    for name in "kv":
        if (change := changes[name]) is not None:
            x = block.attn_norm(resid + change)[None]  # [1, positions, d_model]
            projected = attn.k_conv(attn.k_proj(x))[0] if name == "k" else attn.v_conv(attn.v_proj(x))[0]
            split = projected.view(1, len(resid), attn.n_kv_heads, attn.d_head)
            fresh[name] = attn.k_norm(split) if name == "k" else split
    tap = Tap(lambda name, x: fresh.get(name, hook.tap[name]) if name in ("k", "v") else None, {"k", "v", "z"})
    x = resid if changes["q"] is None else resid + changes["q"]
    attn(block.attn_norm(x)[None], None, torch.arange(len(x), device=x.device)[None], tap)
    return tap["z"][0]
