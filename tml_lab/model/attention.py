"""Grouped-query attention with a query-conditioned relative bias (Inkling's `InklingAttention`)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_lab.config import ModelConfig
from tml_lab.model.blocked import BLOCK, blocked_attention, can_band
from tml_lab.model.norm import RMSNorm
from tml_lab.model.short_conv import ShortConv
from tml_lab.model.state import RingView, RingViews, State, reach, sight, view_ring
from tml_lab.model.tap import Tap


def relative_bias(r: Tensor, rel: Tensor, distance: Tensor, beyond: Tensor) -> Tensor:
    """What each query adds to the score of each key for its distance alone; keys in any order, as of a ring.

    Args:
        r: `[batch, heads, n, d_rel]`, how much each query makes of each profile.
        rel: `[d_rel, extent]`, the profiles: a number for every distance.
        distance: int64 `[batch, 1, n, keys]` in `0 .. extent - 1`; beyond: bool, of the same shape: no bias there.

    Returns: `[batch, heads, n, keys]`.
    """
    by_distance = r @ rel.to(r.dtype)  # [batch, heads, n, extent]
    return by_distance.gather(-1, distance.expand(-1, r.shape[1], -1, -1)).masked_fill(beyond, 0.0)


class Attention(nn.Module):
    """One attention layer; local layers see `window` tokens, global ones the sinks and the recent past."""

    def __init__(self, cfg: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.is_local = cfg.layer_types[layer] == "local"
        self.n_heads, self.n_kv_heads, self.d_head = cfg.heads(layer)
        self.extent = cfg.window if self.is_local else cfg.rel_extent
        self.window, self.sinks = reach(cfg, layer)
        self.d_rel = cfg.d_rel
        self.n_floor = None if self.is_local else cfg.log_scaling_n_floor
        self.alpha = cfg.log_scaling_alpha
        d, d_kv = cfg.d_model, self.n_kv_heads * self.d_head
        self.q_proj = nn.Linear(d, self.n_heads * self.d_head, bias=False)
        self.k_proj = nn.Linear(d, d_kv, bias=False)
        self.v_proj = nn.Linear(d, d_kv, bias=False)
        self.r_proj = nn.Linear(d, self.n_heads * cfg.d_rel, bias=False)
        self.o_proj = nn.Linear(self.n_heads * self.d_head, d, bias=False)
        self.k_conv = ShortConv(d_kv, cfg.conv_kernel)
        self.v_conv = ShortConv(d_kv, cfg.conv_kernel)
        self.q_norm = RMSNorm(self.d_head, cfg.rms_eps)
        self.k_norm = RMSNorm(self.d_head, cfg.rms_eps)
        # at a scale of 1 / d_head unit norms bound every score by 1: too flat to learn from. This start bounds it by
        # sqrt(d_head), as usual attention would; the norms are learned from there
        nn.init.constant_(self.q_norm.weight, self.d_head**0.25)
        nn.init.constant_(self.k_norm.weight, self.d_head**0.25)
        self.rel = nn.Parameter(torch.randn(cfg.d_rel, self.extent) * 0.1)  # P: a bank of bias-versus-distance profiles

    def forward(
        self,
        x: Tensor,
        state: State | None,
        pos: Tensor,
        tap: Tap | None = None,
        views: RingViews | None = None,
    ) -> Tensor:
        """`x [batch, tokens, d_model]` at absolute positions `pos [batch, tokens]` -> the same shape.

        With a `state` the new keys and values are written before attending; `views` carries the rings' views from
        layer to layer of one forward. `tap`, when given, sees `q` and `z [batch, tokens, heads, d_head]`, `k` and `v
        [batch, tokens, kv_heads, d_head]` of these tokens, `pattern [batch, heads, tokens, keys]`, and is told
        `key_pos [batch, keys]`.
        """
        batch, n, _ = x.shape
        tails = (state[f"{self.layer}.k_conv"], state[f"{self.layer}.v_conv"]) if state else (None, None)
        k, k_tail = self.k_conv(self.k_proj(x), tails[0])
        v, v_tail = self.v_conv(self.v_proj(x), tails[1])
        q = self.q_norm(self.q_proj(x).view(batch, n, self.n_heads, self.d_head))  # [b, n, h, d_head]
        k = self.k_norm(k.view(batch, n, self.n_kv_heads, self.d_head))  # [b, n, kv, d_head]
        v = v.view(batch, n, self.n_kv_heads, self.d_head)
        if tap is not None:
            q, k, v = tap.look("q", q), tap.look("k", k), tap.look("v", v)
        q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # [b, h or kv, n, d_head]
        r = self.r_proj(x).view(batch, n, self.n_heads, self.d_rel).transpose(1, 2)  # [b, h, n, d_rel]
        if state is None and tap is None and self._in_blocks(x):
            reach = self.window if self.is_local else n
            out = blocked_attention(q * (1.0 / self.d_head), k, v, r, self.rel, reach)  # pyright: ignore[reportCallIssue]
            return self.o_proj(out.transpose(1, 2).reshape(batch, n, -1))  # [b, n, d_model]
        if state is None:
            bias, key_pos = self._bias_square(r), pos
            unseen = self._unseen(pos, bias.dtype)
        else:
            state[f"{self.layer}.k_conv"], state[f"{self.layer}.v_conv"] = k_tail, v_tail
            view = self._view(state, pos, {} if views is None else views)
            k, v = self._append(k, v, state, view)
            bias = relative_bias(r, self.rel, view.distance, view.beyond)
            key_pos, unseen = view.key_pos, view.unseen
        pattern = self._pattern(*self._tempered(q, bias, pos), k, unseen)  # [b, h, n, keys]
        if tap is not None:
            tap["key_pos"] = key_pos
            pattern = tap.look("pattern", pattern)
        group = self.n_heads // self.n_kv_heads
        grouped = pattern.view(batch, self.n_kv_heads, group * n, -1).to(v.dtype)  # [b, kv, group * n, keys]
        out = (grouped @ v).view(batch, self.n_heads, n, self.d_head).transpose(1, 2)  # [b, n, h, d_head]
        out = out if tap is None else tap.look("z", out)
        return self.o_proj(out.reshape(batch, n, -1))  # [b, n, d_model]

    def pattern_of(self, x: Tensor, q: Tensor, k: Tensor, pos: Tensor) -> Tensor:
        """The pattern of some queries alone, float32 `[batch, heads, n, keys]`, for who looks at it afterwards.

        `x [batch, n, d_model]` (normalised, as `forward` takes it) and `q [batch, n, heads, d_head]` at the positions
        `pos [batch, n]`; `k [batch, keys, kv_heads, d_head]` at the positions 0, 1, ...
        """
        batch, n = pos.shape
        key_pos = torch.arange(k.shape[1], device=pos.device)[None]  # [1, keys]
        unseen, distance, beyond = sight(pos, key_pos, self.sinks, self.window, self.extent)
        r = self.r_proj(x).view(batch, n, self.n_heads, self.d_rel).transpose(1, 2)  # [b, h, n, d_rel]
        q, bias = self._tempered(q.transpose(1, 2), relative_bias(r, self.rel, distance, beyond), pos)
        return self._pattern(q, bias, k.transpose(1, 2), unseen)

    def _tempered(self, q: Tensor, bias: Tensor, pos: Tensor) -> tuple[Tensor, Tensor]:
        """Queries `[b, h, n, d_head]` and bias, sharper far from the beginning where `n_floor` asks for it."""
        if self.n_floor is None:
            return q, bias
        tau = 1.0 + self.alpha * torch.log(((pos + 1).float() / self.n_floor).clamp(min=1.0))  # [b, n]
        return (q.float() * tau[:, None, :, None]).to(q.dtype), bias * tau[:, None, :, None]

    def _in_blocks(self, x: Tensor) -> bool:
        """Training in half precision, rows of a multiple of a block: see `tml_lab.model.blocked`."""
        device = x.device.type
        low = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
        whole = x.shape[1] % BLOCK == 0 and (self.window % BLOCK == 0 or not self.is_local)
        near = self.is_local or x.shape[1] <= self.window
        return self.training and low and whole and near and self.n_floor is None and can_band(device)

    def _pattern(self, q: Tensor, bias: Tensor, k: Tensor, unseen: Tensor) -> Tensor:
        """Softmax of the scaled scores plus bias: `[batch, heads, tokens, keys]`.

        Computed and returned in float32, but kept in half precision while training under autocast.
        """
        batch, _, n, _ = q.shape
        group = self.n_heads // self.n_kv_heads
        # q and k are RMS-normalised for each head, hence 1 / d_head and not its square root
        q = (q * (1.0 / self.d_head)).reshape(batch, self.n_kv_heads, group * n, self.d_head)
        scores = (q @ k.transpose(-1, -2)).view(batch, self.n_heads, n, -1) + bias
        scores = scores + unseen.to(scores.dtype)
        return F.softmax(scores, dim=-1, dtype=scores.dtype if self.training else torch.float32)

    def _unseen(self, pos: Tensor, dtype: torch.dtype) -> Tensor:
        """0 where a query may see a key at the same positions, else -inf: `[b or 1, 1, n, n]`."""
        distance = pos[:, :, None] - pos[:, None, :]  # [b or 1, n, n]
        seen = (distance >= 0) & ((distance < self.window) | (pos[:, None, :] < self.sinks))
        unseen = torch.zeros(seen.shape, dtype=dtype, device=pos.device).masked_fill_(~seen, -torch.inf)
        return unseen[:, None]

    def _bias_square(self, r: Tensor) -> Tensor:
        """The relative bias for queries and keys at the same n positions: `[batch, heads, n, n]`.

        Row i of `r @ P` holds the bias by distance; skewing turns distance i - j into column j.
        """
        batch, heads, n, _ = r.shape
        kept = min(n, self.extent)
        profile = self.rel[:, :kept].flip(1)  # column c is distance kept - 1 - c
        profile = F.pad(profile, (n - kept, 1))  # distances >= extent have no bias; one more column for the skew
        by_distance = r @ profile.to(r.dtype)  # [b, h, n, n + 1]
        # read with rows of n, row i starts n - 1 - i further left
        return by_distance.view(batch, heads, n * (n + 1))[..., n - 1 : n - 1 + n * n].view(batch, heads, n, n)

    def _view(self, state: State, pos: Tensor, views: RingViews) -> RingView:
        """The view of this layer's ring; layers with like rings share it through `views`."""
        key = (state[f"{self.layer}.k"].shape[2], self.sinks, self.window, self.extent)
        if key not in views:
            views[key] = view_ring(pos, *key)
        return views[key]

    def _append(self, k: Tensor, v: Tensor, state: State, view: RingView) -> tuple[Tensor, Tensor]:
        """Write new keys and values into the ring; return all that is held."""
        ring_k, ring_v = state[f"{self.layer}.k"], state[f"{self.layer}.v"]
        if len(view.slot) == 1:
            ring_k[0].index_copy_(1, view.slot[0], k[0].to(ring_k.dtype))
            ring_v[0].index_copy_(1, view.slot[0], v[0].to(ring_v.dtype))
            return ring_k[:, :, : view.used], ring_v[:, :, : view.used]
        row = torch.arange(len(view.slot), device=view.slot.device)[:, None]
        ring_k[row, :, view.slot] = k.transpose(1, 2).to(ring_k.dtype)
        ring_v[row, :, view.slot] = v.transpose(1, 2).to(ring_v.dtype)
        # an unwritten slot is NaN on purpose; rows of a batch may be shorter than the longest one
        hole = view.hole[:, None, :, None]
        return ring_k[:, :, : view.used].masked_fill(hole, 0.0), ring_v[:, :, : view.used].masked_fill(hole, 0.0)
