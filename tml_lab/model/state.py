"""The streaming state of the backbone: keys, values and ShortConv tails in a plain dict of tensors.

A ring that is only as long as the window is wrong for chunks of more than one token: the chunk's last
writes would overwrite keys its first queries still need. Hence `window + longest chunk - 1` slots.
Slots not yet written hold NaN, so that a read too far is seen at once.
"""

from __future__ import annotations

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
    held = torch.where(slot < sinks, torch.where(slot <= last, slot, -1), newest)
    return torch.where((held < sinks) & (slot >= sinks), -1, held)  # [batch, slots]


def clone_state(state: State) -> State:
    """An independent copy: what `fork` does."""
    return {name: tensor.clone() for name, tensor in state.items()}
