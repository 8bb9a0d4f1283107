"""A dense backbone's twin in TransformerLens: its weights in a model that TransformerLens knows, computing the same.

TransformerLens (PyPI `transformer-lens`, MIT, https://github.com/TransformerLensOrg/TransformerLens) wraps models of
Hugging Face's `transformers` (its own `HookedTransformer` ended with 3.x). The nearest of them is Qwen3: RMSNorm before
each branch, grouped queries, a norm on each query and key, sliding windows, SwiGLU. Three things are put in place:
scores are scaled by 1 / d_head (an attribute), the rotary frequencies are zero (no turn at any position), and each
position of a recording is a word of its own, whose embedding is what our model made of sound, picture or text.

What Qwen3 has no place for must be absent: experts, ShortConvs that do something, relative bias, log scaling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tml_lab.config import ModelConfig
from tml_lab.model.attention import Attention
from tml_lab.model.backbone import Block
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.moe import DenseMLP
from tml_lab.model.short_conv import ShortConv

COPIED = {  # the twin's name in a layer: ours in a block
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "mlp_norm",
    **{f"self_attn.{name}": f"attn.{name}" for name in ("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm")},
    **{f"mlp.{name}": f"mlp.{name}" for name in ("gate_proj", "up_proj", "down_proj")},
}


def dense_model(cfg: ModelConfig, seed: int) -> InteractionModel:
    """A model with random weights that has a twin: as `cfg`, but every MLP dense and no relative bias.

    Norms and scales are random, too, so that one forgotten would show.
    """
    torch.manual_seed(seed)
    model = InteractionModel(cfg.with_(n_dense_layers=cfg.n_layers)).eval().requires_grad_(False)
    for block in model.backbone.blocks:
        assert isinstance(block, Block) and isinstance(block.mlp, DenseMLP)
        block.attn.rel.zero_()
        block.mlp.global_scale.uniform_(1.0, 2.0)
        for norm in (block.attn_norm, block.mlp_norm, block.attn.q_norm, block.attn.k_norm):
            norm.weight.mul_(torch.rand_like(norm.weight) + 1.0)
    model.backbone.norm.weight.uniform_(0.5, 1.5)
    return model


def check_twin(model: InteractionModel) -> None:
    """Raises ValueError naming a part of the model that Qwen3 has not."""
    cfg = model.cfg
    found = {
        "experts": cfg.n_dense_layers < cfg.n_layers,
        "log scaling": cfg.log_scaling_n_floor is not None,
        "other heads in local layers": len({cfg.heads(layer) for layer in range(cfg.n_layers)}) > 1,
        "relative bias": any(m.rel.any() for m in model.modules() if isinstance(m, Attention)),
        "ShortConvs": any(m.weight.any() for m in model.modules() if isinstance(m, ShortConv)),
    }
    if there := [name for name, is_there in found.items() if is_there]:
        raise ValueError(f"a model with {', '.join(there)} has no twin in TransformerLens.")


def hugging_face_twin(model: InteractionModel, embedded: Tensor) -> Any:
    """The model as a `Qwen3ForCausalLM` in eval mode; word i is embedded as `embedded[i]` (`[words, d_model]`).

    Raises ValueError as `check_twin`.
    """
    from transformers import Qwen3Config, Qwen3ForCausalLM

    check_twin(model)
    cfg, kinds = model.cfg, {"local": "sliding_attention", "global": "full_attention"}
    config = Qwen3Config(
        hidden_size=cfg.d_model, intermediate_size=cfg.d_dense, num_hidden_layers=cfg.n_layers,
        num_attention_heads=cfg.n_heads, num_key_value_heads=cfg.n_kv_heads, head_dim=cfg.d_head,
        rms_norm_eps=cfg.rms_eps, vocab_size=len(embedded), max_position_embeddings=len(embedded),
        use_sliding_window=True, sliding_window=cfg.window, layer_types=[kinds[kind] for kind in cfg.layer_types],
        tie_word_embeddings=False,
    )  # fmt: skip
    config._attn_implementation = "eager"  # patterns are computed, as hooks need them
    twin: Any = Qwen3ForCausalLM(config).eval().requires_grad_(False)
    twin.model.embed_tokens.weight.copy_(embedded)
    for frequencies in twin.model.rotary_emb.buffers():
        frequencies.zero_()
    for block, layer in zip(model.backbone.blocks, twin.model.layers, strict=True):
        for theirs, ours in COPIED.items():
            layer.get_submodule(theirs).weight.copy_(block.get_submodule(ours).weight)
        layer.mlp.down_proj.weight.mul_(block.get_parameter("mlp.global_scale"))
        layer.self_attn.scaling = 1.0 / cfg.d_head
    twin.model.norm.weight.copy_(model.backbone.norm.weight)
    twin.lm_head = nn.Linear(cfg.d_model, cfg.vocab_size, bias=False).requires_grad_(False)
    twin.lm_head.weight.copy_(model.unembed.weight / cfg.mup_width_multiplier)
    return twin


def bridge(twin: Any) -> Any:
    """TransformerLens' hooks around a model of `hugging_face_twin`, which they change in place."""
    from transformer_lens.model_bridge.sources._bridge_builder import (  # pyright: ignore[reportMissingImports]
        build_bridge_from_module,
    )

    return build_bridge_from_module(twin, "Qwen3ForCausalLM", hf_config=twin.config)
