"""The streaming state of the backbone: keys, values and ShortConv tails in a plain dict of tensors.

A ring that is only as long as the window is wrong for chunks of more than one token: the chunk's last
writes would overwrite keys its first queries still need. Hence `window + longest chunk - 1` slots.
Slots not yet written hold NaN, so that a read too far is seen at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tml_lab.config import ModelConfig

State = dict[str, Tensor]
MAX_CHUNK = 64  # tokens one forward may append while streaming


def reach(cfg: ModelConfig, layer: int) -> tuple[int, int]:
    """`(window, sinks)` of a layer in tokens: it sees distances below `window`, and the first `sinks` tokens."""
    if cfg.layer_types[layer] == "local":
        return cfg.window, 0
    return cfg.global_budget - cfg.n_sinks, cfg.n_sinks


def new_state(
    cfg: ModelConfig,
    batch: int = 1,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    max_tokens: int | None = None,
) -> State:
    """An empty state for `batch` sequences.

    `max_tokens` caps the ring lengths when it is known that no sequence grows longer (batch evaluation).
    """
    state: State = {"pos": torch.zeros(batch, dtype=torch.long, device=device)}
    for i in range(cfg.n_layers):
        _, n_kv, d_head = cfg.heads(i)
        window, sinks = reach(cfg, i)
        slots = sinks + window + MAX_CHUNK - 1
        slots = min(slots, max_tokens) if max_tokens else slots
        for name in ("k", "v"):
            state[f"{i}.{name}"] = torch.full((batch, n_kv, slots, d_head), torch.nan, device=device, dtype=dtype)
        widths = {"k_conv": n_kv * d_head, "v_conv": n_kv * d_head, "attn_conv": cfg.d_model, "mlp_conv": cfg.d_model}
        for name, width in widths.items():
            state[f"{i}.{name}"] = torch.zeros(batch, cfg.conv_kernel - 1, width, device=device, dtype=dtype)
    return state


def slot_of(pos: Tensor, slots: int, sinks: int) -> Tensor:
    """The ring slot of each absolute position: the sinks stay, the rest goes round."""
    ring = slots - sinks
    return torch.where(pos < sinks, pos, sinks + (pos - sinks) % ring)


def positions_held(next_pos: Tensor, slots: int, sinks: int) -> Tensor:
    """The absolute position in each slot after `next_pos [batch]` tokens: `[batch, slots]`, -1 where none is yet."""
    ring = slots - sinks
    slot = torch.arange(slots, device=next_pos.device)[None, :]  # [1, slots]
    last = next_pos[:, None] - 1  # [batch, 1]
    # the newest position p <= last with sinks + (p - sinks) % ring == slot
    newest = last - (last - slot) % ring
    # masked_fill and not `where`: inside a CUDA graph no number may travel to the device
    sink = slot.expand(newest.shape).masked_fill(slot > last, -1)
    held = torch.where(slot < sinks, sink, newest)
    return held.masked_fill((held < sinks) & (slot >= sinks), -1)  # [batch, slots]


@dataclass(frozen=True)
class RingView:
    """Where new tokens go in a ring and what their queries see of it: the same in all layers with such a ring.

    `slot [batch, tokens]`, `key_pos [batch, used]` (far in the future where nothing is), `hole [batch, used]`,
    `unseen [batch, 1, tokens, used]` (0 or -inf), `distance [batch, 1, tokens, used]` clamped to the bias's
    extent, `beyond` bool, of the same shape: no bias there.
    """

    slot: Tensor
    used: int
    key_pos: Tensor
    hole: Tensor
    unseen: Tensor
    distance: Tensor
    beyond: Tensor


RingViews = dict[tuple[int, int, int, int], RingView]


def sight(pos: Tensor, key_pos: Tensor, sinks: int, window: int, extent: int) -> tuple[Tensor, Tensor, Tensor]:
    """`unseen`, `distance` and `beyond` of a `RingView`, for queries at `pos` and keys at `key_pos`."""
    distance = (pos[:, :, None] - key_pos[:, None, :])[:, None]  # [batch, 1, tokens, keys]
    seen = (distance >= 0) & ((distance < window) | (key_pos[:, None, None, :] < sinks))
    unseen = torch.zeros(seen.shape, device=pos.device).masked_fill_(~seen, -torch.inf)
    return unseen, distance.clamp(0, extent - 1), (distance < 0) | (distance >= extent)


def view_ring(pos: Tensor, slots: int, sinks: int, window: int, extent: int) -> RingView:
    """The view of a ring of `slots` for tokens at `pos [batch, tokens]`, once they are written."""
    next_pos = pos[:, -1] + 1
    used = min(int(next_pos.max()), slots)
    key_pos = positions_held(next_pos, slots, sinks)[:, :used]
    hole = key_pos < 0
    key_pos = torch.where(hole, torch.iinfo(torch.long).max // 2, key_pos)  # the future: never seen
    unseen, distance, beyond = sight(pos, key_pos, sinks, window, extent)
    return RingView(slot_of(pos, slots, sinks), used, key_pos, hole, unseen, distance, beyond)


def row_of(state: State, row: int) -> State:
    """One sequence's part of the backbone's state, as views that can be written into, and nothing else."""
    return {name: tensor[row : row + 1] for name, tensor in state.items() if name == "pos" or name[0].isdigit()}


def clone_state(state: State) -> State:
    """An independent copy: what `fork` does."""
    return {name: tensor.clone() for name, tensor in state.items()}
