"""The interaction model: every stream goes in as embeddings, text and speech come out of one backbone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tml_kernels.matmul import matmul
from tml_lab.config import N_MELS, OUT_DIM, ModelConfig
from tml_lab.model.backbone import Backbone
from tml_lab.model.embed import BinEmbedding, ClockEmbedding, TextEmbedding
from tml_lab.model.flow import FlowHead
from tml_lab.model.listen import ListenHead
from tml_lab.model.state import State
from tml_lab.model.tap import Tap
from tml_lab.model.vision import HMLP
from tml_lab.model.vocoder import Vocoder

N_STREAMS = 5


@dataclass
class Tokens:
    """`n` positions to embed, in order; the sounds and pictures among them in their own arrays.

    `stream, token, turn, first`: [n] (`first`: bool, the position opens its turn). `heard [n audio_in, 80]` and
    `voice [n audio_out, 320]`: bins 0..15. `patches [n video_in, 2, 40, 40, 3]`: normalised float32.
    """

    stream: Tensor
    token: Tensor
    turn: Tensor
    first: Tensor
    heard: Tensor | None = None
    voice: Tensor | None = None
    patches: Tensor | None = None

    def to(self, device: torch.device) -> Tokens:
        """The same positions on another device."""
        moved: dict[str, Any] = {name: t if t is None else t.to(device) for name, t in vars(self).items()}
        return Tokens(**moved)


class InteractionModel(nn.Module):
    """Hears, sees, reads, speaks and writes; sizes by `ModelConfig`."""

    def __init__(self, cfg: ModelConfig) -> None:
        super().__init__()
        if cfg.vocab_size <= 0:
            raise ValueError("ModelConfig.vocab_size is 0: set it with cfg.with_(vocab_size=tokenizer.size)")
        self.cfg = cfg
        self.embed_text = TextEmbedding(cfg.vocab_size, cfg.d_model, cfg.rms_eps)
        self.embed_audio = BinEmbedding(N_MELS, cfg.d_model, cfg.rms_eps)
        self.embed_voice = BinEmbedding(OUT_DIM, cfg.d_model, cfg.rms_eps)
        self.embed_video = HMLP(cfg.d_model, cfg.hmlp_widths)
        self.embed_stream = nn.Parameter(torch.randn(N_STREAMS, cfg.d_model) * 0.2)
        self.clock = ClockEmbedding(cfg.d_model)
        self.backbone = Backbone(cfg)
        self.unembed = nn.Linear(cfg.d_model, cfg.vocab_size, bias=False)
        nn.init.normal_(self.unembed.weight, std=0.02)
        self.listen = ListenHead(cfg)
        self.flow = FlowHead(cfg.d_model, OUT_DIM, cfg.flow_width, cfg.flow_depth)
        self.vocoder = Vocoder(cfg.vocoder_width, cfg.vocoder_depth)

    @property
    def deterministic(self) -> bool:
        """Whether all ways of computing a position give the same bits (see `tml_lab.model.exact`)."""
        return self.backbone.deterministic

    @deterministic.setter
    def deterministic(self, on: bool) -> None:
        for module in self.modules():
            if "deterministic" in vars(module):
                module.deterministic = on  # type: ignore[assignment]

    def embed(self, tokens: Tokens) -> Tensor:
        """`[n, d_model]`: the embedding of each position, with its stream's and (turn's first position) the clock's."""
        x = self._streams(tokens.stream)  # [n, d_model]
        text = (tokens.stream == 0) | (tokens.stream == 3)
        parts = [(text, self.embed_text(tokens.token[text]))]
        if tokens.heard is not None and len(tokens.heard):
            parts.append((tokens.stream == 2, self.embed_audio(tokens.heard)))
        if tokens.voice is not None and len(tokens.voice):
            parts.append((tokens.stream == 4, self.embed_voice(tokens.voice)))
        if tokens.patches is not None and len(tokens.patches):
            parts.append((tokens.stream == 1, self.embed_video(tokens.patches)))
        parts.append((tokens.first, self.clock(tokens.turn[tokens.first])))
        for mask, part in parts:
            where = mask.nonzero(as_tuple=True)[0]
            x = x.index_add(0, where, part.to(x.dtype))
        return x

    def _streams(self, stream: Tensor) -> Tensor:
        """The embedding of each position's stream: `[n]` -> `[n, d_model]`."""
        if self.deterministic or not self.training:
            return self.embed_stream[stream]
        with torch.autocast(stream.device.type, enabled=False):  # a product: five rows' gradients from all positions
            return F.one_hot(stream, N_STREAMS).to(self.embed_stream.dtype) @ self.embed_stream

    def embed_output(self, stream: int, token: int = 0, voice: Tensor | None = None) -> Tensor:
        """`[1, d_model]`: one token of the model's own inside a turn, a word (`token`) or a piece of voice `[1, 320]`.

        The same numbers as `embed`, without looking for what is not there.
        """
        if voice is not None:
            return self.embed_stream[stream] + self.embed_voice(voice)
        token_id = torch.tensor([token], device=self.embed_stream.device)
        return self.embed_stream[stream] + self.embed_text(token_id)

    def forward(self, x: Tensor, state: State | None = None, taps: dict[int, Tap] | None = None) -> Tensor:
        """Embeddings `[batch, tokens, d_model]` -> hidden states of the same shape (see `Backbone`)."""
        return self.backbone(x, state, taps)

    def text_logits(self, hidden: Tensor) -> Tensor:
        """`hidden [..., d_model]` -> `[..., vocab_size]`."""
        hidden = hidden / self.cfg.mup_width_multiplier
        return matmul(hidden, self.unembed.weight) if self.deterministic else self.unembed(hidden)

    def count_parameters(self) -> dict[str, int]:
        """Parameters in `total`, and `active`: those that one position's forward and one audio_out token read."""
        total = sum(p.numel() for p in self.parameters())
        c = self.cfg
        expert = 3 * c.d_expert * c.d_model
        idle = (c.n_layers - c.n_dense_layers) * (c.n_experts - c.top_k) * expert
        tables = (self.embed_text, self.embed_audio, self.embed_voice)
        rows = (1, N_MELS, OUT_DIM)
        unread = sum(t.table.numel() - n * c.d_model for t, n in zip(tables, rows, strict=True))
        return {"total": total, "active": total - idle - unread}
