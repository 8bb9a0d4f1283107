"""A session's few tokens through the backbone, on a CPU: the fused kernels, given the modules' own arrays.

The kernels see views of parameters and state, and the integer twins of weights that have one: a weight changed in
place by torch is heard at the next token (inside a session's step: in the next turn), one changed through `p.data` or
numpy when the next session begins. Whoever hooks a module inside a block or replaces its `forward` gets the torch code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

import numpy as np
import torch
from torch import Tensor, nn

from tml_lab.model.state import MAX_CHUNK, State, new_state, positions_held
from tml_lab.model.tap import Tap

if TYPE_CHECKING:
    from tml_lab.model.backbone import Backbone
    from tml_lab.model.flow import FlowHead
    from tml_lab.model.interaction import InteractionModel


@cache
def fused_kernels() -> Any | None:
    """The compiled kernels of a backbone's token, or None where Numba does not run."""
    try:
        from tml_kernels import decode

        return decode
    except (ImportError, RuntimeError):  # RuntimeError: Numba finds no folder for what it compiles
        return None


class Inside:
    """What stands inside a module: a list instead of a tree, so that it can be checked at every token."""

    def __init__(self, root: nn.Module) -> None:
        parents = list(root.modules())
        self.links = [(m._modules, name, child) for m in parents for name, child in m._modules.items() if child]
        self.kept: dict[int, tuple[Any, Any]] = {}  # by layer: where and how often written, and views of what is there
        self.in_turn = False  # a turn runs: what its first tokens have found true holds for the others
        self.proved = False  # ... that all modules are plain and in their places
        self.fresh: dict[int, Any] = {}  # ... and whose weights, by layer, are as they were

    def still_true(self) -> bool:
        """Whether no module was put in another's place."""
        return all(children.get(name) is child for children, name, child in self.links)

    def is_plain(self, heard: Iterable[nn.Module]) -> bool:
        """Whether every module does what its class says: no hook, no `forward` of its own.

        Hooks on the outputs of the modules `heard` do no harm.
        """
        harmless = set(heard)
        for _, _, module in self.links:
            if "forward" in module.__dict__ or module._forward_pre_hooks or module._forward_hooks_with_kwargs:
                return False
            if module._forward_hooks and module not in harmless:
                return False
        return True

    def views(self, layer: int, weights: Sequence[Tensor], pack: Callable[..., Any]) -> Any:
        """`pack(*arrays)` of the weights' own memory; made anew when one has moved or was written into by torch."""
        # a tensor made in inference mode counts no writes: there `look_again` has to do
        places = tuple((p.data_ptr(), 0 if p.is_inference() else p._version) for p in weights)
        found = self.kept.get(layer)
        if found is None or found[0] != places:  # a view keeps its memory: no other weight can come to lie there
            found = self.kept[layer] = (places, pack(*(p.detach().numpy() for p in weights)))
        if self.in_turn:
            self.fresh[layer] = found[1]
        return found[1]

    def turn(self, begins: bool) -> None:
        """A turn begins or is over."""
        self.in_turn, self.proved = begins, False
        self.fresh.clear()

    def look_again(self) -> None:
        """Forget what is no longer true of weights that were written into behind torch's back (`p.data`, numpy)."""
        from tml_kernels.weights import Matrix, still_true

        def true(views: Any) -> bool:
            if isinstance(views, Matrix):
                return still_true(views)
            return all(true(each) for each in views) if isinstance(views, tuple) else True

        self.kept = {layer: found for layer, found in self.kept.items() if true(found[1])}


def inside(root: nn.Module) -> Inside:
    """The root's list, made anew when its tree has changed. Whoever hooks the root itself is heard either way."""
    kept = root.__dict__.get("_inside")
    if kept is not None and kept.proved:
        return kept
    if kept is None or not kept.still_true():
        kept = root.__dict__["_inside"] = Inside(root)
    return kept


@contextmanager
def one_turn(*roots: nn.Module) -> Iterator[None]:
    """A turn of one session: modules and weights are looked at for its first tokens, and trusted for the others.

    Looking costs a third of what a single token does. A hook or a weight that comes in the middle of a turn is heard
    in the next one.
    """
    kept = [inside(root) for root in roots]
    for each in kept:
        each.turn(True)
    try:
        yield
    finally:
        for each in kept:
            each.turn(False)


def runs_fused(root: nn.Module, x: Tensor, heard: Iterable[nn.Module] = ()) -> bool:
    """Whether modules and input are of the kind that the kernels take: float32 on a CPU, no gradient, no hook."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or torch.is_grad_enabled() or root.training:
        return False
    kept = inside(root)
    if kept.proved:
        return True
    single = next(root.parameters()).dtype == torch.float32
    plain = single and fused_kernels() is not None and kept.is_plain(heard)
    kept.proved = plain and kept.in_turn
    return plain


def can_fuse(backbone: Backbone, x: Tensor) -> bool:
    """Whether `x [batch, tokens, d_model]`, a few tokens of one session, may take the fused path."""
    few = x.shape[0] == 1 and x.shape[1] <= MAX_CHUNK
    return few and backbone.fused and backbone.cfg.n_dense_layers == 0 and runs_fused(backbone, x, backbone.blocks)


def can_fuse_flow(head: FlowHead, noise: Tensor) -> bool:
    """Whether the flow head may draw the token of `noise [N, n_out]` by the fused path."""
    return len(noise) == 1 and head.fused and runs_fused(head, noise)


def fused_steps(head: FlowHead, x: Tensor, h: Tensor, times: Tensor) -> Tensor:
    """All Euler steps from noise `x [N, n_out]`, given `h [N, d_model]` and the steps' `times [S]` -> `[N, n_out]`."""
    from tml_kernels.flow_steps import flow_steps

    kept = inside(head)
    weights = kept.fresh.get(0) or kept.views(0, flow_weights(head), pack_flow)
    tokens = x.numpy().copy()  # [N, n_out]
    flow_steps(tokens, h.contiguous().numpy(), times.numpy(), weights)
    return torch.from_numpy(tokens)


def flow_weights(head: FlowHead) -> list[Tensor]:
    """The flow head's parameters, in the kernels' order."""

    def layers(*linear: nn.Linear) -> list[Tensor]:
        return [p for layer in linear for p in (layer.weight, layer.bias)]

    time = head.embed_t
    weights = [*layers(head.embed_h), time.rates, *layers(time.up, time.down, head.modulate, head.embed_x)]
    for block in list[Any](head.blocks):
        weights += [*layers(block.up, block.down), block.offset]
    return weights + layers(head.out)


def pack_flow(*arrays: Any) -> Any:
    """The kernels' `FlowWeights`, with the integer twins of those that have one."""
    from tml_kernels.flow_steps import FlowWeights
    from tml_kernels.weights import matrix

    arrays = tuple(matrix(a) if a.ndim == 2 else a for a in arrays)
    fields: Any = (*arrays[:11], *(arrays[11 + part : -2 : 5] for part in range(5)), *arrays[-2:])
    return FlowWeights(*fields)


class Places:
    """Where the next tokens of some sessions stand, `counts` of each, and where the sessions keep their state."""

    def __init__(self, states: Sequence[State], counts: Sequence[int]) -> None:
        self.states = states
        self.first = np.cumsum([0, *counts])  # [sessions + 1]
        self.pos = np.array([int(state["pos"]) for state in states])  # [sessions]
        each = [np.arange(pos, pos + n) for pos, n in zip(self.pos, counts, strict=True)]
        self.token_pos = np.concatenate(each)  # [n]

    def of(self, layer: int) -> Any:
        """The kernels' `Sequences` of a layer; state that they cannot write into is copied first."""
        from tml_kernels.sequences import PARTS, Sequences

        memory = np.empty((len(self.states), len(PARTS)), np.int64)
        slots = np.empty(len(self.states), np.int64)
        names = [f"{layer}.{part}" for part in PARTS]
        for s, state in enumerate(self.states):
            for part, name in enumerate(names):
                tensor = state[name]
                if tensor.dtype != torch.float32 or not tensor.is_contiguous():
                    tensor = state[name] = tensor.float().contiguous()
                memory[s, part] = tensor.data_ptr()
            slots[s] = state[names[0]].shape[2]
        return Sequences(self.first, self.pos, slots, memory)

    def move_on(self) -> None:
        """The tokens are in: the next ones come after them."""
        for state, n in zip(self.states, np.diff(self.first).tolist(), strict=True):
            state["pos"] = state["pos"] + n


def run_block(block: Any, resid: np.ndarray, places: Places, kept: Inside, pattern: np.ndarray) -> None:
    """`resid [n, d_model]`, one session's tokens after the other's, through a block, in place."""
    kernels = fused_kernels()
    assert kernels is not None
    attn, router = block.attn, block.mlp.router
    tau = np.ones(len(resid))
    if attn.n_floor is not None:
        tau += attn.alpha * np.log(np.maximum(1, (places.token_pos + 1) / attn.n_floor))
    weights, global_scale = block_weights(block, kept)
    scale = router.route_scale * float(global_scale[0])
    where, eps = places.of(block.layer), block.attn_norm.eps
    kernels.decode_block(resid, weights, where, attn.sinks, attn.window, tau, router.top_k, scale, eps, pattern)


def decode(
    backbone: Backbone, x: Tensor, state: State, taps: dict[int, Tap] | None = None, quiet: bool = False
) -> Tensor:
    """Append tokens to the state: `x [1, n, d_model]` -> the residual after the last block, before the norm.

    A layer's tap receives `pattern [1, heads, n, slots in use]` and `key_pos [1, slots in use]`, and is asked about
    `resid_pre` and `resid_post`. Hooks on a block's output are called; of its inputs they are given the first alone.
    `quiet`: they are not called.
    """
    resid = x[0].numpy().copy()  # [n, d_model]
    n, kept, places = len(resid), inside(backbone), Places([state], [x.shape[1]])
    nobody = np.zeros((backbone.cfg.n_heads, n, 0), np.float32)  # asks for patterns
    block: Any
    for i, block in enumerate(backbone.blocks):
        attn, slots = block.attn, state[f"{i}.k"].shape[2]
        tap = taps.get(i) if taps else None
        resid = resid if tap is None else _shown(tap, "resid_pre", resid)
        used = min(int(places.pos[0]) + n, slots) if tap is not None and tap.want("pattern") else 0
        pattern = np.zeros((attn.n_heads, n, used), np.float32) if used else nobody
        hooks = () if quiet else tuple(block._forward_hooks.values())
        before = torch.from_numpy(resid.copy())[None] if hooks else x  # [1, n, d_model]
        run_block(block, resid, places, kept, pattern)
        resid = resid if tap is None else _shown(tap, "resid_post", resid)
        for hook in hooks:
            changed = hook(block, (before,), torch.from_numpy(resid.copy())[None])
            resid = resid if changed is None else changed[0].numpy().copy()
        if tap is not None and used:
            held = positions_held(state["pos"] + n, slots, attn.sinks)
            tap.update(pattern=torch.from_numpy(pattern)[None], key_pos=held[:, :used])
    places.move_on()
    return torch.from_numpy(resid)[None]  # [1, n, d_model]


def _shown(tap: Tap, name: str, resid: np.ndarray) -> np.ndarray:
    """`resid [n, d_model]`, or what a tap's edit made of it, in memory of its own."""
    if tap.wants is None or not tap.want(name):
        return resid
    return tap.look(name, torch.from_numpy(resid.copy())[None])[0].contiguous().numpy().copy()


def block_weights(block: Any, kept: Inside) -> tuple[Any, Any]:
    """Views of a block's parameters, in the kernels' order, made anew when one has moved; one of its router's scale."""
    known = kept.fresh.get(block.layer)
    if known is not None:
        return known
    attn, mlp = block.attn, block.mlp
    own = [m._parameters for m in (attn.q_proj, attn.k_proj, attn.v_proj, attn.r_proj, attn.o_proj)]
    parameters = (
        block.attn_norm._parameters["weight"], *(p["weight"] for p in own[:4]), attn.k_conv._parameters["weight"],
        attn.v_conv._parameters["weight"], attn.q_norm._parameters["weight"], attn.k_norm._parameters["weight"],
        attn._parameters["rel"], own[4]["weight"], block.attn_conv._parameters["weight"],
        block.mlp_norm._parameters["weight"], mlp.router._parameters["weight"], mlp.router._buffers["bias"],
        *(mlp._parameters[name] for name in ("gate_up", "down", "shared_gate_up", "shared_down")),
        block.mlp_conv._parameters["weight"], mlp.router._parameters["global_scale"],
    )  # fmt: skip
    return kept.views(block.layer, parameters, pack_block)


def pack_block(*arrays: Any) -> tuple[Any, Any]:
    """The kernels' `BlockWeights`, with the integer twins of those that have one, and the router's scale `[1]`."""
    from tml_kernels.decode import BlockWeights
    from tml_kernels.weights import Matrix, matrix

    kinds = get_type_hints(BlockWeights).values()
    fields: Any = (matrix(a) if kind is Matrix else a for a, kind in zip(arrays[:-1], kinds, strict=True))
    return BlockWeights(*fields), arrays[-1]


def compile_kernels(model: InteractionModel) -> bool:
    """Compile the kernels for this model's sizes, or read them back from disk, so that no turn has to wait for it.

    About twelve seconds the first time, half a second afterwards. Returns whether they will be used.
    """
    cfg, head = model.cfg, model.flow
    device = model.embed_stream.device
    token, noise = torch.zeros(1, 1, cfg.d_model, device=device), torch.zeros(1, head.n_out, device=device)
    with torch.no_grad():
        if not can_fuse(model.backbone, token):
            return False
        inside(model.backbone).look_again()
        inside(head).look_again()
        # not by calling the modules: whoever listens to them must not hear this
        decode(model.backbone, token, new_state(cfg, max_tokens=cfg.n_sinks + MAX_CHUNK))
        fused_steps(head, noise, token[0], torch.zeros(1))
    return True


if __name__ == "__main__":
    from tml_lab.model.checkpoint import load_checkpoint

    print("kernels compiled" if compile_kernels(load_checkpoint("nano")[0]) else "no kernels here: torch does it all")
