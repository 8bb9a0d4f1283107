"""A session's tokens through the model in operators of fixed shapes, all state written in place.

What a CUDA graph can hold: no number travels to the host, and no shape depends on how much has been heard. A query
looks at the whole ring and a mask says what it sees; the ordinary code (`Block.forward`) cuts the ring at what is in
use, and agrees with this to rounding. Slots not yet written must be finite here, see `fill_gaps`.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_kernels.experts import experts_in_order, experts_reference, swiglu
from tml_kernels.residual import add_branch
from tml_kernels.ring_attention import ring_attention
from tml_kernels.rmsnorm import triton_available
from tml_kernels.router import route
from tml_kernels.short_conv import short_conv
from tml_lab.config import OUT_TOKENS_PER_TURN
from tml_lab.model.backbone import Backbone
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.moe import MoE
from tml_lab.model.state import State, slot_of
from tml_lab.signal.out_mel import quantize_voice

KINDS = {0: "text", 1: "patches", 2: "heard", 3: "text", 4: "voice"}  # by stream: what a position is embedded from
Moved = list[tuple[Tensor, Tensor]]  # ShortConv tails, and what replaces them when the step is done


def is_backbone(name: str) -> bool:
    """Whether an entry of a session's state belongs to the backbone."""
    return name == "pos" or name[0].isdigit()


def fill_gaps(state: State) -> None:
    """Zeros for the NaN in slots not yet written: a masked score must not become NaN. In place."""
    for name, tensor in state.items():
        if name.endswith((".k", ".v")):
            tensor.nan_to_num_(nan=0.0)


def embed_turn(
    model: InteractionModel, streams: tuple[int, ...], first: int, token: Tensor, turn: Tensor,
    heard: Tensor, voice: Tensor, patches: Tensor | None,
) -> Tensor:  # fmt: skip
    """`InteractionModel.embed` for positions of the known `streams`, the turn's first at index `first`: `[n, d_model]`.

    `token, turn [n]`; `heard [4, 80]`, `voice [0 or 1, 320]` bins; `patches [P, 2, 40, 40, 3]`.
    """
    parts, at = [], 0
    for kind, run in groupby(KINDS[s] for s in streams):
        end = at + len(list(run))
        if kind == "text":
            parts.append(model.embed_text(token[at:end]))
        elif kind == "patches":
            parts.append(model.embed_video(patches))
        else:
            parts.append(embed_bins(*((model.embed_audio, heard) if kind == "heard" else (model.embed_voice, voice))))
        at = end
    own = torch.cat([model.embed_stream[s : s + 1] for s in streams])  # [n, d_model]
    x = own + torch.cat(parts)
    x[first : first + 1] += model.clock(turn[first : first + 1])
    return x


def embed_bins(embedding: Any, bins: Tensor) -> Tensor:
    """A `BinEmbedding`'s `[n, d_model]` for `bins [n, n_channels]`."""
    return embedding.norm(F.embedding(bins.long() + embedding.offsets, embedding.table).sum(1))


def word_step(model: InteractionModel, state: State, stream: int, token: Tensor) -> Tensor:
    """Append one word `token [1]`; the hidden state `[d_model]`."""
    return backbone_step(model.backbone, model.embed_stream[stream] + model.embed_text(token), state)[-1]


def sound_steps(model: InteractionModel, state: State, hidden: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """A speaking turn's own voice: `hidden [d_model]`, `noise [4, 320]` -> mel `[4, 320]` and its bins, uint8.

    All but the last token are fed back; the last one comes with the next turn.
    """
    mels, heard = [], []
    for k in range(OUT_TOKENS_PER_TURN):
        mel = model.flow.sample(
            hidden[None], noise[k : k + 1], model.cfg.flow_steps, model.cfg.flow_temperature
        )  # [1, 320]
        mels.append(mel)
        heard.append(bins := quantize_voice(mel))
        if k < OUT_TOKENS_PER_TURN - 1:
            x = model.embed_stream[4] + embed_bins(model.embed_voice, bins)  # [1, d_model]
            hidden = backbone_step(model.backbone, x, state)[-1]
    return torch.cat(mels), torch.cat(heard)


def backbone_step(backbone: Backbone, x: Tensor, state: State) -> Tensor:
    """Append tokens `x [n, d_model]` of one session to the state, in place; their normalised hidden states."""
    n, blocks = len(x), list[Any](backbone.blocks)
    pos = state["pos"] + torch.arange(n, device=x.device)  # [n]
    norms: list[Any] = [*(block.attn_norm for block in blocks[1:]), backbone.norm]
    moved: Moved = []
    slots: dict[tuple[int, int], Tensor] = {}
    normed = blocks[0].attn_norm(x)
    for i, (block, next_norm) in enumerate(zip(blocks, norms, strict=True)):
        said = attend(block.attn, normed, state, pos, slots, moved)
        tail = state[f"{i}.attn_conv"][0]  # [kernel - 1, d_model]
        x, normed, new = add_branch(x, said, block.attn_conv.weight, tail, block.mlp_norm.weight, block.mlp_norm.eps)
        moved.append((tail, new))
        tail = state[f"{i}.mlp_conv"][0]
        said = mixture(block.mlp, normed)
        x, normed, new = add_branch(x, said, block.mlp_conv.weight, tail, next_norm.weight, next_norm.eps)
        moved.append((tail, new))
    old, new_ones = zip(*moved, strict=True)
    torch._foreach_copy_(old, new_ones)  # pyright: ignore[reportPrivateImportUsage]  (all tails in one launch)
    state["pos"].add_(n)
    return normed


def mixture(mlp: nn.Module, x: Tensor) -> Tensor:
    """The experts' answer to `x [n, d_model]`, or the dense MLP's."""
    if not isinstance(mlp, MoE):
        return mlp(x[None])[0]
    weights, chosen, shared = route(x, mlp.router.weight, mlp.router.bias, mlp.router.top_k, mlp.router.route_scale)
    gather = experts_in_order if x.is_cuda and triton_available() else experts_reference
    out = gather(x, weights, chosen, mlp.gate_up, mlp.down).float()
    for j in range(mlp.n_shared):
        out = out + swiglu(x, mlp.shared_gate_up[j], mlp.shared_down[j]).float() * shared[:, j : j + 1]
    return (out * mlp.router.global_scale.float()).to(x.dtype)


def attend(
    attn: Any, x: Tensor, state: State, pos: Tensor, slots: dict[tuple[int, int], Tensor], moved: Moved
) -> Tensor:
    """Attention of `x [n, d_model]` at `pos [n]`; keys and values go into the rings first."""
    n, name = len(x), f"{attn.layer}."
    new = {}
    for which, conv, proj in (("k", attn.k_conv, attn.k_proj), ("v", attn.v_conv, attn.v_proj)):
        tail = state[f"{name}{which}_conv"][0]  # [kernel - 1, kv * d_head]
        y, new_tail = short_conv(proj(x), conv.weight, tail)
        moved.append((tail, new_tail))
        new[which] = y.view(n, attn.n_kv_heads, attn.d_head)
    q = attn.q_norm(attn.q_proj(x).view(n, attn.n_heads, attn.d_head))
    bias = attn.r_proj(x).view(n, attn.n_heads, attn.d_rel) @ attn.rel.to(x.dtype)  # [n, heads, extent]
    if attn.n_floor is not None:
        tau = 1.0 + attn.alpha * torch.log(((pos + 1).float() / attn.n_floor).clamp(min=1.0))[:, None, None]
        q, bias = (q.float() * tau).to(q.dtype), bias * tau
    k, v = state[name + "k"][0], state[name + "v"][0]  # [kv, slots, d_head]
    ring = (k.shape[1], attn.sinks)
    if ring not in slots:
        slots[ring] = slot_of(pos, *ring)
    k.index_copy_(1, slots[ring], attn.k_norm(new["k"]).transpose(0, 1).to(k.dtype))
    v.index_copy_(1, slots[ring], new["v"].transpose(0, 1).to(v.dtype))
    out = ring_attention(q, k, v, bias, state["pos"], attn.sinks, attn.window)  # [n, heads, d_head]
    return attn.o_proj(out.reshape(n, -1))
