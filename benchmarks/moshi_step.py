"""The rival of `turn_latency.py` and `many_sessions.py`: Kyutai's Moshi, with random weights at a given active size.

What is timed is `LMGen.step`.

Moshi (PyPI `moshi`, MIT, https://github.com/kyutai-labs/moshi) takes one step per 80 ms frame, so 200 ms
are 2.5 steps. Its proportions are kept (depth transformer a quarter as wide, 6 layers, 16 code streams of
2048 of which 8 are generated, gated SiLU, RMSNorm, RoPE); only width and text vocabulary shrink. Its
codec Mimi is left out, while our turn pays for its own mel, flow head and vocoder: the comparison leans
towards Moshi.

Install it without its torch pin: `pip install --no-deps moshi einops sentencepiece`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

STEPS_PER_TURN = 2.5  # 200 ms / 80 ms


def moshi_config(dim: int, n_layers: int, text_card: int) -> dict[str, Any]:
    """Moshi's published configuration (`moshi.models.loaders._lm_kwargs`), narrowed."""
    depth_dim = max(32, dim // 4 // 16 * 16)
    return {
        "dim": dim, "text_card": text_card, "existing_text_padding_id": 3, "n_q": 16, "dep_q": 8,
        "card": 2048, "num_heads": dim // 32, "num_layers": n_layers, "hidden_scale": 4.125, "causal": True,
        "layer_scale": None, "context": 3000, "max_period": 10_000, "gating": "silu", "norm": "rms_norm_f32",
        "positional_embedding": "rope", "depformer_dim": depth_dim,
        "depformer_dim_feedforward": int(4.125 * depth_dim), "depformer_num_heads": 2,
        "depformer_num_layers": 6, "depformer_layer_scale": None, "depformer_multi_linear": True,
        "depformer_context": 8, "depformer_max_period": 10_000, "depformer_gating": "silu",
        "depformer_pos_emb": "none", "depformer_weights_per_step": True,
        "delays": [0, 0] + [1] * 7 + [0] + [1] * 7,
    }  # fmt: skip


def active_parameters(lm: torch.nn.Module) -> int:
    """Parameters that one step reads: everything but the embedding rows that are not looked up."""
    total = sum(p.numel() for p in lm.parameters())
    tables = [m for m in lm.modules() if isinstance(m, torch.nn.Embedding)]
    return total - sum(t.weight.numel() - t.embedding_dim for t in tables)


@dataclass
class MoshiRival:
    """`LMGen` in its streaming state; `step()` is one 80 ms frame."""

    lm: Any
    gen: Any
    dim: int
    n_layers: int
    batch: int = 1

    @property
    def active(self) -> int:
        return active_parameters(self.lm)

    def step(self) -> None:
        """One `LMGen.step` on a frame of random user codes (int64 [batch, 8, 1])."""
        codes = torch.randint(0, 2048, (self.batch, 8, 1))
        self.gen.step(codes)


def build(active: int, text_card: int, n_layers: int = 6, seed: int = 0, batch: int = 1) -> MoshiRival:
    """The Moshi of `n_layers` layers whose active size comes nearest to `active`; streaming starts with
    `batch` conversations.

    Raises ImportError saying how to install Moshi.
    """
    try:
        from moshi.models.lm import LMGen, LMModel  # pyright: ignore[reportMissingImports] - the rival is optional
    except ImportError as error:
        raise ImportError(
            f"the rival is missing ({error.name}): pip install --no-deps moshi einops sentencepiece"
        ) from error
    torch.manual_seed(seed)
    sizes = {}
    for dim in range(64, 1025, 32):
        with torch.device("meta"):
            sizes[dim] = active_parameters(LMModel(**moshi_config(dim, n_layers, text_card)))
        if sizes[dim] > 1.5 * active:
            break
    dim = min(sizes, key=lambda d: abs(sizes[d] - active))
    lm = LMModel(**moshi_config(dim, n_layers, text_card)).eval()
    gen = LMGen(lm)
    gen.streaming_forever(batch)
    return MoshiRival(lm, gen, dim, n_layers, batch)
