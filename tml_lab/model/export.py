"""To Hugging Face's Inkling layout and back, exactly: backbone, head, text, audio and vision embeddings.

`InklingForConditionalGeneration` (transformers) has no speech output, no stream and no clock embedding; those
of our parts stay behind (`OWN_PARTS`). Only names and memory layout change on the way, never a number.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from tml_lab.config import N_BINS, N_MELS, PATCH, VIDEO_FRAMES_PER_TURN, ModelConfig
from tml_lab.model.interaction import InteractionModel
from tml_lab.model.vision import FOLDS

OWN_PARTS = ("embed_voice.", "embed_stream", "clock.", "flow.", "vocoder.", "listen.")
INKLING_HMLP_WIDTHS = (128, 320, 4800)
_TOWER_EPS = 1e-6  # Inkling's audio and vision towers do not take it from the config

_LANGUAGE = "model.language_model"
_OUTER_NAMES = {
    "embed_text.table": f"{_LANGUAGE}.embed_tokens.weight",
    "embed_text.norm.weight": f"{_LANGUAGE}.embed_tokens.embed_norm.weight",
    "embed_audio.table": "model.audio_tower.embed_audio_tokens.embed_audio_tokens.weight",
    "embed_audio.norm.weight": "model.audio_tower.norm.weight",
    "embed_video.norm.weight": "model.vision_tower.final_norm.weight",
    "backbone.norm.weight": f"{_LANGUAGE}.norm.weight",
    "unembed.weight": "lm_head.weight",
}
_BLOCK_NAMES = {
    "attn_norm.weight": "input_layernorm.weight",
    "mlp_norm.weight": "post_attention_layernorm.weight",
    "attn_conv.weight": "attn_sconv.conv1d.weight",
    "mlp_conv.weight": "mlp_sconv.conv1d.weight",
    "attn.k_conv.weight": "self_attn.k_sconv.conv1d.weight",
    "attn.v_conv.weight": "self_attn.v_sconv.conv1d.weight",
    "attn.rel": "self_attn.rel_logits_proj.proj",
    **{f"attn.{p}.weight": f"self_attn.{p}.weight" for p in ("q_norm", "k_norm")},
    **{f"attn.{p}_proj.weight": f"self_attn.{p}_proj.weight" for p in "qkvro"},
}
_DENSE_NAMES = {
    **{f"mlp.{p}_proj.weight": f"mlp.{p}_proj.weight" for p in ("gate", "up", "down")},
    "mlp.global_scale": "mlp.global_scale",
}
_MOE_NAMES = {
    "mlp.router.weight": "mlp.gate.weight",
    "mlp.router.global_scale": "mlp.gate.global_scale",
    "mlp.router.bias": "mlp.gate.e_score_correction_bias",
    "mlp.gate_up": "mlp.experts.gate_up_proj",
    "mlp.down": "mlp.experts.down_proj",
    "mlp.shared_down": "mlp.shared_experts.down_proj",
}


def inkling_names(cfg: ModelConfig) -> Iterator[tuple[str, str]]:
    """Pairs (our tensor, Inkling's tensor) of equal numbers; `shared_gate_up` is apart, it is two there."""
    yield from _OUTER_NAMES.items()
    for i in range(len(FOLDS)):
        ours, theirs = f"embed_video.layers.{i}", f"model.vision_tower.encoder_layers.{i}"
        yield f"{ours}.projection.weight", f"{theirs}.projection.weight"
        if i < len(FOLDS) - 1:
            yield f"{ours}.norm.weight", f"{theirs}.layer_norm.weight"
    for i in range(cfg.n_layers):
        mlp_names = _DENSE_NAMES if i < cfg.n_dense_layers else _MOE_NAMES
        for ours, theirs in (_BLOCK_NAMES | mlp_names).items():
            yield f"backbone.blocks.{i}.{ours}", f"{_LANGUAGE}.layers.{i}.{theirs}"


def export_inkling(model: InteractionModel) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The model as Hugging Face's Inkling: its state dict and the arguments of its `InklingConfig`.

    Transformers plans the vision tower's widths itself, (128, 320, 4800). A narrower tower cannot be loaded
    there: leave the names under `model.vision_tower.` out; text and audio are unaffected.
    """
    cfg = model.cfg
    own = model.state_dict()
    state: dict[str, Tensor] = {}
    for ours, theirs in inkling_names(cfg):
        tensor = own[ours].detach().clone()
        state[theirs] = (
            tensor.unsqueeze(1) if theirs.endswith("conv1d.weight") else tensor
        )  # [channels, 1, kernel]
    for ours, gate, up in _shared_names(cfg):  # [n_shared, 2 * d_expert, d_model] -> two of d_expert
        state[gate], state[up] = (
            half.clone() for half in own[ours].chunk(2, dim=1)
        )  # [n_shared, d_expert, d_model]
    return state, inkling_config(cfg)


def import_inkling(
    state: dict[str, Tensor], config: dict[str, Any], into: InteractionModel | None = None
) -> InteractionModel:
    """The way back. What Inkling does not have keeps the numbers of `into`, or starts fresh without it.

    Args: state, as of `InklingForConditionalGeneration.state_dict()` (multi-token-prediction layers
    are left out);
    config, as of `InklingConfig.to_dict()` or `export_inkling`; into: a model to overwrite in place.
    Raises: ValueError naming tensors that are missing or left over, or what our backbone cannot express.
    """
    model = into if into is not None else InteractionModel(config_from_inkling(config))
    cfg = model.cfg
    left = {name for name in state if not name.startswith("model.mtp.")}
    loaded: dict[str, Tensor] = {}
    try:
        for ours, theirs in inkling_names(cfg):
            tensor = state[theirs]
            loaded[ours] = tensor.squeeze(1) if theirs.endswith("conv1d.weight") else tensor
            left.discard(theirs)
        for ours, gate, up in _shared_names(cfg):
            loaded[ours] = torch.cat([state[gate], state[up]], dim=1)  # [n_shared, 2 * d_expert, d_model]
            left -= {gate, up}
    except KeyError as error:
        raise ValueError(f"the Inkling state dict has no {error}; does its config belong to it?") from None
    if left:
        raise ValueError(f"the Inkling state dict holds {len(left)} unknown tensors, first {min(left)}")
    own = {name: tensor for name, tensor in model.state_dict().items() if name.startswith(OWN_PARTS)}
    model.load_state_dict(loaded | own)
    return model


def inkling_config(cfg: ModelConfig) -> dict[str, Any]:
    """Arguments of transformers' `InklingConfig`; our own sizes travel along under `tml_lab`."""
    if cfg.rms_eps != _TOWER_EPS:
        raise ValueError(
            f"Inkling's towers fix the RMSNorm epsilon at {_TOWER_EPS}, this model has {cfg.rms_eps}"
        )
    kinds = {"local": "hybrid_sliding", "global": "hybrid"}
    text = {
        "vocab_size": cfg.vocab_size,
        "hidden_size": cfg.d_model,
        "num_hidden_layers": cfg.n_layers,
        "num_attention_heads": cfg.n_heads,
        "num_key_value_heads": cfg.n_kv_heads,
        "head_dim": cfg.d_head,
        "swa_num_attention_heads": cfg.local_n_heads or cfg.n_heads,
        "swa_num_key_value_heads": cfg.local_n_kv_heads or cfg.n_kv_heads,
        "swa_head_dim": cfg.local_d_head or cfg.d_head,
        "sliding_window_size": cfg.window,
        "d_rel": cfg.d_rel,
        "rel_extent": cfg.rel_extent,
        "log_scaling_n_floor": cfg.log_scaling_n_floor,
        "log_scaling_alpha": cfg.log_scaling_alpha,
        "layer_types": [kinds[kind] for kind in cfg.layer_types],
        "mlp_layer_types": ["dense" if i < cfg.n_dense_layers else "sparse" for i in range(cfg.n_layers)],
        "conv_kernel_size": cfg.conv_kernel,
        "intermediate_size": cfg.d_dense,
        "moe_intermediate_size": cfg.d_expert,
        "n_routed_experts": cfg.n_experts,
        "n_shared_experts": cfg.n_shared_experts,
        "num_experts_per_tok": cfg.top_k,
        "route_scale": cfg.route_scale,
        "rms_norm_eps": cfg.rms_eps,
        "logits_mup_width_multiplier": cfg.mup_width_multiplier,
    }
    audio = {"n_mel_bins": N_MELS, "mel_vocab_size": N_BINS}
    vision = {
        "patch_size": PATCH,
        "temporal_patch_size": VIDEO_FRAMES_PER_TURN,
        "num_hidden_layers": len(FOLDS),
    }
    return {
        "text_config": text,
        "audio_config": audio,
        "vision_config": vision,
        "tml_lab": cfg.to_dict(),
    }


def config_from_inkling(config: dict[str, Any]) -> ModelConfig:
    """Our sizes from an Inkling config; those that Inkling does not have come from `tml_lab` or the defaults.

    Raises: ValueError if the layers follow no pattern that our backbone has.
    """
    text, audio = config["text_config"], config.get("audio_config") or {}
    if (audio.get("n_mel_bins", N_MELS), audio.get("mel_vocab_size", N_BINS)) != (N_MELS, N_BINS):
        raise ValueError(
            f"our dMel has {N_MELS} channels of {N_BINS} bins, this Inkling's audio_config differs"
        )
    n_layers = text["num_hidden_layers"]
    kinds, mlps = text["layer_types"], text["mlp_layer_types"]
    own = ModelConfig.from_dict(config["tml_lab"]) if "tml_lab" in config else ModelConfig(name="inkling")
    if "tml_lab" not in config:
        own = own.with_(
            hmlp_widths=INKLING_HMLP_WIDTHS, global_budget=text.get("max_position_embeddings", 131_072)
        )
    first_global = kinds.index("hybrid") + 1 if "hybrid" in kinds else max(own.global_every, n_layers + 1)
    cfg = own.with_(
        vocab_size=text["vocab_size"],
        d_model=text["hidden_size"],
        n_layers=n_layers,
        global_every=first_global,
        n_heads=text["num_attention_heads"],
        n_kv_heads=text["num_key_value_heads"],
        d_head=text["head_dim"],
        local_n_heads=_unless_same(text, "swa_num_attention_heads", "num_attention_heads"),
        local_n_kv_heads=_unless_same(text, "swa_num_key_value_heads", "num_key_value_heads"),
        local_d_head=_unless_same(text, "swa_head_dim", "head_dim"),
        window=text["sliding_window_size"],
        d_rel=text["d_rel"],
        rel_extent=text["rel_extent"],
        log_scaling_n_floor=text["log_scaling_n_floor"],
        log_scaling_alpha=text["log_scaling_alpha"],
        conv_kernel=text["conv_kernel_size"],
        n_dense_layers=mlps.count("dense"),
        d_dense=text["intermediate_size"],
        d_expert=text["moe_intermediate_size"],
        n_experts=text["n_routed_experts"],
        n_shared_experts=text["n_shared_experts"],
        top_k=text["num_experts_per_tok"],
        route_scale=text["route_scale"],
        rms_eps=text["rms_norm_eps"],
        mup_width_multiplier=text["logits_mup_width_multiplier"],
    )
    described = inkling_config(cfg)["text_config"]
    for name in ("layer_types", "mlp_layer_types"):
        if described[name] != list(text[name]):
            raise ValueError(f"our backbone cannot follow this Inkling's {name}: {text[name]}")
    return cfg


def _unless_same(text: dict[str, Any], local: str, everywhere: str) -> int | None:
    """A local layer's own size, or None where it is that of the global layers."""
    return None if text[local] == text[everywhere] else text[local]


def _shared_names(cfg: ModelConfig) -> Iterator[tuple[str, str, str]]:
    """(our `shared_gate_up`, Inkling's gate, Inkling's up) of every MoE layer."""
    for i in range(cfg.n_dense_layers, cfg.n_layers):
        theirs = f"{_LANGUAGE}.layers.{i}.mlp.shared_experts"
        yield f"backbone.blocks.{i}.mlp.shared_gate_up", f"{theirs}.gate_proj", f"{theirs}.up_proj"
