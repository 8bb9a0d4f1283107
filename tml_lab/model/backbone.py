"""The decoder: pre-norm blocks of attention and MoE with ShortConvs (Inkling's `InklingDecoderLayer`)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tml_lab.config import ModelConfig
from tml_lab.model.attention import Attention
from tml_lab.model.decode import can_fuse, decode
from tml_lab.model.exact import check_exact, exact_pass, in_place_of
from tml_lab.model.moe import DenseMLP, MoE
from tml_lab.model.norm import RMSNorm
from tml_lab.model.short_conv import ShortConv
from tml_lab.model.state import RingViews, State
from tml_lab.model.tap import Tap, are_shallow


class Block(nn.Module):
    """`x + conv(attn(norm(x)))`, then `x + conv(mlp(norm(x)))`."""

    def __init__(self, cfg: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attn_norm = RMSNorm(cfg.d_model, cfg.rms_eps)
        self.attn = Attention(cfg, layer)
        self.attn_conv = ShortConv(cfg.d_model, cfg.conv_kernel)
        self.mlp_norm = RMSNorm(cfg.d_model, cfg.rms_eps)
        self.mlp = DenseMLP(cfg) if layer < cfg.n_dense_layers else MoE(cfg)
        self.mlp_conv = ShortConv(cfg.d_model, cfg.conv_kernel)

    def forward(
        self,
        x: Tensor,
        state: State | None,
        pos: Tensor,
        tap: Tap | None = None,
        views: RingViews | None = None,
    ) -> Tensor:
        """`x [batch, tokens, d_model]`, `pos [batch, tokens]` absolute positions -> the next `resid`.

        `tap`, when given, sees `resid_pre`, `attn_out`, `resid_mid`, `mlp_out` and `resid_post`, each
        `[batch, tokens, d_model]`, beside what attention and MoE show it.
        """
        i = self.layer
        x = x if tap is None else tap.look("resid_pre", x)
        attn = self.attn(self.attn_norm(x), state, pos, tap, views)
        attn, tail = self.attn_conv(attn, state[f"{i}.attn_conv"] if state else None)
        if state is not None:
            state[f"{i}.attn_conv"] = tail
        if tap is not None:
            attn = tap.look("attn_out", attn)
        mid = x + attn
        mid = mid if tap is None else tap.look("resid_mid", mid)
        mlp = self.mlp(self.mlp_norm(mid), tap)
        mlp, tail = self.mlp_conv(mlp, state[f"{i}.mlp_conv"] if state else None)
        if state is not None:
            state[f"{i}.mlp_conv"] = tail
        if tap is not None:
            mlp = tap.look("mlp_out", mlp)
        post = mid + mlp
        return post if tap is None else tap.look("resid_post", post)


class Backbone(nn.Module):
    """A stack of blocks and the final norm."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        self.cfg = cfg
        self.fused = True  # one session's tokens on a CPU: the compiled kernels; False: always the torch code
        self.deterministic = False  # everything by those kernels, see `tml_lab.model.exact`
        self.blocks = nn.ModuleList(Block(cfg, i) for i in range(cfg.n_layers))
        self.norm = RMSNorm(cfg.d_model, cfg.rms_eps)

    def forward(self, x: Tensor, state: State | None = None, taps: dict[int, Tap] | None = None) -> Tensor:
        """`x [batch, tokens, d_model]` -> normalised hidden states of the same shape.

        Without a `state` the sequence starts at position 0 (offline); with one the tokens are appended to it.
        `taps` maps a layer to the `Tap` that sees its inner tensors.
        """
        if self.deterministic:
            check_exact(self, x)
            learning = torch.is_grad_enabled() and state is None  # then hooks hear the pass that has a gradient
            exact = exact_pass(self, x, state, taps, quiet=learning)
            return self.norm(in_place_of(self._torch(x, None, None), exact) if learning else exact)
        if state is not None and are_shallow(taps) and can_fuse(self, x):
            return self.norm(decode(self, x, state, taps))
        return self.norm(self._torch(x, state, taps))

    def _torch(self, x: Tensor, state: State | None, taps: dict[int, Tap] | None) -> Tensor:
        """The blocks one after the other, operator by operator: on any device, with gradients and inner tensors."""
        n = x.shape[1]
        start = state["pos"] if state else torch.zeros(1, dtype=torch.long, device=x.device)
        pos = start[:, None] + torch.arange(n, device=x.device)  # [batch, tokens], or [1, tokens] offline
        views: RingViews = {}
        for i, block in enumerate(self.blocks):
            x = block(x, state, pos, taps.get(i) if taps else None, views)
        if state is not None:
            state["pos"] = start + n
        return x
